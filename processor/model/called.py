"""What a function of the user's is told of the rows that it is called with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Batch:
    """Which rows these are: never others are given under the same five.

    ``application`` is the consumer group that reads, of the topology or of a stage of it; ``life``
    is another number after each ``processor reset``; ``task`` names the partition, ``sink`` the
    function, as ``name=`` does, and ``epoch`` counts the task's batches. A database that has all
    five as its primary key takes each batch once.

    >>> Batch("rides", 1732900000, "trips[0]", "save", 7).key
    ('rides', 1732900000, 'trips[0]', 'save', 7)
    """

    application: str
    life: int
    task: str
    sink: str
    epoch: int

    @property
    def key(self) -> tuple[str, int, str, str, int]:
        """All five, in their order."""
        return self.application, self.life, self.task, self.sink, self.epoch
