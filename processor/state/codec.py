"""Checkpoint blobs: the bytes of a delta or of a snapshot's chunk.

A blob is a magic word, the length of its header, the header (JSON), then the tables, compressed by
column with zstd: few rows as an Arrow stream, many as an Arrow file::

    "PCP3" | header length, 4 bytes little-endian | header | table | table | …

How many tables an operator has, and what is in them, its kind of state says: a slab's are rows that
are kept, keys that are gone, long texts. The header names each kind but the slab's. Blobs of the
former formats are read too: the first had the texts in the header, both had Arrow files alone.

Values in a delta are absolute, not increments: applying one twice does no harm, and neither does
the order of its pieces. Nothing in a blob can run code when it is read.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, TypeAlias

import orjson
import polars as pl

from processor.errors import StateMismatchError
from processor.state import cells, timed_rows
from processor.state.base import Saved, Table

MAGIC: Final = b"PCP3"
FORMER: Final = (b"PCP1", b"PCP2")
_FILE: Final = b"ARROW1"
# A file is compressed by other threads, a stream by this one: for a hundred rows the way there and
# back takes five times as long as the work, for tens of thousands it is a tenth of the batch.
_FEW: Final = 2_000

Reader: TypeAlias = Callable[[Mapping[str, Any], Sequence[pl.DataFrame | None]], Saved]
_READERS: Final[Mapping[str, Reader]] = {
    cells.Rows.kind: cells.read,
    timed_rows.TimedRows.kind: timed_rows.read,
}


@dataclass(frozen=True, slots=True)
class Header:
    """What a blob says of itself.

    ``parent`` is the key of the blob that it continues and ``parent_digest`` that blob's digest,
    both empty at the beginning of a chain. ``offset_from`` and ``offset_to`` bound the input of the
    batch, ``journal`` holds what decided it. ``pieces`` are keys and digests of further blobs that
    the delta consists of, where one would be too large.
    """

    epoch: int
    attempt: str
    parent: str
    parent_digest: str
    offset_from: int
    offset_to: int
    journal: Mapping[str, Any] = field(default_factory=dict)
    pieces: Sequence[tuple[str, str]] = ()


def digest(data: bytes) -> str:
    """blake2b of a blob, 32 hexadecimal digits.

    >>> digest(b"")
    'cae66941d9efbd404e4d88758ea67670'
    """
    return blake2b(data, digest_size=16).hexdigest()


def encode(header: Header, state: Mapping[str, Saved]) -> bytes:
    """A blob of the header and each operator's state by the operator's name.

    >>> header, state = decode(encode(Header(1, "a", "", "", 0, 10), {}))
    >>> header.offset_to, state
    (10, {})
    """
    tables: list[bytes] = []
    operators: list[dict[str, Any]] = []
    for name, saved in state.items():
        parts = [_write(table) for table in saved.tables()]
        tables += parts
        kind = {"kind": saved.kind} if saved.kind else {}
        sizes = [len(part) for part in parts]
        operators.append({"name": name, **kind, **saved.told(), "sizes": sizes})
    told = {
        "epoch": header.epoch, "attempt": header.attempt, "parent": header.parent,
        "parent_digest": header.parent_digest, "from": header.offset_from,
        "to": header.offset_to, "journal": dict(header.journal), "operators": operators,
    }  # fmt: skip
    if header.pieces:
        told["pieces"] = [list(piece) for piece in header.pieces]
    head = orjson.dumps(told)
    return b"".join([MAGIC, len(head).to_bytes(4, "little"), head, *tables])


def header(data: bytes) -> Header:
    """The header of a blob; raises `StateMismatchError` for another format."""
    return _header(_head(data)[0])


def decode(data: bytes) -> tuple[Header, dict[str, Saved]]:
    """The header and the state of a blob; raises `StateMismatchError` for another format."""
    head, start = _head(data)
    state: dict[str, Saved] = {}
    for operator in head["operators"]:
        tables: list[pl.DataFrame | None] = []
        for size in operator["sizes"]:
            tables.append(_read(data[start : start + size]))
            start += size
        state[operator["name"]] = _reader(operator.get("kind", ""))(operator, tables)
    return _header(head), state


def _reader(kind: str) -> Reader:
    if kind not in _READERS:
        raise StateMismatchError(
            f"a checkpoint holds state of the kind {kind!r}, which this version does not know",
            remedy="it was written by another version: run that one, or use another application id",
        )
    return _READERS[kind]


def _head(data: bytes) -> tuple[dict[str, Any], int]:
    """What stands before the tables, and where they begin."""
    if data[:4] not in (MAGIC, *FORMER):
        raise StateMismatchError(
            f"a checkpoint begins with {data[:4]!r}, not {MAGIC!r}",
            remedy="it was written by another version: run that one, or use another application id",
        )
    start = 8 + int.from_bytes(data[4:8], "little")
    return orjson.loads(data[8:start]), start


def _header(head: Mapping[str, Any]) -> Header:
    return Header(
        head["epoch"], head["attempt"], head["parent"], head["parent_digest"],
        head["from"], head["to"], head["journal"],
        tuple((key, digest) for key, digest in head.get("pieces", ())),
    )  # fmt: skip


def _write(columns: Table) -> bytes:
    if not columns or not len(next(iter(columns.values()))):
        return b""
    buffer = io.BytesIO()
    table = pl.DataFrame(columns)
    write = table.write_ipc_stream if table.height <= _FEW else table.write_ipc
    write(buffer, compression="zstd")
    return buffer.getvalue()


def _read(data: bytes) -> pl.DataFrame | None:
    if not data:
        return None
    read = pl.read_ipc if data.startswith(_FILE) else pl.read_ipc_stream
    return read(io.BytesIO(data))
