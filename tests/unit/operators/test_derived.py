"""An event time that is computed of what a record holds."""

from __future__ import annotations

import datetime as dt
import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor import Json, Topology, TopologyError
from processor import functions as F
from processor.cli.verify import verified
from processor.engine.offline.late import lateness
from processor.formats.base import Decoded
from processor.operators.derived import Derived
from processor.testing import TestDriver

PLACED = (
    pl.col("order")
    .str.json_path_match("$.placed_at")
    .str.to_datetime("%Y-%m-%dT%H:%M:%S")
    .alias("at")
)


def topology(event_time=PLACED, *, on_error="dead_letter", late="late"):
    made = Topology("orders")
    orders = made.read.kafka(
        "in", format=Json({"n": pl.Int64, "order": pl.String}), event_time=event_time,
        partitioned_by="n", on_error=on_error,
    )  # fmt: skip
    orders.with_watermark("10 s", late=late).write.kafka("out", format=Json())
    return made


def order(number, placed):
    at = placed if isinstance(placed, str) else f"2026-08-01T12:00:{placed:02}"
    return {"n": number, "order": json.dumps({"placed_at": at} if at else {})}


def numbers(driver, topic):
    return [json.loads(value or b"")["n"] for value in driver.values(topic)]


def test_lateness_goes_by_it_and_rows_have_it():
    driver = TestDriver(topology())
    driver.feed([order(0, 30), order(1, 20), order(2, 19), order(3, 59)])
    driver.run()
    assert numbers(driver, "out") == [0, 1, 3]
    assert numbers(driver, "late") == [2]
    assert driver.json("out")[0]["at"] == "2026-08-01T12:00:30"


@pytest.mark.parametrize("bad", ["n/a", "", "2026-08-01", "2026-13-01T00:00:00"])
def test_a_record_of_which_it_cannot_be_computed_is_bad_and_says_nothing_of_the_time(bad):
    driver = TestDriver(topology())
    driver.feed([order(0, 5), order(1, bad), order(2, 1), order(3, bad), order(4, 6)])
    driver.run()
    assert numbers(driver, "out") == [0, 2, 4]
    assert numbers(driver, "orders-dead-letters") == [1, 3]
    assert verified(driver.plan, driver.log).findings == []


def test_why_is_told_with_the_dead_letter():
    driver = TestDriver(topology())
    driver.feed([order(0, 5), order(1, "")])
    driver.run()
    (letter,) = driver.read("orders-dead-letters")
    assert dict(letter.headers())["processor.error"] == b"column 'at': null"


rows = st.lists(st.one_of(st.integers(0, 59), st.sampled_from(["n/a", "", "x"])), max_size=30)


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(1, 9))
def test_each_record_is_judged_for_itself_however_batches_are_cut(placed, size):
    driver = TestDriver(topology(), batch_records_max=size)
    driver.feed([order(number, one) for number, one in enumerate(placed)])
    driver.run()
    largest, kept, bad = -99, [], []
    for number, one in enumerate(placed):
        if isinstance(one, str):
            bad.append(number)
            continue
        largest = max(largest, one)
        if one >= largest - 10:
            kept.append(number)
    assert numbers(driver, "out") == kept
    assert numbers(driver, "orders-dead-letters") == bad


def test_windows_are_of_it_and_what_another_delay_would_keep_is_known():
    made = Topology("orders")
    orders = made.read.kafka(
        "in", format=Json({"n": pl.Int64, "order": pl.String}), event_time=PLACED,
        partitioned_by="n",
    )  # fmt: skip
    counts = orders.with_watermark("1 s").group_by(F.window("at", "10 s"), "n").agg(c=F.count())
    counts.write.kafka("out", key="n", mode="update")
    driver = TestDriver(made)
    driver.feed([order(7, 5), order(7, 12), order(7, 13), order(7, 9)])
    driver.run()
    last = {row["window_start"]: row["c"] for row in driver.json("out")}
    assert last == {"2026-08-01T12:00:00": 1, "2026-08-01T12:00:10": 2}
    extents = driver.log.describe(["in"])["in"].extents
    scanned = lateness(driver.plan, driver.log.scan, {
        partition: extents[partition.partition] for partition in driver.committed()
    })  # fmt: skip
    assert scanned.behind.tolist() == [4_000_000]


@pytest.mark.parametrize(
    ("event_time", "what"),
    [
        (pl.col("order").str.to_datetime("%Y"), "as a column is"),
        (pl.col("n"), "is Int64, no time"),
        (pl.col("n").alias("at"), "is Int64, no time"),
        (pl.col("nope").str.to_datetime("%Y").alias("at"), "nope"),
        (pl.col("order").str.to_datetime("%Y").max().alias("at"), "other rows"),
        (pl.all(), "several columns"),
        (5, "event_time is 5"),
    ],
)
def test_what_is_no_event_time_is_refused_at_its_line(event_time, what):
    with pytest.raises(TopologyError, match=what) as caught:
        topology(event_time).plan()
    assert "test_derived.py:" in caught.value.message
    assert caught.value.remedy


def test_on_error_fail_names_the_record():
    driver = TestDriver(topology(on_error="fail"))
    driver.feed([order(0, 5), order(1, "x")])
    with pytest.raises(Exception, match=r"in\[0\] offset 1"):
        driver.run()


class Step:
    """Computes a time of what is even; one of 6 does not fit, one of 4 is null."""

    def __init__(self):
        self.asked = []

    def misfits(self, frame):
        return {row: f"{n} is too large" for row, n in enumerate(frame["n"]) if n == 6}

    def process(self, frame, context):
        numbers = frame["n"].to_list()
        self.asked.append(numbers)
        for n in numbers:
            if n % 2 or n == 6:
                raise ValueError(f"no time of {n}")
        times = [None if n == 4 else dt.datetime(2026, 1, 1 + n) for n in numbers]
        return frame.with_columns(pl.Series("at", times, dtype=pl.Datetime("ms")))


def test_of_a_batch_that_cannot_be_computed_each_row_has_its_time_or_its_reason():
    step = Step()
    derived = Derived("at", pl.Datetime("ms"), step)
    decoded = Decoded(pl.DataFrame({"n": [11, 2, 3, 6, 4, 8, 5, 0, 13]}), {0: "bad", 8: "worse"})
    found = derived.added(decoded)
    second, eighth, zeroth = (dt.datetime(2026, 1, 1 + n) for n in (2, 8, 0))
    assert found.frame.schema == {"n": pl.Int64, "at": pl.Datetime("ms")}
    assert found.frame["n"].to_list() == decoded.frame["n"].to_list()
    assert found.frame["at"].to_list() == [
        None, second, None, None, None, eighth, None, zeroth, None,
    ]  # fmt: skip
    assert found.bad == {
        0: "bad", 2: "ValueError: no time of 3", 3: "6 is too large", 4: "column 'at': null",
        6: "ValueError: no time of 5", 8: "worse",
    }  # fmt: skip
    assert decoded.bad == {0: "bad", 8: "worse"}
    # What cannot be read is not computed again, nor what does not fit.
    assert not {11, 13, 6} & {n for numbers in step.asked[1:] for n in numbers}


def test_a_row_that_cannot_be_read_alone_stops_its_neighbours_once_only():
    step = Step()
    decoded = Decoded(pl.DataFrame({"n": [2, 1, 8]}), {1: "bad"})
    assert Derived("at", pl.Datetime("ms"), step).added(decoded).bad == {1: "bad"}
    assert step.asked == [[2, 1, 8], [2, 8], [2, 8]]


def test_a_batch_that_can_be_computed_is_so_at_once():
    step = Step()
    decoded = Decoded(pl.DataFrame({"n": [2, 4, 8, 4]}), {1: "bad"})
    found = Derived("at", pl.Datetime("ms"), step).added(decoded)
    assert found.bad == {1: "bad", 3: "column 'at': null"}
    assert decoded.bad == {1: "bad"}
    assert step.asked == [[2, 4, 8, 4]]
