"""The sink: columns to bytes, and what each record has beside its value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from processor.formats.base import Format, SchemaFormat, WriteError, finite
from processor.formats.csv import Csv
from processor.formats.json import Json
from processor.formats.registered import Registered
from processor.formats.text import Text
from processor.model.log import NULL_KEYS, Headers, Output
from processor.model.watermark import HEADER
from processor.operators.base import HIDDEN, Context
from processor.operators.search import told
from processor.plan import nodes


@dataclass(frozen=True, slots=True)
class Emit:
    """Encodes the rows for a topic. A key is the text of its column: ``6`` becomes ``b"6"``.

    Rows whose key is null have none, and go to one partition (`NULL_KEYS`): the updates of a group
    stay in order, and a reader that groups by the column has all of them in one place.

    Args:
        timestamp: the column of the records' timestamps; where it is null, the log's own is taken.
        headers: columns of headers, as text; one that is null is no header.
        apart: columns that are no part of the value.
        required: columns of the value in which no reader of the format takes just any cell
            (`required`).
    """

    topic: str
    format: Format
    key: str | None
    timestamp: str | None = None
    headers: nodes.Headers | None = None
    apart: tuple[str, ...] = ()
    required: tuple[str, ...] = ()

    def process(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        """Add the rows to the batch's outputs; nothing goes on.

        Raises `ValueError` for rows with a time that cannot be a record's, and `WriteError` for
        those with a null or an empty text where the format has none.
        """
        if not frame.is_empty():
            for name in self.required:
                there = self._there(frame[name])
                if there is not None:
                    raise self._error(name, frame[name].filter(~there)[0])
            rows = frame.select_seq(pl.exclude(HIDDEN))
            if self.key is None:
                self._add(rows, None, context)
            else:
                keys = rows[self.key].cast(pl.String).cast(pl.Binary)
                if not keys.null_count():
                    self._add(rows, keys, context)
                else:
                    column = pl.col(self.key)
                    self._add(rows.filter(column.is_not_null()), keys.drop_nulls(), context)
                    self._add(rows.filter(column.is_null()), None, context, NULL_KEYS)
        return frame.clear()

    def misfits(self, frame: pl.DataFrame) -> dict[int, str]:
        """The rows with a null where the format has none, found at once, with the column."""
        found: dict[int, str] = {}
        for name in self.required:
            there = self._there(frame[name])
            if there is not None:
                for row in there.not_().arg_true().to_list():
                    found.setdefault(row, told(self._error(name, frame[name][row])))
        return found

    def _there(self, column: pl.Series) -> pl.Series | None:
        """Which cells a reader of the format takes; ``None``: all."""
        kind = column.dtype
        if isinstance(self.format, SchemaFormat):
            return column.is_not_null() if column.null_count() else None
        if kind.is_float() and not isinstance(self.format, Text):
            if not column.null_count() and finite(column):
                return None
            return column.is_finite().fill_null(value=False)
        if kind in (pl.String, pl.Categorical, pl.Enum) and not isinstance(self.format, Json):
            text = column.cast(pl.String)
            there = text != ""
            if isinstance(self.format, Csv) and text.str.contains("\0", literal=True).any():
                there &= ~text.str.contains("\0", literal=True)
            return None if there.all(ignore_nulls=False) else there.fill_null(value=False)
        return column.is_not_null() if column.null_count() else None

    def _error(self, name: str, cell: object) -> WriteError:
        if isinstance(cell, str):
            what = "text with a NUL" if cell else "empty text"
        else:
            what = "null" if cell is None else f"{cell}, which is no number"
        why = (
            f"is not optional in the format of {self.topic!r}"
            if isinstance(self.format, Json | SchemaFormat)
            else f"no reader of {self.topic!r} takes it"
            if cell is not None
            else f"is a field of {self.topic!r}, whose format has no way to leave one out"
        )
        return WriteError(f"column {name!r} is {what}, and {why}")

    def _add(
        self,
        rows: pl.DataFrame,
        keys: pl.Series | None,
        context: Context,
        partition: int | None = None,
    ) -> None:
        if rows.is_empty():
            return
        if rows.n_chunks() > 1:
            # Over an empty chunk, which a filter may leave, joining columns ends in a panic of the
            # column engine (Polars 2.1).
            rows = rows.rechunk()
        texts = None if keys is None else keys.to_list()
        headers = None if self.headers is None else _headers(rows, self.headers)
        told = self.format.header() if isinstance(self.format, Registered) else None
        if told is not None:
            headers = [[*own, told] for own in headers or [()] * rows.height]
        times = None if self.timestamp is None else _millis(rows[self.timestamp])
        values = self.format.encode(rows.drop(self.apart) if self.apart else rows)
        output = Output(self.topic, values, texts, headers, partition, times)
        context.result.outputs.append(output)


def required(form: Format, value: Sequence[str]) -> tuple[str, ...]:
    """The columns of a value in which a reader of the format does not take just any cell.

    >>> form = Json({"a": pl.Int64, "b": pl.Int64}, optional=frozenset({"b"}))
    >>> required(form, ["a", "b"]), required(Json(), ["a"]), required(Text(), ["a"])
    (('a',), (), ('a',))
    """
    if isinstance(form, Json | SchemaFormat):
        return tuple(name for name in form.columns or () if name not in form.optional)
    if isinstance(form, Text):
        return tuple(value)
    return tuple(form.columns) if isinstance(form, Csv) else ()


def _millis(column: pl.Series) -> list[int | None]:
    """Times as records have them; what is finer than a millisecond is cut off."""
    millis = column.cast(pl.Datetime("us")).to_physical() // 1_000
    least = millis.min()
    if isinstance(least, int) and least < 1:
        # 0 and less mean "none" to the log.
        raise ValueError(
            f"column {column.name!r}: {column.filter(millis < 1)[0]} is no record's timestamp: "
            "these begin with 1970"
        )
    return millis.to_list()


def _headers(rows: pl.DataFrame, headers: nodes.Headers) -> list[Headers]:
    if isinstance(headers, str):
        return [_whole(found or ()) for found in rows[headers].to_list()]
    made: list[list[tuple[str, bytes | None]]] = [[] for _ in range(rows.height)]
    for name, column in headers:
        texts = rows[column].cast(pl.String).cast(pl.Binary).to_list()
        for has, text in zip(made, texts, strict=True):
            if text is not None:
                has.append((name, text))
    return list(made)


def _whole(found: Sequence[dict[str, str | bytes | None] | None]) -> Headers:
    """A record's headers, but for the watermark of who wrote the input: it holds there alone."""
    made: list[tuple[str, bytes | None]] = []
    for header in found:
        name = header and header["key"]
        if not isinstance(name, str):
            raise ValueError("a header has no name")  # noqa: TRY004 - as any row that cannot be
        if name != HEADER and header is not None:
            value = header["value"]
            made.append((name, value.encode() if isinstance(value, str) else value))
    return made
