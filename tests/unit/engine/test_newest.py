"""Positions that the brokers tell from the past are waited for, and never gone on from."""

from __future__ import annotations

import pytest

from processor.engine.newest import Newest
from processor.engine.reset import reset, steps
from processor.errors import RetriableError
from processor.model.log import Committed, TopicPartition
from processor.model.manifest import Manifest
from processor.testing import TestDriver
from tests.topologies import ride, stateless, totals


def head(offset: int) -> Committed:
    """What a batch has committed."""
    manifest = Manifest(2, "a", "", "", None, "stateless", 1, "app:0", end=offset)
    return Committed(offset, str(manifest))


A, B = TopicPartition("in", 0), TopicPartition("in", 1)


def test_a_position_that_falls_is_of_the_past_until_it_is_told_right():
    newest = Newest()
    newest.check({A: head(5), B: None})
    newest.saw(A, 9)
    newest.saw(B, 3)
    newest.check({A: head(9)})
    with pytest.raises(RetriableError, match=r"in\[0\]: the brokers tell the committed offset 8"):
        newest.check({B: head(3), A: head(8)})
    newest.check({A: head(11)})
    with pytest.raises(RetriableError, match="and 20 was committed"):
        newest.check({A: head(11)}, {A: 20, B: 1})


def test_where_somebody_has_set_the_group_to_is_for_others_to_look_into():
    newest = Newest()
    moved = str(Manifest.parse(head(7).metadata))
    for metadata in ("", "of a tool", moved):
        newest.saw(A, 9)
        newest.check({A: Committed(3, metadata)})


def test_one_that_is_gone_is_for_others_to_look_into():
    newest = Newest()
    newest.saw(A, 9)
    newest.check({A: None})
    newest.check({A: head(1)})


def told_of_the_past(topology):
    """A driver whose brokers tell what was committed before; and what is right."""
    driver = TestDriver(topology(), batch_records_max=5)
    driver.feed([ride(n) for n in range(20)])
    driver.run()
    before = driver.committed()
    driver.feed([ride(n) for n in range(20, 40)])
    driver.run()
    driver.advance(10)  # positions are noted now and then
    driver.turn()
    (group,) = driver.log._broker.groups.values()
    right = dict(group.committed)
    group.committed.update(before)
    return driver, group.committed, right


@pytest.mark.parametrize("topology", [stateless, totals])
@pytest.mark.parametrize("process", ["lives", "starts just then"])
def test_nobody_goes_on_while_the_brokers_tell_what_was_committed_before(topology, process):
    driver, committed, right = told_of_the_past(topology)
    published = len(driver.read("out"))
    if process == "lives":
        driver.evict(told=False)
    else:
        driver.stop()
        driver.restart()
    driver.feed([ride(40)])
    for _ in range(6):
        assert not driver.turn()
    assert len(driver.read("out")) == published
    committed.update(right)
    driver.run()
    assert [one.offset for one in driver.committed().values()] == [41]
    assert len(driver.read("out")) > published


def test_a_group_that_was_reset_begins_where_it_was_told_to():
    driver = TestDriver(stateless())
    driver.feed([ride(n) for n in range(20)])
    driver.run()
    newest = driver._workers[0]._checkpointer.newest
    driver.stop()
    reset(driver.plan, driver.log, driver.store, steps(driver.plan, driver.log, driver.store, "4"))
    newest.check(driver.committed())
