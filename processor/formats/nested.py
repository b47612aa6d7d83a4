"""Columns of objects and lists: `pl.Struct` and `pl.List`, to any depth.

Their leaves are what columns of their own would be: the parser gives each its raw type, and what is
read of that, or written as it, is worked out for all rows at once::

    {"order": {"id": 7, "at": "2014-08-01T00:03:00"}, "tags": ["a"]}

    order   Struct({id: Int64, at: String})  ──►  Struct({id: Int32, at: Datetime})
    tags    List(String)                     ──►  as it is
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, TypeAlias

import numpy as np
import polars as pl

from processor.formats.base import DataType, Values, WriteError, finite
from processor.formats.members import REWRITTEN, as_text, elements, members, rewritten

Leaf: TypeAlias = Callable[[pl.Series, str], pl.Series]
"""Makes other values of a leaf's, given its place."""

BETWEEN: Final = "\0"
_ELEMENT: Final = "[]"
# What a number or a truth is as text.
_NO_TEXT: Final = r"^(?:-?[0-9][0-9.eE+-]*|true|false)$"


def made(kind: object) -> pl.DataType:
    """A type where a class may stand for it."""
    return kind() if isinstance(kind, type) else kind  # type: ignore[return-value]


def named(place: str) -> str:
    """A place as it is told: ``order.items[].price``."""
    return place.replace(BETWEEN + _ELEMENT, _ELEMENT).replace(BETWEEN, ".")


def nested(kind: object) -> bool:
    """Whether a type is one of objects or lists.

    >>> nested(pl.List(pl.String)), nested(pl.String)
    (True, False)
    """
    return isinstance(kind, pl.Struct | pl.List)


def parts(kind: DataType, place: str) -> Iterator[tuple[str, pl.DataType]]:
    """What a type of objects or lists is made of, each with its place.

    >>> [at.replace(BETWEEN, "/") for at, _ in parts(pl.Struct({"id": pl.Int64}), "order")]
    ['order/id']
    """
    if isinstance(kind, pl.Struct):
        for field in kind.fields:
            yield place + BETWEEN + field.name, made(field.dtype)
    elif isinstance(kind, pl.List):
        yield place + BETWEEN + _ELEMENT, made(kind.inner)


def leaves(kind: DataType, place: str) -> Iterator[tuple[str, DataType]]:
    """The leaves of a type, each with its place; one that is not made of others is its own."""
    within = list(parts(kind, place))
    if not within:
        yield place, kind
    for at, part in within:
        yield from leaves(part, at)


def mapped(kind: DataType, place: str, to: Callable[[pl.DataType, str], DataType]) -> pl.DataType:
    """The type with other leaves.

    >>> mapped(pl.List(pl.Date), "days", lambda kind, _: pl.String)
    List(String)
    """
    if isinstance(kind, pl.Struct):
        fields = zip(kind.fields, parts(kind, place), strict=True)
        return pl.Struct({field.name: mapped(part, at, to) for field, (at, part) in fields})
    if isinstance(kind, pl.List):
        ((at, part),) = parts(kind, place)
        return pl.List(mapped(part, at, to))
    return made(to(made(kind), place))


def changed(
    column: pl.Series, place: str, leaf: Leaf, to: pl.DataType
) -> tuple[pl.Series, pl.Series | None]:
    """A column of type ``to``, and the rows in which a cell that was there is null now.

    ``leaf`` is asked for every leaf whose type is another in ``to``; ``None`` stands for no rows.

    >>> column = pl.Series("a", [["1", "x"], None, ["2"]])
    >>> found, lost = changed(column, "a", lambda s, _: s.cast(pl.Int64, strict=False),
    ...                       pl.List(pl.Int64))
    >>> found.to_list(), lost.to_list()
    ([[1, None], None, [2]], [True, False, False])
    """
    if column.dtype == to:
        return column, None
    lost: list[str] = []

    def watched(cells: pl.Series, at: str) -> pl.Series:
        others = leaf(cells, at)
        if others.null_count() != cells.null_count():
            lost.append(at)
        return others

    frame = column.rechunk().to_frame("c")
    made_of = frame.select(_expression(pl.col("c"), place, column.dtype, to, watched))
    found = made_of.to_series().alias(column.name)
    if not lost:
        return found, None
    rows = frame.select(_lost(pl.col("c"), place, column.dtype, to, leaf).fill_null(value=False))
    return found, rows.to_series()


def _applied(cells: pl.Expr, place: str, to: pl.DataType, leaf: Leaf) -> pl.Expr:
    return cells.map_batches(
        lambda column: leaf(column, place), return_dtype=to, is_elementwise=True
    )


def _expression(cells: pl.Expr, place: str, kind: DataType, to: pl.DataType, leaf: Leaf) -> pl.Expr:
    if made(kind) == to:
        return cells
    if isinstance(kind, pl.Struct) and isinstance(to, pl.Struct):
        pairs = zip(parts(kind, place), to.fields, strict=True)
        fields = [
            _expression(cells.struct.field(field.name), at, part, made(field.dtype), leaf).alias(
                field.name
            )
            for (at, part), field in pairs
        ]
        return pl.when(cells.is_not_null()).then(pl.struct(fields))
    if isinstance(kind, pl.List) and isinstance(to, pl.List):
        ((at, part),) = parts(kind, place)
        return cells.list.eval(_expression(pl.element(), at, part, made(to.inner), leaf))
    return _applied(cells, place, to, leaf)


def _lost(cells: pl.Expr, place: str, kind: DataType, to: pl.DataType, leaf: Leaf) -> pl.Expr:
    """Whether a leaf that is there becomes null."""
    if made(kind) == to:
        return pl.lit(False)  # noqa: FBT003 - a literal of a boolean
    if isinstance(kind, pl.Struct) and isinstance(to, pl.Struct):
        pairs = zip(parts(kind, place), to.fields, strict=True)
        return pl.any_horizontal(
            _lost(cells.struct.field(field.name), at, part, made(field.dtype), leaf).fill_null(
                value=False
            )
            for (at, part), field in pairs
        )
    if isinstance(kind, pl.List) and isinstance(to, pl.List):
        ((at, part),) = parts(kind, place)
        return cells.list.eval(_lost(pl.element(), at, part, made(to.inner), leaf)).list.any()
    return cells.is_not_null() & _applied(cells, place, to, leaf).is_null()


def misfit(
    cell: Any, kind: DataType, place: str, fits: Callable[[Any, pl.DataType, str], bool]
) -> tuple[str, Any, pl.DataType] | None:
    """The first part of a parsed JSON value that is not of its type: where, what, and the type.

    >>> kind = pl.Struct({"ids": pl.List(pl.Int64)})
    >>> misfit({"ids": [1, "x"]}, kind, "order", lambda cell, kind, _: isinstance(cell, int))
    ('order.ids[1]', 'x', Int64)
    """
    return _misfit(cell, kind, (place, place), fits)


def _misfit(
    cell: Any,
    kind: DataType,
    where: tuple[str, str],
    fits: Callable[[Any, pl.DataType, str], bool],
) -> tuple[str, Any, pl.DataType] | None:
    told, place = where
    if cell is None:
        return None
    found: Iterator[tuple[str, str, Any, pl.DataType]] = iter(())
    if isinstance(kind, pl.Struct) and isinstance(cell, dict):
        found = (
            (f"{told}.{field.name}", at, cell.get(field.name), part)
            for field, (at, part) in zip(kind.fields, parts(kind, place), strict=True)
        )
    elif isinstance(kind, pl.List) and isinstance(cell, list):
        ((at, part),) = parts(kind, place)
        found = ((f"{told}[{i}]", at, element, part) for i, element in enumerate(cell))
    elif nested(kind) or not fits(cell, made(kind), place):
        return told, cell, made(kind)
    each = (_misfit(element, part, (name, at), fits) for name, at, element, part in found)
    return next(filter(None, each), None)


def is_raw(cell: object, kind: DataType, _: str = "") -> bool:
    """Whether a parsed JSON value is of the kind that the parser is asked for.

    >>> is_raw(1, pl.Int64), is_raw(True, pl.Int64), is_raw(1.5, pl.Int64)
    (True, False, False)
    """
    if kind == pl.String:
        return True
    if kind == pl.Boolean:
        return isinstance(cell, bool)
    if isinstance(cell, bool):
        return False
    if kind == pl.Float64:
        return isinstance(cell, int | float) and math.isfinite(cell)
    low, high = (0, 2**64 - 1) if kind == pl.UInt64 else (-(2**63), 2**63 - 1)
    return isinstance(cell, int) and low <= cell <= high


def word(kind: pl.DataType) -> str:
    """What JSON calls a type of objects or lists; of any other its name."""
    if isinstance(kind, pl.Struct):
        return "object"
    return "list" if isinstance(kind, pl.List) else str(kind)


def as_it_stands(
    column: pl.Series, kind: DataType, values: Values, bad: dict[int, str]
) -> pl.Series:
    """A column whose leaves of text are as its records have them: numbers come rewritten.

    ``values`` are the records, which the parser has taken; a row that cannot be looked at is bad.
    """
    names = [at for at, part in leaves(kind, column.name) if part == pl.String]
    if not names:
        return column
    frame = column.rechunk().to_frame("c")
    contains = _contains(pl.col("c"), kind, column.name, names, REWRITTEN)
    rows = frame.select(contains.fill_null(value=False)).to_series().arg_true()
    if rows.is_empty():
        return column
    records = pl.Series([values[row] for row in rows], dtype=pl.Binary).cast(pl.String)
    looked = records.str.contains("|".join({_pattern(name) for name in names}))
    rows, records = rows.filter(looked), records.filter(looked)
    if rows.is_empty():
        return column
    lines: list[str] = []
    for row, text in zip(rows, records, strict=True):
        lines.append('{"c":null}')
        try:
            lines[-1] = f'{{"c":{_quoted(members(text)[column.name], kind)}}}'
        except (ValueError, LookupError, RecursionError) as error:
            bad[row] = f"column {column.name!r}: cannot be taken as it stands: {error}"
    fixed = pl.read_ndjson("\n".join(lines).encode(), schema={"c": column.dtype}).to_series()
    order = np.arange(len(column))
    order[rows.to_numpy()] = np.arange(len(column), len(column) + len(lines))
    return pl.concat([column, fixed.alias(column.name)]).gather(order)


def only_texts(
    column: pl.Series, kind: DataType, places: Collection[str], values: Values, bad: dict[int, str]
) -> None:
    """Make those rows bad in which a leaf at one of the places is no text but a number or a truth.

    The parser gives these as their text.
    """
    if not any(at in places for at, _ in leaves(kind, column.name)):
        return
    frame = column.rechunk().to_frame("c")
    looks = _contains(pl.col("c"), kind, column.name, places, _NO_TEXT).fill_null(value=False)

    def fits(cell: Any, _: pl.DataType, place: str) -> bool:
        return place not in places or isinstance(cell, str)

    for row in frame.select(looks).to_series().arg_true():
        if row not in bad:
            parsed = json.loads(values[row] or b"", object_pairs_hook=_first)
            found = misfit(parsed.get(column.name), kind, column.name, fits)
            if found is not None:
                bad[row] = f"column {found[0]!r}: {found[1]!r} is no text"


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def check_finite(frame: pl.DataFrame) -> None:
    """Raise `WriteError` for a number that is not finite, in a column or inside one."""
    for column in frame.get_columns():
        for place, cells in _flat(column, column.name):
            if cells.dtype.is_float() and not finite(cells):
                cell = cells.filter(~cells.is_finite())[0]
                raise WriteError(
                    f"column {named(place)!r} is {cell}, which is no number in JSON: leave it out, "
                    'or say nan="null" in the format'
                )


def _flat(column: pl.Series, place: str) -> Iterator[tuple[str, pl.Series]]:
    """The leaves of a column, each with its place."""
    kind = column.dtype
    if isinstance(kind, pl.Struct):
        for field, (at, _) in zip(kind.fields, parts(kind, place), strict=True):
            yield from _flat(column.struct.field(field.name), at)
    elif isinstance(kind, pl.List | pl.Array):
        yield from _flat(column.explode(), place + BETWEEN + _ELEMENT)
    else:
        yield place, column


def _contains(
    cells: pl.Expr, kind: DataType, place: str, places: Collection[str], pattern: str
) -> pl.Expr:
    """Whether a leaf of text at one of the places contains what a pattern says."""
    if isinstance(kind, pl.Struct):
        return pl.any_horizontal(
            _contains(cells.struct.field(field.name), part, at, places, pattern).fill_null(
                value=False
            )
            for field, (at, part) in zip(kind.fields, parts(kind, place), strict=True)
        )
    if isinstance(kind, pl.List):
        ((at, part),) = parts(kind, place)
        return cells.list.eval(_contains(pl.element(), part, at, places, pattern)).list.any()
    if made(kind) != pl.String or place not in places:
        return pl.lit(False)  # noqa: FBT003 - a literal of a boolean
    return cells.str.contains(pattern)


def _pattern(place: str) -> str:
    name = place.rpartition(BETWEEN)[2]
    return r"[\[,]\s*(?:-?[0-9]+[.eE]|-0|[\[{])|\\u" if name == _ELEMENT else rewritten(name)


def _quoted(text: str, kind: DataType) -> str:
    """A member's text in which all that columns of text take is text."""
    if made(kind) == pl.String:
        return json.dumps(as_text(text))
    if text == "null":
        return text
    if isinstance(kind, pl.Struct):
        found = members(text)
        named = (
            f"{json.dumps(field.name)}:{_quoted(found[field.name], made(field.dtype))}"
            for field in kind.fields
            if field.name in found
        )
        return f"{{{','.join(named)}}}"
    if isinstance(kind, pl.List):
        return f"[{','.join(_quoted(element, made(kind.inner)) for element in elements(text))}]"
    return text
