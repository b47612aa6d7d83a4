"""What is in a topic of dead letters, told by sort."""

from __future__ import annotations

import pytest

from processor.engine.offline import letters as module
from processor.engine.offline.ledger import Ledger
from processor.engine.offline.letters import FOREIGN, OTHERS, Wanted, chosen, spans_of, summary
from processor.engine.offline.redrive import Terms
from processor.errors import SettingsError
from processor.model.log import Output, TopicPartition
from tests.unit.engine.lettered import group_headers, headers, late_headers, log_with, put, redrive


def rows_of(log, wanted=None, *, noted=None):
    return summary(log.scan, spans_of(log, "dead"), wanted or Wanted(), noted)


def test_letters_are_counted_by_step_sort_of_error_topic_and_partition():
    log = log_with(letters=2)
    told = [headers(n, partition=n % 2, error=f"column 'a': 'x{n}' is no Int64") for n in range(5)]
    log.feed("dead", [b""] * 5, headers=told, partition=1, timestamps_ms=[30, 10, 50, 20, 40])
    put(log, [headers(9, stage="rides/select at t.py:1", error="no")])
    first, second = rows_of(log)
    assert (first.app, first.step, first.topic) == ("rides", "decode", "in")
    assert first.error == "column 'a': … is no Int64"
    assert (len(first), dict(first.partitions)) == (5, {0: 3, 1: 2})
    assert (first.first_ms, first.last_ms) == (10, 50)
    assert (second.step, len(second), second.redriven) == ("select at t.py:1", 1, 0)


def test_what_was_sent_again_is_counted():
    log = log_with()
    put(log, [headers(n, error="a" if n else "b") for n in range(4)])
    assert [row.redriven for row in rows_of(log)] == [0, 0]
    redrive(log).run()
    put(log, [headers(9, error="a")], start=4)
    noted = Ledger(log, "rides", "dead").read()
    assert [(len(row), row.redriven) for row in rows_of(log, noted=noted)] == [(4, 3), (1, 1)]


def test_the_first_letter_of_all_is_counted_as_sent_too():
    log = log_with()
    put(log, [headers(0, error="a"), headers(1, error="b"), headers(2, error="b")])
    redrive(log, Terms(Wanted(error="a"))).run()
    noted = Ledger(log, "rides", "dead").read()
    assert {row.error: row.redriven for row in rows_of(log, noted=noted)} == {"a": 1, "b": 0}


def test_groups_late_records_and_what_others_wrote_are_among_them():
    log = log_with()
    put(log, [group_headers(1), late_headers(2), None, [("x", b"")]])
    assert {(row.error, len(row)) for row in rows_of(log)} == {
        ("bad", 1),
        ("late", 1),
        (FOREIGN, 2),
    }


def test_only_committed_letters_count():
    log = log_with()
    for end in ("abort", "commit"):
        producer = log.producer("p")
        producer.start(0)
        producer.begin()
        producer.produce(Output("dead", [b""], None, [headers(1)]))
        getattr(producer, end)(0)
    assert [len(row) for row in rows_of(log)] == [1]


def test_sorts_without_number_are_one_in_the_end(monkeypatch):
    monkeypatch.setattr(module, "SORTS_MAX", 3)
    log = log_with()
    put(log, [headers(n, error="abcdefghij"[n % 10]) for n in range(30)])
    rows = rows_of(log)
    assert (rows[0].error, len(rows[0])) == (OTHERS, 21)
    assert [len(row) for row in rows[1:]] == [3, 3, 3]


@pytest.mark.parametrize(
    ("wanted", "offsets"),
    [
        (Wanted(), [0, 1, 2, 3]),
        (Wanted(error="n/a"), [0, 2]),
        (Wanted(step="rides/decode"), [0, 1]),
        (Wanted(step="t.py:1"), [2, 3]),
        (Wanted(partitions=frozenset({1})), [1, 3]),
        (Wanted(since_ms=20), [2, 3]),
        (Wanted(until_ms=20), [0, 1]),
        (Wanted(since_ms=10, until_ms=20), [1]),
        (Wanted("n/a", "decode", frozenset({0}), 0, 30), [0]),
        (Wanted("n/a", "decode", frozenset({1})), []),
    ],
)
def test_all_that_is_asked_for_has_to_hold(wanted, offsets):
    log = log_with()
    stages = ["rides/decode", "rides/decode", "rides/select at t.py:1", "rides/select at t.py:1"]
    told = [headers(n, partition=n % 2, stage=stages[n], error=["n/a", "no"][n % 2])
            for n in range(4)]  # fmt: skip
    log.feed("dead", [b""] * 4, headers=told, timestamps_ms=[0, 10, 20, 30])
    found = chosen(log.scan, spans_of(log, "dead"), wanted)
    assert [letter.message.offset() for _, letter in found] == offsets


def test_a_topic_that_is_not_there_is_refused():
    with pytest.raises(SettingsError, match="there is no topic 'no'"):
        spans_of(log_with(), "no")


def test_what_is_gone_is_not_looked_for():
    log = log_with()
    put(log, [headers(n) for n in range(4)])
    log.trim(TopicPartition("dead", 0), 3)
    assert [len(row) for row in rows_of(log)] == [1]
