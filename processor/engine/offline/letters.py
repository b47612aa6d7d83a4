"""Looks through a topic of dead letters: which there are, and which of them are wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, TypeAlias

from processor.connectors.ports import Log
from processor.errors import SettingsError
from processor.model.letters import Letter, letter_of, sort_of
from processor.model.log import Extent, Message, TopicPartition
from processor.model.offsets import NONE, Offsets

Scan: TypeAlias = Callable[[TopicPartition, int, int], Iterator[Sequence[Message]]]

SORTS_MAX: Final = 1_000
OTHERS: Final = "other errors"
FOREIGN: Final = "no dead letter of the processor's"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters are meant: those for which all of this holds.

    Args:
        error: text in the error.
        step: text in the name of the step, with its application: ``rides/decode``.
        partitions: partitions of the input that the records are of; ``None`` for all.
        since_ms: written then or later, by the letter's own timestamp, in milliseconds since 1970.
        until_ms: written before.
    """

    error: str = ""
    step: str = ""
    partitions: frozenset[int] | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def takes(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        if self.error not in letter.error:
            return False
        if self.step and self.step not in f"{letter.app}/{letter.step}":
            return False
        if self.partitions is not None and letter.partition not in self.partitions:
            return False
        if self.since_ms is None and self.until_ms is None:
            return True
        at_ms = letter.message.timestamp()[1]
        late_enough = self.since_ms is None or at_ms >= self.since_ms
        return late_enough and (self.until_ms is None or at_ms < self.until_ms)


@dataclass(slots=True)
class Row:
    """Letters of one sort: how many by partition of the input, and of these sent again before.

    ``first_ms`` and ``last_ms`` are when the first and the last were written, in milliseconds since
    1970.
    """

    app: str
    step: str
    error: str
    topic: str
    first_ms: int
    last_ms: int
    partitions: Counter[int] = field(default_factory=Counter)
    redriven: int = 0

    def __len__(self) -> int:
        return self.partitions.total()


def spans_of(log: Log, topic: str) -> dict[TopicPartition, Extent]:
    """What the partitions of a topic hold now, in order.

    Raises `SettingsError` where there is no such topic.
    """
    described = log.describe([topic]).get(topic)
    if described is None:
        raise SettingsError(
            f"there is no topic {topic!r}",
            remedy="see that Kafka and the topology's names are the right ones (--set)",
        )
    return {TopicPartition(topic, n): extent for n, extent in sorted(described.extents.items())}


def chosen(
    scan: Scan, spans: Mapping[TopicPartition, Extent], wanted: Wanted
) -> Iterator[tuple[TopicPartition, Letter]]:
    """The letters that are wanted, by partition and offset; only committed ones."""
    for partition, extent in spans.items():
        for messages in scan(partition, extent.low, extent.high):
            for message in messages:
                letter = letter_of(message)
                if wanted.takes(letter):
                    yield partition, letter


def summary(
    scan: Scan,
    spans: Mapping[TopicPartition, Extent],
    wanted: Wanted,
    noted: Mapping[TopicPartition, Offsets] | None = None,
) -> list[Row]:
    """The letters that are wanted by sort, the most first.

    ``noted`` are the offsets that a ledger has. Of more than `SORTS_MAX` sorts, the others are
    one, `OTHERS`.
    """
    rows: dict[tuple[str, str, str, str], Row] = {}
    sort = lru_cache(SORTS_MAX)(sort_of)
    for partition, letter in chosen(scan, spans, wanted):
        key = (letter.app, letter.step, sort(letter.error), letter.topic)
        if letter.kind == "foreign":
            key = ("", "", FOREIGN, "")
        elif key not in rows and len(rows) >= SORTS_MAX:
            key = ("", "", OTHERS, "")
        at_ms = letter.message.timestamp()[1]
        row = rows.get(key)
        if row is None:
            row = rows[key] = Row(*key, first_ms=at_ms, last_ms=at_ms)
        row.partitions[letter.partition] += 1
        row.first_ms, row.last_ms = min(row.first_ms, at_ms), max(row.last_ms, at_ms)
        known = (noted or {}).get(partition, NONE)
        row.redriven += (letter.message.offset() or 0) in known
    return sorted(rows.values(), key=lambda row: (-len(row), row.app, row.step, row.error))
