"""A task: one partition of the input, with its state and its place in the log.

::

    assigned ──► PENDING ── load ──► RUNNING ──┬─ revoked, lost ──► gone
                    ▲                          │
                    └────────── reload ────────┘
"""

from __future__ import annotations

from dataclasses import dataclass

from processor.connectors.ports import Owner
from processor.model.log import Committed, TopicPartition
from processor.model.manifest import Intent, Manifest
from processor.state.base import TaskState
from processor.state.chain import Link


@dataclass(slots=True)
class Task:
    """A loaded task.

    ``base`` is what is committed: the next offset to read and the manifest.
    """

    name: str
    partition: TopicPartition
    owner: Owner
    state: TaskState
    base: Committed
    epoch: int
    event_time_max: int | None
    link: Link
    log_time: int | None = None

    def rebased(self) -> bool:
        """Whether it rests on a snapshot that the committed head does not name yet."""
        return self.link.snapshot not in ("", Manifest.parse(self.base.metadata).snapshot)

    def idle(self) -> bool:
        """Whether its partition was idle when it was last committed."""
        return Manifest.parse(self.base.metadata).idle

    def intent(self) -> Intent | None:
        """What was promised of the next batch."""
        return Manifest.parse(self.base.metadata).intent

    def rows(self) -> int:
        """Rows in state."""
        return sum(state.rows() for state in self.state.values())

    def memory_bytes(self) -> int:
        """Bytes of state."""
        return sum(state.memory_bytes() for state in self.state.values())


def transactional_id(app: str, instance: str) -> str:
    """The transactional id of a worker: no application can be named so that it has another's.

    >>> transactional_id("rides", "rides.host-0")
    'rides:host-0'
    """
    return f"{app}:{instance.removeprefix(app + '.')}"


def task_name(app: str, partition: TopicPartition) -> str:
    """What the store calls the task."""
    return f"{app}/{partition.topic}/{partition.partition}"
