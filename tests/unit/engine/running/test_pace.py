import math
from contextlib import suppress

import polars as pl
import pytest

from processor import Json, Topology
from processor.clock import ManualClock
from processor.connectors.memory.consumer import MemoryConsumer
from processor.engine.running.pace import OverdueError, Pace, TooSlowError
from processor.testing import TestDriver
from tests.unit.messages import piece


def batch(pace, clock, seconds, records, slices=()):
    pace.begin(slices)
    pace.step("decode at a.py:1")
    pace.step("select at a.py:2")
    clock.advance(seconds)
    with suppress(OverdueError):
        pace.step("write at a.py:3")
    return pace.done(records)


def made(records_max=1_000, limit_s=100.0):
    clock = ManualClock()
    clock.advance(1e6)  # no clock begins at nought
    pace = Pace(clock, records_max=records_max, limit_s=limit_s)
    return pace, clock


def grown(records_max=1_000):
    pace, clock = made(records_max)
    while pace.records_max < records_max:
        batch(pace, clock, 0, pace.records_max)
    return pace, clock


@pytest.mark.parametrize(
    ("seconds", "then"), [(1, 1_000), (50, 1_000), (60, 416), (100, 250), (101, 247), (1_000, 25)]
)
def test_a_batch_that_takes_long_makes_the_next_one_smaller(seconds, then):
    pace, clock = grown()
    assert batch(pace, clock, seconds, 1_000) == (seconds <= 100)
    assert pace.records_max == then


def test_batches_begin_small_and_grow_quickly_up_to_what_was_set():
    pace, clock = made(records_max=60_000)
    sizes = [pace.records_max]
    while pace.records_max < 60_000:
        assert batch(pace, clock, 0.01, pace.records_max)
        sizes.append(pace.records_max)
    assert sizes == [10, 160, 2_560, 40_960, 60_000]


def test_they_grow_no_further_than_the_last_one_says_is_quick():
    pace, clock = made(records_max=60_000)
    sizes = []
    for _ in range(4):
        assert batch(pace, clock, 0.1 * pace.records_max, pace.records_max)
        sizes.append(pace.records_max)
    assert sizes == [160, 250, 250, 250]


def test_a_small_batch_says_what_a_large_one_would_take():
    pace, clock = made(records_max=60_000)
    batch(pace, clock, 1, 2)
    assert pace.records_max == 50


@pytest.mark.parametrize(("limit_s", "first"), [(1, 1), (19, 1), (100, 10), (300, 30), (900, 32)])
def test_the_first_batch_is_as_small_as_the_group_is_impatient(limit_s, first):
    assert made(limit_s=limit_s)[0].records_max == first
    pace, _ = grown()
    pace.waits(100.0)
    assert pace.records_max == 1_000
    pace.waits(limit_s + 0.5)
    assert pace.records_max == first


def test_what_takes_the_same_for_few_and_many_gets_larger_batches_again():
    pace, clock = made(limit_s=10.0)
    sizes = []
    for _ in range(12):
        assert batch(pace, clock, 4.5, pace.records_max)
        sizes.append(pace.records_max)
    assert sizes[:6] == [2, 3, 5, 8, 12, 18]
    assert sizes[-1] > 100


def test_where_one_record_takes_the_time_few_tries_come_to_it():
    pace, clock = grown(records_max=40_000)
    tries = 0
    with pytest.raises(TooSlowError):
        while True:
            tries += 1
            batch(pace, clock, 101, pace.records_max)
    assert tries == 6


def test_only_a_second_batch_that_takes_too_long_is_cut_to_a_sixteenth():
    pace, clock = grown()
    sizes = []
    for seconds in (101, 101, 101, 1, 101, 101):
        batch(pace, clock, seconds, pace.records_max)
        sizes.append(pace.records_max)
    assert sizes == [247, 15, 1, 16, 3, 1]
    pace, clock = grown()
    for size, then in ((1_000, 247), (247, 15)):
        assert not batch(pace, clock, 101, size)
        assert pace.records_max == then


def test_no_step_begins_in_a_batch_that_has_taken_its_time():
    pace, clock = grown()
    pace.begin([])
    pace.step("a")
    clock.advance(100)
    pace.step("b")
    clock.advance(1)
    with pytest.raises(OverdueError):
        pace.step("c")
    assert not pace.running
    assert not pace.done(1_000)
    assert pace.records_max < 1_000


def test_before_the_first_batch_nothing_is_stuck():
    pace, clock = made()
    clock.advance(10_000)
    assert not pace.stuck()
    assert (pace.running, pace.records_max) == ("", 10)


def test_batches_shrink_to_one_record_and_no_further():
    pace, clock = made()
    assert batch(pace, clock, 60, 1)
    assert pace.records_max == 1


def test_the_longest_step_is_named_the_first_of_those_that_took_as_long():
    pace, clock = made(limit_s=1.0)
    pace.begin([piece([b"a"])])
    for step, seconds in (("a", 0.125), ("b", 0.375), ("c", 0.375), ("d", 0.25)):
        pace.step(step)
        clock.advance(seconds)
    with pytest.raises(
        TooSlowError, match=r": step b took 0\.4 s, and all that .* 1\.1 s; .* for 1 s"
    ):
        pace.done(1)


def test_one_record_that_takes_too_long_is_named_with_its_step():
    pace, clock = made()
    slices = [piece([b"a"], partition=3, start=17), piece([], partition=4)]
    with pytest.raises(TooSlowError) as caught:
        batch(pace, clock, 101, 1, slices)
    assert caught.value.message.startswith("in[3] offset 17: step select at a.py:2 took 101.0 s")
    assert "max.poll.interval.ms" in caught.value.remedy


def test_a_step_that_does_not_end_is_stuck_and_named_from_another_thread():
    pace, clock = made()
    pace.begin([piece([b"a", b"b"], start=5)])
    pace.step("select at a.py:2")
    clock.advance(300)
    assert not pace.stuck()
    clock.advance(1)
    assert pace.stuck()
    assert (
        "in[0] offset 5 to 6: step select at a.py:2 has not ended after 301.0 s"
        in pace.too_slow().message
    )


def test_between_batches_nothing_is_stuck():
    pace, clock = made()
    batch(pace, clock, 1, 10)
    clock.advance(10_000)
    assert not pace.stuck()


def test_without_a_limit_nothing_is_too_slow():
    pace, clock = made(limit_s=math.inf)
    assert batch(pace, clock, 10_000, 1)
    assert pace.records_max == 512
    pace.begin([])
    pace.step("x")
    clock.advance(10_000)
    assert not pace.stuck()


def slow(seconds):
    """A topology whose select takes so many seconds for some values."""
    topology = Topology("slow")
    rows = topology.read.kafka("in", format=Json({"n": pl.Int64}))
    clocks = []

    def take(n):
        clocks[0].advance(seconds(n))
        return n

    taken = pl.col("n").map_elements(take, return_dtype=pl.Int64)
    rows.select(taken).write.kafka("out")
    driver = TestDriver(topology)
    clocks.append(driver.clock)
    return driver


def test_batches_that_take_too_long_become_smaller_until_they_are_committed(monkeypatch):
    monkeypatch.setattr(MemoryConsumer, "poll_interval_s", 10.0)
    driver = slow(lambda n: 1.0)
    driver.feed([{"n": n} for n in range(50)])
    driver.run()
    assert [row["n"] for row in driver.json("out")] == list(range(50))
    assert max(report.records_in for report in driver.reports) <= 10


def test_a_record_that_takes_too_long_by_itself_stops_the_run_by_name(monkeypatch):
    monkeypatch.setattr(MemoryConsumer, "poll_interval_s", 10.0)
    driver = slow(lambda n: 11.0 if n == 33 else 0.0)
    driver.feed([{"n": n} for n in range(50)])
    with pytest.raises(TooSlowError, match=r"in\[0\] offset 33: step select at .*test_pace.py:"):
        driver.run()
    assert [row["n"] for row in driver.json("out")] == list(range(33))


def test_being_given_up_by_the_group_does_not_make_batches_larger_again(monkeypatch):
    monkeypatch.setattr(MemoryConsumer, "poll_interval_s", 10.0)
    driver = slow(lambda n: 1.0 if n else 0.0)
    driver.feed([{"n": n} for n in range(50)])
    while not driver.undone:
        driver.turn()
    driver.evict()
    driver._workers[0].rejoin()
    driver.run()
    assert len(driver.undone) == 1
    assert [row["n"] for row in driver.json("out")] == list(range(50))


def failing(seconds, bad):
    """A topology whose step takes so many seconds a batch, and fails for some values."""
    topology = Topology("slow")
    rows = topology.read.kafka("in", format=Json({"n": pl.Int64}))
    clocks = []

    def take(values):
        if clocks:
            clocks[0].advance(seconds)
        if values.is_in(list(bad)).any():
            raise ValueError("no")
        return values

    taken = pl.col("n").map_batches(take, return_dtype=pl.Int64, is_elementwise=True)
    rows.select(taken).write.kafka("out")
    driver = TestDriver(topology)
    clocks.append(driver.clock)
    return driver


@pytest.mark.parametrize("seconds", [2.0, 4.0, 6.0, 9.0])
def test_a_step_within_the_interval_has_its_bad_rows_found(monkeypatch, seconds):
    monkeypatch.setattr(MemoryConsumer, "poll_interval_s", 10.0)
    driver = failing(seconds, {5, 6, 30})
    driver.feed([{"n": n} for n in range(40)])
    driver.run()
    assert [row["n"] for row in driver.json("out")] == [n for n in range(40) if n not in (5, 6, 30)]
    assert [letter.value() for letter in driver.dead_letters()] == [
        b'{"n":5}',
        b'{"n":6}',
        b'{"n":30}',
    ]


def test_the_search_for_bad_rows_ends_where_the_batch_cannot_be_committed_any_more(monkeypatch):
    monkeypatch.setattr(MemoryConsumer, "poll_interval_s", 10.0)
    taken = []
    driver = slow(lambda n: taken.append(n) or (0.5 if n > 100 else 0.0) + bad(n))

    def bad(n):
        if n % 7 == 3:
            raise ValueError("no")
        return 0.0

    driver.feed([{"n": n} for n in range(200)])
    driver.run()
    good = [n for n in range(200) if n % 7 != 3]
    assert [row["n"] for row in driver.json("out")] == good
    assert len(driver.dead_letters()) == 200 - len(good)
