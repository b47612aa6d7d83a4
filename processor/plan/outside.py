"""Sinks outside of Kafka: what they can be given, and what of an aggregate's rows counts.

::

    files    append; a line or a column format            a file for each task and batch
    call     any mode; where all rows come to one place,  a call for each batch, or each task
             of a group only the newest
    table    any mode; in update of a group the newest    shown once it is committed
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from processor.errors import TopologyError
from processor.formats.csv import Csv
from processor.formats.json import Json
from processor.formats.parquet import Parquet
from processor.formats.text import Text
from processor.plan import gather, modes, nodes, pairs, schema

OF_FILES: Final = (Json, Csv, Text, Parquet)
FOLDER_MAX: Final = 1_000
_REVISED: Final = (
    'what stands in a file is not revised: let windows close, with_watermark("1 hour") and '
    'mode="append"; or write.foreach_batch(function, mode="update") into a database; or '
    'write.kafka("topic", key="...", mode="update")'
)


def check(sink: nodes.Sink) -> None:
    """Raise `TopologyError` for what a sink cannot do because of where it goes."""
    if sink.outside is not None and (fault := modes.fault(sink)) is not None:
        raise fault
    if isinstance(sink.outside, nodes.Files):
        _check_files(sink, sink.outside)
    elif isinstance(sink.format, Parquet):
        raise TopologyError(
            f"{sink.at}: {sink.topic!r} is a topic, and Parquet is a format of files",
            remedy='write.files("out", format=Parquet()); or format=Json() for a topic',
        )

    elif in_one_place(sink) and sink.mode != "append" and aggregate_of(sink) is None:
        raise TopologyError(
            f"{sink.at}: mode={sink.mode!r} without an aggregate in front has no meaning",
            remedy='leave the mode out, or say mode="append"',
        )


def _check_files(sink: nodes.Sink, files: nodes.Files) -> None:
    if sink.mode != "append":
        raise TopologyError(
            f"{sink.at}: files are written once, and mode={sink.mode!r} revises groups",
            remedy=_REVISED,
        )
    if not isinstance(sink.format, OF_FILES):
        raise TopologyError(
            f"{sink.at}: {sink.format.describe().partition('(')[0]} is no format of files",
            remedy="write.files takes Json(), Csv({...}), Text() and Parquet()",
        )
    if "\0" in files.folder or len(files.folder) > FOLDER_MAX:
        raise TopologyError(
            f"{sink.at}: {files.folder[:80]!r} cannot be a directory",
            remedy=f"use up to {FOLDER_MAX} characters without a NUL",
        )


def in_one_place(sink: nodes.Sink) -> bool:
    """Whether a sink takes all rows of a batch in one call."""
    return isinstance(sink.outside, nodes.Call) and sink.outside.per == "batch"


def aggregate_of(sink: nodes.Sink) -> nodes.Aggregate | None:
    """The aggregate whose groups come to a sink, as the user wrote it."""
    step: nodes.Above = sink.parent
    while not isinstance(step, nodes.Aggregate):
        if isinstance(step, nodes.Source | nodes.Union | pairs.Join):
            return None
        step = step.parent
    return step


def ordered(sink: nodes.Sink) -> bool:
    """Whether its rows are groups in order, which are in one place already."""
    way = gather.way_above(sink.parent)
    return any(isinstance(step, nodes.Sort | nodes.Limit) for step in way)


def newest(sink: nodes.Sink, place: nodes.Node) -> tuple[str, ...] | None:
    """The columns that tell groups apart, where only the newest row of each counts.

    ``place`` is what stands for the sink's rows in a stage. Raises `TopologyError` where these
    columns are no more there.
    """
    table = isinstance(sink.outside, nodes.Table)
    if sink.mode != "update" or not (table or in_one_place(sink)):
        return None
    aggregate = aggregate_of(sink)
    if aggregate is None:
        if any(isinstance(step, nodes.Union) for step in gather.way_above(sink.parent)):
            raise TopologyError(
                f'{sink.at}: mode="update" of streams that are united',
                remedy="aggregate behind the union, or write each stream by itself",
            )
        raise TopologyError(
            f'{sink.at}: mode="update" without an aggregate has no meaning',
            remedy='leave the mode out, or say mode="append"',
        )
    names = (*(("window_start",) if aggregate.window else ()), *aggregate.keys)
    lost = [name for name in names if name not in _kept(place, set(names))]
    if lost:
        raise TopologyError(
            f"{sink.at}: groups come again whenever they change, and {lost[0]!r}, which tells them "
            "apart, was dropped or computed anew",
            remedy=f"keep the group's columns: {', '.join(names)}"
            + ("" if table else '; or per="task", where a batch has each group once'),
        )
    return names


def _kept(place: nodes.Node, names: set[str]) -> set[str]:
    """Those columns of a group that rows have as the aggregate made them."""
    columns: schema.Columns = schema.columns_at(place)
    step, left = place, names
    while not isinstance(step, nodes.Aggregate | nodes.Source):
        if isinstance(step, nodes.Select | nodes.Extend):
            have: Mapping[str, pl.DataType] = columns[id(step.parent)]
            for expression in step.expressions:
                if not expression.meta.is_column_selection():
                    left = left - set(schema.names(expression, have))
        step = step.parent
    return left & set(columns[id(place)])
