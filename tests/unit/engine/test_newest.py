"""Positions that the brokers tell from the past are waited for, and never gone on from."""

from __future__ import annotations

import pytest

from processor.engine.newest import Newest
from processor.engine.reset import reset, steps
from processor.errors import RetriableError
from processor.model.log import Committed, TopicPartition
from processor.testing import TestDriver
from tests.topologies import ride, stateless, totals

A, B = TopicPartition("in", 0), TopicPartition("in", 1)


def test_a_position_that_falls_is_of_the_past_until_it_is_told_right():
    newest = Newest()
    newest.check({A: Committed(5, ""), B: None})
    newest.saw(A, 9)
    newest.saw(B, 3)
    newest.check({A: Committed(9, "")})
    with pytest.raises(RetriableError, match=r"in\[0\]: the brokers tell the committed offset 8"):
        newest.check({B: Committed(3, ""), A: Committed(8, "")})
    newest.check({A: Committed(11, "")})
    with pytest.raises(RetriableError, match="and 20 was committed"):
        newest.check({A: Committed(11, "")}, {A: 20, B: 1})


def test_one_that_is_gone_is_for_others_to_look_into():
    newest = Newest()
    newest.saw(A, 9)
    newest.check({A: None})
    newest.check({A: Committed(1, "")})


@pytest.mark.parametrize("topology", [stateless, totals])
def test_a_process_that_starts_just_then_knows_it_from_the_store(topology):
    driver = TestDriver(topology(), batch_records_max=5)
    driver.feed([ride(n) for n in range(20)])
    driver.run()
    before = driver.committed()
    driver.feed([ride(n) for n in range(20, 40)])
    driver.run()
    driver.advance(10)  # the positions are noted now and then
    driver.turn()
    (group,) = driver.log._broker.groups.values()
    right, published = dict(group.committed), len(driver.read("out"))
    group.committed.update(before)
    driver.stop()
    driver.restart()
    for _ in range(6):
        assert not driver.turn()
    assert len(driver.read("out")) == published
    group.committed.update(right)
    driver.feed([ride(40)])
    driver.run()
    assert [head.offset for head in driver.committed().values()] == [41]


@pytest.mark.parametrize("topology", [stateless, totals])
def test_a_worker_waits_while_the_brokers_tell_what_was_committed_before(topology):
    driver = TestDriver(topology(), batch_records_max=5)
    driver.feed([ride(n) for n in range(20)])
    driver.run()
    before = driver.committed()
    driver.feed([ride(n) for n in range(20, 40)])
    driver.run()
    (group,) = driver.log._broker.groups.values()
    right, published = dict(group.committed), len(driver.read("out"))
    group.committed.update(before)
    driver.evict(told=False)
    driver.feed([ride(40)])
    for _ in range(6):
        assert not driver.turn()
    assert len(driver.read("out")) == published
    group.committed.update(right)
    driver.run()
    assert [head.offset for head in driver.committed().values()] == [41]
    assert len(driver.read("out")) > published


def test_a_group_that_was_reset_begins_where_it_was_told_to():
    driver = TestDriver(stateless())
    driver.feed([ride(n) for n in range(20)])
    driver.run()
    newest = driver._workers[0]._checkpointer.newest
    driver.stop()
    reset(driver.plan, driver.log, driver.store, steps(driver.plan, driver.log, driver.store, "4"))
    newest.check(driver.committed())
