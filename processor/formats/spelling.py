"""Types and texts as they are written in Python, for code and for remedies."""

from __future__ import annotations

import polars as pl

from processor.formats.base import DataType
from processor.formats.nested import made


def spelt(kind: DataType) -> str:
    """A type as it is written in Python.

    >>> spelt(pl.List(pl.Struct({"at": pl.Datetime("us", "UTC"), "n": pl.Int64})))
    'pl.List(pl.Struct({"at": pl.Datetime("us", "UTC"), "n": pl.Int64}))'
    >>> spelt(pl.String), spelt(pl.Decimal(18, 2)), spelt(pl.Enum(["a"]))
    ('pl.String', 'pl.Decimal(18, 2)', "pl.Enum(['a'])")
    """
    kind = made(kind)
    inside: tuple[str, ...] = ()
    match kind:
        case pl.Struct():
            members = (f"{quoted(part.name)}: {spelt(made(part.dtype))}" for part in kind.fields)
            inside = (f"{{{', '.join(members)}}}",)
        case pl.List():
            inside = (spelt(made(kind.inner)),)
        case pl.Datetime():
            zone = [] if kind.time_zone is None else [quoted(kind.time_zone)]
            inside = (quoted(kind.time_unit), *zone)
        case pl.Duration():
            inside = (quoted(kind.time_unit),)
        case pl.Decimal():
            inside = (str(kind.precision), str(kind.scale))
        case pl.Enum():
            inside = (str(kind.categories.to_list()),)
        case _:
            pass
    name = f"pl.{type(kind).__name__}"
    return f"{name}({', '.join(inside)})" if inside else name


def quoted(text: str) -> str:
    """A text as it is written in Python, in double quotes.

    >>> print(quoted("it's"), quoted('"'))
    "it's" '"'
    """
    inner = repr(f"'{text}")[2:-1]  # a single quote inside makes the quotes double
    return f'"{inner}"' if '"' not in text else repr(text)
