"""What a record has beside its value: which columns it is read into, and which it is made of.

::

    read.kafka(key=, headers=, partition=, offset=, timestamp=)     columns to add
    write.kafka(key=, headers=, timestamp=)                         columns to take

A column that is taken is part of the value too, unless the format names its columns, and this one
is not among them; all headers in one column never are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import polars as pl

from processor.errors import TopologyError
from processor.formats.base import SchemaFormat
from processor.formats.bytes import Bytes
from processor.formats.cloudevents import CloudEvents
from processor.formats.csv import Csv
from processor.formats.json import Json
from processor.formats.text import Text
from processor.plan import keyed, nodes

RESERVED: Final = "processor."
NO_TEXT: Final = (pl.List, pl.Array, pl.Struct, pl.Object, pl.Duration, pl.Null)
"""Types whose text is one's own, and another's, or none: no keys and no headers."""

_MAKE_TEXT: Final = 'pl.concat_str("a", "b", separator="|")'


def check_source(source: nodes.Source) -> None:
    """Raise `TopologyError` for a column that stands for two things.

    >>> from processor import Text, Topology
    >>> rows = Topology("copy").read.kafka("from", format=Text(), key="value")
    >>> check_source(rows._node)
    Traceback (most recent call last):
    processor.errors.TopologyError: ...: key='value' is a column of the format too
      remedy: call the column with the record's own key otherwise; ...
    """
    keyed.check_source(source)
    seen: dict[str, str] = {}
    for option, column in _asked(source):
        if column in (source.format.columns or ()):
            raise TopologyError(
                f"{source.at}: {option}={column!r} is a column of the format too",
                remedy=_otherwise(option, column),
            )
        if column in seen:
            raise TopologyError(
                f"{source.at}: {column!r} stands for two columns, {seen[column]} and {option}",
                remedy="call one of them otherwise",
            )
        seen[column] = option
        if column in source.partitioned_by and option not in ("key", "key_format"):
            raise TopologyError(
                f"{source.at}: no topic is keyed by its records' {option}s ({column!r})",
                remedy="say which columns the records' keys are made of",
            )


def _otherwise(option: str, column: str) -> str:
    if option == "key_format":
        return 'let the names of the key\'s columns begin with a text: key_prefix="key_"'
    keyed = f'; which columns the topic is keyed by, partitioned_by="{column}" says'
    return f"call the column with the record's own {option} otherwise" + keyed * (option == "key")


def _asked(source: nodes.Source) -> Iterator[tuple[str, str]]:
    """Each option with the columns that it adds."""
    plain = (
        ("key", source.key), ("partition", source.partition), ("offset", source.offset),
        ("timestamp", source.timestamp),
    )  # fmt: skip
    yield from (("key_format", column) for column in source.of_key())
    yield from ((option, column) for option, column in plain if column is not None)
    yield from (("header", column) for column in nodes.header_columns(source.headers))


def apart(sink: nodes.Sink, have: Mapping[str, pl.DataType]) -> tuple[str, ...]:
    """The columns that are no part of the value: a record has them beside it.

    >>> from processor import Csv, Topology
    >>> rows = Topology("copy").read.kafka("from", format=Csv({"n": pl.Int64}), key="k")
    >>> rows.write.kafka("to", key="k", format=Csv({"n": pl.Int64}))
    >>> apart(rows._topology._sinks[0], {"n": pl.Int64(), "k": pl.String()})
    ('k',)
    """
    taken = {*nodes.key_columns(sink.key), sink.timestamp, *nodes.header_columns(sink.headers)}
    form = sink.format
    known = isinstance(form, Csv | Json | CloudEvents | Bytes | SchemaFormat)
    named = form.columns if known else None
    if isinstance(form, Text):
        others = [name for name in have if name not in taken]
        named = dict.fromkeys(others, pl.String) or None
    whole = sink.headers if isinstance(sink.headers, str) else None
    return tuple(
        name
        for name in have
        if name == whole or (name in taken and named is not None and name not in named)
    )


def check(sink: nodes.Sink, have: Mapping[str, pl.DataType], source: nodes.Source) -> None:
    """Raise `TopologyError` for a column that is not there, or is not of the right type."""
    for name in nodes.key_columns(sink.key):
        _there(sink, f"key={name!r}", name, have, source)
        if sink.key_format is None and isinstance(have[name], NO_TEXT):
            raise TopologyError(
                f"{sink.at}: key={name!r} is {have[name]}, which cannot be a key",
                remedy=f"make text of it before, as in with_columns(k={_MAKE_TEXT}), and key by "
                "that; or give it a format: key_format=Json()",
            )
    keyed.check_sink(sink, have)
    if sink.timestamp is not None:
        told = f"timestamp={sink.timestamp!r}"
        _there(sink, told, sink.timestamp, have, source)
        if have[sink.timestamp] not in (pl.Datetime, pl.Date):
            raise TopologyError(
                f"{sink.at}: {told} is {have[sink.timestamp]}, no time",
                remedy='make a time of it before: pl.from_epoch(..., "ms") of a number, '
                'pl.col(...).str.to_datetime("%Y-%m-%d %H:%M:%S") of text',
            )
    _headers(sink, have, source)
    if len(apart(sink, have)) == len(have):
        raise TopologyError(
            f"{sink.at}: no column is left for the value of a record",
            remedy="keep one with select(...)",
        )


def _headers(sink: nodes.Sink, have: Mapping[str, pl.DataType], source: nodes.Source) -> None:
    if isinstance(sink.headers, str):
        told = f"headers={sink.headers!r}"
        _there(sink, told, sink.headers, have, source)
        kind = have[sink.headers]
        texts = pl.List(pl.Struct({"key": pl.String, "value": pl.String}))
        if kind not in (nodes.HEADERS, texts):
            raise TopologyError(
                f"{sink.at}: {told} is {kind}, and no list of headers as read.kafka(headers=...) "
                "makes it",
                remedy=f'for one header: headers={{"name": "{sink.headers}"}}',
            )
        return
    for name, column in sink.headers or ():
        told = f"headers={{{name!r}: {column!r}}}"
        _there(sink, told, column, have, source)
        if name.startswith(RESERVED):
            raise TopologyError(
                f"{sink.at}: {told}: names that begin with {RESERVED!r} are the processor's own",
                remedy="call the header otherwise",
            )
        if isinstance(have[column], NO_TEXT):
            raise TopologyError(
                f"{sink.at}: {told}: it is {have[column]}, which cannot be a header",
                remedy=f"make text of it before, as in with_columns(h={_MAKE_TEXT})",
            )


def _there(
    sink: nodes.Sink,
    told: str,
    column: str,
    have: Mapping[str, pl.DataType],
    source: nodes.Source,
) -> None:
    if column in have:
        return
    aggregate = next((n for n in nodes.path(sink) if isinstance(n, nodes.Aggregate)), None)
    if aggregate is not None and column in source.own():
        raise TopologyError(
            f"{sink.at}: {told} is a record's own, and behind the aggregate at {aggregate.at} a "
            "row is a group of records",
            remedy="group by it, or take one of the group's: F.max of a time or a number; the "
            f"columns here are: {', '.join(have)}",
        )
    raise TopologyError(
        f"{sink.at}: {told} is no column", remedy=f"the columns here are: {', '.join(have)}"
    )
