"""The ledger: kept for ever, small, and of topics as they are now."""

from __future__ import annotations

import orjson
import pytest

from processor.engine.offline.ledger import Ledger
from processor.errors import LogError, RetriableError
from processor.model.log import TopicPartition
from processor.model.offsets import Offsets
from tests.unit.engine.lettered import log_with

DEAD, IN = TopicPartition("dead", 0), TopicPartition("in", 1)


def write(log, ledger, **noted):
    output = ledger.output({TopicPartition(t, 0): Offsets.of(pairs) for t, pairs in noted.items()})
    log.feed(output.topic, output.values, partition=output.partition)


def pairs(ledger):
    return {str(where): offsets.pairs() for where, offsets in ledger.read().items()}


def test_the_topic_is_made_with_one_partition_and_kept_for_ever(monkeypatch):
    log = log_with()
    made, create = [], log.create
    monkeypatch.setattr(log, "create", lambda t, *, forever: (made.append(forever), create(t)))
    Ledger(log, "rides", "dead", "in").prepare()
    assert made == [True]
    assert log.describe(["rides-redriven"])["rides-redriven"].extents.keys() == {0}


def test_what_is_noted_adds_up():
    log = log_with()
    ledger = Ledger(log, "rides", "dead", "in")
    assert pairs(ledger) == {}  # there is no such topic yet
    ledger.prepare()
    assert pairs(ledger) == {}
    write(log, ledger, dead=[(0, 3), (7, 9)])
    write(log, ledger, dead=[(3, 7)], **{"in": [(1, 2)]})
    assert pairs(ledger) == {"dead[0]": [(0, 9)], "in[0]": [(1, 2)]}


def test_all_goes_to_the_first_partition_and_is_read_of_all():
    log = log_with()
    log.create({"rides-redriven": 3})
    ledger = Ledger(log, "rides", "dead", "in")
    output = ledger.output({DEAD: Offsets.of([(0, 1)])})
    assert (output.topic, output.partition) == ("rides-redriven", 0)
    for partition in range(3):
        output = ledger.output({DEAD: Offsets.of([(2 * partition, 2 * partition + 1)])})
        log.feed(output.topic, output.values, partition=partition)
    assert pairs(ledger) == {"dead[0]": [(0, 1), (2, 3), (4, 5)]}


def test_a_record_says_of_which_topic_it_is_and_by_which_id():
    log = log_with()
    ledger = Ledger(log, "rides", "dead", "in")
    first, second = map(orjson.loads, ledger.output(
        {DEAD: Offsets.of([(5, 6), (8, 10)]), IN: Offsets.of([(0, 1)])}
    ).values)  # fmt: skip
    assert first == {
        "form": 1, "topic": "dead", "id": log.identity("dead")(), "partition": 0,
        "offsets": [5, 1, 2, 2],
    }  # fmt: skip
    assert (second["topic"], second["partition"], second["offsets"]) == ("in", 1, [0, 1])


def test_of_a_topic_that_was_made_anew_nothing_is_noted():
    log = log_with()
    ledger = Ledger(log, "rides", "dead", "in")
    ledger.prepare()
    write(log, ledger, dead=[(0, 3)], **{"in": [(1, 2)]})
    log.make_anew("dead")
    assert pairs(Ledger(log, "rides", "dead", "in")) == {"in[0]": [(1, 2)]}
    log.make_anew("in")
    assert pairs(Ledger(log, "rides", "dead", "in")) == {}


def test_what_is_noted_of_other_topics_is_passed_over():
    log = log_with()
    ledger = Ledger(log, "rides", "dead", "in")
    ledger.prepare()
    write(log, ledger, dead=[(0, 3)], **{"in": [(1, 2)]})
    assert pairs(Ledger(log, "rides", "dead")) == {"dead[0]": [(0, 3)]}


@pytest.mark.parametrize(
    "change",
    [{"form": 2}, {"offsets": [1]}, {"offsets": [1, -1]}, {"offsets": "1"}, {"partition": "x"}],
)
def test_a_record_that_is_none_of_a_ledgers_is_refused_with_its_place(change):
    log = log_with()
    ledger = Ledger(log, "rides", "dead", "in")
    ledger.prepare()
    write(log, ledger, dead=[(0, 3)])
    told = orjson.loads(log.read("rides-redriven")[0].value())
    log.feed("rides-redriven", [orjson.dumps(told | change)])
    with pytest.raises(LogError, match=r"rides-redriven\[0\] offset 1 is no record of a ledger"):
        ledger.read()


def test_a_transaction_of_somebody_else_that_is_open_there_is_told():
    log = log_with()
    ledger = Ledger(log, "rides", "dead", "in")
    ledger.settled(0)  # there is no such topic yet
    ledger.prepare()
    ledger.settled(0)
    producer = log.producer("other")
    producer.start(0)
    producer.begin()
    producer.produce(ledger.output({DEAD: Offsets.of([(0, 1)])}))
    with pytest.raises(
        RetriableError, match=r"rides-redriven\[0\]: an open transaction holds back"
    ):
        ledger.settled(0)
    producer.commit(0)
    ledger.settled(0)


def test_a_topic_that_is_not_there_has_no_id():
    with pytest.raises(RetriableError, match="there is no topic 'none'"):
        Ledger(log_with(), "rides", "none")
