"""What a log promises of a group whose positions are set from outside."""

from __future__ import annotations

import pytest

from processor.errors import FencedError
from processor.model.log import Committed, TopicPartition
from tests.contract.drive import Bench, numbered, unique, until


def test_members_are_counted(bench: Bench):
    topic = bench.topic(2)
    assert bench.log.members(unique("nobody")) == frozenset()
    first = bench.reader(topic).own(2)
    assert len(bench.log.members(bench.group)) == 1
    first.consumer.close(leave=True)
    until(lambda: not bench.log.members(bench.group), "the member gone")


def test_positions_and_their_metadata_are_set_for_a_group_without_members(bench: Bench):
    topic = bench.topic(2)
    bench.feed(topic, numbered(0, 20), [b"%d" % n for n in range(20)])
    reader = bench.reader(topic)
    reader.read(20)
    reader.commit()
    reader.consumer.close(leave=True)
    until(lambda: not bench.log.members(bench.group), "the member gone")
    wanted = {
        TopicPartition(topic, 0): Committed(0, "1;0;-;-;-;-;f00d;2;x"),
        TopicPartition(topic, 1): Committed(2, "m" * 300),
    }
    bench.log.reset(bench.group, wanted)
    assert bench.log.committed(bench.group, topic) == wanted
    again = bench.reader(topic)
    again.read(18)
    again.quiet()


def test_positions_are_set_for_a_group_that_never_was(bench: Bench):
    topic = bench.topic(1)
    group = unique("new")
    wanted = {TopicPartition(topic, 0): Committed(0, "here")}
    bench.log.reset(group, wanted)
    assert bench.log.committed(group, topic) == wanted


def test_a_group_with_members_keeps_its_positions(bench: Bench):
    topic = bench.topic(1)
    reader = bench.reader(topic).own(1)
    with pytest.raises(FencedError):
        bench.log.reset(bench.group, {TopicPartition(topic, 0): Committed(0, "here")})
    assert bench.log.committed(bench.group, topic) == {}
    reader.turn()


def test_positions_of_several_groups_become_true_together(bench: Bench):
    topic, other = bench.topic(2), bench.topic(1)
    groups = [unique("first"), unique("second")]
    wanted = [
        {TopicPartition(topic, 0): Committed(0, "a;1"), TopicPartition(topic, 1): Committed(3, "")},
        {TopicPartition(other, 0): Committed(7, "m" * 300)},
    ]
    bench.log.reset_all(dict(zip(groups, wanted, strict=True)))
    bench.log.reset_all(dict(zip(groups, wanted, strict=True)))  # again, as after a kill
    assert bench.log.committed(groups[0], topic) == wanted[0]
    assert bench.log.committed(groups[1], other) == wanted[1]


def test_a_group_with_members_keeps_the_others_positions_too(bench: Bench):
    topic, other = bench.topic(1), unique("other")
    reader = bench.reader(topic).own(1)
    here = {TopicPartition(topic, 0): Committed(0, "here")}
    with pytest.raises(FencedError):
        bench.log.reset_all({other: here, bench.group: here})
    assert bench.log.committed(bench.group, topic) == bench.log.committed(other, topic) == {}
    reader.turn()
