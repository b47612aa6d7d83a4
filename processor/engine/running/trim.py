"""Internal topics keep what may be read again, and no more.

A stage behind another begins with the newest snapshot that a committed manifest names, and what
comes behind it. What its topic has before that snapshot nobody reads again: it is deleted. Where
the input is run again when checkpoints are lost (``--on-checkpoint-loss replay``) all is kept.
"""

from __future__ import annotations

import contextlib

from processor.connectors.ports import Log
from processor.engine.commit.task import Task
from processor.errors import LogError
from processor.model.log import TopicPartition
from processor.model.manifest import Manifest


class Trimmer:
    """Deletes what is before the snapshots of one worker's tasks; without a log, nothing."""

    def __init__(self, log: Log | None) -> None:
        self._log = log
        self._begun: dict[TopicPartition, int] = {}
        self._named: dict[TopicPartition, str] = {}

    def begun(self, task: Task) -> None:
        """A snapshot of what is committed was begun."""
        self._begun[task.partition] = task.base.offset

    def committed(self, task: Task) -> None:
        """A head was committed; if it names the snapshot that was begun, what is before goes."""
        if self._log is None:
            return
        named = Manifest.parse(task.base.metadata).snapshot
        before = self._named.get(task.partition)
        self._named[task.partition] = named
        if before is None or before == named or task.partition not in self._begun:
            return
        low = self._begun.pop(task.partition)
        # If that fails, the next time will do.
        with contextlib.suppress(LogError):
            self._log.trim(task.partition, low)

    def forget(self, partition: TopicPartition) -> None:
        """It is another worker's now."""
        self._begun.pop(partition, None)
        self._named.pop(partition, None)
