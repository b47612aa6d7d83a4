"""Expressions and formats as text that differs wherever they do something else.

What the column engine prints of an expression leaves options out: the form of a time, the digits of
a rounding, the zone that a time is changed to.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from hashlib import blake2b
from typing import Any, Final, cast

import polars as pl

from processor.formats.base import Format, SchemaFormat
from processor.plan.rowwise import FUNCTION, every_node, parts

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]+")
_SETS: Final = (".is_in(", ".contains_any(")
"""Functions to which the order of what they look values up in is nothing."""


def expression(expr: pl.Expr) -> str:
    """An expression with all options of its functions.

    What a function of the user's own computes is not seen, nor the options of what is made of it.

    >>> at = pl.col("at")
    >>> str(at.str.to_datetime("%Y")) == str(at.str.to_datetime("%d"))
    True
    >>> expression(at.str.to_datetime("%Y")) == expression(at.str.to_datetime("%d"))
    False
    """
    text, inner = str(expr), parts(expr)
    if FUNCTION in text:
        for part in inner:
            text = text.replace(str(part), "·")
        own = _looked_up(expr)
        behind = [expression(part) for part in inner if own is None or part is not inner[-1]]
        # A function may be printed with where it lies in memory.
        return "\n".join([_ADDRESS.sub("", text), *behind, own or ""])
    told = expr.meta.serialize(format="json")
    for node in every_node(expr) if any(word in text for word in _SETS) else ():
        if (values := _looked_up(node)) is not None:
            told = told.replace(parts(node)[-1].meta.serialize(format="json"), values)
    return told


def _looked_up(node: pl.Expr) -> str | None:
    """The values that a node looks others up in, in an order of their own.

    A set of Python's is in another order in each process.
    """
    inner = parts(node)
    if len(inner) != 2 or not inner[1].meta.is_literal():
        return None
    if not any(str(node).endswith(f"{word}[{inner[1]}])") for word in _SETS):
        return None
    values = pl.select(inner[1]).to_series()
    while values.dtype.is_nested() and not values.is_empty():
        values = values.explode()
    return f"{values.dtype} {sorted(map(repr, values.unique().to_list()))}"


def format_(form: Format) -> str:
    """A format with its columns, and with the options that are not as they come.

    >>> from processor import Json
    >>> format_(Json({"n": pl.Int64}))
    'json(n Int64)'
    >>> format_(Json({"n": pl.Int64}, optional=frozenset({"n"})))
    'json(n Int64) optional={n}'
    """
    told, own = [form.describe()], cast("Any", form)
    if isinstance(own, SchemaFormat) and (schemas := own.told()) is not None:
        text = json.dumps(schemas, sort_keys=True)
        told.append(blake2b(text.encode(), digest_size=8).hexdigest())
    for field in dataclasses.fields(own) if dataclasses.is_dataclass(own) else ():
        if not (field.init and field.compare) or field.name == "columns":
            continue
        value, usual = getattr(own, field.name), field.default
        if field.default_factory is not dataclasses.MISSING:
            usual = field.default_factory()
        # What has no usual value, and is no format, is what `describe` is there to tell.
        needed = usual is dataclasses.MISSING
        if (_is_format(value) or not needed) and value != usual and (text := _plain(value)):
            told.append(f"{field.name}={text}")
    return " ".join(told)


def _is_format(value: object) -> bool:
    return hasattr(value, "describe") and hasattr(value, "decode")


def _plain(value: Any) -> str:
    """A value as text, of equal values the same; empty for what is no plain value."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(sorted(f'{k}: {_plain(v)}' for k, v in value.items()))}}}"
    if isinstance(value, AbstractSet):
        return f"{{{', '.join(sorted(map(_plain, value)))}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_plain, value))}]"
    if _is_format(value):
        return format_(value)
    plain = value is None or isinstance(value, str | int | float)
    return str(value) if plain else ""
