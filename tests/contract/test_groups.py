"""What a log promises of groups: who reads what, and how it is handed over."""

from __future__ import annotations

import pytest

from processor.errors import FencedError
from processor.model.log import Assigned, Committed, Revoked, TopicPartition
from tests.contract.drive import WAIT_S, Bench, numbered, read_by_both, settle, unique, until


def test_a_single_member_gets_all_partitions(bench: Bench):
    topic = bench.topic(4)
    reader = bench.reader(topic)
    assert reader.consumer.membership().partitions == frozenset()
    reader.own(4)
    standing = reader.consumer.membership()
    assert standing.generation >= 0
    assert standing.partitions == {TopicPartition(topic, number) for number in range(4)}


def test_what_was_never_committed_is_none(bench: Bench):
    topic = bench.topic(2)
    reader = bench.reader(topic).own(2)
    assert reader.consumer.committed(reader.owned, WAIT_S) == dict.fromkeys(reader.owned)
    assert bench.log.committed(bench.group, topic) == {}


def test_a_join_hands_partitions_over_and_each_record_is_read_by_one(bench: Bench):
    topic = bench.topic(4)
    keys = [b"%d" % n for n in range(40)]
    bench.feed(topic, numbered(0, 40), keys)
    first = bench.reader(topic)
    first.read(40)
    first.commit()
    second = bench.reader(topic)
    settle(first, second, each=2)
    assert not first.owned & second.owned
    bench.feed(topic, numbered(40, 80), keys)
    assert read_by_both(first, second, 80) == list(range(80))
    assert second.messages
    assert any(isinstance(change, Revoked) for change in first.changes)
    assert not first.lost


def test_a_leave_hands_all_on_and_reading_goes_on_where_it_was_committed(bench: Bench):
    topic = bench.topic(4)
    first, second = bench.reader(topic), bench.reader(topic)
    settle(first, second, each=2)
    keys = [b"%d" % n for n in range(40)]
    bench.feed(topic, numbered(0, 40), keys)
    read_by_both(first, second, 40)
    second.commit()
    second.consumer.close(leave=True)
    first.own(4)
    bench.feed(topic, numbered(40, 80), keys)
    first.read(80 - len(second.messages))
    first.quiet()
    assert sorted(map(int, first.values + second.values)) == list(range(80))


def test_a_hand_over_keeps_what_need_not_move(bench: Bench):
    topic = bench.topic(4)
    first = bench.reader(topic).own(4)
    before = set(first.owned)
    second = bench.reader(topic)
    settle(first, second, each=2)
    revoked = [change.partitions for change in first.changes if isinstance(change, Revoked)]
    assigned = [change.partitions for change in first.changes if isinstance(change, Assigned)]
    assert frozenset().union(*revoked) == before - first.owned == second.owned
    assert sum(map(len, assigned)) == 4


def test_an_identity_that_returns_has_its_partitions_without_a_rebalance(bench: Bench):
    topic = bench.topic(4)
    identity = unique("static")
    first, other = bench.reader(topic, identity), bench.reader(topic)
    settle(first, other, each=2)
    generation = other.consumer.membership().generation
    other.changes.clear()
    first.consumer.close(leave=False)
    again = bench.reader(topic, identity)

    def back() -> bool:
        other.turn()
        again.turn()
        return len(again.owned) == 2

    until(back, "it is back")
    assert again.owned == first.owned
    assert other.changes == []
    assert other.consumer.membership().generation == generation


def test_the_older_holder_of_an_identity_is_fenced(bench: Bench):
    topic = bench.topic(2)
    identity = unique("static")
    older = bench.reader(topic, identity).own(2)
    newer = bench.reader(topic, identity).own(2)
    with pytest.raises(FencedError):
        until(lambda: bool(older.turn()), "the older one is fenced: nothing is there to read")
    newer.turn()
    newer.commit("newer")
    assert {at.metadata for at in bench.log.committed(bench.group, topic).values()} == {"newer"}


def test_a_member_whose_identity_was_taken_commits_nothing(bench: Bench):
    topic = bench.topic()
    identity = unique("static")
    older = bench.reader(topic, identity).own(1)
    bench.reader(topic, identity).own(1)
    with pytest.raises(FencedError):
        older.consumer.commit({TopicPartition(topic, 0): Committed(0, "older")}, WAIT_S)
    assert bench.log.committed(bench.group, topic) == {}


def test_groups_do_not_know_of_each_other(bench: Bench):
    topic = bench.topic()
    bench.feed(topic, numbered(0, 5))
    first = bench.reader(topic)
    first.read(5)
    first.commit()
    bench.group = unique("group")
    assert bench.reader(topic).read(5) == numbered(0, 5)


def test_no_generation_is_known_before_the_first_poll(bench: Bench):
    assert bench.consumer(bench.topic()).membership().generation == -1
