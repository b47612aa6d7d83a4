"""Whether a sink can write the rows that come to it: tried on one row, before any is there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

import polars as pl

from processor.errors import TopologyError
from processor.formats.base import SchemaFormat, WriteError
from processor.formats.json import Json
from processor.plan import nodes


def check(sink: nodes.Sink, have: Mapping[str, pl.DataType]) -> None:
    """Raise `TopologyError` for a column that the format cannot write.

    ``have`` are the columns of the value. Each column is tried by itself, with a value and not only
    with null: a writer may take a type until there is something to write.
    """
    if isinstance(sink.format, Json):
        for name, kind in have.items():
            if _no_json(kind):
                raise _refusal(
                    sink, f"column {name!r}, which is {kind},", "JSON has no such values"
                )
    if isinstance(sink.format, SchemaFormat):
        # The columns are those of its schema, so their types are; a row of nulls may be none.
        _try(sink, pl.DataFrame(schema=dict(have)), "rows")
        return
    nothing = {name: pl.Series(name, [None], kind) for name, kind in have.items()}
    _try(sink, pl.DataFrame(list(nothing.values())), "rows")
    for name, kind in have.items():
        value = _value(kind)
        if value is not None:
            row = nothing | {name: pl.Series(name, [value], kind)}
            _try(sink, pl.DataFrame(list(row.values())), f"column {name!r}, which is {kind},")


def _try(sink: nodes.Sink, row: pl.DataFrame, what: str) -> None:
    try:
        sink.format.encode(row)
    except TopologyError as error:
        raise TopologyError(f"{sink.at}: {error.message}", remedy=error.remedy) from error
    except WriteError:
        pass  # of this cell, and not of its type
    # A format may be the user's own, and raise anything; a panic of the column engine is no
    # Exception.
    except (Exception, pl.exceptions.PanicException) as error:
        raise _refusal(sink, what, str(error).partition("\n")[0]) from error


def _refusal(sink: nodes.Sink, what: str, why: str) -> TopologyError:
    kind = sink.format.describe().partition("(")[0]
    return TopologyError(
        f"{sink.at}: {what} cannot be written to {sink.topic!r} as {kind}: {why}",
        remedy="leave it out with select(...), or make a column of it that the format can write "
        "(text, numbers, times, booleans) with with_columns(...)",
    )


def _no_json(kind: pl.DataType, *, array: bool = False) -> bool:
    """Whether a type is one that JSON has no values for, or has one inside.

    The column engine ends a thread of its own over these, and tells it to the terminal.
    """
    if isinstance(kind, pl.List | pl.Array):
        return _no_json(_made(kind.inner), array=array or isinstance(kind, pl.Array))
    if isinstance(kind, pl.Struct):
        return any(_no_json(_made(field.dtype), array=array) for field in kind.fields)
    return isinstance(kind, pl.Object) or (array and isinstance(kind, pl.Binary))


def _value(kind: pl.DataType) -> Any:
    """A value of a type; ``None`` where there is none to be had."""
    if isinstance(kind, pl.List):
        return [_value(_made(kind.inner))]
    if isinstance(kind, pl.Array):
        return [_value(_made(kind.inner))] * kind.size
    if isinstance(kind, pl.Struct):
        return {field.name: _value(_made(field.dtype)) for field in kind.fields}
    if isinstance(kind, pl.Enum):
        return next(iter(kind.categories), None)
    return next((value for of, value in _VALUES.items() if isinstance(kind, of)), None)


_VALUES: Final[Mapping[type[pl.DataType], Any]] = {
    pl.String: "a",
    pl.Categorical: "a",
    pl.Boolean: True,
    pl.Float32: 1.5,
    pl.Float64: 1.5,
    pl.Decimal: Decimal(1),
    pl.Date: date(2014, 8, 1),
    pl.Datetime: datetime(2014, 8, 1),  # noqa: DTZ001 - the column says its zone
    pl.Time: time(12),
    pl.Duration: timedelta(hours=1),
    pl.Binary: b"a",
    **dict.fromkeys(
        (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128, pl.UInt8, pl.UInt16, pl.UInt32,
         pl.UInt64), 1,
    ),
}  # fmt: skip


def _made(kind: Any) -> pl.DataType:
    made: pl.DataType = kind() if isinstance(kind, type) else kind
    return made
