"""One micro-batch: what goes into the operators, and what comes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from processor.model.letters import Reason
from processor.model.log import Message, Output, TopicPartition


@dataclass(frozen=True, slots=True)
class Slice:
    """One partition's share of a batch: its records in offset order.

    ``values`` are the messages' values, taken out once. ``start`` is the position before the batch,
    ``end`` the one after it. ``event_time_max`` is the
    partition's largest event time before the batch, in microseconds since 1970, ``log_time`` the
    largest of the records' own timestamps that were looked at (`processor.operators.ahead`).
    ``idle`` says that there is nothing to read, and has not been for some time. ``now`` is the time
    at which the batch began, in microseconds since 1970, where its rows are stamped with it.
    """

    partition: TopicPartition
    messages: Sequence[Message]
    values: Sequence[bytes | None]
    start: int
    end: int
    event_time_max: int | None
    log_time: int | None = None
    idle: bool = False
    now: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A record that is looked at, with the text of the column that its topic is keyed by."""

    message: Message
    text: str | None


@dataclass(slots=True)
class Counts:
    """Where the records of a batch went: ``read`` = contributed + the others."""

    read: int = 0
    contributed: int = 0
    filtered: int = 0
    late: int = 0
    dead_lettered: int = 0
    skipped: int = 0

    def balanced(self) -> bool:
        """Whether every record is accounted for.

        >>> Counts(read=3, contributed=2, late=1).balanced()
        True
        """
        gone = self.filtered + self.late + self.dead_lettered + self.skipped
        return self.read == self.contributed + gone


@dataclass(frozen=True, slots=True)
class Shown:
    """What one task's batch has for a sink outside of Kafka: its ``rows``; of a file, its ``data``.

    ``sink`` is what the plan calls it, ``task`` the number of the slice.
    """

    sink: str
    task: int
    rows: pl.DataFrame
    data: bytes | None = None


@dataclass(slots=True)
class Result:
    """What the operators made of a batch.

    ``event_times_max`` has the partitions' largest event times after it, in the order of slices,
    ``log_times`` the largest timestamps looked at. ``misplaced`` is how many of the records that
    were looked at lie in a partition that is not their key's. ``letters`` counts what is among the
    outputs as dead letters, by reason; ``aside`` how many of their records are input that was set
    aside, bad or late. ``shown`` is what goes elsewhere than to topics, by sink and task.
    """

    outputs: list[Output] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    event_times_max: list[int | None] = field(default_factory=list)
    log_times: list[int | None] = field(default_factory=list)
    misplaced: int = 0
    letters: Counter[Reason] = field(default_factory=Counter)
    aside: int = 0
    shown: list[Shown] = field(default_factory=list)
