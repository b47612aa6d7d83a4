"""Windows of the clock and that slide, rows dealt out, groups in order, on a real broker."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter

import orjson
import pytest

from tests.integration.running import bench, until

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]

BEGIN = dt.datetime(2026, 8, 1)
COUNT = 2_000
TOPOLOGY = """
import polars as pl
from processor import Json, Topology, functions as F

ROW = Json({"user": pl.String, "n": pl.Int64, "ts": pl.Datetime("us")})


@Topology.define
def ops(*, app: str = "ops", source: str = "rows", out: str = "out") -> Topology:
    topology = Topology(app)
    rows = topology.read.kafka(source, format=ROW, event_time="ts")
    dealt = rows.with_watermark("0 s", idle="1 second").repartition("user", partitions=3)
    slides = dealt.group_by(F.window("ts", "10 minutes", "5 minutes"), "user")
    slides.agg(n=F.count()).write.kafka(f"{out}-slides", key="user")
    groups = rows.group_by("user").agg(n=F.sum("n"))
    groups.order_by("n", descending=True).limit(3).write.kafka(f"{out}-top", mode="complete")
    seconds = rows.group_by(F.window(F.processing_time(), "1 second"), "user")
    seconds.agg(n=F.count()).write.kafka(f"{out}-seconds", key="user")
    return topology
"""


def rows():
    for number in range(COUNT):
        time = BEGIN + dt.timedelta(seconds=number)
        yield {"user": f"u{number * 7 % 11}", "n": number % 10, "ts": time.isoformat()}


def sliding():
    """Of each user's windows of ten minutes, one each five: how many rows are in them."""
    found = Counter()
    for row in rows():
        time = dt.datetime.fromisoformat(row["ts"])
        last = time.replace(minute=time.minute // 5 * 5, second=0)
        for start in (last, last - dt.timedelta(minutes=5)):
            found[row["user"], start.isoformat()] += 1
    return found


def test_all_come_to_what_plain_python_comes_to_though_data_stops(bench):
    out, source = f"out-{bench.id}", f"rows-{bench.id}"
    names = [f"{out}-{name}" for name in ("slides", "top", "seconds")]
    (bench.directory / "ops.py").write_text(TOPOLOGY)
    bench.topics.create(source, *names, f"ops-{bench.id}-dead-letters", partitions=2)
    values = [orjson.dumps(row) for row in rows()]
    for number in range(2):
        bench.topics.fill(source, values[number::2], partition=number)
    run = bench.start(
        f"{bench.directory}/ops.py", "--bootstrap-servers", bench.servers, "--redis-url",
        bench.redis_url, "--session-timeout", "6s", "--set", f"app=ops-{bench.id}",
        "--set", f"source={source}", "--set", f"out={out}",
    )  # fmt: skip

    def found(name):
        return [orjson.loads(message.value()) for message in bench.topics.read(f"{out}-{name}")]

    sums = Counter()
    for row in rows():
        sums[row["user"]] += row["n"]
    ranked = sorted(({"user": u, "n": n} for u, n in sums.items()), key=lambda r: -r["n"])[:3]
    until(lambda: found("top")[-3:] == ranked, "the last list is right", 60, 0.3)
    # Nothing comes any more: the clock closes its windows, and idle partitions those of the rest.
    until(lambda: sum(r["n"] for r in found("seconds")) == COUNT, "all is counted", 60, 0.3)
    wanted = {k: n for k, n in sliding().items() if k[1] < "2026-08-01T00:25"}
    until(
        lambda: wanted.items()
        <= {(r["user"], r["window_start"]): r["n"] for r in found("slides")}.items(),
        "windows that slide are closed", 60, 0.3,
    )  # fmt: skip
    bench.topics.fill(source, values[:1], partition=1)
    run.until(lambda _: any(b.get("late") for b in run.events("batch")), "what comes then is late")
    run.terminate()
    run.succeeds()
    groups = [(r["user"], r["window_start"]) for r in found("slides")]
    assert len(groups) == len(set(groups)), "a window is published once"


IDLE_S, LOOKS_S = 3, 1.0
# Three commits on the way, of two stages, on a machine that other tests load too.
SLACK_S = 5.0
STOPS = f"""
import polars as pl
from processor import Json, Topology, functions as F

ROW = Json({{"user": pl.String, "n": pl.Int64, "ts": pl.Datetime("us")}})


@Topology.define
def stops(*, app: str = "stops", source: str = "rows", out: str = "out") -> Topology:
    topology = Topology(app)
    rows = topology.read.kafka(source, format=ROW, event_time="ts")
    timed = rows.with_watermark("0 s", idle="{IDLE_S} seconds", late=f"{{app}}-late")
    minutes = timed.group_by(F.window("ts", "1 minute"), "user")
    minutes.agg(n=F.count()).write.kafka(out, key="user")
    return topology
"""


def test_windows_close_within_the_idle_time_out_and_what_comes_then_is_late(bench):
    """The bound: the time-out, one look at partitions, one interval; not before the time-out."""
    app, out, source = (f"{name}-{bench.id}" for name in ("stops", "out", "rows"))
    (bench.directory / "stops.py").write_text(STOPS)
    bench.topics.create(source, out, f"{app}-late", f"{app}-dead-letters", partitions=2)
    run = bench.start(
        f"{bench.directory}/stops.py", "--bootstrap-servers", bench.servers, "--redis-url",
        bench.redis_url, "--session-timeout", "6s", "--interval", "500ms", "--set", f"app={app}",
        "--set", f"source={source}", "--set", f"out={out}",
    )  # fmt: skip

    def at(minute, second, user="a"):
        when = BEGIN + dt.timedelta(minutes=minute, seconds=second)
        return orjson.dumps({"user": user, "n": 1, "ts": when.isoformat()})

    def closed():
        found = ((orjson.loads(m.value()), m.timestamp()[1] / 1000) for m in bench.topics.read(out))
        return {row["window_start"][14:16]: (row["n"], when_s) for row, when_s in found}

    # Both partitions go on: the windows that both have passed are closed, and not by idleness.
    for minute in range(3):
        for partition in range(2):
            bench.topics.fill(source, [at(minute, 10)], partition=partition)
        run.until(lambda _, m=minute: {f"{m - 1:02}"} <= {*closed(), "-1"}, f"minute {minute - 1}")
    # One goes on to the last second of its window, and then nothing comes.
    bench.topics.fill(source, [at(9, 59.999)], partition=0)
    last_s = time.time()
    run.until(lambda _: "09" in closed(), "the last window closes", 60)
    took_s = closed()["09"][1] - last_s
    assert IDLE_S - 0.1 <= took_s <= IDLE_S + LOOKS_S + 0.5 + SLACK_S
    # What comes behind is set aside, and the window is not told again.
    bench.topics.fill(source, [at(9, 30)], partition=1)
    run.until(lambda _: bench.topics.read(f"{app}-late"), "the late record is set aside")
    assert {minute: n for minute, (n, _) in closed().items()} == {
        "00": 2, "01": 2, "02": 2, "09": 1,
    }  # fmt: skip
    run.terminate()
    run.succeeds()
