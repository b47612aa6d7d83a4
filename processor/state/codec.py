"""Checkpoint blobs: the bytes of a delta or of a snapshot's chunk.

A blob is a magic word, the length of its header, the header (JSON), then one Arrow file per table,
compressed by column with zstd::

    "PCP1" | header length, 4 bytes little-endian | header | table | table | …

Values in a delta are absolute, not increments: applying one twice does no harm. Nothing in a blob
can run code when it is read.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

import numpy as np
import orjson
import polars as pl

from processor.errors import StateMismatchError
from processor.state.keys import Layout, Words
from processor.state.slab import Column, Rows

MAGIC: Final = b"PCP1"


@dataclass(frozen=True, slots=True)
class Header:
    """What a blob says of itself.

    ``parent`` is the key of the blob that it continues and ``parent_digest`` that blob's digest,
    both empty at the beginning of a chain. ``offset_from`` and ``offset_to`` bound the input of the
    batch, ``journal`` holds what decided it.
    """

    epoch: int
    attempt: str
    parent: str
    parent_digest: str
    offset_from: int
    offset_to: int
    journal: Mapping[str, Any] = field(default_factory=dict)


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
        kept, gone = _write(_kept(rows)), _write(_columns("w", rows.gone))
        tables += [kept, gone]
        operators.append({
            "name": name,
            "widths": rows.layout.widths,
            "nulls": rows.layout.nulls,
            "cells": {cell: column.dtype.str for cell, column in rows.cells.items()},
            "sizes": [len(kept), len(gone)],
            "texts": [[number, text.hex()] for number, text in rows.texts.items()],
        })  # fmt: skip
    head = orjson.dumps({
        "epoch": header.epoch, "attempt": header.attempt, "parent": header.parent,
        "parent_digest": header.parent_digest, "from": header.offset_from,
        "to": header.offset_to, "journal": dict(header.journal), "operators": operators,
    })  # fmt: skip
    return b"".join([MAGIC, len(head).to_bytes(4, "little"), head, *tables])


def header(data: bytes) -> Header:
    """The header of a blob; raises `StateMismatchError` for another format."""
    return _header(_head(data)[0])


def decode(data: bytes) -> tuple[Header, dict[str, Rows]]:
    """The header and the rows of a blob; raises `StateMismatchError` for another format."""
    head, start = _head(data)
    state: dict[str, Rows] = {}
    for operator in head["operators"]:
        middle = start + operator["sizes"][0]
        end = middle + operator["sizes"][1]
        layout = Layout(list(operator["widths"]), operator["nulls"])
        kept, gone = _read(data[start:middle]), _read(data[middle:end])
        start = end
        state[operator["name"]] = Rows(
            layout,
            _words(kept, layout.words()),
            _cells(kept, operator["cells"]),
            _words(gone, layout.words()),
            {number: bytes.fromhex(text) for number, text in operator["texts"]},
        )
    return _header(head), state


def _head(data: bytes) -> tuple[dict[str, Any], int]:
    """What stands before the tables, and where they begin."""
    if data[:4] != MAGIC:
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
    )  # fmt: skip


def split(rows: Rows, bytes_max: int) -> list[Rows]:
    """The rows in chunks of at most so many bytes before compression; long texts go along."""
    row_bytes = 8 * (rows.layout.words() + len(rows.cells))
    step = max(1, bytes_max // max(1, row_bytes))
    starts = range(0, max(1, len(rows.words)), step)
    # Each chunk has an equal share: encoded all at once, a million texts would hold the loop up.
    texts, share = list(rows.texts.items()), -(-len(rows.texts) // len(starts))
    return [
        Rows(
            rows.layout,
            rows.words[i : i + step],
            {name: column[i : i + step] for name, column in rows.cells.items()},
            rows.gone,
            dict(texts[n * share : (n + 1) * share]),
        )
        for n, i in enumerate(starts)
    ]


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
