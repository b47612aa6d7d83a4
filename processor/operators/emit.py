"""The sink: columns to bytes, and what each record has beside its value."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from processor.formats.base import (
    Format,
    ManyRows,
    SchemaFormat,
    WriteError,
    finite,
    headed,
    many_rows,
)
from processor.formats.cloudevents import CloudEvents
from processor.formats.csv import Csv
from processor.formats.json import Json
from processor.formats.registered import Registered
from processor.formats.text import Text
from processor.model.letters import PLACED
from processor.model.log import NULL_KEYS, Headers, Output
from processor.operators.base import HIDDEN, Context
from processor.operators.search import told
from processor.plan import nodes

_KEY: Final = "__key"


@dataclass(frozen=True, slots=True)
class Emit:
    """Encodes the rows for a topic. A key is the text of its column: ``6`` becomes ``b"6"``.

    One of bytes is these bytes.
    Rows whose key is null have none, and go to one partition (`NULL_KEYS`): the updates of a group
    stay in order, and a reader that groups by the column has all of them in one place.

    Args:
        timestamp: the column of the records' timestamps; where it is null, the log's own is taken.
        headers: columns of headers, as text; one that is null is no header.
        apart: columns that are no part of the value.
        required: columns of the value in which no reader of the format takes just any cell
            (`required`).
        key_format: makes the keys; one whose columns are all null is none.
        partition: where rows without a key go; ``None``: anywhere.
    """

    topic: str
    format: Format
    key: nodes.Key | None
    timestamp: str | None = None
    headers: nodes.Headers | None = None
    apart: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    key_format: Format | None = None
    partition: int | None = None

    def process(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        """Add the rows to the batch's outputs; nothing goes on.

        Raises `ValueError` for rows with a time that cannot be a record's, and `WriteError` for
        those with a null or an empty text where the format has none.
        """
        if not frame.is_empty():
            for name, form, there in self._lacking(frame):
                raise self._error(name, frame[name].filter(~there)[0], form)
            rows = frame[[name for name in frame.columns if name not in HIDDEN]]
            keyless = None if self.key is None else self._keyless(rows)
            if self.key is None:
                self._add(rows, None, context, self.partition)
            elif keyless is None:
                self._add(rows, self._keys(rows), context)
            else:
                keyed = rows.filter(~keyless)
                self._add(keyed, self._keys(keyed), context)
                self._add(rows.filter(keyless), None, context, NULL_KEYS)
        return frame.clear()

    def _keyless(self, rows: pl.DataFrame) -> pl.Series | None:
        """The rows whose key is null in all of its columns; ``None``: there is none."""
        columns = [rows[name] for name in nodes.key_columns(self.key)]
        if not all(column.null_count() for column in columns):
            return None
        nulls = columns[0].is_null()
        for column in columns[1:]:
            nulls &= column.is_null()
        return nulls if nulls.any() else None

    def _keys(self, rows: pl.DataFrame) -> Sequence[bytes | None]:
        names = nodes.key_columns(self.key)
        if self.key_format is None:
            return _bytes(rows[names[0]]).to_list()
        frame = rows[list(names)]
        return self.key_format.encode(frame.rechunk() if frame.n_chunks() > 1 else frame)

    def _lacking(self, frame: pl.DataFrame) -> Iterator[tuple[str, Format, pl.Series]]:
        """The columns with cells that no reader of a format takes, and which it does take."""
        for name in self.required:
            form = _part(self.format, name)
            there = _there(frame[name], form)
            if there is not None:
                yield name, form, there
        if self.key_format is None:
            return
        keyless = self._keyless(frame)
        for name in required(self.key_format, nodes.key_columns(self.key)):
            there = _there(frame[name], self.key_format)
            if there is not None and keyless is not None:
                there |= keyless
            if there is not None and not there.all():
                yield name, self.key_format, there

    def misfits(self, frame: pl.DataFrame) -> dict[int, str]:
        """The rows with a null where the format has none, found at once, with the column."""
        found: dict[int, str] = {}
        for name, form, there in self._lacking(frame):
            for row in there.not_().arg_true().to_list():
                found.setdefault(row, told(self._error(name, frame[name][row], form)))
        return found

    def _error(self, name: str, cell: object, form: Format) -> WriteError:
        if cell in ("", b""):
            what = "empty text" if isinstance(cell, str) else "empty"
        elif isinstance(cell, str):
            what = "text with a NUL"
        else:
            what = "null" if cell is None else f"{cell}, which is no number"
        why = (
            f"is not optional in the format of {self.topic!r}"
            if isinstance(form, Json | SchemaFormat)
            else f"no reader of {self.topic!r} takes it"
            if cell is not None
            else f"is a field of {self.topic!r} that its format does not name as optional"
        )
        where = "key: " if form is self.key_format else ""
        return WriteError(f"{where}column {name!r} is {what}, and {why}")

    def _add(
        self,
        rows: pl.DataFrame,
        keys: Sequence[bytes | None] | None,
        context: Context,
        partition: int | None = None,
    ) -> None:
        if rows.is_empty():
            return
        if rows.n_chunks() > 1:
            # Over an empty chunk, which a filter may leave, joining columns ends in a panic of the
            # column engine (Polars 2.1).
            rows = rows.rechunk()
        # A record without a key has no schema of one.
        forms = [self.format] if keys is None else [self.format, self.key_format]
        registered = [form for form in forms if isinstance(form, Registered)]
        told = [one for form in registered if (one := form.header()) is not None]
        if (form := many_rows(self.format)) is not None:
            value = rows.drop(self.apart) if self.apart else rows
            few, owners = _packed(form, value, keys)
            beside = [told] * len(few) if told else None
            context.result.outputs.append(Output(self.topic, few, owners, beside, partition))
            return
        headers = None if self.headers is None else _headers(rows, self.headers, registered)
        if told:
            headers = _joined(headers, [told] * rows.height)
        times = None if self.timestamp is None else _millis(rows[self.timestamp])
        value = rows.drop(self.apart) if self.apart else rows
        values = self.format.encode(value)
        having = headed(self.format)
        if having is not None:
            headers = _joined(headers, having.write_headers(value))
        output = Output(self.topic, values, keys, headers, partition, times)
        context.result.outputs.append(output)


def _packed(
    form: ManyRows, rows: pl.DataFrame, keys: Sequence[bytes | None] | None
) -> tuple[list[bytes], list[bytes | None] | None]:
    """Rows as few values, those of a key together in their order; and the key of each value."""
    if keys is None:
        return [value for _, value in form.pack(rows)], None
    keyed = rows.with_columns(pl.Series(_KEY, keys, dtype=pl.Binary))
    values: list[bytes] = []
    owners: list[bytes | None] = []
    for (key,), part in keyed.partition_by(
        _KEY, maintain_order=True, include_key=False, as_dict=True
    ).items():
        found = [value for _, value in form.pack(part)]
        values += found
        owners += [key] * len(found)
    return values, owners


def _there(column: pl.Series, form: Format) -> pl.Series | None:
    """Which cells a reader of a format takes; ``None``: all."""
    kind = column.dtype
    if isinstance(form, SchemaFormat):
        return column.is_not_null() if column.null_count() else None
    if kind.is_float() and not isinstance(form, Text):
        if not column.null_count() and finite(column):
            return None
        return column.is_finite().fill_null(value=False)
    empty = isinstance(form, Json) or (isinstance(form, Text) and form.empty)
    if kind in (pl.String, pl.Categorical, pl.Enum) and not empty:
        text = column.cast(pl.String)
        there = text != ""
        if isinstance(form, Csv) and text.str.contains("\0", literal=True).any():
            there &= ~text.str.contains("\0", literal=True)
        return None if there.all(ignore_nulls=False) else there.fill_null(value=False)
    if kind == pl.Binary and isinstance(form, Csv):
        there = (column.bin.size() > 0).fill_null(value=False)
        return None if there.all() else there
    return column.is_not_null() if column.null_count() else None


def required(form: Format, value: Sequence[str]) -> tuple[str, ...]:
    """The columns of a value in which a reader of the format does not take just any cell.

    >>> form = Json({"a": pl.Int64, "b": pl.Int64}, optional=frozenset({"b"}))
    >>> required(form, ["a", "b"]), required(Json(), ["a"]), required(Text(), ["a"])
    (('a',), (), ('a',))
    """
    if isinstance(form, Json | Csv | SchemaFormat):
        return tuple(name for name in form.columns or () if name not in form.optional)
    if isinstance(form, Text):
        return () if form.tombstones else tuple(value)
    if isinstance(form, CloudEvents):
        data = [name for name in value if name not in form.attributes.values()]
        return (*form.needed, *required(form.data, data))
    return ()


def _bytes(column: pl.Series) -> pl.Series:
    """A key or a header: bytes as they are, of anything else its text."""
    return column if column.dtype == pl.Binary else column.cast(pl.String).cast(pl.Binary)


def _part(form: Format, name: str) -> Format:
    """The format that has a column: an attribute of an event is text."""
    if not isinstance(form, CloudEvents):
        return form
    return Text() if name in form.attributes.values() else form.data


def _joined(given: list[Headers] | None, own: list[Headers]) -> list[Headers]:
    """The headers that a sink asks for, and those of its format, which take their names."""
    if given is None:
        return own
    joined: list[Headers] = []
    for some, more in zip(given, own, strict=True):
        names = {name for name, _ in more}
        joined.append([*(one for one in some if one[0] not in names), *more])
    return joined


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


def _headers(
    rows: pl.DataFrame, headers: nodes.Headers, registered: Sequence[Registered]
) -> list[Headers]:
    if isinstance(headers, str):
        # The schemas that the input was written with are not those of what is written now.
        without = {*PLACED, *(form.header_name for form in registered)}
        return [_whole(found or (), without) for found in rows[headers].to_list()]
    made: list[list[tuple[str, bytes | None]]] = [[] for _ in range(rows.height)]
    for name, column in headers:
        texts = _bytes(rows[column]).to_list()
        for has, text in zip(made, texts, strict=True):
            if text is not None:
                has.append((name, text))
    return list(made)


def _whole(
    found: Sequence[dict[str, str | bytes | None] | None], without: Collection[str]
) -> Headers:
    """A record's headers, but for those that were of the input alone."""
    made: list[tuple[str, bytes | None]] = []
    for header in found:
        name = header and header["key"]
        if not isinstance(name, str):
            raise ValueError("a header has no name")  # noqa: TRY004 - as any row that cannot be
        if name not in without and header is not None:
            value = header["value"]
            made.append((name, value.encode() if isinstance(value, str) else value))
    return made
