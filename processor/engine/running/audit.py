"""Now and then, sees that the store has what the committed heads rest on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from processor.clock import Clock
from processor.connectors.ports import Store
from processor.engine.commit.committer import Probe
from processor.engine.commit.task import Task
from processor.model.log import TopicPartition

AUDIT_S: Final = 5.0


class Audit:
    """Of one membership."""

    def __init__(self, store: Store, clock: Clock, probe: Probe) -> None:
        self._store, self._clock, self._probe = store, clock, probe
        self._at_s = clock.monotonic_s() + AUDIT_S

    def due(self) -> bool:
        """Whether it is time to look."""
        if self._clock.monotonic_s() < self._at_s:
            return False
        self._probe("before:audit")
        return True

    def lost(self, tasks: Mapping[TopicPartition, Task]) -> set[TopicPartition]:
        """The partitions of which the store has lost something."""
        by_name = {task.name: task for task in tasks.values()}
        keys = {name: task.link.rests_on() for name, task in by_name.items()}
        self._store.begin({name: task.base.offset for name, task in by_name.items()})
        gone = self._store.missing({name: asked for name, asked in keys.items() if asked})
        self._at_s = self._clock.monotonic_s() + AUDIT_S
        return {by_name[name].partition for name in gone}
