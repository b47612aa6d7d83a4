"""Positions that the brokers tell from the past are waited for, and never gone on from."""

from __future__ import annotations

import pytest

from processor.engine.commit.newest import DOUBTS, Newest
from processor.engine.offline.reset import reset, resets
from processor.errors import RetriableError, StateMismatchError
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


def test_where_a_task_began_is_of_the_past_unless_a_reset_has_noted_it():
    pin = Committed(2, str(Manifest(0, "a", "", "", None, "stateless", 1, "app:0", end=2)))
    newest = Newest()
    newest.saw(A, 9)
    with pytest.raises(RetriableError, match="offset 2, and 9 was committed"):
        newest.check({A: pin}, {A: 8})
    newest.check({A: pin}, {A: 2})
    newest.check({A: head(3)})  # the reset is what counts from now on


def test_the_first_batch_counts_as_the_later_ones_do_and_so_do_the_first_positions():
    newest = Newest(doubts=1)
    newest.check({A: head(0)})  # a batch without records, where nothing is known
    newest.saw(A, 1)
    assert newest.gone([A]) is not None
    newest.saw(A, 9)
    first = Committed(3, str(Manifest(1, "a", "", "", None, "stateless", 1, "app:0", end=3)))
    with pytest.raises(RetriableError, match="offset 3, and 9 was committed"):
        newest.check({A: first})
    # Where nothing is noted, a reset to the beginning may have been.
    newest.check({A: Committed(0, str(Manifest(0, "a", "", "", None, "s", 1, "app:0", end=0)))})


def test_what_was_seen_is_known_though_nothing_is_told_meanwhile():
    newest = Newest()
    newest.saw(A, 9)
    newest.check({A: None})
    with pytest.raises(RetriableError, match="offset 1, and 9 was committed"):
        newest.check({A: head(1)})


def test_one_that_is_gone_is_doubted_for_a_while_and_always_where_it_was_seen_here():
    newest, lost = Newest(doubts=2), StateMismatchError("it had one", remedy="reset")
    for _ in range(2):  # what was told in between begins the doubts anew
        for _ in range(2):
            with pytest.raises(RetriableError, match="it had one: asked again"):
                newest.doubt(lost, seen=False)
        newest.doubt(lost, seen=False)
        newest.check({A: head(3)})
    for _ in range(5):
        with pytest.raises(RetriableError):
            newest.doubt(lost, seen=True)
    assert newest.gone([A]) is None
    newest.saw(A, 9)
    assert newest.gone([B]) is None
    assert "none" not in str(newest.gone([A, B]))
    assert "9 was committed already" in str(newest.gone([A, B]))
    without = Newest()
    without.saw(A, 9)
    assert without.gone([A]) is None
    without.doubt(lost, seen=False)


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


def doubtful(driver):
    """Doubts as a real worker has them; a driver has none."""
    driver._workers[0]._checkpointer.newest._doubts = DOUBTS


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
    reset(resets(driver.plans, driver.log, driver.store, "4"), driver.log, driver.store)
    newest.check(driver.committed())


@pytest.mark.parametrize("topology", [stateless, totals])
def test_a_broker_that_tells_of_nothing_is_asked_again_by_who_knows_better(topology):
    driver, told, right = told_of_the_past(topology)
    doubtful(driver)
    told.clear()
    if topology is stateless:  # the process remembers, whatever Redis does
        driver.store._begun.clear()
        driver.store._owners.clear()
    driver._workers[0].rejoin()
    published = len(driver.values("out"))
    for _ in range(40):
        assert not driver.turn()
    assert told == {}
    told.update(right)
    driver.feed([ride(n) for n in range(40, 45)])
    driver.run()
    assert len(driver.values("out")) > published
    assert [one.offset for one in driver.committed().values()] == [45]


@pytest.mark.parametrize("topology", [stateless, totals])
def test_one_that_starts_just_then_stops_by_name_when_it_has_asked_often_enough(topology):
    driver, told, _ = told_of_the_past(topology)
    driver.kill()
    told.clear()
    driver.restart()
    doubtful(driver)
    with pytest.raises(StateMismatchError, match="no committed offset"):
        for _ in range(100):
            driver.turn()
    assert len([step for step in driver.steps if step == "before:acquire"]) > DOUBTS
