"""What of a value is not as a shape says, by column and by record."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson
import polars as pl

from processor.formats.base import shown
from processor.formats.json_shape import Shape
from processor.formats.members import first_of

Test = Callable[[pl.Expr, Shape], pl.Expr | None]
"""Whether something is the matter with a cell of a shape; ``None``: never."""


def anywhere(cells: pl.Expr, shape: Shape, test: Test) -> pl.Expr | None:
    """Whether a test finds something in a cell or in what is in it; ``None``: never."""
    found = [test(cells, shape)]
    for name, member in shape.members:
        inside = anywhere(cells.struct.field(name), member, test)
        # Of an object that is not there nothing is missing.
        found.append(None if inside is None else inside & cells.is_not_null())
    if shape.element is not None:
        inside = anywhere(pl.element(), shape.element, test)
        if inside is not None:
            found.append(cells.list.eval(inside.fill_null(value=False)).list.any())
    there = [one.fill_null(value=False) for one in found if one is not None]
    return pl.any_horizontal(there) if there else None


def misfit(cell: Any, shape: Shape, place: str) -> str | None:
    """What in a parsed value is not as its shape says, beyond what columns tell.

    >>> shape = Shape(pl.Struct({"a": pl.String()}), members=(("a", Shape(pl.String())),))
    >>> misfit({"a": 5}, shape, "it"), misfit({"a": None}, shape, "it"), misfit({}, shape, "it")
    ("column 'it.a': 5 is no text", "column 'it.a': null", None)
    """
    return next(_misfits(cell, shape, place), None)


def _misfits(cell: Any, shape: Shape, place: str) -> Iterator[str]:
    if shape.free or (cell is None and shape.null):
        return
    if cell is None:
        yield f"column {place!r}: null"
    elif isinstance(shape.kind, pl.String | pl.Enum):
        if not isinstance(cell, str):
            yield f"column {place!r}: {shown(cell)} is no text"
    elif isinstance(cell, dict):
        yield from _missing(cell, shape, f"{place}." if place else "")
    elif isinstance(cell, list) and shape.element is not None:
        for number, element in enumerate(cell):
            yield from _misfits(element, shape.element, f"{place}[{number}]")


def _missing(cell: Mapping[str, Any], shape: Shape, before: str) -> Iterator[str]:
    if shape.closed:
        names = {name for name, _ in shape.members}
        yield from (f"column {before + n!r}: no such member" for n in cell if n not in names)
    for name, member in shape.members:
        if name in cell:
            yield from _misfits(cell[name], member, before + name)
        elif member.required:
            yield f"column {before + name!r}: missing"


def strangers(shape: Shape) -> Callable[[Any], bool] | None:
    """Whether a value has members that its shape does not name; ``None`` where it may have any.

    >>> members = (("a", Shape(pl.Int64())),)
    >>> look = strangers(Shape(pl.Struct({"a": pl.Int64()}), closed=True, members=members))
    >>> look({"a": 1}), look({"a": 1, "b": 2})
    (False, True)
    """
    if shape.element is not None:
        each = strangers(shape.element)
        return (
            None if each is None else lambda cell: isinstance(cell, list) and any(map(each, cell))
        )
    names = frozenset(name for name, _ in shape.members)
    found = ((name, strangers(member)) for name, member in shape.members)
    inside = [(name, look) for name, look in found if look is not None]
    if not shape.closed and not inside:
        return None

    def look(cell: Any) -> bool:
        if not isinstance(cell, dict):
            return False
        if shape.closed and not cell.keys() <= names:
            return True
        return any(name in cell and within(cell[name]) for name, within in inside)

    return look


def without_nulls(cell: Any, shape: Shape) -> Any:
    """A value without the members that are null and may only be missing."""
    if isinstance(cell, dict):
        members = dict(shape.members)
        return {
            name: without_nulls(value, members[name])
            for name, value in cell.items()
            if value is not None or members[name].null
        }
    if isinstance(cell, list) and shape.element is not None:
        return [without_nulls(element, shape.element) for element in cell]
    return cell


def strange_records(shape: Shape) -> Callable[[bytes], bool] | None:
    """Whether a record has members that the schema does not name; ``None`` where it may have any.

    Which of two members of one name counts matters only for what is inside of them: else the
    record is parsed the fast way.

    >>> members = (("a", Shape(pl.Int64())),)
    >>> look = strange_records(Shape(pl.Struct({"a": pl.Int64()}), closed=True, members=members))
    >>> look(b'{"a":1}'), look(b'{"a":1,"b":2}')
    (False, True)
    """
    look = strangers(shape)
    if look is None:
        return None
    inside = any(strangers(member) is not None for _, member in shape.members)
    parse = parsed if inside else _last
    return lambda value: look(parse(value))


def _last(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return json.loads(value)


def parsed(value: bytes) -> Any:
    """A record, which is JSON: of members with one name the first counts, as in its columns.

    >>> parsed(b'{"a":1,"a":2}')
    {'a': 1}
    """
    return json.loads(value, object_pairs_hook=first_of)
