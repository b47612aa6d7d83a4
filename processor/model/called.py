"""What a function of the user's is told of the rows that it is called with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Batch:
    """Which rows these are: never others are given under the same four.

    ``application`` is the consumer group that reads, of the topology or of a stage of it; ``life``
    is another number after each ``processor reset``; ``task`` names the partition, ``epoch``
    counts its batches. A database that has all four as its primary key takes each batch once.

    >>> Batch("rides", 1732900000, "trips[0]", 7).key
    ('rides', 1732900000, 'trips[0]', 7)
    """

    application: str
    life: int
    task: str
    epoch: int

    @property
    def key(self) -> tuple[str, int, str, int]:
        """All four, in their order."""
        return self.application, self.life, self.task, self.epoch
