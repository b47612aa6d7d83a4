"""Records of many rows through a topology: what counts, what is set aside, and how often."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import polars as pl
import pytest

from processor import Arrow, Json, Topology
from processor import functions as F
from processor.cli.verify import verified
from processor.engine.offline.late import lateness
from processor.model.headers import headers_of
from processor.model.log import TopicPartition
from processor.model.watermark import HEADER, Told
from processor.testing import Crash, TestDriver

EPOCH = datetime(2014, 8, 1)
COLUMNS = {"k": pl.String, "n": pl.Int64, "at": pl.Datetime("us")}
FORM = Arrow(COLUMNS, optional=frozenset({"n"}))


def frame(*rows):
    return pl.DataFrame(
        [(k, n, EPOCH + timedelta(seconds=s)) for k, n, s in rows], schema=COLUMNS, orient="row"
    )


def packed(*rows):
    ((_, value),) = FORM.pack(frame(*rows))
    return value


def copying(**source):
    topology = Topology("many")
    rows = topology.read.kafka("in", format=FORM, dead_letters="dead", **source)
    return topology, rows


def numbers(driver, topic="out"):
    return [row["n"] for row in driver.json(topic)]


def test_the_rows_of_a_record_go_through_one_by_one():
    topology, rows = copying()
    rows.filter(pl.col("n") > 1).write.kafka("out")
    driver = TestDriver(topology)
    driver.feed([packed(("a", 1, 0), ("b", 2, 0)), FORM.pack(frame(("c", 3, 0)))[0][1]])
    driver.run()
    assert numbers(driver) == [2, 3]


def test_a_record_without_rows_is_read_and_nothing_comes_of_it():
    topology, rows = copying()
    rows.write.kafka("out")
    driver = TestDriver(topology)
    empty = FORM._library.table(
        [FORM._library.nulls(0, kind.type) for kind in FORM._wanted], schema=FORM._wanted
    )
    sink = FORM._library.BufferOutputStream()
    with FORM._library.ipc.new_stream(sink, empty.schema) as writer:
        writer.write_table(empty)
    driver.feed([sink.getvalue().to_pybytes(), packed(("a", 1, 0))])
    driver.run()
    assert numbers(driver) == [1]
    assert [head.offset for head in driver.committed().values()] == [2]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_with_one_row_that_cannot_be_computed_its_record_is_set_aside_whole_and_once(size):
    topology, rows = copying(partitioned_by="k")
    made = rows.with_columns(day=pl.concat_str(pl.col("k"), pl.lit("-01")).str.to_date("%Y-%m-%d"))
    made.group_by("k").agg(total=F.sum("n")).write.kafka("out", mode="update", key="k")
    driver = TestDriver(topology, batch_records_max=size)
    bad = packed(("2014-01", 10, 0), ("never", 20, 0), ("2014-01", 30, 0), ("also", 1, 0))
    driver.feed([packed(("2014-01", 1, 0)), bad, packed(("2014-02", 2, 0), ("2014-01", 4, 0))])
    driver.run()
    last = {row["k"]: row["total"] for row in driver.json("out")}
    assert last == {"2014-01": 5, "2014-02": 2}
    (letter,) = driver.dead_letters()
    assert letter.value() == bad
    assert dict(headers_of(letter))["processor.offset"] == b"1"
    assert b"never" in dict(headers_of(letter))["processor.error"]
    reports = driver.reports
    assert sum(report.records_out for report in reports) == len(driver.read("out"))
    assert sum(report.dead_lettered for report in reports) == 4
    assert min(report.records_out for report in reports) >= 0


def test_a_value_that_is_no_arrow_is_a_letter_and_its_neighbours_pass():
    topology, rows = copying()
    rows.write.kafka("out")
    driver = TestDriver(topology)
    driver.feed([packed(("a", 1, 0), ("a", 2, 0)), b"junk", packed(("a", 3, 0))])
    driver.run()
    assert numbers(driver) == [1, 2, 3]
    assert [letter.value() for letter in driver.dead_letters()] == [b"junk"]


def test_an_event_time_far_ahead_takes_its_record_with_it():
    topology, rows = copying(event_time="at")
    rows.with_watermark("1 minute", ahead="1 hour").write.kafka("out")
    driver = TestDriver(topology)
    far = int(timedelta(days=30_000).total_seconds())
    values = [packed(("a", 1, 0), ("a", 2, far)), packed(("a", 3, 10), ("a", 4, 5))]
    written_ms = int((EPOCH - datetime(1970, 1, 1)).total_seconds()) * 1_000
    driver.log.feed("in", values, timestamps_ms=[written_ms] * 2)
    driver.run()
    assert numbers(driver) == [3, 4]
    assert len(driver.dead_letters()) == 1


@pytest.mark.parametrize("size", [1, 3])
def test_of_a_record_only_the_rows_that_are_late_are_sent_as_late(size):
    topology, rows = copying(event_time="at")
    rows.with_watermark("10 seconds", late="late").write.kafka("out")
    driver = TestDriver(topology, batch_records_max=size)
    mixed = packed(("a", 2, 95), ("a", 3, 20), ("a", 4, 99), ("a", 5, 30))
    driver.feed([packed(("a", 1, 100)), mixed, packed(("a", 6, 200))])
    driver.run()
    assert numbers(driver) == [1, 2, 4, 6]
    (late,) = driver.read("late")
    assert FORM.decode([late.value()]).frame["n"].to_list() == [3, 5]
    assert dict(headers_of(late))["processor.offset"] == b"1"
    assert driver.dead_letters() == []
    assert sum(report.records_out for report in driver.reports) == len(driver.read("out"))


def test_a_sink_puts_the_rows_of_a_key_into_one_record_in_the_keys_partition():
    topology, rows = copying()
    rows.write.kafka("out", key="k", format=FORM)
    driver = TestDriver(topology)
    driver.feed([packed(("a", 1, 0), ("b", 2, 0)), packed(("a", 3, 0), ("b", 4, 0))])
    driver.run()
    found = {m.key(): FORM.decode([m.value()]).frame["n"].to_list() for m in driver.read("out")}
    assert found == {b"a": [1, 3], b"b": [2, 4]}
    assert len(driver.read("out")) == 2
    assert sorted(row["n"] for row in driver.rows("out")) == [1, 2, 3, 4]


def test_a_sink_without_a_key_writes_the_rows_of_a_batch_into_one_record():
    topology, rows = copying()
    rows.write.kafka("out", format=FORM)
    driver = TestDriver(topology)
    driver.feed([{"k": "a", "n": n, "at": EPOCH} for n in range(50)])
    driver.run()
    # A first batch is small: nothing is known yet of how long its steps take.
    assert len(driver.read("out")) == 2
    assert [row["n"] for row in driver.rows("out")] == list(range(50))


def test_columns_of_the_record_are_those_of_each_of_its_rows():
    topology, rows = copying(key="user", headers={"trace": "trace"}, offset="o")
    rows.select("n", "user", "trace", "o").write.kafka("out")
    driver = TestDriver(topology)
    driver.feed([packed(("a", 1, 0))], key="x", headers={"trace": "t0"})
    driver.feed([packed(("a", 2, 0), ("a", 3, 0))], key="y", headers={"trace": "t1"})
    driver.run()
    assert [tuple(row.values()) for row in driver.json("out")] == [
        (1, "x", "t0", 0), (2, "y", "t1", 1), (3, "y", "t1", 1),
    ]  # fmt: skip


def test_a_watermark_that_a_record_carries_holds_behind_all_of_its_rows():
    topology, rows = copying(event_time="at", watermark="carried")
    rows.with_watermark("0 seconds", late="late").write.kafka("out")
    driver = TestDriver(topology)
    us = int((EPOCH + timedelta(seconds=50) - datetime(1970, 1, 1)).total_seconds()) * 1_000_000
    told = Told("by", 1, ("at",), ((0, us),)).encode()
    driver.feed([packed(("a", 1, 10), ("a", 2, 20))], headers={HEADER: told})
    driver.feed([packed(("a", 3, 60), ("a", 4, 49))])
    driver.run()
    assert numbers(driver) == [1, 2, 3]
    assert FORM.decode(driver.values("late")).frame["n"].to_list() == [4]


@pytest.mark.parametrize("size", [1, 2, 7, 100])
@pytest.mark.parametrize("step", [None, "before:commit", "after:commit", "after:stage"])
def test_whatever_the_batches_and_crashes_totals_are_those_of_the_rows(size, step):
    topology, rows = copying(partitioned_by="k", event_time="at")
    windows = rows.with_watermark("5 seconds").group_by("k", F.window("at", "10 seconds"))
    windows.agg(total=F.sum("n"), count=F.count()).write.kafka(
        "out", key="k", mode="append", format=Arrow(
            {"k": pl.String, "window_start": pl.Datetime("us"), "window_end": pl.Datetime("us"),
             "total": pl.Int64, "count": pl.Int64})
    )  # fmt: skip
    driver = TestDriver(topology, batch_records_max=size)
    for first in range(0, 120, 4):
        driver.feed([packed(*(("a", n, n) for n in range(first, first + 4)))], key="a")
    if step is not None:
        driver.crash_at(step)
        with pytest.raises(Crash):
            driver.run()
        driver.restart()
    driver.run()
    found = [(row["window_start"], row["total"], row["count"]) for row in driver.rows("out")]
    expected = [
        (EPOCH + timedelta(seconds=s), sum(range(s, s + 10)), 10) for s in range(0, 110, 10)
    ]
    assert sorted(found) == expected
    report = verified(driver.plan, driver.log)
    assert report.findings == []
    assert report.compared == len(expected)


def test_a_planted_row_among_many_is_found_by_verify():
    topology, rows = copying()
    rows.write.kafka("out", format=FORM)
    driver = TestDriver(topology, batch_records_max=2)
    driver.feed([packed(("a", n, 0), ("a", n + 1, 0)) for n in range(0, 20, 2)])
    driver.run()
    right = verified(driver.plan, driver.log)
    assert (right.findings, right.compared) == ([], 20)
    driver.log.feed("out", [packed(("a", 3, 0), ("z", 99, 0))])
    found = [(f.kind, json.loads(f.what)["n"]) for f in verified(driver.plan, driver.log).findings]
    assert sorted(found) == [("duplicate", 3), ("wrong", 99)]


def test_what_a_delay_would_do_is_asked_of_rows():
    topology, rows = copying(event_time="at")
    rows.with_watermark("10 seconds").write.kafka("out", format=Json())
    driver = TestDriver(topology)
    driver.feed([packed(("a", 1, 100), ("a", 2, 40)), packed(("a", 3, 70))])
    described = driver.log.describe(["in"])["in"]
    extents = {TopicPartition("in", n): extent for n, extent in described.extents.items()}
    found = lateness(driver.plan, driver.log.scan, extents)
    assert found.records == 3
    assert sorted(found.behind.tolist()) == [30_000_000, 60_000_000]
