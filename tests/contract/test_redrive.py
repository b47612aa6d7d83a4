"""Sending dead letters again asks the same of a log in memory and of Kafka."""

from __future__ import annotations

import pytest

from processor.clock import SystemClock
from processor.connectors.memory.records import StoredMessage
from processor.engine.offline.ledger import ledger_of
from processor.engine.offline.redrive import Redrive, Route, Terms
from processor.errors import FencedError, LogError
from processor.model.letters import REDRIVEN
from processor.model.log import Output, TopicPartition
from processor.operators.aside import origin
from processor.testing import Crash
from tests.contract.drive import WAIT_S, Bench, unique, until


@pytest.fixture
def route(bench: Bench) -> Route:
    # The timestamps are of 1970: a topic that keeps a week loses such records within a minute.
    made = Route(unique("app"), unique("letters"), unique("input"))
    bench.log.create({made.letters: 2, made.input: 3}, forever=True)
    return made


def letters(route: Route, numbers: range, letter: int) -> Output:
    told = [
        origin(
            StoredMessage(route.input, n % 3, n, None, None, 1_000 + n, [("n", b"\xff%d" % n)]),
            f"{route.app}/decode", {"error": "no"},
        )
        for n in numbers
    ]  # fmt: skip
    values = [b"v%d" % n for n in numbers]
    return Output(route.letters, values, [b"k%d" % n for n in numbers], told, letter)


def fill(bench: Bench, route: Route) -> None:
    """Twelve letters in two partitions, and some that were aborted."""
    producer = bench.producer()
    for start, end in ((0, "commit"), (100, "abort"), (4, "commit"), (8, "commit")):
        producer.begin()
        for letter in range(2):
            producer.produce(letters(route, range(start + letter, start + 4, 2), letter))
        producer.flush(WAIT_S)
        getattr(producer, end)(WAIT_S)


def redrive(bench: Bench, route: Route, probe=lambda _: None) -> Redrive:
    clock = SystemClock()
    terms = Terms(stamp="original")
    return Redrive(route, terms, bench.log, clock, timeout_s=WAIT_S, probe=probe)


def arrived(bench: Bench, route: Route) -> list[tuple[object, ...]]:
    """What is in the input, once all is: number, partition, key, time and headers."""
    # A commit has answered before all its marks are written; what has none is not seen yet.
    until(lambda: len(found(bench, route)) >= 12, "all is seen")
    return found(bench, route)


def found(bench: Bench, route: Route) -> list[tuple[object, ...]]:
    records = []
    for number, extent in bench.log.describe([route.input])[route.input].extents.items():
        where = TopicPartition(route.input, number)
        for run in bench.log.scan(where, extent.low, extent.high):
            records += [
                (int(m.value()[1:]), number, m.key(), m.timestamp()[1], m.headers()) for m in run
            ]
    return sorted(records)


def wanted(*numbers: int) -> list[tuple[object, ...]]:
    return [
        (n, n % 3, b"k%d" % n, 1_000 + n, [("n", b"\xff%d" % n), (REDRIVEN, b"1")]) for n in numbers
    ]


def test_what_the_input_would_delete_at_once_stays_where_the_log_tells_how_long_it_keeps_it(
    bench: Bench, route
):
    route = Route(route.app, route.letters, bench.topic(3))
    fill(bench, route)
    kept_ms = bench.log.kept_ms(route.input)
    looked = redrive(bench, route).look()
    assert (looked.sent, looked.stays) == ((12, {}) if kept_ms is None else (0, {"old": 12}))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr("processor.engine.offline.redrive.MOST", 2)


def test_committed_letters_are_sent_as_they_were_and_a_second_time_none(bench: Bench, route):
    fill(bench, route)
    assert redrive(bench, route).run().sent == 12
    assert arrived(bench, route) == wanted(*range(12))
    again = redrive(bench, route).run()
    assert (again.sent, again.notes) == (0, [])
    assert arrived(bench, route) == wanted(*range(12))


@pytest.mark.parametrize("step", ["before:begin", "before:flush", "before:commit", "after:commit"])
def test_killed_and_begun_again_each_is_sent_once(small, bench: Bench, route, step):
    fill(bench, route)
    for times in (2, 1):
        left = [times]

        def probe(passed, left=left):
            left[0] -= passed == step
            if not left[0]:
                raise Crash(step)

        with pytest.raises(Crash):
            redrive(bench, route, probe).run()
    redrive(bench, route).run()
    assert arrived(bench, route) == wanted(*range(12))


@pytest.mark.parametrize("step", ["before:begin", "before:ledger", "before:commit"])
def test_of_two_at_once_the_older_is_shut_out(small, bench: Bench, route, step):
    fill(bench, route)
    others = []

    def probe(passed):
        if passed == step and not others:
            others.append(redrive(bench, route).run().sent)

    with pytest.raises(FencedError, match="another redrive"):
        redrive(bench, route, probe).run()
    assert others == [12]
    assert arrived(bench, route) == wanted(*range(12))


def test_a_ledger_holds_few_numbers_for_many_letters(bench: Bench, route):
    fill(bench, route)
    redrive(bench, route).run()
    ledger = TopicPartition(ledger_of(route.app), 0)
    values = [m.value() for run in bench.log.scan(ledger, 0, 100) for m in run]
    until(lambda: len(values) > 0, "it is written")
    assert max(map(len, values)) < 250


def test_the_topic_of_a_ledger_is_kept_for_ever(bench: Bench, route):
    fill(bench, route)
    redrive(bench, route).run()
    assert bench.log.kept_ms(ledger_of(route.app)) is None
    assert bench.log.compacted([ledger_of(route.app)]) == frozenset()


def test_a_ledger_that_others_wrote_to_is_refused(bench: Bench, route):
    fill(bench, route)
    redrive(bench, route).run()
    bench.feed(ledger_of(route.app), [b"hello"])
    with pytest.raises(LogError, match="is no record of a ledger"):
        redrive(bench, route).run()
