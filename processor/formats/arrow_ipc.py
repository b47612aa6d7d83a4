"""Arrow's IPC streams and files to tables: what strangers sent, with nothing taken on trust.

Polars reads the same bytes some times faster, and ends the process where they are broken: a length
that is none aborts it. Arrow's own library checks them. Neither bounds what compressed buffers
become, so the sizes that they claim are read first, of the messages' own headers (``Message.fbs``,
``RecordBatch.compression``; each compressed buffer begins with its length in 8 bytes)::

    schema | dictionary batches, record batches ... | end
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

from processor.formats.needs import needed
from processor.model.location import Location

FILE: Final = b"ARROW1"
_FILE_HEAD: Final = 8
_END: Final = b"\xff\xff\xff\xff\0\0\0\0"
_ROOM: Final = 65_536
_TIMES: Final = 100
_BITS: Final = 8
# The places of fields in Arrow's tables, and the kinds of a message's header.
_HEADER_KIND, _HEADER, _BUFFERS, _COMPRESSION, _OF_DICTIONARY = 1, 2, 2, 3, 1
_DICTIONARY, _BATCH = 2, 3
# The places of the lists of blocks in a file's footer.
_DICTIONARIES, _BATCHES = 2, 3
_BUFFER: Final = struct.Struct("<qq")
_LENGTH: Final = struct.Struct("<i")
_GAP: Final = 64
_BLOCK: Final = struct.Struct("<qi4xq")


def library(at: Location | str) -> Any:
    """Arrow's own library; raises `TopologyError` where it is not installed."""
    needed("pyarrow.ipc", "Arrow", at, "arrow")
    return needed("pyarrow", "Arrow", at, "arrow")


def table(pa: Any, value: bytes) -> Any:
    """A stream or a file as a table whose every value is sound; raises `ValueError` for others."""
    of_file = value.startswith(FILE)
    if not value.endswith(FILE if of_file else _END):
        # Without its end a stream that was cut behind a batch reads as a shorter one.
        raise ValueError("no Arrow stream or file: it does not end as one")
    most = _ROOM + _TIMES * len(value)
    sizes = _file_sizes if of_file else _sizes
    claimed = _tried(pa, lambda: sum(sizes(pa, value)))
    if claimed > most:
        raise ValueError(f"{len(value)} bytes become {claimed}, more than {most}")
    found = _tried(pa, lambda: _read(pa, value, of_file=of_file))
    if found.num_rows > most * _BITS:
        raise ValueError(f"{len(value)} bytes become {found.num_rows} rows")
    return found


def _tried(pa: Any, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (pa.ArrowException, OSError, ValueError, struct.error, IndexError, KeyError) as error:
        said = " ".join(str(error).split())
        raise ValueError(f"no Arrow stream: {said[:200]}") from error
    except (MemoryError, OverflowError, RuntimeError, TypeError) as error:
        raise ValueError(f"no Arrow stream: {type(error).__name__}") from error


def _read(pa: Any, value: bytes, *, of_file: bool) -> Any:
    source = pa.BufferReader(value)
    found = (pa.ipc.open_file if of_file else pa.ipc.open_stream)(source).read_all()
    if not of_file and source.tell() != len(value):
        raise ValueError(f"{len(value) - source.tell()} bytes behind the end of the stream")
    found.validate(full=True)
    return found


def _sizes(pa: Any, stream: bytes) -> Iterator[int]:
    """What the body of each batch of a stream becomes, in bytes."""
    reader = pa.ipc.MessageReader.open_stream(stream)
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        if message.body is not None:
            yield _size(message.metadata.to_pybytes(), memoryview(message.body))


def _file_sizes(pa: Any, value: bytes) -> Iterator[int]:
    """The same of a file, whose footer says where its batches are: not all have them in a row."""
    del pa
    end = len(value) - len(FILE) - _LENGTH.size
    (length,) = _LENGTH.unpack_from(value, max(end, 0))
    if not 0 < length <= end - _FILE_HEAD:
        raise ValueError("its footer has no length")
    footer, last = value[end - length : end], 0
    (root,) = struct.unpack_from("<I", footer)
    for field in (_DICTIONARIES, _BATCHES):
        blocks = _child(footer, root, field)
        (count,) = (0,) if blocks is None else struct.unpack_from("<I", footer, blocks)
        for number in range(count):
            at, head, size = _BLOCK.unpack_from(footer, (blocks or 0) + 4 + number * _BLOCK.size)
            if not 0 <= at <= at + head <= at + head + size <= end:
                raise ValueError("a block that is not in the file")
            last = max(last, at + head + size)
            body = memoryview(value)[at + head : at + head + size]
            yield _size(_without_prefix(value[at : at + head]), body)
    if last and end - length - last > _GAP:
        raise ValueError("bytes that belong to none of its batches: several files in one")


def _without_prefix(head: bytes) -> bytes:
    """A message's header without its length, which newer writers put behind a mark."""
    return head[8:] if head.startswith(b"\xff\xff\xff\xff") else head[4:]


def _size(head: bytes, body: memoryview) -> int:
    (root,) = struct.unpack_from("<I", head)
    kind, batch = _field(head, root, _HEADER_KIND), _child(head, root, _HEADER)
    if kind is None or batch is None or head[kind] not in (_DICTIONARY, _BATCH):
        return len(body)
    if head[kind] == _DICTIONARY:
        batch = _child(head, batch, _OF_DICTIONARY)
    buffers = None if batch is None else _child(head, batch, _BUFFERS)
    if batch is None or buffers is None or _field(head, batch, _COMPRESSION) is None:
        return len(body)
    (count,) = struct.unpack_from("<I", head, buffers)
    size = 0
    for number in range(count):
        start, length = _BUFFER.unpack_from(head, buffers + 4 + number * _BUFFER.size)
        if length:
            (whole,) = struct.unpack_from("<q", body, start)
            size += length if whole == -1 else whole
            if whole < -1:
                raise ValueError(f"a buffer of {whole} bytes")
    return size


def _field(head: bytes, at: int, number: int) -> int | None:
    """Where a field of a table is (FlatBuffers' internals); ``None``: it has its default."""
    (back,) = struct.unpack_from("<i", head, at)
    (size,) = struct.unpack_from("<H", head, at - back)
    if size < 4 + 2 * (number + 1):
        return None
    (offset,) = struct.unpack_from("<H", head, at - back + 4 + 2 * number)
    return at + offset if offset else None


def _child(head: bytes, at: int, number: int) -> int | None:
    """Where a table or a list that a field points to is."""
    place = _field(head, at, number)
    if place is None:
        return None
    (offset,) = struct.unpack_from("<I", head, place)
    return place + int(offset)
