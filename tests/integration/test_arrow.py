"""Arrow between two topologies on a real broker: many rows a record, bad ones among them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import polars as pl
import pytest

from processor import Arrow
from tests import corpus
from tests.integration.running import ROOT, bench
from tests.integration.test_bad_inputs import among, told

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]

FORM = Arrow({"user": pl.String, "n": pl.Int64})
TOPOLOGIES = """
import polars as pl
from processor import Arrow, Json, Topology
from processor import functions as F

FORM = Arrow({"user": pl.String, "n": pl.Int64})

@Topology.define
def keyed(*, app: str = "APP-keyed") -> Topology:
    topology = Topology(app)
    rows = topology.read.kafka("SOURCE", format=FORM, dead_letters="DEAD")
    rows.filter(pl.col("n") >= 0).write.kafka("KEYED", key="user", format=FORM)
    return topology

@Topology.define
def counted(*, app: str = "APP-counted") -> Topology:
    topology = Topology(app)
    rows = topology.read.kafka("KEYED", format=FORM, partitioned_by="user")
    totals = rows.group_by("user").agg(total=F.sum("n"), rows=F.count())
    totals.write.kafka("TOTALS", key="user", mode="update", format=Json())
    return topology
"""


def written(rows, size):
    found = []
    for start in range(0, len(rows), size):
        frame = pl.DataFrame(rows[start : start + size], schema=FORM.columns, orient="row")
        found += [value for _, value in FORM.pack(frame)]
    return found


def test_rows_are_counted_once_through_two_stages_beside_bad_records_and_a_kill(bench):
    source, keyed, totals, dead = (
        f"{name}-{bench.id}" for name in ("rows", "keyed", "totals", "dead")
    )
    text = TOPOLOGIES.replace("SOURCE", source).replace("KEYED", keyed).replace("TOTALS", totals)
    (bench.directory / "arrows.py").write_text(text.replace("DEAD", dead).replace("APP", bench.id))
    bench.topics.create(source, keyed, totals, dead, f"{bench.id}-counted-dead-letters")
    rows = [(f"user-{n % 37}", n - 5) for n in range(8_000)]
    values = written(rows, 41)
    for partition in range(4):
        some = [*corpus.ARROW.values()][partition::4]
        bench.topics.fill(source, among(values[partition::4], some), partition=partition)
    servers = ["--bootstrap-servers", bench.servers, "--redis-url", bench.redis_url]
    servers += ["--log-format", "json", "--batch-records-max", 60, "--session-timeout", "6s"]
    file = f"{bench.directory}/arrows.py"
    killed = bench.start(f"{file}:counted", *servers)
    bench.start(f"{file}:keyed", *servers, "--until-caught-up").succeeds(100)
    killed.until(lambda run: len(run.events("batch")) >= 2, "two batches")
    killed.kill()
    bench.start(f"{file}:counted", *servers, "--until-caught-up").succeeds(100)

    told(bench.topics.read(dead), corpus.ARROW.values())
    messages = bench.topics.read(keyed)
    assert len(messages) < len(rows) / 4
    found = FORM.decode([message.value() for message in messages]).frame
    assert Counter(found.rows()) == Counter(row for row in rows if row[1] >= 0)
    last = {}
    for message in bench.topics.read(totals):
        row = json.loads(message.value())
        last[row["user"]] = row["total"], row["rows"]
    expected: dict[str, tuple[int, int]] = {}
    for user, n in rows:
        if n >= 0:
            total, count = expected.get(user, (0, 0))
            expected[user] = total + n, count + 1
    assert last == expected
    command = [sys.executable, "-m", "processor", "verify", f"{file}:keyed", *servers[:2]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "all is right" in done.stdout, done.stdout + done.stderr
