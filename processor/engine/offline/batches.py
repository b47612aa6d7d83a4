"""Cuts dead letters into the transactions that send them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from processor.model.letters import REDRIVEN, Letter, letter_of
from processor.model.log import Headers, Message, Output, TopicPartition
from processor.model.offsets import Offsets

MOST: Final = 10_000
BYTES_MOST: Final = 16 * 1024 * 1024


@dataclass(slots=True)
class _Column:
    """Records for one partition of the input."""

    values: list[bytes | None] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    headers: list[Headers] = field(default_factory=list)
    times: list[int | None] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)


class Batch:
    """The letters of one partition of their topic that one transaction sends.

    ``position`` is behind the last letter that was looked at, ``sent`` how many are sent,
    ``doubles`` how many only noted, since their record is sent or was.
    """

    _first: int

    def __init__(self, partition: TopicPartition, position: int) -> None:
        self.partition = partition
        self.position = position
        self.sent = self.doubles = self.bytes = 0
        self._columns: dict[int, _Column] = {}
        self._ranges: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return self.sent + self.doubles

    def first(self) -> int:
        """The offset of the first letter in it."""
        return self._first

    def passes(self, offset: int) -> None:
        """A letter that stays, or was sent before."""
        self.position = offset + 1

    def note(self, offset: int) -> None:
        """A letter that need not be sent."""
        self.doubles += 1
        self._note(offset)

    def send(self, letter: Letter, offset: int) -> None:
        """A letter that is sent."""
        message = letter.message
        column = self._columns.setdefault(letter.partition, _Column())
        value, key = message.value(), message.key()
        column.values.append(value)
        column.keys.append(key)
        column.headers.append([*letter.headers, (REDRIVEN, b"%d" % (letter.attempts + 1))])
        column.times.append(letter.timestamp_ms)
        column.origins.append(letter.offset)
        self.sent += 1
        self.bytes += len(value or b"") + len(key or b"")
        self._note(offset)

    def _note(self, offset: int) -> None:
        if not self._ranges:
            self._first = offset
        # Between two letters that follow each other there is none, now or later: what lies there
        # are the marks and the aborted records of transactions.
        self._ranges.append((self.position, offset + 1))
        self.position = offset + 1

    def ends(self, offset: int) -> None:
        """There is no other letter before this offset."""
        if self._ranges[-1][1] == self.position:
            self._ranges.append((self.position, offset))

    def origins(self) -> set[tuple[int, int]]:
        """The places in the input of the records in it: partition and offset."""
        return {(p, offset) for p, column in self._columns.items() for offset in column.origins}

    def outputs(self, topic: str, *, stamped: bool) -> Iterator[Output]:
        """The records, each for its own partition of ``topic``; ``stamped`` with their times."""
        for number, column in self._columns.items():
            times = column.times if stamped else None
            yield Output(topic, column.values, column.keys, column.headers, number, times)

    def noted(self, topic: str) -> dict[TopicPartition, Offsets]:
        """What the ledger is to have: of the letters, and of their records in ``topic``."""
        found = {self.partition: Offsets.of(self._ranges)}
        for number, column in self._columns.items():
            pairs = [(offset, offset + 1) for offset in column.origins]
            found[TopicPartition(topic, number)] = Offsets.of(pairs)
        return found


@dataclass(frozen=True, slots=True)
class Cutter:
    """Cuts the letters of one partition into batches, without those that stay.

    Args:
        partition: the partition of letters.
        span: the offsets in which what comes is all that there is, or will be.
        done: the letters that were sent before.
        noted: the records of the input that were sent before; asked anew with every run of
            messages, and to have what was in a batch once the next one is asked for.
        topic: the input.
        stays: whether a letter is not sent.
        most: how many letters a batch may have, at this moment.
    """

    partition: TopicPartition
    span: range
    done: Offsets
    noted: Mapping[TopicPartition, Offsets]
    topic: str
    stays: Callable[[TopicPartition, Letter], bool]
    most: Callable[[], int]

    def batches(self, read: Iterable[Sequence[Message]]) -> Iterator[Batch]:
        """The batches; ``read`` has the messages of the span, in order."""
        batch = Batch(self.partition, self.span.start)
        for messages in read:
            known = self.done.has([message.offset() or 0 for message in messages]).tolist()
            letters = [
                None if was else letter_of(message)
                for message, was in zip(messages, known, strict=True)
            ]
            doubles = _doubles(letters, self.noted, self.topic)
            here = batch.origins()
            for message, letter, double in zip(messages, letters, doubles, strict=True):
                offset = message.offset() or 0
                if letter is None or self.stays(self.partition, letter):
                    batch.passes(offset)
                    continue
                origin = (letter.partition, letter.offset)
                if double or origin in here:
                    batch.note(offset)
                else:
                    here.add(origin)
                    batch.send(letter, offset)
                if len(batch) >= self.most() or batch.bytes >= BYTES_MOST:
                    yield batch
                    batch = Batch(self.partition, batch.position)
        if len(batch):
            batch.ends(self.span.stop)
            yield batch


def _doubles(
    letters: Sequence[Letter | None], noted: Mapping[TopicPartition, Offsets], topic: str
) -> list[bool]:
    """Which letters are of a record that was sent before."""
    found = np.zeros(len(letters), np.bool_)
    places: dict[int, list[int]] = {}
    for place, letter in enumerate(letters):
        if letter is not None and letter.topic == topic:
            places.setdefault(letter.partition, []).append(place)
    for number, rows in places.items():
        sent = noted.get(TopicPartition(topic, number))
        if sent is not None:
            offsets = [letter.offset for row in rows if (letter := letters[row]) is not None]
            found[rows] = sent.has(offsets)
    answer: list[bool] = found.tolist()
    return answer
