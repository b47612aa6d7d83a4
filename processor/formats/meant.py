"""Types that are told as in another system, and what they are called here."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

import polars as pl

from processor.formats.spelling import quoted, spelt

DIGITS_MOST: Final = 38
"""Digits of a `pl.Decimal`."""

_CALLED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("str", "string", "text", "varchar", "utf8"), "pl.String"),
    **dict.fromkeys(("int", "long", "bigint"), "pl.Int64"),
    "integer": "pl.Int32",
    **dict.fromkeys(("float", "double"), "pl.Float64"),
    **dict.fromkeys(("bool", "boolean"), "pl.Boolean"),
    **dict.fromkeys(("datetime", "timestamp"), 'pl.Datetime("us")'),
    "date": "pl.Date", "time": "pl.Time", "timedelta": 'pl.Duration("us")',
    **dict.fromkeys(("bytes", "binary"), "pl.Binary"),
    "decimal": "pl.Decimal(18, 2), with its digits",
    "list": "pl.List(pl.String), with the type of its items",
    "dict": 'pl.Struct({"a": pl.Int64}), with its members',
    **{f"int{bits}": f"pl.Int{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"pl.UInt{bits}" for bits in (8, 16, 32, 64)},
    "float32": "pl.Float32", "float64": "pl.Float64",
}  # fmt: skip


def meant(kind: object, *, deep: bool = False) -> str | None:
    """What to write for a type of Python, of Arrow, for the name of one, and for ``{}`` and ``[]``.

    ``deep``: the format has objects and lists.

    >>> meant(str)
    'write pl.String for str; or give a class that has the columns'
    >>> meant({"city": str, "tags": ["string"]}, deep=True)
    'write pl.Struct({"city": pl.String, "tags": pl.List(pl.String)})'
    >>> meant(pl.Object)
    """
    if isinstance(kind, pl.Decimal):
        scale = min(kind.scale, DIGITS_MOST)
        return (
            f"a Decimal has 1 to {DIGITS_MOST} digits, and no more of them behind the point: "
            f"write pl.Decimal({max(1, scale, min(kind.precision, DIGITS_MOST))}, {scale})"
        )
    if isinstance(kind, Mapping | list | tuple):
        right = _spelt(kind) if deep else None
        return right and f"write {right}"
    if isinstance(kind, pl.DataType) or (isinstance(kind, type) and issubclass(kind, pl.DataType)):
        return None
    if (right := _spelt(kind)) is None:
        return None
    named = kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
    return f"write {right} for {named}; or give a class that has the columns"


def meant_columns(columns: object) -> str:
    """What to write for columns that are told otherwise than by a mapping.

    >>> meant_columns(["id", "n"])
    '{"id": pl.String, "n": pl.String}'
    """
    found: dict[str, str] = {}
    of = getattr(columns, "columns", None)  # a format, where its columns are due
    if isinstance(of, Mapping):
        found = {str(name): _spelt(kind) or "pl.String" for name, kind in of.items()}
    elif isinstance(columns, Iterable) and not isinstance(columns, str | bytes | set | frozenset):
        for field in columns:
            name = field if isinstance(field, str) else getattr(field, "name", None)
            if not isinstance(name, str):
                break
            found[name] = _spelt(getattr(field, "type", str)) or "pl.String"
    return _members(found or {"user": "pl.String"})


def _members(types: Mapping[str, str]) -> str:
    told = ", ".join(f"{quoted(name)}: {kind}" for name, kind in types.items())
    return f"{{{told}}}"


def _spelt(kind: Any) -> str | None:
    """A type as it is written in Python."""
    if isinstance(kind, Mapping):
        members = {str(name): _spelt(member) for name, member in kind.items()}
        known = {name: _bare(member) for name, member in members.items() if member is not None}
        return f"pl.Struct({_members(known)})" if len(known) == len(members) > 0 else None
    if isinstance(kind, list | tuple):
        item = _spelt(kind[0]) if len(kind) == 1 else None
        return item and f"pl.List({_bare(item)})"
    if isinstance(kind, pl.DataType) or (isinstance(kind, type) and issubclass(kind, pl.DataType)):
        return spelt(kind)
    if type(kind).__module__.startswith("pyarrow"):
        return _of_arrow(kind)
    return _CALLED.get((kind if isinstance(kind, str) else getattr(kind, "__name__", "")).lower())


def _bare(spelt_type: str) -> str:
    """Without what is said beside it."""
    return spelt_type.partition(", with ")[0]


def _of_arrow(kind: Any) -> str | None:
    arrow = sys.modules["pyarrow"]  # its type is there, so it is
    try:
        column = pl.from_arrow(arrow.array([], type=kind))
    except Exception:  # noqa: BLE001 - it is only to be named, and what it raises says nothing here
        return None
    return _spelt(column.dtype) if isinstance(column, pl.Series) else None
