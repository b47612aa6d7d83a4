"""Checkpoint blobs: the bytes of a delta or of a snapshot's chunk.

A blob is a magic word, the length of its header, the header (JSON), then one Arrow file per table,
compressed by column with zstd::

    "PCP2" | header length, 4 bytes little-endian | header | table | table | …

Of each operator there are three tables: rows that are kept, keys that are gone, long texts. Blobs
of the former format, which had the texts in the header, are read too.

Values in a delta are absolute, not increments: applying one twice does no harm, and neither does
the order of its pieces. Nothing in a blob can run code when it is read.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Final

import numpy as np
import orjson
import polars as pl

from processor.errors import StateMismatchError
from processor.state.keys import Layout, Words
from processor.state.slab import Column, Rows

MAGIC: Final = b"PCP2"
FORMER: Final = b"PCP1"
_TEXT_BYTES: Final = 16  # what a long text takes besides its bytes


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


def encode(header: Header, state: Mapping[str, Rows]) -> bytes:
    """A blob of the header and each operator's rows by the operator's name.

    >>> header, state = decode(encode(Header(1, "a", "", "", 0, 10), {}))
    >>> header.offset_to, state
    (10, {})
    """
    tables: list[bytes] = []
    operators: list[dict[str, Any]] = []
    for name, rows in state.items():
        parts = [_write(_kept(rows)), _write(_columns("w", rows.gone)), _write(_texts(rows))]
        tables += parts
        operators.append({
            "name": name,
            "widths": rows.layout.widths,
            "nulls": rows.layout.nulls,
            "cells": {cell: column.dtype.str for cell, column in rows.cells.items()},
            "sizes": [len(part) for part in parts],
        })  # fmt: skip
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


def decode(data: bytes) -> tuple[Header, dict[str, Rows]]:
    """The header and the rows of a blob; raises `StateMismatchError` for another format."""
    head, start = _head(data)
    state: dict[str, Rows] = {}
    for operator in head["operators"]:
        tables: list[pl.DataFrame | None] = []
        for size in operator["sizes"]:
            tables.append(_read(data[start : start + size]))
            start += size
        kept, gone, *texts = tables
        layout = Layout(list(operator["widths"]), operator["nulls"])
        state[operator["name"]] = Rows(
            layout,
            _words(kept, layout.words()),
            _cells(kept, operator["cells"]),
            _words(gone, layout.words()),
            _texts_of(texts[0]) if texts else _former_texts(operator["texts"]),
        )
    return _header(head), state


def _head(data: bytes) -> tuple[dict[str, Any], int]:
    """What stands before the tables, and where they begin."""
    if data[:4] not in (MAGIC, FORMER):
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


def size(rows: Rows) -> int:
    """Bytes of rows before compression."""
    texts = sum(map(len, rows.texts.values())) + _TEXT_BYTES * len(rows.texts)
    return len(rows.words) * _row_bytes(rows) + rows.gone.nbytes + texts


def split(rows: Rows, bytes_max: int) -> Iterator[Rows]:
    """The rows in chunks of at most so many bytes before compression; at least one.

    A single row or text that is larger is a chunk of its own.
    """
    if size(rows) <= bytes_max:
        yield rows
        return
    nothing = replace(
        rows, words=rows.words[:0], gone=rows.gone[:0], texts={},
        cells={name: column[:0] for name, column in rows.cells.items()},
    )  # fmt: skip
    texts: dict[int, bytes] = {}
    filled = 0
    for number, text in rows.texts.items():
        if texts and filled + len(text) + _TEXT_BYTES > bytes_max:
            yield replace(nothing, texts=texts)
            texts, filled = {}, 0
        texts[number] = text
        filled += len(text) + _TEXT_BYTES
    if texts:
        yield replace(nothing, texts=texts)
    step = max(1, bytes_max // max(1, 8 * rows.layout.words()))
    for i in range(0, len(rows.gone), step):
        yield replace(nothing, gone=rows.gone[i : i + step])
    step = max(1, bytes_max // max(1, _row_bytes(rows)))
    for i in range(0, len(rows.words), step):
        cells = {name: column[i : i + step] for name, column in rows.cells.items()}
        yield replace(nothing, words=rows.words[i : i + step], cells=cells)


def _row_bytes(rows: Rows) -> int:
    return 8 * (rows.layout.words() + len(rows.cells))


def _texts(rows: Rows) -> dict[str, pl.Series]:
    numbers, texts = list(rows.texts), list(rows.texts.values())
    return {"n": pl.Series(numbers, dtype=pl.Int64), "t": pl.Series(texts, dtype=pl.Binary)}


def _texts_of(table: pl.DataFrame | None) -> dict[int, bytes]:
    return (
        {} if table is None else dict(zip(table["n"].to_list(), table["t"].to_list(), strict=True))
    )


def _former_texts(texts: Sequence[tuple[int, str]]) -> dict[int, bytes]:
    return {number: bytes.fromhex(text) for number, text in texts}


def _kept(rows: Rows) -> dict[str, pl.Series]:
    cells = {f"c_{name}": pl.Series(column) for name, column in rows.cells.items()}
    return _columns("w", rows.words) | cells


def _columns(prefix: str, words: Words) -> dict[str, pl.Series]:
    return {
        f"{prefix}{i}": pl.Series(np.ascontiguousarray(words[:, i])) for i in range(words.shape[1])
    }


def _write(columns: Mapping[str, pl.Series]) -> bytes:
    if not columns or not len(next(iter(columns.values()))):
        return b""
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_ipc(buffer, compression="zstd")
    return buffer.getvalue()


def _read(data: bytes) -> pl.DataFrame | None:
    return pl.read_ipc(io.BytesIO(data)) if data else None


def _words(table: pl.DataFrame | None, count: int) -> Words:
    if table is None:
        return np.zeros((0, count), np.uint64)
    words = np.empty((table.height, count), np.uint64)
    for i in range(count):
        words[:, i] = table[f"w{i}"].to_numpy()
    return words


def _cells(table: pl.DataFrame | None, types: Mapping[str, str]) -> dict[str, Column]:
    if table is None:
        return {name: np.zeros(0, kind) for name, kind in types.items()}
    return {name: table[f"c_{name}"].to_numpy() for name in types}
