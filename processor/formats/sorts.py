"""What a sink and a plan have to know of a format: asked here, of whatever stands around it.

A format of the user's own has four methods and no more; what it takes only it can tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from processor.formats.base import DataType, Format
from processor.formats.csv import Csv
from processor.formats.json import Json
from processor.formats.json_schema import JsonSchema
from processor.formats.protobuf import Protobuf
from processor.formats.registered import Registered
from processor.formats.text import Text

_NAMED: Final = (Csv, Json, JsonSchema, Protobuf)
_WITHOUT_EMPTY: Final = (Csv, Text)
_BINARY: Final = (Protobuf,)


def bare(form: Format) -> Format:
    """The format without its registry.

    >>> bare(Text())
    Text(value_bytes_max=1000000)
    """
    return form.format if isinstance(form, Registered) else form


def named(form: Format) -> Mapping[str, DataType] | None:
    """The columns that a format writes, these and no others; ``None``: whatever there is.

    >>> named(Json()) is None, named(Text()) is None
    (True, True)
    """
    form = bare(form)
    return (form.columns or None) if isinstance(form, _NAMED) else None


def required(form: Format) -> frozenset[str] | None:
    """Those of its columns that cannot be null; ``None`` for a format that does not say.

    >>> import polars as pl
    >>> required(Json({"a": pl.Int64, "b": pl.Int64}, optional=frozenset({"b"})))
    frozenset({'a'})
    """
    form = bare(form)
    if not isinstance(form, _NAMED):
        return None
    return frozenset(form.columns or ()) - getattr(form, "optional", frozenset())


def takes_empty_text(form: Format) -> bool:
    """Whether empty text is written so that it is read back."""
    return not isinstance(bare(form), _WITHOUT_EMPTY)


def takes_any_float(form: Format) -> bool:
    """Whether infinities and what is no number are written so that they are read back."""
    return isinstance(bare(form), (*_BINARY, Text))


def takes_bytes(form: Format) -> bool:
    """Whether bytes can be written: as text they cannot."""
    return isinstance(bare(form), _BINARY)
