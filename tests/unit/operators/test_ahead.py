from __future__ import annotations

import json

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from processor import Json, Topology
from processor.operators.ahead import ahead
from processor.operators.pipeline import Pipeline
from processor.testing import TestDriver
from tests.unit.messages import piece

HOUR = 3_600_000_000


class Stamped:
    def __init__(self, stamp_us: int) -> None:
        self.stamp_us, self.asked = stamp_us, 0

    def timestamp(self) -> tuple[int, int]:
        self.asked += 1
        return (1, self.stamp_us // 1000)


def looked(records, bound_us=HOUR, log_time=None):
    times = np.array([time for time, _ in records], np.int64)
    messages = [Stamped(stamp) for _, stamp in records]
    good = np.ones(len(records), np.bool_)
    found, after = ahead(times, good, messages, bound_us, log_time)  # type: ignore[arg-type]
    return found, after, sum(message.asked for message in messages)


def test_what_is_further_ahead_of_its_timestamp_than_the_bound_is_found():
    now = 1_700_000_000_000_000
    records = [(now, now), (now + HOUR, now), (now + HOUR + 1, now), (now, now), (2 * now, now)]
    assert looked(records)[:2] == ([2, 4], now)


def test_records_that_are_as_old_as_they_say_are_not_asked_for_their_timestamps():
    now = 1_700_000_000_000_000
    records = [(now + i * 1000, now + i * 1000) for i in range(1000)]
    assert looked(records) == ([], now, 1)


def test_input_of_the_past_is_looked_at_once():
    now, past = 1_700_000_000_000_000, 1_400_000_000_000_000
    assert looked([(past + i * HOUR, now) for i in range(1000)]) == ([], now, 1)


def test_where_all_are_too_far_ahead_each_is_asked_once():
    now = 1_700_000_000_000_000
    records = [(2 * now, now + i) for i in range(5000)]
    found, _, asked = looked(records)
    assert len(found) == 5000
    assert asked <= 5001


def test_a_record_without_a_timestamp_is_taken():
    assert looked([(9 * HOUR, 0), (9 * HOUR, -1000)])[0] == []


def test_a_partition_without_rows_keeps_its_log_time():
    assert looked([], log_time=7) == ([], 7, 0)
    assert looked([]) == ([], None, 0)


def test_the_bound_itself_is_within_the_bound():
    now = 1_700_000_000_000_000
    assert looked([(now + HOUR, now)]) == ([], now, 1)
    assert looked([(now + HOUR, now), (now + HOUR + 1, now)], log_time=now) == ([1], now, 1)


def test_a_record_within_the_bound_of_the_one_before_it_says_nothing_of_the_time():
    """Else the clock that wrote it would move the bound of what follows in the same batch."""
    second = 1_000_000
    records = [(0, 1), (20, 9), (14, 9_999), (100, 50), (55, 9_999), (56, 51)]
    rows = [(time * second, stamp * second) for time, stamp in records]
    assert looked(rows, bound_us=5 * second) == ([1, 3], 51 * second, 4)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9), st.booleans()), max_size=60),
    st.lists(st.integers(1, 7), min_size=1),
)
def test_the_answer_is_that_of_looking_at_one_after_the_other_however_batches_are_cut(
    records, sizes
):
    second = 1_000_000
    found: list[int] = []
    at, log_time, cuts = 0, None, iter(sizes * (len(records) + 1))
    while at < len(records):
        part = records[at : at + next(cuts)]
        times = np.array([t * second for t, _, _ in part], np.int64)
        good = np.array([g for _, _, g in part], np.bool_)
        messages = [Stamped(s * second) for _, s, _ in part]
        rows, log_time = ahead(times, good, messages, 5 * second, log_time)  # type: ignore[arg-type]
        found += [at + row for row in rows]
        at += len(part)

    expected, known = [], None
    for row, (time, stamp, good) in enumerate(records):
        if not good or (known is not None and time <= known + 5):
            continue
        known = stamp if known is None else max(known, stamp)
        if time > known + 5:
            expected.append(row)
    assert found == expected


FORM = Json({"t": pl.Datetime("us")}, millis=frozenset({"t"}))


def topology(**watermark: str) -> Topology:
    made = Topology("a")
    rows = made.read.kafka("in", format=FORM, event_time="t")
    rows.with_watermark("5 minutes", late="late", **watermark).write.kafka("out")
    return made


def value(seconds: int) -> bytes:
    return json.dumps({"t": seconds * 1000}).encode()


def test_one_clock_of_2099_makes_nothing_late():
    """The records' own timestamps are of 1970 in this test, as their event times are."""
    pipeline = Pipeline(topology().plan())
    values = [value(60), value(4_070_908_800), value(61), value(62)]
    result = pipeline.run([piece(values)], [{}])
    assert (result.counts.late, result.counts.dead_lettered) == (0, 1)
    (dead,) = (output for output in result.outputs if output.topic == "a-dead-letters")
    headers = {name: text.decode() for name, text in dead.headers[0]}
    assert dead.values == [values[1]]
    assert headers["processor.stage"] == "a/watermark"
    assert "2099-01-01T00:00:00.000000 is more than 1 d ahead" in headers["processor.error"]
    assert result.event_times_max == [62_000_000]


def test_the_bound_is_the_topologys():
    values = [value(60), value(3600), value(3700)]
    for bound, dead in (("1 hour", 1), ("1 minute", 2), ("2 hours", 0)):
        result = Pipeline(topology(ahead=bound).plan()).run([piece(values)], [{}])
        assert result.counts.dead_lettered == dead


def test_what_was_looked_at_survives_a_restart():
    driver = TestDriver(topology(ahead="1 hour"))
    driver.log.feed("in", [value(7000)], timestamps_ms=[5_000_000])
    driver.run()
    driver.kill()
    driver.restart()
    # Within the bound of the first record's timestamp, and so not looked at.
    driver.log.feed("in", [value(8600), value(8601)], timestamps_ms=[1, 1])
    driver.run()
    assert [json.loads(v or b"")["t"] for v in driver.values("out")] == [
        "1970-01-01T01:56:40", "1970-01-01T02:23:20",
    ]  # fmt: skip
    assert len(driver.dead_letters()) == 1
