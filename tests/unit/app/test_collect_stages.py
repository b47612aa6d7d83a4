"""What is collected of a topology of several stages is what plain Python comes to."""

from __future__ import annotations

import json
from datetime import datetime

import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from tests.staged import CASES, END, as_json, input_of, start

ONE_HOP = [
    ("windows by another column", "out"), ("by another column", "out"), ("complete", "out"),
    ("windows of all", "out"), ("a total", "out"), ("two topics united", "copy"),
    ("two topics united", "out"), ("united with itself", "out"), ("computed keys", "seen"),
    ("computed keys", "out"), ("two ways", "out"), ("two ways", "shops"), ("two queries", "out"),
    ("two queries", "flags"),
]  # fmt: skip


def plain(cell):
    if isinstance(cell, datetime):
        return cell.isoformat()
    return cell if isinstance(cell, str | int | bool | None) else str(cell)


@pytest.mark.parametrize(("name", "topic"), ONE_HOP)
def test_a_sink_behind_stages_is_collected(name, topic):
    case = CASES[name]
    topics = input_of(5, case.topics, 1, 200)
    for parts in topics.values():
        parts[0].sort(key=lambda record: record["t"])  # nothing is late, whatever lies where
    fed = {t: [json.dumps(as_json(r)) for r in parts[0]] for t, parts in topics.items()}
    frame = case.build().collect(sink=topic, feed=fed)
    last = start(2 * END)
    found = [tuple(map(plain, row)) for row in frame.rows()]
    found = [row for row in found if last not in row]  # a window that is still open is there too
    expected = [tuple(map(plain, row)) for row in case.expected(topics)[topic]]
    assert sorted(found, key=repr) == sorted(expected, key=repr)


def joined() -> Topology:
    topology = Topology("joined")
    form = Json({"u": pl.String, "n": pl.Int64, "at": pl.Datetime("us")})
    left, right = (
        topology.read.kafka(name, format=form, event_time="at").with_watermark("1 minute")
        for name in ("left", "right")
    )
    pairs = left.join(right, on="u", how="left", between=("0 s", "10 minutes"))
    pairs.write.kafka("pairs")
    hours = pairs.group_by(F.window("at", "1 hour"), "u")
    hours.agg(c=F.count(), m=F.count("n_right")).write.kafka("hours")
    return topology


def minutes(*given: int) -> list[dict[str, object]]:
    return [{"u": "a", "n": n, "at": f"2024-01-01T{n // 60:02}:{n % 60:02}:00"} for n in given]


def test_nothing_comes_behind_the_end_so_rows_that_wait_for_a_match_come_out():
    feed = {"left": minutes(0, 30, 70), "right": minutes(5, 72)}
    pairs = joined().collect(sink="pairs", feed=feed).sort("n")
    assert pairs.select("n", "n_right").rows() == [(0, 5), (30, None), (70, 72)]
    hours = joined().collect(sink="hours", feed=feed).sort("window_start")
    assert hours.select("c", "m").rows() == [(2, 1), (1, 1)]


def test_a_side_without_a_record_matches_nothing_and_holds_nothing_back():
    pairs = joined().collect(sink="pairs", feed={"left": minutes(0, 30), "right": []})
    assert sorted(pairs.select("n", "n_right").rows()) == [(0, None), (30, None)]


def test_windows_that_are_open_at_the_end_are_counted_by_the_stage_behind():
    topology = Topology("days")
    form = Json({"u": pl.String, "n": pl.Int64, "at": pl.Datetime("us")})
    rows = topology.read.kafka("in", format=form, event_time="at").with_watermark("1 minute")
    hours = rows.group_by(F.window("at", "1 hour"), "u").agg(n=F.count())
    days = hours.group_by(F.window("window_start", "1 day")).agg(n=F.sum("n"))
    days.write.kafka("days")
    found = topology.collect(sink="days", feed={"in": minutes(0, 30, 70)})
    assert found["n"].to_list() == [3]
