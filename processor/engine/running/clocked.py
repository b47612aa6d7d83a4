"""Lets the time of a stage that stamps its rows go on while no row comes.

A window of the clock is over when its end has passed, whether or not anything came. So a partition
of which all is committed raises its watermark to the time it is: at once when it has none yet, else
when the end of a window lies between. Others need not be asked: the clock is no partition's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from processor.clock import Clock
from processor.engine.commit.task import Task
from processor.model.log import TopicPartition
from processor.model.manifest import Manifest
from processor.operators.windows import Panes
from processor.plan import nodes

_MILLISECOND_US = 1_000


class Clocked:
    """The time of a stage's tasks.

    Args:
        bounded: whether the run ends where its input ends: then each is raised once.
    """

    def __init__(self, plan: nodes.Plan, clock: Clock, *, bounded: bool) -> None:
        self._clock, self._bounded = clock, bounded
        windows = [sink.window for sink in plan.sinks if sink.window is not None]
        self._windows = [Panes(window) for window in windows]

    def raised(
        self, tasks: Mapping[TopicPartition, Task], ends: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int | None]:
        """The tasks whose manifests have to say a later time, and which."""
        now = _now_us(self._clock)
        found: dict[TopicPartition, int | None] = {}
        for partition in ends:
            mine = tasks[partition].event_time_max
            if self._bounded:
                due = not Manifest.parse(tasks[partition].base.metadata).idle
            else:
                due = mine is None or self._ends(mine, now)
            if due:
                found[partition] = now if mine is None else max(mine, now)
        return found

    def levelled(self, tasks: Mapping[TopicPartition, Task]) -> bool:
        """Whether all have been raised behind their last record."""
        return all(Manifest.parse(task.base.metadata).idle for task in tasks.values())

    def _ends(self, before: int, now: int) -> bool:
        """Whether a window is over now that was not before."""
        return any(w.open_at(before) + w.size_us <= now for w in self._windows)


def stamp_of(plan: nodes.Plan, clock: Clock) -> Callable[[int | None], int | None]:
    """What gives the rows of a task's batch their time, of its last one: never an earlier one.

    ``None`` in a stage whose rows have none.
    """
    if not plan.source().clock:
        return lambda _: None
    return lambda last: _now_us(clock) if last is None else max(_now_us(clock), last)


def _now_us(clock: Clock) -> int:
    return clock.now_ms() * _MILLISECOND_US
