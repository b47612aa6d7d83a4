"""Partitions that are nobody's are noticed, by one worker, after some looks."""

from __future__ import annotations

import pytest

from processor.engine.running.succession import Succession
from processor.engine.running.untaken import LOOKS, Untaken
from processor.errors import StandbyError
from processor.model.log import Committed, TopicPartition

ZERO, ONE, TWO = (TopicPartition("in", number) for number in range(3))
HEAD = Committed(5, "")


def looked(untaken, others, own, times):
    for _ in range(times):
        untaken.check(others, own)


def test_who_has_the_first_partition_goes_after_some_looks_and_not_at_once_again():
    untaken = Untaken()
    looked(untaken, {ONE: HEAD, TWO: None}, [ZERO], LOOKS - 1)
    with pytest.raises(StandbyError, match=r"in\[2\]: no worker of the group has it"):
        untaken.check({ONE: HEAD, TWO: None}, [ZERO])
    looked(untaken, {ONE: HEAD, TWO: None}, [ZERO], LOOKS - 1)


def test_the_others_stay():
    looked(Untaken(), {ZERO: HEAD, TWO: None}, [ONE], 2 * LOOKS)
    looked(Untaken(), {ZERO: None, ONE: None}, [], 2 * LOOKS)


def test_the_first_partition_itself_may_be_nobodys():
    with pytest.raises(StandbyError, match=r"in\[0\]"):
        looked(Untaken(), {ZERO: None, TWO: HEAD}, [ONE], LOOKS)


def test_one_that_was_only_slow_to_begin_begins_the_count_anew():
    untaken = Untaken()
    looked(untaken, {ONE: None}, [ZERO], LOOKS - 1)
    untaken.check({ONE: HEAD}, [ZERO])
    looked(untaken, {ONE: None}, [ZERO], LOOKS - 1)


def test_it_is_told_before_the_worker_leaves():
    class Log:
        def committed(self, group, topic, *, stable):
            return {}

    noted = []
    ours = Succession(Log(), "a", "in", plan="m", instance="me", note=noted.append)
    with pytest.raises(StandbyError):
        for _ in range(LOOKS):
            ours.check_running(2, {ZERO})
    assert len(noted) == 1
    assert noted[0].startswith("in[1]: no worker of the group has it: leaving the group")
