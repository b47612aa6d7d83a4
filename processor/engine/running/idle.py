"""Partitions that stand still, and hold back the watermark of a stage behind.

That stage counts the least of all partitions, so one without records would keep its windows open
for ever. A partition is idle that has stood at the end of all its records for the time-out; or at
once, if it never had one, or if the run ends where its input ends. An idle one raises its own
watermark, in its manifest, to the least of those that are not idle::

    partition 0   10:00  10:07  10:20          active: it stands as it stands
    partition 1   10:02  (nothing for 60 s)    raised to 10:20: a record of 10:05 is late now

Where all are idle the largest counts; and goes on with the clock where the topology says so
(``with_watermark(..., idle="30 seconds")``). Other workers' partitions are known by their
manifests. Whoever reads what the stage wrote sees a watermark, and need not know why it moved.

This depends on the clock, and so on no record: a stage with state could not be brought back by its
input. Only stages without state do it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from processor.clock import Clock
from processor.connectors.ports import Log
from processor.engine.commit.task import Task
from processor.engine.running.clocked import Clocked
from processor.errors import RetriableError
from processor.model.log import TopicPartition
from processor.model.manifest import Manifest
from processor.plan import nodes

TIMEOUT: Final = timedelta(seconds=60)
LOOK_S: Final = 1.0
LEVEL_S: Final = 10.0
_ANSWER_S: Final = 5.0
_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class _Level:
    """A partition's largest event time, and whether it is idle."""

    time: int | None
    idle: bool


class Idle:
    """Looks for idle partitions of a stage.

    Args:
        partitions: how many the input has.
        timeout_s: seconds without a record after which a partition is idle.
        onwards: whether the watermark goes on with the clock where all are idle.
        bounded: whether the run ends where its input ends.
    """

    def __init__(
        self,
        plan: nodes.Plan,
        log: Log,
        clock: Clock,
        *,
        partitions: int,
        timeout_s: float,
        onwards: bool,
        bounded: bool,
    ) -> None:
        self._app, self._topic = plan.app, plan.source().topic
        self._log, self._clock, self._partitions = log, clock, partitions
        self._timeout_s = 0.0 if bounded else timeout_s
        self._onwards = onwards and not bounded
        self._bounded = bounded
        self._since: dict[TopicPartition, tuple[int, float]] = {}
        self._look_at_s = clock.monotonic_s()
        self._anchor: tuple[int, float] | None = None
        self._level_by_s: float | None = None

    def raised(
        self, tasks: Mapping[TopicPartition, Task], ends: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int | None]:
        """The idle tasks whose manifests have to say something else, and their watermarks.

        ``ends`` has the tasks that have taken all that can be seen, with the position behind it.
        """
        now_s = self._clock.monotonic_s()
        stood = {p: self._stood_s(p, tasks[p].base.offset, now_s) for p in ends}
        self._since = {p: since for p, since in self._since.items() if p in ends}
        if now_s < self._look_at_s and not self._bounded:
            return {}
        still = {
            p for p, for_s in stood.items()
            # One that was idle, and has had no record since, is so at once.
            if for_s >= self._timeout_s
            or tasks[p].event_time_max is None
            or tasks[p].idle()
        }  # fmt: skip
        if not still:
            return {}
        self._look_at_s = now_s + LOOK_S
        try:
            idle = self._at_the_top(still, ends)
            levels = self._others(tasks) | {
                p: _Level(task.event_time_max, p in idle) for p, task in tasks.items()
            }
        except RetriableError:
            return {}
        aim = self._aim(levels, now_s)
        found = {}
        for partition in idle:
            task = tasks[partition]
            mine = task.event_time_max
            new = aim if mine is None or (aim is not None and aim > mine) else mine
            # One without a time is told of too: others could not know it from one that has
            # records coming, and would wait for these.
            if new != mine or not task.idle():
                found[partition] = new
        return found

    def levelled(self, tasks: Mapping[TopicPartition, Task]) -> bool:
        """Whether all partitions of the stage are idle, and those with a time at the same one.

        Where records go on coming to others' partitions it is not waited for them for long.
        """
        now_s = self._clock.monotonic_s()
        self._level_by_s = self._level_by_s or now_s + LEVEL_S
        if now_s > self._level_by_s:
            return True
        try:
            levels = self._others(tasks)
        except RetriableError:
            return False
        for partition, task in tasks.items():
            head = Manifest.parse(task.base.metadata)
            levels[partition] = _Level(head.event_time_max, head.idle)
        times = {level.time for level in levels.values() if level.time is not None}
        return len(times) <= 1 and all(x.idle for x in levels.values() if x.time is not None)

    def _stood_s(self, partition: TopicPartition, offset: int, now_s: float) -> float:
        where, since_s = self._since.get(partition, (-1, now_s))
        if where != offset:
            since_s = now_s
        self._since[partition] = offset, since_s
        return now_s - since_s

    def _at_the_top(
        self, still: set[TopicPartition], ends: Mapping[TopicPartition, int]
    ) -> set[TopicPartition]:
        """Those behind whose end there is nothing, in an open transaction neither."""
        if self._bounded:
            return still  # what lies behind its end is for another run
        tops = self._log.look([self._topic], still, _ANSWER_S).tops
        return {p for p in still if p in tops and tops[p] <= ends[p]}

    def _others(self, tasks: Mapping[TopicPartition, Task]) -> dict[TopicPartition, _Level]:
        if len(tasks) >= self._partitions:
            return {}
        # Others commit all the time: what they had before a transaction that is open will do.
        heads = self._log.committed(self._app, self._topic, stable=False)
        found = {}
        for number in range(self._partitions):
            partition = TopicPartition(self._topic, number)
            if partition in tasks:
                continue
            if partition not in heads:
                raise RetriableError(f"{partition}: nobody has begun it")
            head = Manifest.parse(heads[partition].metadata)
            found[partition] = _Level(head.event_time_max, head.idle)
        return found

    def _aim(self, levels: Mapping[TopicPartition, _Level], now_s: float) -> int | None:
        """How far an idle partition is raised; ``None``: nothing is known yet."""
        active = [level.time for level in levels.values() if not level.idle]
        if active:
            self._anchor = None
            known = [time for time in active if time is not None]
            # One that has records coming, and no time yet, may be of any time.
            return min(known) if len(known) == len(active) else None
        times = [level.time for level in levels.values() if level.time is not None]
        if not times:
            return None
        largest = max(times)
        if not self._onwards:
            return largest
        first, since_s = self._anchor = self._anchor or (largest, now_s)
        return max(largest, first + round((now_s - since_s) * _SECOND_US))


def raises(plan: nodes.Plan) -> bool:
    """Whether idle partitions of a stage raise their watermark: without state, it hands it on."""
    marked = any(isinstance(node, nodes.Watermark) for node in plan.nodes())
    stateful = any(isinstance(node, nodes.STATEFUL) for node in plan.nodes())
    told = any(sink.internal and sink.watermark for sink in plan.sinks)
    return marked and told and not stateful and plan.source().watermark is None


def idle_of(
    plan: nodes.Plan, log: Log, clock: Clock, *, partitions: int, bounded: bool
) -> Idle | Clocked | None:
    """For a stage that is cut off from others' windows by nothing but its watermark."""
    if plan.source().clock:
        return Clocked(plan, clock, bounded=bounded)
    if not raises(plan):
        return None
    idle = next(node.idle for node in plan.nodes() if isinstance(node, nodes.Watermark))
    return Idle(
        plan, log, clock, partitions=partitions, bounded=bounded, onwards=idle is not None,
        timeout_s=(TIMEOUT if idle is None else idle).total_seconds(),
    )  # fmt: skip
