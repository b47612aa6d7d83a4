"""Rows of a topic, taken apart and compared cell by cell."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

import orjson
import polars as pl

from processor.formats.base import Format, SchemaFormat, many_rows
from processor.formats.csv import Csv
from processor.formats.epoch import Unit
from processor.formats.json import Json
from processor.formats.legible import as_json
from processor.formats.registered import Registered
from processor.formats.text import Text

Row: TypeAlias = Mapping[str, Any]
RowReader: TypeAlias = Callable[[bytes], Row]

_RELATIVE: Final = 1e-9  # for what was computed from sums, in whatever way


def row_reader(form: Format, columns: Sequence[str]) -> RowReader | None:
    """How rows of a format are taken apart; ``None`` for a format that is not known here.

    The reader raises `ValueError` or `TypeError` for what is no row.

    >>> read = row_reader(Json(), ["n"])
    >>> read(b'{"n":1}')
    {'n': 1}
    """
    if isinstance(form, Json):
        return _object
    if isinstance(form, Csv):
        names, quote = list(form.columns), form.quote
        how = {
            "delimiter": form.separator,
            "quotechar": quote,
            "quoting": csv.QUOTE_NONE if quote is None else csv.QUOTE_MINIMAL,
        }
        return lambda value: dict(zip(names, _fields(value, how), strict=True))
    if many_rows(form) is not None:
        return _object
    if isinstance(form, SchemaFormat):
        return Ahead(form.bare if isinstance(form, Registered) else form)
    if isinstance(form, Text):
        return lambda value: {columns[0]: value.decode()}
    return None


class Ahead:
    """Takes apart rows of a format with a schema: many at once, where it was told of them ahead.

    One by one costs some 100 times as much. They are what their JSON is.
    """

    def __init__(self, form: SchemaFormat) -> None:
        self._form = form
        self._lines: dict[bytes, bytes | None] = {}

    def look(self, values: Sequence[bytes]) -> None:
        """Hear of the rows that are asked for next."""
        self._lines = dict(zip(values, as_json(self._form, values), strict=True))

    def __call__(self, value: bytes) -> Row:
        """A row; raises `ValueError` for what is none."""
        if value not in self._lines:
            self.look([value])
        line = self._lines[value]
        if line is None:
            raise ValueError("no record of the schema")
        return _object(line)


def look_ahead(read: RowReader, values: Sequence[bytes | None]) -> None:
    """Tell a reader which rows are asked for next, if it is one that can use it."""
    if isinstance(read, Ahead):
        read.look([value or b"" for value in values])


def for_columns(form: Format, columns: Mapping[str, pl.DataType]) -> Format:
    """A format that writes these columns as ``form`` writes its own.

    >>> for_columns(Csv({"a": pl.String}, separator=";"), {"n": pl.Int64()}).describe()
    'csv(n Int64)'
    """
    if isinstance(form, Csv):
        return replace(
            form, columns=columns, optional=frozenset(form.optional) & columns.keys(),
            epoch=_of(form.epoch, columns), durations=_of(form.durations, columns),
        )  # fmt: skip
    if isinstance(form, SchemaFormat):
        # Its rows are compared as JSON, whatever the schema.
        return Json()
    if isinstance(form, Json):
        return replace(
            form, columns=None, optional=frozenset(),
            millis=frozenset(form.millis) & columns.keys(), epoch=_of(form.epoch, columns),
            durations=_of(form.durations, columns), maps=frozenset(form.maps) & columns.keys(),
            rest=form.rest if form.rest in columns else None,
            missing={a: b for a, b in form.missing.items() if {a, b} <= columns.keys()},
        )  # fmt: skip
    return form


def same(one: Row, other: Row, *, exact: Collection[str], slack: Mapping[str, float]) -> bool:
    """Whether two rows say the same.

    Args:
        one: a row.
        other: another one.
        exact: columns that have to be equal.
        slack: how far numbers may be apart, by column; infinity: there is no telling.

    Fractions in other columns may differ by 1 part in 10⁹.

    >>> same({"s": 0.0, "n": 3}, {"s": 5.6e-17, "n": 3}, exact={"n"}, slack={"s": 1e-15})
    True
    >>> same({"s": 0.0, "n": 3}, {"s": 0.0, "n": 3.0000000001}, exact={"n"}, slack={"s": 1e-15})
    False
    """
    return one.keys() == other.keys() and all(
        _within(one[name], other[name], slack[name])
        if name in slack
        else _equal(one[name], other[name], 0.0 if name in exact else _RELATIVE)
        for name in one
    )


def _of(units: Mapping[str, Unit], columns: Mapping[str, pl.DataType]) -> dict[str, Unit]:
    return {name: unit for name, unit in units.items() if name in columns}


def _fields(value: bytes, how: Mapping[str, Any]) -> list[str]:
    try:
        return next(csv.reader([value.decode()], **how))
    except csv.Error as error:
        raise ValueError(str(error)) from error


def _object(value: bytes) -> Row:
    row = orjson.loads(value)
    if not isinstance(row, dict):
        raise TypeError("no object")
    return row


def _within(one: Any, other: Any, bound: float) -> bool:
    if _alike(one, other) or bound == math.inf:
        return True
    numbers = _numbers(one, other)
    return numbers is not None and (
        numbers[0] == numbers[1] or abs(numbers[0] - numbers[1]) <= bound
    )


def _equal(one: Any, other: Any, relative: float) -> bool:
    if _alike(one, other):
        return True
    numbers = _numbers(one, other)
    # Whole numbers have no other form, and may be longer than a float can tell apart.
    fractions = any(isinstance(x, float) or (isinstance(x, str) and "." in x) for x in (one, other))
    return numbers is not None and fractions and math.isclose(*numbers, rel_tol=relative)


def _alike(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _numbers(one: Any, other: Any) -> tuple[float, float] | None:
    """Both as numbers, where both are; in CSV all cells are text, in JSON no number is."""
    if (
        isinstance(one, bool)
        or isinstance(other, bool)
        or isinstance(one, str) != isinstance(other, str)
    ):
        return None
    try:
        return float(one), float(other)
    except (TypeError, ValueError):
        return None
