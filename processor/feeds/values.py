"""What a file's text, and values of Python, are as records."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import orjson
import polars as pl

from processor.formats.base import MARK, Format, SchemaFormat, shown
from processor.formats.csv import Csv
from processor.formats.json import Json
from processor.formats.text import Text

Value: TypeAlias = str | bytes | Mapping[str, Any]
Values: TypeAlias = Iterable[Value] | pl.DataFrame


def encoded(form: Format, given: Values) -> list[bytes]:
    """Values as a producer of the topic writes them: text and bytes as they are, rows encoded.

    Raises `ValueError` or `TypeError` for what the format cannot write.

    >>> encoded(Csv({"n": pl.Int64, "s": pl.String}), ["1,a", {"n": 2, "s": "b"}])
    [b'1,a', b'2,b']
    """
    if not isinstance(given, pl.DataFrame):
        return [_encoded(form, row) for row in given]
    if lacking := sorted(_needed(form).difference(given.columns)):
        told = " and no ".join(map(repr, lacking))
        raise ValueError(f"the frame has no column {told}, but {', '.join(given.columns)}")
    return [_encoded(form, row) for row in given.rows(named=True)]


def _needed(form: Format) -> set[str]:
    """The columns that every record has to have."""
    if isinstance(form, Csv | Text):
        return set(form.columns or ()) - set(getattr(form, "optional", ()))
    if isinstance(form, Json):
        beside = {form.rest, *(form.missing or {}).values()}
        return set(form.columns or ()) - set(form.optional) - beside
    return set()


def _encoded(form: Format, row: Value) -> bytes:
    if isinstance(row, bytes):
        return row
    if isinstance(row, str):
        return row.encode()
    if isinstance(form, SchemaFormat):
        return form.records([row])[0]
    if isinstance(form, Csv | Text) and form.columns and isinstance(row, Mapping):
        if other := sorted(row.keys() - form.columns.keys()):
            raise ValueError(f"no column is called {other[0]!r}, but {', '.join(form.columns)}")
        try:
            frame = pl.DataFrame([dict(row)], schema=dict(form.columns))
        except pl.exceptions.PolarsError as error:
            raise ValueError(str(error)) from error
        return form.encode(frame)[0] or b""
    if not isinstance(row, Mapping):
        raise TypeError(f"{shown(row)} is no record")
    return orjson.dumps(row)


def records(text: bytes, form: object) -> Iterator[bytes]:
    r"""A file's records: its lines, or in CSV what its quotes make one of several lines.

    A byte-order mark at the beginning is no part of the first. Raises `ValueError` where the
    format has files of its own, and this is none.

    >>> list(records(b'\xef\xbb\xbf1,a\n2,"b\nc"\n', Csv({"n": pl.Int64, "s": pl.String})))
    [b'1,a', b'2,"b\nc"']
    """
    own = form.of_file(text) if isinstance(form, SchemaFormat) else None
    if own is not None:
        yield from own
        return
    lines = text.removeprefix(MARK.encode()).splitlines(keepends=True)
    at = 0
    while at < len(lines):
        taken = lines_taken(lines, at, form)
        yield without_end(b"".join(lines[at : at + taken]))
        at += taken


def quote_of(form: object) -> bytes | None:
    """The character that may hold line breaks together, if the format has one."""
    return form.quote.encode() if isinstance(form, Csv) and form.quote else None


def lines_taken(lines: Sequence[bytes], at: int, form: object) -> int:
    """How many lines a record takes; one where its quotes are never closed: it is bad alone."""
    quote = quote_of(form)
    if not isinstance(form, Csv) or quote is None or quote not in lines[at]:
        return 1
    rest = (lines[i].decode("latin-1") for i in range(at, len(lines)))
    reader = csv.reader(rest, delimiter=form.separator, quotechar=form.quote, strict=True)
    try:
        next(reader)
    except csv.Error:
        return 1
    return reader.line_num


def without_end(line: bytes) -> bytes:
    """A line without its line break."""
    return line.removesuffix(b"\n").removesuffix(b"\r")
