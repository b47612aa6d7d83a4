"""A join of two topics on a real broker, its workers killed in the middle."""

from __future__ import annotations

import datetime as dt
import random
import subprocess
import sys
from collections import Counter

import orjson
import pytest

from tests.integration.running import ROOT, bench, until
from tests.integration.test_stages import workers_of

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]

BEGIN = dt.datetime(2026, 8, 1)
COUNT = 3_000
TOPOLOGY = """
import polars as pl
from processor import Json, Topology

VIEW = Json({"user": pl.String, "page": pl.Int64, "ts": pl.Datetime("us")})
BUY = Json({"user": pl.String, "cents": pl.Int64, "ts": pl.Datetime("us")})


@Topology.define
def shop(*, app: str = "shop", views: str = "v", buys: str = "b", output: str = "o") -> Topology:
    topology = Topology(app)
    left, right = (
        topology.read.kafka(
            topic, format=form, event_time="ts", dead_letters=f"{app}-dead"
        ).with_watermark("1 minute")
        for topic, form in ((views, VIEW), (buys, BUY))
    )
    both = left.join(right, on="user", how="left", between=("-5 seconds", "20 seconds"))
    both.select("user", "page", "cents").write.kafka(output, key="user")
    return topology
"""


def rows(name, made):
    """One a second for each side, of 40 users, up to half a minute out of order; then the end."""
    for number in range(COUNT):
        time = BEGIN + dt.timedelta(seconds=number + 40 - made.randrange(30))
        yield {"user": f"u{made.randrange(40)}", name: number, "ts": time}


def expected(views, buys):
    found = Counter()
    of = {}
    for row in buys:
        of.setdefault(row["user"], []).append(row)
    for view in views:
        same = [
            buy["cents"] for buy in of.get(view["user"], ())
            if -5 <= (buy["ts"] - view["ts"]).total_seconds() <= 20
        ]  # fmt: skip
        found.update((view["user"], view["page"], cents) for cents in same or [None])
    return found


def test_a_join_comes_to_plain_python_though_workers_are_killed(bench):
    made = random.Random(3)
    views, buys = list(rows("page", made)), list(rows("cents", made))
    topics = {name: f"{name}-{bench.id}" for name in ("views", "buys", "output")}
    app = f"shop-{bench.id}"
    (bench.directory / "shop.py").write_text(TOPOLOGY)
    bench.topics.create(*topics.values(), f"{app}-dead", partitions=2)
    end = BEGIN + dt.timedelta(days=1)
    for topic, name, given in (("views", "page", views), ("buys", "cents", buys)):
        for number in range(2):
            mine = [*given[number::2], {"user": "end", name: -1, "ts": end}]
            values = [orjson.dumps({**row, "ts": row["ts"].isoformat()}) for row in mine]
            bench.topics.fill(topics[topic], values, partition=number)
    sets = [part for k, v in {"app": app, **topics}.items() for part in ("--set", f"{k}={v}")]
    run = bench.start(
        f"{bench.directory}/shop.py", "--bootstrap-servers", bench.servers, "--redis-url",
        bench.redis_url, "--session-timeout", "6s", *sets, "--workers", "2",
        "--batch-records-max", "250", "--interval", "20ms",
    )  # fmt: skip
    for _ in range(2):
        before = len(run.events("batch"))
        run.until(lambda _, b=before: len(run.events("batch")) > b + 4, "it goes on", 90)
        run.until(lambda _: workers_of(run), "there are workers")
        made.choice(workers_of(run)).kill()

    def found():
        read = map(orjson.loads, (m.value() for m in bench.topics.read(topics["output"])))
        return Counter((r["user"], r["page"], r["cents"]) for r in read if r["user"] != "end")

    wanted = expected(views, buys)
    until(lambda: found() == wanted, "all pairs are there, and once", 120, 0.5)
    run.terminate()
    run.succeeds()
    assert found() == wanted
    done = subprocess.run(
        [sys.executable, "-m", "processor", "verify", f"{bench.directory}/shop.py",
         "--bootstrap-servers", bench.servers, *sets],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "all is right" in done.stdout, done.stdout + done.stderr
