"""What the log has of each record beside its value, as columns.

A record's key and the values of its headers are text, as they are written; one that is not UTF-8 is
bad, like a value that cannot be read. A key that has a format is columns of its own. All headers
together are a column of their own, as bytes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import polars as pl

from processor.errors import SchemaChangeError
from processor.formats.base import Decoded, Format, headed
from processor.formats.registered import Registered
from processor.model.batch import Slice
from processor.model.headers import headers_of
from processor.model.log import Message
from processor.plan.nodes import CLOCK, HEADERS, OnTombstone, Source

_RECORD = "the record"
_MICROS = 1_000
_NO_TIMESTAMP = 0


def read(form: Format, slices: Sequence[Slice], tombstones: OnTombstone = "bad") -> Decoded:
    """The values as columns; with their headers, where a format has a part of a record there.

    A record without a value that the format makes no row of is bad, or ``pass``ed over.
    """
    decoded = _read(form, slices)
    if tombstones == "bad" or not decoded.bad:
        return decoded
    values = list(chain.from_iterable(part.values for part in slices))
    of = range(len(values)) if decoded.records is None else decoded.records
    none = {row for row in decoded.bad if values[of[row]] is None}
    kept = {row: why for row, why in decoded.bad.items() if row not in none}
    return replace(decoded, bad=kept, passed=decoded.passed | none)


def _read(form: Format, slices: Sequence[Slice]) -> Decoded:
    values = list(chain.from_iterable(part.values for part in slices))
    if isinstance(form, Registered):
        return _of_registry(form, values, [one for part in slices for one in part.messages])
    messages = chain.from_iterable(part.messages for part in slices)
    having = headed(form)
    if having is None or not having.reads_headers:
        return form.decode(values)
    return having.decode_with(values, [headers_of(message) for message in messages])


def _of_registry(
    form: Registered, values: Sequence[bytes | None], messages: Sequence[Message]
) -> Decoded:
    """The columns of values or keys; headers may tell which schema one is of."""
    try:
        return form.decode_with(values, lambda: [headers_of(message) for message in messages])
    except SchemaChangeError as error:
        at = messages[error.row]
        error.message = f"{at.topic()}[{at.partition()}] offset {at.offset()}: {error.message}"
        raise


def added(decoded: Decoded, slices: Sequence[Slice], source: Source) -> Decoded:
    """What was decoded, with the columns that the source asks for; bad rows with their reason.

    Rows are the messages of the slices, one behind the other.
    """
    if not source.own():
        return decoded
    messages = [message for part in slices for message in part.messages]
    made: list[pl.Series] = []
    bad: dict[int, str] = {}
    keys = [message.key() for message in messages] if source.key or source.key_format else []
    if source.key_format is not None:
        made += _of_keys(keys, messages, source.key_format, source.key_prefix, bad)
    if source.key is not None:
        made.append(_text(source.key, keys, "the record's key", bad))
    if isinstance(source.headers, str):
        made.append(_all_headers(source.headers, messages))
    elif source.headers:
        found = [dict(headers_of(message)) for message in messages]  # of one name the last
        for name, column in source.headers:
            values = [headers.get(name) for headers in found]
            made.append(_text(column, values, f"the header {name!r}", bad))
    made += _places(source, slices, messages)
    if source.timestamp is not None:
        made.append(_times(source.timestamp, messages, bad))
    if source.clock:
        made.append(_stamps(slices))
    return decoded.grown(decoded.frame.with_columns(made), bad | dict(decoded.bad))


def _places(
    source: Source, slices: Sequence[Slice], messages: Sequence[Message]
) -> Iterator[pl.Series]:
    """Where in the log each record lies."""
    if source.partition is not None:
        numbers = [part.partition.partition for part in slices]
        sizes = [len(part.messages) for part in slices]
        yield pl.Series(source.partition, np.repeat(np.array(numbers, np.int32), sizes))
    if source.offset is not None:
        offsets = [message.offset() for message in messages]
        yield pl.Series(source.offset, offsets, dtype=pl.Int64)


def _stamps(slices: Sequence[Slice]) -> pl.Series:
    """When each row was read; who only looks on takes the last time that was given."""
    sizes = [len(part.messages) for part in slices]
    times = [part.event_time_max or 0 if part.now is None else part.now for part in slices]
    numbers = np.repeat(np.array(times, np.int64), sizes)
    return pl.Series(CLOCK, numbers, dtype=pl.Int64).cast(pl.Datetime("us"))


def _of_keys(
    keys: Sequence[bytes | None],
    messages: Sequence[Message],
    form: Format,
    prefix: str,
    bad: dict[int, str],
) -> list[pl.Series]:
    """The columns that the format of keys reads; null for no key, if they may all be null."""
    rows: Sequence[int] = range(len(keys))
    if None in keys:
        rows = [row for row, key in enumerate(keys) if key is not None]
    there = [keys[row] for row in rows] if len(rows) < len(keys) else keys
    if isinstance(form, Registered):
        read = _of_registry(form, there, [messages[row] for row in rows])
    else:
        read = form.decode(there)
    for row, reason in read.bad.items():
        told = f"it{reason.removeprefix(_RECORD)}" if reason.startswith(_RECORD) else reason
        bad[rows[row]] = f"key: {told}"
    frame = read.frame
    if len(rows) < len(keys):
        places = np.full(len(keys), len(rows))
        places[rows] = np.arange(len(rows))
        nothing = pl.DataFrame({name: [None] for name in frame.columns}, schema=frame.schema)
        frame = pl.concat([frame, nothing])[places]
        if not set(frame.columns) <= set(getattr(form, "optional", ())):
            none = set(range(len(keys))).difference(rows)
            bad |= dict.fromkeys(none, "key: the record has none")
    return [column.alias(prefix + column.name) for column in frame.get_columns()]


def _text(name: str, values: Sequence[bytes | None], what: str, bad: dict[int, str]) -> pl.Series:
    with contextlib.suppress(pl.exceptions.ComputeError):
        return pl.Series(name, values, dtype=pl.Binary).cast(pl.String)
    texts: list[str | None] = []
    for row, value in enumerate(values):
        try:
            texts.append(None if value is None else value.decode())
        except UnicodeDecodeError:
            bad[row] = f"{what} is not UTF-8"
            texts.append(None)
    return pl.Series(name, texts, dtype=pl.String)


def _all_headers(name: str, messages: Sequence[Message]) -> pl.Series:
    """Each record's headers in their order; null for one that has none."""
    found = [headers_of(message) for message in messages]
    pairs = list(chain.from_iterable(found))
    fields = pl.Series("key", [key for key, _ in pairs], dtype=pl.String).to_frame()
    fields = fields.with_columns(pl.Series("value", [v for _, v in pairs], dtype=pl.Binary))
    rows = np.repeat(np.arange(len(found), dtype=np.uint32), [len(one) for one in found])
    told = pl.DataFrame({"row": rows, name: fields.to_struct(name)})
    lists = told.group_by("row").agg(pl.col(name))
    every = pl.DataFrame({"row": np.arange(len(found), dtype=np.uint32)})
    joined = every.join(lists, on="row", how="left", maintain_order="left")
    return joined[name].cast(HEADERS)


def _times(name: str, messages: Sequence[Message], bad: dict[int, str]) -> pl.Series:
    """What the log has as the records' times; a record without one is bad."""
    found = [message.timestamp() for message in messages]
    kinds = pl.Series([kind for kind, _ in found], dtype=pl.Int64)
    millis = pl.Series(name, [ms for _, ms in found], dtype=pl.Int64)
    none = ((kinds == _NO_TIMESTAMP) | (millis < 0)).arg_true().to_list()
    bad |= dict.fromkeys(none, "the record has no timestamp")
    return (millis * _MICROS).cast(pl.Datetime("us"))
