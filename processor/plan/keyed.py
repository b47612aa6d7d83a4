"""Keys that have a format: whether it can read them, and write them.

::

    read.kafka(key_format=Json({"user": pl.String}))        bytes of the key ──► columns
    write.kafka(key=["user"], key_format=Json())            columns ──► bytes of the key
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from processor.errors import TopologyError
from processor.formats.base import Format, headed
from processor.formats.csv import Csv
from processor.plan import nodes, outputs, written


def check_source(source: nodes.Source) -> None:
    """Raise `TopologyError` for a format of keys that has no columns, or keys a topic by some.

    >>> from processor import Json, Text, Topology
    >>> rows = Topology("copy").read.kafka("from", format=Text(), key_format=Json())
    >>> check_source(rows._node)
    Traceback (most recent call last):
    processor.errors.TopologyError: ...: the key_format of 'from' has no columns to read
      remedy: name them: key_format=Json({"user": pl.String})
    """
    if source.key_format is None:
        if source.key_prefix:
            raise TopologyError(
                f"{source.at}: key_prefix={source.key_prefix!r} without a key_format",
                remedy='say how keys are read: key_format=Json({"user": pl.String})',
            )
        return
    _plain(source.key_format, source.at)
    columns = source.of_key()
    if not columns:
        raise TopologyError(
            f"{source.at}: the key_format of {source.topic!r} has no columns to read",
            remedy='name them: key_format=Json({"user": pl.String})',
        )
    optional = {source.key_prefix + name for name in getattr(source.key_format, "optional", ())}
    if source.event_time in columns.keys() & optional:
        raise TopologyError(
            f"{source.at}: event_time={source.event_time!r} may be missing in a key",
            remedy="take it out of the key_format's optional columns",
        )
    left = [name for name in columns if name not in source.partitioned_by]
    if left and source.keyed_by_format():
        raise TopologyError(
            f"{source.at}: the bytes of the whole key say in which partition a record lies, and "
            f"partitioned_by leaves out {', '.join(map(repr, left))} of it",
            remedy=f"name all columns of the key: partitioned_by={list(columns)}",
        )


def _plain(form: Format, at: nodes.Location) -> None:
    if headed(form) is not None:
        raise TopologyError(
            f"{at}: key_format: {form.describe().partition('(')[0]} has a part in headers, and a "
            "key has none",
            remedy="use Json, Csv or Text",
        )
    if isinstance(form, Csv) and form.header:
        raise TopologyError(
            f"{at}: key_format: header=True, and no key is a header", remedy="leave header out"
        )


def check_sink(sink: nodes.Sink, have: Mapping[str, pl.DataType]) -> None:
    """Raise `TopologyError` for columns that the format of keys cannot write."""
    if sink.key_format is None:
        if isinstance(sink.key, tuple):
            raise TopologyError(
                f"{sink.at}: the key is of {len(sink.key)} columns, and has no format",
                remedy="say how they become bytes: key_format=Json(); or make text of them: "
                'with_columns(k=pl.concat_str("a", "b", separator="|")), key="k"',
            )
        return
    names = nodes.key_columns(sink.key)
    if not names:
        raise TopologyError(
            f"{sink.at}: a key_format without a key",
            remedy='say which columns the key is made of: key=["user"]',
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise TopologyError(
            f"{sink.at}: the key names {twice!r} twice", remedy="name each column once"
        )
    _plain(sink.key_format, sink.at)
    of_key = {name: have[name] for name in names}
    alone = replace(sink, format=sink.key_format)
    try:
        outputs.check(alone, of_key)
        written.check(alone, of_key)
    except TopologyError as error:
        told = error.message.removeprefix(f"{sink.at}: ")
        raise TopologyError(f"{sink.at}: key_format: {told}", remedy=error.remedy) from error
