"""What a reader makes of the watermarks that records carry, against a reader of one at a time."""

from __future__ import annotations

import json
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor import Json, Topology
from processor.model.log import TopicPartition
from processor.model.watermark import HEADER, Told
from processor.operators.carried import LOWEST, Carried
from processor.operators.pipeline import Pipeline
from processor.testing import TestDriver
from tests.unit.messages import Fake, piece

SECOND = 1_000_000
A = TopicPartition("in", 0)


def reading(delay=None, late=None):
    topology = Topology("count")
    rows = topology.read.kafka(
        "in", format=Json({"n": pl.Int64, "ts": pl.Datetime("us")}), event_time="ts",
        watermark="carried",
    )  # fmt: skip
    if delay is not None:
        rows = rows.with_watermark(delay, late=late)
    rows.write.kafka("out")
    return topology


def record(number, second, *told):
    value = json.dumps({"n": number, "ts": f"1970-01-01T00:00:{second:02}"}).encode()
    headers = [(HEADER, one if isinstance(one, bytes) else one.encode()) for one in told]
    return value, headers


def told(at, of=2, by="rekey", time=("ts",)):
    return Told(by, of, time, tuple((task, second * SECOND) for task, second in at.items()))


def batch(records, before=None, start=0):
    part = piece([value for value, _ in records], start=start)
    messages = [
        Fake(value, start + row, 0, b"k", headers) for row, (value, headers) in enumerate(records)
    ]
    time = None if before is None else before * SECOND
    return replace(part, messages=messages, event_time_max=time)


def heard(records, before=None, unit_us=1, noted=None):
    carried = Carried("ts", unit_us, (noted if noted is not None else []).append)
    state = {carried.name: carried.new_state()}
    (found,) = carried.hear([batch(records, before)], [state])
    carried.fold([found], [state])
    known = [None if time == LOWEST else time // SECOND for time in found.known.tolist()]
    return known, None if found.after is None else found.after // SECOND, state[carried.name]


def test_the_watermark_is_the_least_of_all_writing_tasks_and_holds_behind_its_record():
    records = [record(0, 0, told({0: 10})), record(1, 0, told({1: 7})), record(2, 0)]
    known, after, slab = heard([*records, record(3, 0, told({1: 30})), record(4, 0)])
    assert known == [None, None, 7, 7, 10]
    assert after == 10
    assert sorted((row["task"], row["at"], row["of"]) for row in slab.dump()) == [
        (0, 10 * SECOND, 2), (1, 30 * SECOND, 2),
    ]  # fmt: skip


def test_a_task_that_was_not_heard_of_holds_it_back_for_ever():
    assert heard([record(0, 0, told({0: 10, 1: 20}, of=3))] * 5)[:2] == ([None] * 5, None)


def test_it_never_falls():
    records = [record(0, 0, told({0: 10, 1: 10})), record(1, 0, told({0: 4, 1: 3})), record(2, 0)]
    assert heard(records)[:2] == ([None, 10, 10], 10)
    assert heard([record(0, 0, told({0: 3, 1: 4}))] * 2, before=5)[:2] == ([5, 5], 5)


def test_more_tasks_than_before_hold_it_where_it_is_until_all_are_heard():
    records = [
        record(0, 0, told({0: 1, 1: 1})), record(1, 0, told({0: 9, 1: 9}, of=3)),
        record(2, 0), record(3, 0, told({2: 5}, of=3)), record(4, 0),
    ]  # fmt: skip
    assert heard(records)[0] == [None, 1, 1, 1, 5]


def test_every_application_that_was_heard_counts():
    records = [
        record(0, 0, told({0: 5}, of=1)), record(1, 0, told({0: 2}, of=1, by="other")),
        record(2, 0, told({0: 9}, of=1)), record(3, 0, told({0: 7}, of=1, by="other")),
    ]  # fmt: skip
    assert heard(records)[:2] == ([None, 5, 5, 5], 7)


def test_what_is_told_of_another_column_is_passed_over_and_noted_once():
    other, noted = told({0: 9, 1: 9}, time=("rx", "seen")), []
    assert heard([record(n, 0, other) for n in range(3)], noted=noted)[:2] == ([None] * 3, None)
    (note,) = noted
    assert note.startswith("in[0]: records carry a watermark of rx, seen, and the event time is ts")


def test_it_is_noted_once_however_many_batches_there_are():
    noted: list[str] = []
    carried = Carried("ts", 1, noted.append)
    state = {carried.name: carried.new_state()}
    for start in range(3):
        part = batch([record(0, 0, told({0: 9}, time=("rx",)))], start=start)
        carried.hear([part], [state])
    assert len(noted) == 1


def test_it_is_as_coarse_as_the_event_time():
    records = [record(n, 0, told({0: n, 1: n + 1})) for n in (1, 2, 3, 7, 8, 9)]
    assert heard([*records, record(0, 0)], unit_us=4 * SECOND)[0] == [None, 0, 0, 0, 4, 8, 8]


GOOD = {"by": "a", "of": 1, "time": ["ts"], "at": [[0, 5]]}
ODD = [
    {"by": 1}, {"at": [[1, 5]]}, {"at": [[0, "5"]]}, {"at": [[0, 2**63]]}, {"at": [[-1, 5]]},
    {"at": [[0, 5, 6]]}, {"of": True}, {"of": "1"}, {"at": 5}, {"time": 5},
]  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [b"", b"x", b"[]", b"{}", b"null", b"\xff", *(json.dumps(GOOD | o).encode() for o in ODD)],
)
def test_a_header_that_tells_nothing_is_passed_over(value):
    records = [record(0, 0, value), record(1, 0, told({0: 3, 1: 3})), record(2, 0)]
    assert heard(records)[:2] == ([None, None, 3], 3)


def test_a_record_is_late_by_what_was_told_before_it():
    pipeline = Pipeline(reading(late="late", delay="0 s").plan())
    state = pipeline.new_state()
    records = [
        record(0, 1, told({0: 9, 1: 9})), record(1, 8), record(2, 9), record(3, 5, told({0: 20})),
        record(4, 9),
    ]  # fmt: skip
    result = pipeline.run([batch(records)], [state])
    assert result.counts.late == 2
    late = next(output for output in result.outputs if output.topic == "late")
    assert [json.loads(value or b"")["n"] for value in late.values] == [1, 3]
    assert result.event_times_max == [9 * SECOND]


def test_what_cannot_be_read_still_tells():
    pipeline = Pipeline(reading().plan())
    bad = (b"?", record(0, 0, told({0: 9, 1: 9}))[1])
    result = pipeline.run([batch([bad, record(1, 8)])], [pipeline.new_state()])
    assert (result.counts.dead_lettered, result.counts.late) == (1, 1)


def test_a_delay_is_added_to_what_is_carried():
    pipeline = Pipeline(reading("2 seconds").plan())
    records = [record(0, 1, told({0: 9, 1: 9})), record(1, 7), record(2, 6)]
    assert pipeline.run([batch(records)], [pipeline.new_state()]).counts.late == 1


tasks = st.integers(0, 2)
lines = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.one_of(st.none(), st.dictionaries(tasks, st.integers(0, 12), min_size=1)),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(lines, st.integers(1, 9), st.sampled_from([0, 2]))
def test_batches_and_restarts_change_nothing_of_what_is_late(rows, size, delay):
    driver = TestDriver(reading(f"{delay} s"), batch_records_max=size)
    expected, largest, watermark = [], {}, None
    for number, (second, at) in enumerate(rows):
        if watermark is None or second >= watermark - delay:
            expected.append(number)
        if at:
            for task, time in at.items():
                largest[task] = max(time, largest.get(task, 0))
            if len(largest) == 3:
                watermark = max(min(largest.values()), watermark or 0)
        value, headers = record(number, second, *([told(at, of=3)] if at else []))
        driver.log.feed("in", [value], headers=[headers])
        if number == len(rows) // 2:
            driver.run()
            driver.restart()
    driver.run()
    assert [row["n"] for row in driver.json("out")] == expected
