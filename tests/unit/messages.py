"""Messages and slices for tests of operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from processor.model.batch import Slice
from processor.model.log import Headers, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Fake:
    """A message as a client would give it."""

    body: bytes | None
    at: int = 0
    number: int = 0
    name: bytes | None = None
    tags: Headers | None = None

    def topic(self) -> str:
        return "in"

    def partition(self) -> int:
        return self.number

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes | None:
        return self.name

    def value(self) -> bytes | None:
        return self.body

    def timestamp(self) -> tuple[int, int]:
        return (1, 1_000 + self.at)

    def headers(self) -> Headers | None:
        return self.tags


def piece(
    values: Sequence[bytes | None],
    *,
    partition: int = 0,
    start: int = 0,
    event_time_max: int | None = None,
) -> Slice:
    """One partition's share of a batch."""
    messages = [
        Fake(v, start + i, partition, b"k%d" % i, [("h", b"1")]) for i, v in enumerate(values)
    ]
    end = start + len(values)
    return Slice(TopicPartition("in", partition), messages, values, start, end, event_time_max)
