"""Rates, queues and receivers."""

from __future__ import annotations

import itertools
from datetime import datetime

import orjson
import polars as pl
import pytest

from processor import Csv, Json, Queue
from processor.clock import ManualClock
from processor.errors import FeedError, RetriableError
from processor.feeds.rate import Rate
from processor.feeds.receiving import Received
from tests.unit.feeds.reading import Turned

ROW = Json({"n": pl.Int64})


def values(piece):
    return [orjson.loads(value)["value"] for value in piece.values]


def test_rows_become_due_as_time_goes_on_and_none_is_left_out_or_comes_twice():
    one = Turned(Rate(2))
    first = one.read()
    assert values(first) == [0]
    one.commit(first)
    assert one.read() is None
    one.clock.advance(1.6)
    second = one.read()
    assert values(second) == values(one.read()) == [1, 2, 3]
    one.commit(second)
    one.clock.advance(3600)
    one.open()  # what was missed is given
    assert values(one.read(10)) == list(range(4, 14))


def test_a_rows_time_is_a_function_of_its_number():
    one, other = Turned(Rate(3)), Turned(Rate(3))
    found = []
    for each, steps in ((one, [0.5] * 6), (other, [3.0])):
        each.commit(each.read())
        rows = []
        for step in steps:
            each.clock.advance(step)
            piece = each.read()
            rows += piece.values
            each.commit(piece)
        found.append(rows)
    assert found[0] == found[1]
    times = [datetime.fromisoformat(orjson.loads(v)["timestamp"]) for v in found[0]]
    assert [(b - a).total_seconds() for a, b in itertools.pairwise(times)] == (
        pytest.approx([1 / 3] * 8, abs=1e-6)
    )


def test_another_rate_goes_on_from_the_time_that_was_come_to():
    one = Turned(Rate(1))
    one.commit(one.read())
    one.clock.advance(5)
    one.commit(one.read())
    one.source = Rate(10)
    one.open()
    one.clock.advance(0.5)
    assert one.read() is None  # the one that comes next was due in a second
    one.clock.advance(0.55)
    assert values(one.read()) == [6]
    one.clock.advance(1)
    assert values(one.read())[-1] == 16


def test_a_bounded_rate_gives_all_at_once_and_ends():
    one = Turned(Rate(1, rows=25), bounded=True)
    assert Rate(1).endless
    assert not Rate(1, rows=1).endless
    assert len(one.all(10)) == 25
    assert one.reading.at_end()


def test_a_queue_gives_what_was_put_in_until_it_is_committed():
    queue = Queue()
    queue.put([{"n": 1}, b'{"n":2}', '{"n":3}'])
    queue.put(pl.DataFrame({"n": [4]}))
    one = Turned(queue, ROW)
    first = one.read(3)
    assert first.values == one.read(3).values == [b'{"n":1}', b'{"n":2}', b'{"n":3}']
    one.open()  # it was not committed, and the process lives
    assert one.read(3).values == first.values
    one.commit(first, kept=False)
    one.open()  # it was committed, and nobody was told
    assert one.read().values == [b'{"n":4}']
    assert len(queue) == 1
    assert one.all() == [b'{"n":4}']
    assert one.reading.at_end()


def test_a_queue_refuses_what_is_no_list_and_leaves_out_what_cannot_be_written():
    queue = Queue()
    for row in ({"n": 1}, "text", b"bytes"):
        with pytest.raises(FeedError, match="is one row, and no list of rows"):
            queue.put(row)
    for nothing in (None, 5):
        with pytest.raises(FeedError, match="is no list of rows"):
            queue.put(nothing)
    queue.put([{"x": 1}, "1", 7, "x" * 1_000_001])
    one = Turned(queue, Csv({"n": pl.Int64}))
    assert one.all() == [b"1"]
    assert [told.partition(": ")[2][:20] for told in one.told] == [
        "no column is called ", "7 is no record: it i", "it has 1000001 bytes",
    ]  # fmt: skip
    queue.put([7])
    with pytest.raises(FeedError, match="cannot be written"):
        Turned(queue, ROW, on_error="fail").read()
    queue.close()
    with pytest.raises(FeedError, match="closed"):
        queue.put([])


class Numbers:
    def __init__(self, end: int = 5) -> None:
        self.end, self.closed = end, False

    def read(self, position, limit):
        start = position or 0
        stop = min(self.end, start + limit)
        return [{"n": n} for n in range(start, stop)], stop

    def close(self):
        self.closed = True


def test_a_receiver_is_asked_from_its_committed_position_on():
    receiver = Numbers()
    one = Turned(Received(receiver), ROW)
    first = one.read(2)
    assert first.values == one.read(2).values == [b'{"n":0}', b'{"n":1}']
    one.commit(first)
    one.open()
    assert one.all(2) == [b'{"n":2}', b'{"n":3}', b'{"n":4}']
    assert one.reading.at_end()
    assert receiver.closed


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "raised TypeError"), ([1], "raised ValueError"), (([7], 1), "7 is no record"),
        (([], object()), "raised TypeError"), (([], float("nan")), "raised ValueError"),
        (([], 2**70), "raised"), (([], "x" * 2_000), "position of 2002 bytes"),
    ],
)  # fmt: skip
def test_what_a_receiver_does_wrong_is_told_by_its_name(answer, why):
    class Wrong:
        def read(self, position, limit):
            return answer

    with pytest.raises(FeedError, match=f"Wrong.read.*{why}"):
        Turned(Received(Wrong()), ROW).read()


def test_a_receiver_is_given_its_position_as_it_is_after_a_restart():
    asked = []

    class Pairs:
        def read(self, position, limit):
            asked.append(position)
            return ["x"], (1, "a")

    one = Turned(Received(Pairs()))
    one.commit(one.read())
    one.read()
    assert asked == [None, [1, "a"]]


def test_a_receivers_own_errors_go_up_as_they_are():
    class Away:
        def read(self, position, limit):
            raise RetriableError("away")

    with pytest.raises(RetriableError, match="away"):
        Turned(Received(Away()), ROW).read()


def test_records_of_a_receiver_that_have_no_room_are_left_out():
    class Long:
        def read(self, position, limit):
            return ["x" * 1_000_001, "y"], 1

    one = Turned(Received(Long()))
    piece = one.read()
    assert (piece.values, piece.skipped) == ([b"y"], 1)
    with pytest.raises(FeedError, match="Long: 1 records"):
        Turned(Received(Long()), on_error="fail").read()


def test_a_clock_that_goes_back_takes_no_row_back():
    one = Turned(Rate(1), clock=ManualClock(5_000))
    one.commit(one.read())
    one.opening.clock._now_ms = 1_000 if hasattr(one.opening.clock, "_now_ms") else 0
    assert one.read() is None
