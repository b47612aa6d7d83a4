"""Partitions that are far ahead of the others wait, so that stages behind keep little.

A stage behind holds open all windows, and all rows that may still be joined, from the least
watermark of the tasks in front to the largest. Where one partition or one side of a union is read
much faster than another, that is its whole backlog. With ``max_ahead="1 hour"`` a task whose
largest event time is ahead of the least by more is not read, until it is ahead by half of it::

    partition 0   10:00 ... 10:40              the least: read on
    partition 1   10:00 ... 10:40 ... 11:41    ahead by 61 minutes: waits until that is at 11:11

Those count that have something to read: a partition that stands at its end holds nobody back. What
the tasks in front have come to is known by their manifests, and looked at once a second. Nothing of
it changes a result: the same records are read, only later.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Final

from processor.clock import Clock
from processor.connectors.ports import Log
from processor.engine.commit.task import Task
from processor.engine.running.batcher import Batcher
from processor.errors import RetriableError
from processor.model.log import TopicPartition
from processor.model.manifest import Manifest
from processor.plan import nodes

LOOK_S: Final = 1.0
TELL_S: Final = 60.0
_ANSWER_S: Final = 5.0
_MICROSECOND: Final = timedelta(microseconds=1)


class Align:
    """Which of a worker's partitions wait.

    Args:
        max_ahead_us: how far ahead of the least one a task may be, in microseconds of event time.
        beside: group and topic of each stage that writes where this one does, this one among them.
        note: hears once of what has waited for `TELL_S`.
    """

    def __init__(
        self,
        log: Log,
        clock: Clock,
        max_ahead_us: int,
        beside: Collection[tuple[str, str]],
        note: Callable[[str], None],
    ) -> None:
        self._log, self._clock, self._note = log, clock, note
        self._max_us, self._beside = max_ahead_us, tuple(beside)
        self._look_at_s = clock.monotonic_s()
        self._since_s: dict[TopicPartition, float] = {}
        self._noted = False

    def turn(self, tasks: Mapping[TopicPartition, Task], batcher: Batcher) -> None:
        """Look once a second, and have the batcher hold those that are too far ahead."""
        held = self._held(tasks, batcher.held)
        if held is not None and held != batcher.held:
            batcher.hold(held, {p: task.base.offset for p, task in tasks.items()})

    def _held(
        self, tasks: Mapping[TopicPartition, Task], held: Collection[TopicPartition]
    ) -> frozenset[TopicPartition] | None:
        now_s = self._clock.monotonic_s()
        if now_s < self._look_at_s:
            return None
        self._look_at_s = now_s + LOOK_S
        bounds = {
            p: task.event_time_max - (self._max_us // 2 if p in held else self._max_us)
            for p, task in tasks.items()
            if task.event_time_max is not None
        }
        if not bounds:
            return frozenset()
        try:
            least = self._least(max(bounds.values()))
        except RetriableError:
            return None
        if least is None:
            return frozenset()
        slowest, time = least
        found = frozenset(p for p, bound in bounds.items() if bound > time)
        self._tell(found, slowest, now_s)
        return found

    def _least(self, bound: int) -> tuple[TopicPartition, float] | None:
        """The task in front that is the furthest behind, of those with something to read.

        It is not looked for among those that have come to ``bound``.
        """
        places: dict[TopicPartition, tuple[float, int, int]] = {}
        for group, topic in self._beside:
            heads = self._log.committed(group, topic, stable=False)
            extents = self._log.describe([topic])[topic].extents
            lows = {TopicPartition(topic, n): extent.low for n, extent in extents.items()}
            for partition, top in self._log.look([topic], lows, _ANSWER_S).tops.items():
                head = heads.get(partition)
                time = Manifest.parse(head.metadata).event_time_max if head else None
                start = head.offset if head else lows[partition]
                # One that has records and no time yet may be of any time.
                places[partition] = -math.inf if time is None else time, start, top
        behind = sorted((time, p) for p, (time, _, _) in places.items() if time < bound)
        for known, partition in behind:
            _, start, top = places[partition]
            # What lies before the end may be the marks of transactions only.
            if start < top and next(self._log.scan(partition, start, top), None):
                return partition, known
        return None

    def _tell(
        self, found: Collection[TopicPartition], slowest: TopicPartition, now_s: float
    ) -> None:
        self._since_s = {p: self._since_s.get(p, now_s) for p in found}
        long = [p for p, since_s in self._since_s.items() if now_s - since_s >= TELL_S]
        if long and not self._noted:
            self._noted = True
            self._note(
                f"{min(long)} has waited for {TELL_S:g} s, as max_ahead says: {slowest} has "
                "records of an earlier time that are not read yet; see that a worker reads it"
            )


def align_of(
    plan: nodes.Plan, log: Log, clock: Clock, note: Callable[[str], None], *, bounded: bool
) -> Align | None:
    """For a stage whose topology says ``max_ahead``, unless the run ends where its input ends."""
    marks = [node for node in plan.nodes() if isinstance(node, nodes.Watermark)]
    longest = next((mark.max_ahead for mark in marks), None)
    if longest is None or bounded:
        return None
    beside = {pair for sink in plan.sinks if sink.internal for pair in sink.beside}
    return Align(log, clock, longest // _MICROSECOND, sorted(beside), note) if beside else None
