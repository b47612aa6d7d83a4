"""Whether the rows for a sink are those that its format names.

A format that names its columns is a promise to readers. Rows with these columns in another order
are written in the format's; rows with others, or of other types, are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import polars as pl

from processor.errors import TopologyError
from processor.formats.base import DataType, SchemaFormat, describe_columns, many_rows
from processor.formats.bytes import Bytes
from processor.formats.cloudevents import CloudEvents
from processor.formats.csv import Csv
from processor.formats.declared import full
from processor.formats.json import Json
from processor.formats.spelling import spelt
from processor.formats.text import Text
from processor.plan import nodes


def check(sink: nodes.Sink, have: Mapping[str, pl.DataType]) -> None:
    """Raise `TopologyError` where the rows are not those that the format names.

    >>> from processor import Csv, Text, Topology
    >>> lines = Topology("copy").read.kafka("from", format=Text())
    >>> lines.write.kafka("to", format=Csv({"origin": pl.String}))
    >>> check(lines._topology._sinks[0], {"value": pl.String()})
    Traceback (most recent call last):
    processor.errors.TopologyError: ...: the format names 'origin', and there is no such column
      remedy: the columns here are value String: add 'origin', or take it out of the format
    """
    form = sink.format
    if many_rows(form) is not None and (sink.headers is not None or sink.timestamp is not None):
        raise TopologyError(
            f"{sink.at}: a record of {form.describe().partition('(')[0]} holds many rows, and has "
            "its own headers and timestamp",
            remedy="leave headers= and timestamp= out, and keep the columns in the rows",
        )
    if isinstance(form, CloudEvents):
        _event(sink, form, have)
    if isinstance(form, Text):
        _text(sink, have)
    if not isinstance(form, Csv | Json | Bytes | SchemaFormat):
        return
    if isinstance(form, Json) and not form.columns:
        _numbers(sink, form, have)
    else:
        _same(sink, form.columns or {}, have)


def _event(sink: nodes.Sink, form: CloudEvents, have: Mapping[str, pl.DataType]) -> None:
    """The attributes are there, and the rest is what the format of the data takes."""
    names = form.attributes.values()
    for name, column in form.attributes.items():
        kind = have.get(column)
        times = isinstance(kind, pl.Datetime | pl.Date)
        if kind is None or (name == "time") != times or (not times and kind.is_nested()):
            raise TopologyError(
                f"{sink.at}: rows cannot be written to {sink.topic!r}: the event's {name} is the "
                f"column {column!r}, " + ("and there is none" if kind is None else f"of {kind}"),
                remedy=f"add {column!r}, "
                + ("a Datetime" if name == "time" else "of text")
                + ", or name another column in attributes; one text for all events is "
                f'constants={{"{name}": "..."}}, and {name!r} left out of attributes',
            )
    rest = {name: kind for name, kind in have.items() if name not in names}
    check(replace(sink, format=form.data), rest)


def _text(sink: nodes.Sink, have: Mapping[str, pl.DataType]) -> None:
    """The one column is of a type that has a text, as a key's column is."""
    if len(have) == 1:
        ((name, kind),) = have.items()
        if not (isinstance(kind, _WITH_TEXT) or kind.is_numeric()):
            raise TopologyError(
                f"{sink.at}: rows cannot be written to {sink.topic!r}: {name!r} is {kind}, and a "
                "Text is text, a number, a time or a boolean",
                remedy=f'for bytes as they are say format=Bytes("{name}")'
                if kind == pl.Binary
                else "make text of it with with_columns(...), or write it in another format: "
                "format=Json()",
            )


_WITH_TEXT: Final = (
    pl.String, pl.Enum, pl.Categorical, pl.Boolean, pl.Datetime, pl.Date, pl.Time,
)  # fmt: skip


def _same(
    sink: nodes.Sink, wanted: Mapping[str, DataType], have: Mapping[str, pl.DataType]
) -> None:
    wrong = f"{sink.at}: rows cannot be written to {sink.topic!r}: "
    columns = ", ".join(f'"{name}"' for name in wanted)
    for name in wanted:
        if name not in have:
            raise TopologyError(
                f"{wrong}the format names {name!r}, and there is no such column",
                remedy=f"the columns here are {describe_columns(have)}: add {name!r}, or take it "
                "out of the format",
            )
    for name in have:
        if name not in wanted:
            way = f"write the format's alone: .select({columns})"
            if have[name] == nodes.HEADERS:
                way = f'write.kafka(..., headers="{name}") makes headers of it; or {way}'
            else:
                way = f"name it in the format, or {way}"
            raise TopologyError(f"{wrong}the format does not name the column {name!r}", remedy=way)
    for name, kind in wanted.items():
        if have[name] != full(kind):
            raise TopologyError(
                f"{wrong}{name!r} is {have[name]}, and {full(kind)} in the format",
                remedy=_remedy(name, have[name], kind),
            )


def _remedy(name: str, have: pl.DataType, wanted: DataType) -> str:
    if have.is_nested():
        return f'make text of it before the sink: .with_columns(pl.col("{name}").cast(pl.String))'
    if have == pl.Null:
        return f"give it a type: pl.lit(None, {spelt(full(wanted))})"
    return (
        f"say {spelt(have)} in the format, or before the sink "
        f'.with_columns(pl.col("{name}").cast({spelt(full(wanted))}))'
    )


def _numbers(sink: nodes.Sink, form: Json, have: Mapping[str, pl.DataType]) -> None:
    """Without columns, numbers since 1970 may be declared for any times."""
    for name in (*form.millis, *form.epoch):
        if have.get(name) != pl.Datetime:
            raise TopologyError(
                f"{sink.at}: rows cannot be written to {sink.topic!r}: the format has {name!r} as "
                "a number since 1970, "
                + (f"and it is {have[name]}" if name in have else "and there is no such column"),
                remedy="name a column of times, or take it out of the format",
            )
