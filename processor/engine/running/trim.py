"""Internal topics keep what may be read again, and no more.

A stage behind another begins with the newest snapshot that a committed manifest names, and what
comes behind it. What its topic has before that snapshot nobody reads again: it is deleted. One
without state begins with what is committed, so that goes every 64 batches. Where
the input is run again when checkpoints are lost (``--on-checkpoint-loss replay``) all is kept.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Final

from processor.connectors.ports import Log
from processor.engine.commit.task import Task
from processor.engine.restore.heal import Policy
from processor.errors import LogError
from processor.model.log import TopicPartition
from processor.model.manifest import Manifest
from processor.operators.pipeline import Pipeline
from processor.plan.nodes import Plan

EVERY: Final = 64


class Trimmer:
    """Deletes what is before the snapshots of one worker's tasks; without a log, nothing.

    Where there is no state (``stateless``) that is what is committed, now and then.
    """

    def __init__(self, log: Log | None, *, stateless: bool = False) -> None:
        self._log, self._stateless = log, stateless
        self._batches: Counter[TopicPartition] = Counter()
        self._begun: dict[TopicPartition, int] = {}
        self._named: dict[TopicPartition, str] = {}

    def begun(self, task: Task) -> None:
        """A snapshot of what is committed was begun."""
        self._begun[task.partition] = task.base.offset

    def committed(self, task: Task) -> None:
        """A head was committed; if it names the snapshot that was begun, what is before goes."""
        if self._log is None:
            return
        if self._stateless:
            self._batches[task.partition] += 1
            if self._batches[task.partition] % EVERY == 0:
                self._trim(self._log, task.partition, task.base.offset)
            return
        named = Manifest.parse(task.base.metadata).snapshot
        before = self._named.get(task.partition)
        self._named[task.partition] = named
        if before is None or before == named or task.partition not in self._begun:
            return
        low = self._begun.pop(task.partition)
        self._trim(self._log, task.partition, low)

    @staticmethod
    def _trim(log: Log, partition: TopicPartition, low: int) -> None:
        # If that fails, the next time will do.
        with contextlib.suppress(LogError):
            log.trim(partition, low)

    def forget(self, partition: TopicPartition) -> None:
        """It is another worker's now."""
        self._begun.pop(partition, None)
        self._named.pop(partition, None)
        self._batches.pop(partition, None)


def trimmer_of(plan: Plan, log: Log, policy: Policy, pipeline: Pipeline) -> Trimmer:
    """For a stage that reads another one, unless its input may be run again from further back."""
    stateless = not pipeline.stateful
    trims = plan.source().internal and (stateless or policy != "replay")
    return Trimmer(log if trims else None, stateless=stateless)
