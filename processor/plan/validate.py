"""What a plan must be like before it may start. Every refusal names the line and what is right."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta

import polars as pl

from processor.errors import TopologyError
from processor.formats.base import SchemaFormat
from processor.formats.cloudevents import CloudEvents
from processor.formats.rows import Rows
from processor.plan import (
    beside,
    carried,
    modes,
    nodes,
    outputs,
    overflow,
    roles,
    rowwise,
    schema,
    written,
)

_KEY_TYPES = (pl.String, pl.Boolean)
_DELAY_MAX = timedelta(days=365_000)
_KAFKAS = ("__consumer_offsets", "__transaction_state")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


def validate(plan: nodes.Plan) -> None:
    """Raise `TopologyError` for the first thing that is wrong.

    >>> from processor import Topology
    >>> Topology("idle").plan()
    Traceback (most recent call last):
    processor.errors.TopologyError: ...: topology 'idle' writes nowhere
      remedy: end it in frame.write.kafka(topic), ...
    """
    if not plan.sinks:
        raise TopologyError(
            f"{plan.at}: topology {plan.app!r} writes nowhere",
            remedy="end it in frame.write.kafka(topic), or in write.files, write.memory, "
            "write.console, write.foreach_batch or write.foreach",
        )
    columns = schema.columns(plan)
    _source(plan, columns)
    _watermark(plan)
    for node in plan.nodes():
        _columns(node, columns)
        if isinstance(node, nodes.Aggregate):
            _aggregate(plan, node, columns)
    for sink in plan.sinks:
        if sink.internal:
            _closing(plan, sink)
            continue
        _sink(plan, sink, columns)
        _closing(plan, sink)
        if isinstance(sink.format, Rows):
            continue
        have = columns[id(sink.parent)]
        aside = beside.apart(sink, have)
        value = {name: kind for name, kind in have.items() if name not in aside}
        outputs.check(sink, value)
        written.check(sink, value)
    roles.check(plan)


def _source(plan: nodes.Plan, columns: schema.Columns) -> None:
    source = plan.source()
    have = columns[id(source)]
    if not source.format.columns:
        raise TopologyError(
            f"{source.at}: the format of {source.topic!r} has no columns to read",
            remedy='name them: Json({"user": pl.String})',
        )
    beside.check_source(source)
    named = [name for name in (source.event_time, *source.partitioned_by) if name is not None]
    if missing := [name for name in dict.fromkeys(named) if name not in have]:
        raise TopologyError(
            f"{source.at}: {source.topic!r} has no column {' and no '.join(map(repr, missing))}",
            remedy=f"its columns are: {', '.join(have)}",
        )
    if source.event_time is not None and have[source.event_time] not in (pl.Datetime, pl.Date):
        raise TopologyError(
            f"{source.at}: event_time={source.event_time!r} is {have[source.event_time]}, no time",
            remedy=_as_time(source.event_time, have[source.event_time]),
        )
    if source.time is not None and source.event_time in schema.read(source):
        raise TopologyError(
            f"{source.at}: the computed event time is called {source.event_time!r}, as a column is "
            f"that {source.topic!r} has",
            remedy="give it a name that no column has: event_time=(...).alias("
            f'"{next(n for n in _names_of_time(source.event_time or "at") if n not in have)}")',
        )
    if source.time is None and source.event_time in getattr(source.format, "optional", ()):
        raise TopologyError(
            f"{source.at}: event_time={source.event_time!r} may be missing",
            remedy=_as_certain(source, have),
        )
    if "," in source.topic:
        raise TopologyError(
            f"{source.at}: {source.topic!r} cannot be a topic; it looks like several",
            remedy='read each, and unite them: read.kafka("a", ...).union(read.kafka("b", ...))',
        )
    _topic(source.topic, source.at)
    if source.dead_letters is not None:
        _topic(source.dead_letters, source.at)


def _as_certain(source: nodes.Source, have: Mapping[str, pl.DataType]) -> str:
    """How an event time that may be missing becomes one that is there."""
    name = next(n for n in _names_of_time(str(source.event_time)) if n not in have)
    way = (
        "compute it, which makes a record without it bad: "
        f'event_time=pl.col("{source.event_time}").alias("{name}")'
    )
    if isinstance(source.format, CloudEvents):
        of = {column: attribute for attribute, column in source.format.attributes.items()}
        if (attribute := of.get(str(source.event_time))) is not None:
            return f'say required={{"{attribute}"}}; or {way}'
    if isinstance(source.format, SchemaFormat):
        return f"{way}; or have the schema say that it is always there"
    return f"take it out of the format's optional columns; or {way}"


def _names_of_time(column: str) -> Iterator[str]:
    yield from ("at", "time", "happened")
    yield from (f"{column}_{number}" for number in itertools.count(2))


def _topic(name: str, at: nodes.Location) -> None:
    if name in _KAFKAS:
        raise TopologyError(
            f"{at}: {name!r} is where Kafka keeps its own records",
            remedy="use a topic of another name",
        )
    if not _TOPIC.fullmatch(name) or name in (".", ".."):
        raise TopologyError(
            f"{at}: {name!r} cannot be a topic",
            remedy="use up to 249 letters, digits, '.', '_' and '-'",
        )


def _columns(node: nodes.Node, columns: schema.Columns) -> None:
    """A row's columns are a function of that row, and none has a name of the processor's own."""
    if any(name.startswith("__") for name in columns[id(node)]):
        raise TopologyError(
            f"{node.at}: a column's name begins with two underscores",
            remedy="call it otherwise: such names are the processor's own",
        )
    have = schema.before(node, columns)
    for expression in nodes.expressions(node):
        rowwise.check(node.at, expression, have)
        overflow.checks(node.at, [expression], have)


def _watermark(plan: nodes.Plan) -> None:
    marks = [node for node in plan.nodes() if isinstance(node, nodes.Watermark)]
    if len(marks) > 1:
        raise TopologyError(
            f"{marks[1].at}: a second watermark; lateness is decided once, at the source",
            remedy=f"keep one of {marks[0].at} and {marks[1].at}",
        )
    if marks and not timedelta(0) <= marks[0].delay <= _DELAY_MAX:
        raise TopologyError(
            f"{marks[0].at}: a watermark's delay of {marks[0].delay} is out of bounds",
            remedy="say from 0 s to 365000 days",
        )
    late = plan.late()
    if late is not None:
        _topic(late, marks[0].at)
        if late in {plan.source().topic, plan.dead_letters(), *(s.topic for s in plan.sinks)}:
            raise TopologyError(
                f"{marks[0].at}: late records go to {late!r}, which the topology has a use for",
                remedy="give late records a topic of their own",
            )
    source = plan.source()
    if source.watermark is not None and source.event_time is None:
        raise TopologyError(
            f"{source.at}: a watermark that is carried needs event times to compare it with",
            remedy="say which column has them: event_time=...",
        )
    if source.watermark is not None and source.time is not None:
        raise TopologyError(
            f"{source.at}: a watermark that is carried is one of a column as it was written, not "
            f"of {source.event_time!r}, which is computed here",
            remedy="let the topology that writes the topic write that column",
        )
    if marks and plan.source().event_time is None:
        raise TopologyError(
            f"{marks[0].at}: with_watermark needs event times",
            remedy=f"say which column has them at {plan.source().at}: event_time=...",
        )


def _as_time(name: str, kind: pl.DataType) -> str:
    """How a column that is no time becomes one."""
    if kind.is_numeric():
        return (
            f'declare it as pl.Datetime("us") and say its unit: epoch={{{name!r}: "s"}}, "ms" or '
            f'"us"; or compute it: event_time=pl.from_epoch({name!r}).alias("time")'
        )
    return "read it as pl.Datetime"


def _as_window(name: str, kind: pl.DataType, source: nodes.Source) -> str:
    """How a window over a column that is not the event time becomes possible."""
    if source.event_time is None or kind.is_temporal():
        return f"say event_time={name!r} at {source.at}"
    return f"F.window({source.event_time!r}, ...) is over the event time; {name!r} is {kind}"


def _as_key(name: str, kind: pl.DataType) -> str:
    """What to group by instead of a column that cannot be a key."""
    cast = f'with_columns({name}=pl.col("{name}").cast'
    if kind.is_float():
        return f"make whole numbers of it before, {cast}(pl.Int64)); or text, {cast}(pl.String))"
    if kind.is_decimal() or kind in (pl.Int128, pl.UInt128):
        return f"make text of it before: {cast}(pl.String))"
    if isinstance(kind, pl.List | pl.Array):
        return (
            "there is no explode: let the format make a row of each element, as that of words in "
            'topologies/wordcount does (the guide, "Many rows in a record"); or make text of it: '
            f'with_columns({name}=pl.col("{name}").list.join(","))'
        )
    if isinstance(kind, pl.Struct) and kind.fields:
        member = kind.fields[0].name
        return (
            "group by what is in it: have the topic keyed by that, and read the key: "
            f"read.kafka(..., key={member!r}, partitioned_by={member!r})"
        )
    return (
        "group by text, integers up to 64 bits, times or booleans: read the column as one, "
        'or take the record\'s key: read.kafka(..., key="k", partitioned_by="k")'
    )


def _aggregate(plan: nodes.Plan, node: nodes.Aggregate, columns: schema.Columns) -> None:
    have = columns[id(node.parent)]
    for key in node.keys:
        kind = have[key]
        narrow = kind.is_integer() and kind not in (pl.Int128, pl.UInt128)
        if not (narrow or kind.is_temporal() or kind in _KEY_TYPES):
            raise TopologyError(
                f"{node.at}: {key!r} is {kind}, which cannot be a key",
                remedy=_as_key(key, kind),
            )
    _names(node)
    source = plan.source()
    if node.window and node.window.column != source.event_time:
        raise TopologyError(
            f"{node.at}: the window is over {node.window.column!r}, not over the event time",
            remedy=_as_window(node.window.column, have[node.window.column], source),
        )
    if node.window and not schema.kept(node.parent, {node.window.column}, columns):
        raise TopologyError(
            f"{node.at}: the event time {node.window.column!r} was computed anew on the way, so "
            "lateness and windows would not agree",
            remedy="keep the column as it was read, and give the new one another name",
        )
    asked = {sink.mode for sink in plan.sinks if any(n is node for n in nodes.path(sink))}
    if len(asked) > 1:
        raise TopologyError(
            f"{node.at}: its sinks ask for different output modes: {', '.join(sorted(asked))}",
            remedy="use one mode for all sinks behind an aggregate; for two modes write two "
            "topologies",
        )


def _names(node: nodes.Aggregate) -> None:
    """Columns of the result, and those of the state behind it, each have a name of their own."""
    names = [*node.keys]
    if node.window:
        names += ["window_start", "window_end"]
    for aggregation in node.aggregations:
        names.append(aggregation.name)
        if aggregation.function == "mean":
            names += [f"{aggregation.name}.sum", f"{aggregation.name}.count"]
        elif aggregation.function in ("min", "max"):
            names.append(f"{aggregation.name}.known")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise TopologyError(
            f"{node.at}: {twice!r} stands for two columns", remedy="call one of them otherwise"
        )


def _sink(plan: nodes.Plan, sink: nodes.Sink, columns: schema.Columns) -> None:
    have = columns[id(sink.parent)]
    for fault in (fault_of_topic(sink), modes.fault(sink)):
        if fault is not None:
            raise fault
    beside.check(sink, have, plan.source())
    groups = [n for n in nodes.path(sink) if isinstance(n, nodes.Aggregate | nodes.Newest)]
    if sink.mode != "append" and not groups:
        raise TopologyError(
            f"{sink.at}: mode={sink.mode!r} without an aggregate has no meaning",
            remedy='leave the mode out, or say mode="append"',
        )
    if sink.watermark is not None:
        carried.check(plan, sink, columns)


def fault_of_topic(sink: nodes.Sink) -> TopologyError | None:
    """What is wrong with the name of a sink's topic by itself."""
    if sink.outside is None:
        try:
            _topic(sink.topic, sink.at)
        except TopologyError as fault:
            return fault
    return None


def _closing(plan: nodes.Plan, sink: nodes.Sink) -> None:
    """Append of an aggregate publishes what is over: there has to be an end."""
    aggregates = [node for node in nodes.path(sink) if isinstance(node, nodes.Aggregate)]
    closing = plan.delay() is not None and aggregates and aggregates[0].window is not None
    if sink.mode == "append" and aggregates and not closing:
        path = nodes.path(sink)
        after = path[[node is aggregates[0] for node in path].index(True) :]
        late = [node for node in after if isinstance(node, nodes.Watermark)]
        other = "" if isinstance(sink.outside, nodes.Files) else ', or use mode="update"'
        raise TopologyError(
            f"{sink.at}: append of an aggregate needs windows that close",
            remedy=(
                f"with_watermark ({late[0].at}) belongs before group_by: "
                f"rows.with_watermark(...).group_by(F.window(...), ...){other}"
                if late
                else "group by F.window(...) behind with_watermark(...)" + other
            ),
        )
