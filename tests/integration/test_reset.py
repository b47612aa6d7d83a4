"""``processor reset`` against a broker and a Redis: told, killed in between, done, begun again."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.integration.running import (
    POPULAR,
    ROOT,
    bench,
    enriched_lines,
    popular,
    read_popular,
    trips,
)

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]


def _command(bench, name, *options, **env):
    redis = ["--redis-url", bench.redis_url]
    return subprocess.run(
        [sys.executable, "-m", "processor", name, POPULAR, "--bootstrap-servers", bench.servers,
         *redis, *bench.sets(POPULAR), *options],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, env=os.environ | env,
    )  # fmt: skip


def test_a_reset_that_is_killed_in_between_is_done_again_and_all_is_counted_anew(bench):
    bench.create()
    lines = trips(300)
    values, keys = enriched_lines(lines)
    bench.topics.fill(bench.enriched, values, keys=keys)

    run = bench.run(POPULAR)
    run.owns(4)
    refused = _command(bench, "reset", "--yes")
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "is at work" in refused.stderr
    run.until(lambda run: sum(b["records_in"] for b in run.events("batch")) == 300, "all")
    run.terminate().succeeds(20)

    told = _command(bench, "reset")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "nothing was changed" in told.stdout
    assert _command(bench, "verify").returncode == 0

    killed = _command(bench, "reset", "--yes", PROCESSOR_CRASH_AT="after:offsets")
    assert killed.returncode == 70, killed.stdout + killed.stderr
    told = _command(bench, "reset").stdout
    assert "nothing committed" not in told
    assert told.count("-> offset 0") == 4
    done = _command(bench, "reset", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert _command(bench, "reset").stdout.count(" 0 state blobs go") == 4

    before = len(bench.topics.read(bench.popular))
    bench.run(POPULAR, "--until-caught-up").succeeds()
    messages = bench.topics.read(bench.popular)
    assert read_popular(messages) == popular(lines)
    assert len(messages) > before
