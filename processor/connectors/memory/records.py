"""A record as the in-memory log keeps it, and the columns it is made from."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count, repeat
from typing import TYPE_CHECKING, Final

from processor.connectors.partitioner import partition as partition_of
from processor.errors import LogError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from processor.model.log import Headers, Output

_CREATE_TIME: Final = 1


class StoredMessage:
    """A record, with the method names of the Kafka client's message.

    >>> StoredMessage("rides", 0, 7, b"k", b"v", 1000, None).offset()
    7
    """

    __slots__ = ("_headers", "_key", "_offset", "_partition", "_time_ms", "_topic", "_value")

    def __init__(  # noqa: PLR0917 - by position, since `map` makes one per record
        self,
        topic: str,
        partition: int,
        offset: int,
        key: bytes | None,
        value: bytes | None,
        time_ms: int,
        headers: Headers | None,
    ) -> None:
        self._topic = topic
        self._partition = partition
        self._offset = offset
        self._key = key
        self._value = value
        self._time_ms = time_ms
        self._headers = headers

    def __repr__(self) -> str:
        return f"{self._topic}[{self._partition}]@{self._offset}: {self._key!r} {self._value!r}"

    def topic(self) -> str:
        """The topic's name."""
        return self._topic

    def partition(self) -> int:
        """The partition's number."""
        return self._partition

    def offset(self) -> int:
        """The record's place in the partition."""
        return self._offset

    def key(self) -> bytes | None:
        """The key, if any."""
        return self._key

    def value(self) -> bytes | None:
        """The value; ``None`` is a tombstone."""
        return self._value

    def timestamp(self) -> tuple[int, int]:
        """The kind of timestamp (1: set at creation) and milliseconds since 1970."""
        return _CREATE_TIME, self._time_ms

    def headers(self) -> Headers | None:
        """The headers; ``None`` rather than an empty sequence, as the client has it."""
        return self._headers or None


@dataclass(frozen=True, slots=True)
class Columns:
    """Records to append, column by column; a column that is ``None`` is empty throughout."""

    values: Sequence[bytes | None]
    keys: Sequence[bytes | None] | None
    headers: Sequence[Headers] | None
    times_ms: Sequence[int] | int

    @classmethod
    def of(cls, output: Output, now_ms: int) -> Columns:
        """The columns of an output; raises `LogError` when their lengths differ."""
        times: Sequence[int] | int = now_ms
        if output.timestamps is not None:
            times = [now_ms if time is None else time for time in output.timestamps]
        columns = cls(output.values, output.keys, output.headers, times)
        columns.check()
        return columns

    def check(self) -> None:
        """Raise `LogError` when the columns' lengths differ: records would be lost silently."""
        for column in (self.keys, self.headers, self.times_ms):
            if not (column is None or isinstance(column, int) or len(column) == len(self.values)):
                raise LogError(f"a column of {len(column)} goes with {len(self.values)} values")

    def messages(self, topic: str, partition: int, start: int) -> Iterable[StoredMessage]:
        """The records as they are at offset ``start`` of a partition."""
        times = repeat(self.times_ms) if isinstance(self.times_ms, int) else self.times_ms
        return map(
            StoredMessage,
            repeat(topic),
            repeat(partition),
            count(start),
            repeat(None) if self.keys is None else self.keys,
            self.values,
            times,
            repeat(None) if self.headers is None else self.headers,
        )

    def placed(self, partitions: int, unkeyed: int) -> list[tuple[int, Columns]]:
        """The records by partition, in order; those without a key go to ``unkeyed``."""
        if partitions == 1:
            return [(0, self)]
        if self.keys is None:
            return [(unkeyed, self)]
        rows: dict[int, list[int]] = {}
        for row, key in enumerate(self.keys):
            number = unkeyed if key is None else partition_of(key, partitions)
            rows.setdefault(number, []).append(row)
        return [(number, self._pick(picked)) for number, picked in rows.items()]

    def part(self, start: int, stop: int) -> Columns:
        """The records from one row to before another.

        >>> Columns([b"a", b"b", b"c"], None, None, [1, 2, 3]).part(1, 9)
        Columns(values=[b'b', b'c'], keys=None, headers=None, times_ms=[2, 3])
        """
        keys, headers, times = self.keys, self.headers, self.times_ms
        return Columns(
            self.values[start:stop],
            None if keys is None else keys[start:stop],
            None if headers is None else headers[start:stop],
            times if isinstance(times, int) else times[start:stop],
        )

    def _pick(self, rows: list[int]) -> Columns:
        keys, headers, times = self.keys, self.headers, self.times_ms
        return Columns(
            [self.values[row] for row in rows],
            None if keys is None else [keys[row] for row in rows],
            None if headers is None else [headers[row] for row in rows],
            times if isinstance(times, int) else [times[row] for row in rows],
        )
