"""Records as the database keeps them: a block for each run of records that was appended at once.

::

    id: partition, first offset │ records │ newest time │ aborted │ checksum │ four columns

A column is the length of each of its cells, -1 for none, and then all cells one behind the other. A
row for each record would cost ten times as much, to write and to read.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import orjson

from processor.connectors.memory.records import Columns, StoredMessage
from processor.model.log import Headers, TopicPartition

RECORDS_MAX: Final = 4_096
BYTES_MAX: Final = 1024 * 1024
# An id is the partition's number and the offset in one: 17 million million records each.
OFFSET_BITS: Final = 44


class Block(NamedTuple):
    """A row of the table: records at consecutive offsets, from that of ``id`` on.

    ``newest_ms`` is the latest of their timestamps. A column that is ``None`` is empty throughout;
    ``times`` is so where all are of ``newest_ms``.
    """

    id: int
    records: int
    newest_ms: int
    aborted: bool
    checksum: int
    times: bytes | None
    keys: bytes | None
    headers: bytes | None
    data: bytes

    @property
    def first(self) -> int:
        """The offset of the first record."""
        return self.id & ((1 << OFFSET_BITS) - 1)

    @property
    def size(self) -> int:
        """How many bytes it has in its columns."""
        return sum(len(column) for column in self._columns() if column is not None)

    def whole(self) -> bool:
        """Whether it is what was written."""
        return self.checksum == _checksum(*self._columns())

    def _columns(self) -> tuple[bytes | None, ...]:
        return self.times, self.keys, self.headers, self.data

    def messages(self, partition: TopicPartition) -> list[StoredMessage]:
        """Its records."""
        times: array[int] | int = self.newest_ms
        if self.times is not None:
            times = _numbers("q", self.times)
        columns = Columns(
            _unpacked(self.data, self.records),
            None if self.keys is None else _unpacked(self.keys, self.records),
            None if self.headers is None
            else [_headers(cell) for cell in _unpacked(self.headers, self.records)],
            times,
        )  # fmt: skip
        return list(columns.messages(*partition, self.first))


def blocks(base: int, columns: Columns, *, aborted: bool) -> Iterator[Block]:
    r"""Blocks of records, the first of which has the id ``base``.

    >>> (block,) = blocks(7, Columns([b"a", None], [b"k", b"l"], None, 1000), aborted=False)
    >>> block.records, block.data
    (2, b'\x01\x00\x00\x00\xff\xff\xff\xffa')
    >>> block.messages(TopicPartition("rides", 0))
    [rides[0]@7: b'k' b'a', rides[0]@8: b'l' None]
    """
    count = len(columns.values)
    if count > RECORDS_MAX:
        for start in range(0, count, RECORDS_MAX):
            part = columns.part(start, start + RECORDS_MAX)
            yield from blocks(base + start, part, aborted=aborted)
        return
    if count > 1 and sum(map(len, filter(None, columns.values))) > BYTES_MAX:
        half = count // 2
        yield from blocks(base, columns.part(0, half), aborted=aborted)
        yield from blocks(base + half, columns.part(half, count), aborted=aborted)
        return
    times, newest_ms = None, columns.times_ms
    if not isinstance(newest_ms, int):
        times, newest_ms = _bytes(array("q", newest_ms)), max(newest_ms)
    packed = (
        times,
        None if columns.keys is None else _packed(columns.keys),
        None if columns.headers is None else _packed([*map(_text, columns.headers)]),
        _packed(columns.values),
    )
    yield Block(base, count, newest_ms, aborted, _checksum(*packed), *packed)


def _checksum(*columns: bytes | None) -> int:
    found = 0
    for column in columns:
        found = zlib.crc32(column or b"", found)
    return found


def _packed(cells: Sequence[bytes | None]) -> bytes:
    lengths = array("i", [-1 if cell is None else len(cell) for cell in cells])
    return b"".join([_bytes(lengths), *filter(None, cells)])


def _unpacked(data: bytes, count: int) -> list[bytes | None]:
    at = 4 * count
    cells: list[bytes | None] = []
    for length in _numbers("i", data[:at]):
        if length < 0:
            cells.append(None)
        else:
            cells.append(data[at : at + length])
            at += length
    return cells


def _bytes(numbers: array[int]) -> bytes:
    """The least byte first, whatever the machine has."""
    if sys.byteorder == "big":  # pragma: no cover
        numbers = array(numbers.typecode, numbers)
        numbers.byteswap()
    return numbers.tobytes()


def _numbers(kind: str, data: bytes) -> array[int]:
    found: array[int] = array(kind)
    found.frombytes(data)
    if sys.byteorder == "big":  # pragma: no cover
        found.byteswap()
    return found


def _text(headers: Headers) -> bytes | None:
    """Headers as JSON, each byte of a value as the character of its number; nothing for none."""
    if not headers:
        return None
    pairs = [(name, None if value is None else value.decode("latin-1")) for name, value in headers]
    return orjson.dumps(pairs)


def _headers(cell: bytes | None) -> Headers:
    if cell is None:
        return ()
    return [
        (name, None if value is None else value.encode("latin-1"))
        for name, value in orjson.loads(cell)
    ]
