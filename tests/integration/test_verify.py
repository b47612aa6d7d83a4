"""``processor verify`` against a broker: right after a run, and after a record too many."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.integration.running import ENRICH, POPULAR, ROOT, bench, trips

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]


def _verify(bench, topology, *options):
    return subprocess.run(
        [sys.executable, "-m", "processor", "verify", topology, "--bootstrap-servers",
         bench.servers, *bench.sets(topology), *options],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_a_run_is_right_until_a_record_is_planted(bench):
    bench.create()
    bench.topics.fill(bench.trips, [*trips(500), b"no trip", b""])
    for topology in (ENRICH, POPULAR):
        bench.run(topology, "--until-caught-up", "--batch-records-max", 90).succeeds()
        done = _verify(bench, topology)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "all is right" in done.stdout
    assert "502 records recomputed" in _verify(bench, ENRICH).stdout

    planted = bench.topics.read(bench.enriched)[17]
    where = planted.partition()
    bench.topics.fill(bench.enriched, [planted.value()], partition=where, keys=None)
    done = _verify(bench, ENRICH, "--json")
    assert done.returncode == 3, done.stdout + done.stderr
    (finding,) = json.loads(done.stdout)["findings"]
    last = max(m.offset() for m in bench.topics.read(bench.enriched) if m.partition() == where)
    assert (finding["topic"], finding["partition"], finding["offset"]) == (
        bench.enriched, where, last,
    )  # fmt: skip
    # It came without its key, which no output does.
    assert finding["kind"] == "wrong"

    bench.topics.fill(bench.enriched, [planted.value()], keys=[planted.key()])
    done = _verify(bench, ENRICH)
    assert done.returncode == 3
    assert "0 missing, 1 duplicate, 1 wrong" in done.stdout
