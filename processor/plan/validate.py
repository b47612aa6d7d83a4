"""What a plan must be like before it may start. Every refusal names the line and what is right."""

from __future__ import annotations

import polars as pl

from processor.errors import TopologyError
from processor.plan import nodes, schema

_KEY_TYPES = (pl.String, pl.Boolean)


def validate(plan: nodes.Plan) -> None:
    """Raise `TopologyError` for the first thing that is wrong."""
    if not plan.sinks:
        raise TopologyError(
            f"{plan.at}: topology {plan.app!r} writes nowhere",
            remedy="end it in frame.write.kafka(topic)",
        )
    _one_source(plan)
    columns = schema.columns(plan)
    _source(plan, columns)
    _watermark(plan)
    for node in plan.nodes():
        if isinstance(node, nodes.Aggregate):
            _aggregate(plan, node, columns)
    for sink in plan.sinks:
        _sink(plan, sink, columns)


def _one_source(plan: nodes.Plan) -> None:
    sources = [node for node in plan.nodes() if isinstance(node, nodes.Source)]
    if len({id(source) for source in sources}) > 1:
        raise TopologyError(
            f"{sources[1].at}: a second source; a topology reads one topic",
            remedy="make a topology of its own for each input topic",
        )


def _source(plan: nodes.Plan, columns: schema.Columns) -> None:
    source = plan.source()
    have = columns[id(source)]
    if not have:
        raise TopologyError(
            f"{source.at}: the format of {source.topic!r} has no columns to read",
            remedy='name them: Json({"user": pl.String})',
        )
    for column in (source.event_time, *source.partitioned_by):
        if column is not None and column not in have:
            raise TopologyError(
                f"{source.at}: {source.topic!r} has no column {column!r}",
                remedy=f"its columns are: {', '.join(have)}",
            )
    if source.event_time is not None and not have[source.event_time].is_temporal():
        raise TopologyError(
            f"{source.at}: event_time={source.event_time!r} is {have[source.event_time]}, no time",
            remedy="read it as pl.Datetime",
        )
    outputs = {sink.topic for sink in plan.sinks}
    dead_letters = source.dead_letters or f"{plan.app}-dead-letters"
    if source.topic in outputs | {dead_letters}:
        raise TopologyError(
            f"{source.at}: {source.topic!r} is read and written by one topology, without end",
            remedy="write to another topic",
        )


def _watermark(plan: nodes.Plan) -> None:
    marks = [node for node in plan.nodes() if isinstance(node, nodes.Watermark)]
    if len(marks) > 1:
        raise TopologyError(
            f"{marks[1].at}: a second watermark; lateness is decided once, at the source",
            remedy=f"keep one of {marks[0].at} and {marks[1].at}",
        )
    if marks and plan.source().event_time is None:
        raise TopologyError(
            f"{marks[0].at}: with_watermark needs event times",
            remedy=f"say which column has them at {plan.source().at}: event_time=...",
        )


def _aggregate(plan: nodes.Plan, node: nodes.Aggregate, columns: schema.Columns) -> None:
    have = columns[id(node.parent)]
    for key in node.keys:
        kind = have[key]
        if not (kind.is_integer() or kind.is_temporal() or kind in _KEY_TYPES):
            raise TopologyError(
                f"{node.at}: {key!r} is {kind}, which cannot be a key",
                remedy="group by text, integers, times or booleans",
            )
    source = plan.source()
    if node.window and node.window.column != source.event_time:
        raise TopologyError(
            f"{node.at}: the window is over {node.window.column!r}, not over the event time",
            remedy=f"say event_time={node.window.column!r} at {source.at}",
        )
    behind = node.parent
    while not isinstance(behind, nodes.Source):
        if isinstance(behind, nodes.Aggregate):
            raise TopologyError(
                f"{node.at}: an aggregate of an aggregate ({behind.at})",
                remedy="write the first to a topic and read that in a topology of its own",
            )
        behind = behind.parent
    _partitioning(node, source)
    modes = {sink.mode for sink in plan.sinks if any(n is node for n in nodes.path(sink))}
    if len(modes) > 1:
        raise TopologyError(
            f"{node.at}: its sinks ask for different output modes: {', '.join(sorted(modes))}",
            remedy="use one mode for all sinks behind an aggregate",
        )


def _partitioning(node: nodes.Aggregate, source: nodes.Source) -> None:
    """All rows of a group must be in one partition: nothing is moved between workers here."""
    kept = set(source.partitioned_by)
    path: list[nodes.Node] = []
    step = node.parent
    while not isinstance(step, nodes.Source):
        path.append(step)
        step = step.parent
    for step in reversed(path):
        if isinstance(step, nodes.Select | nodes.Extend):
            for expression in step.expressions:
                name = expression.meta.output_name(raise_if_undetermined=False)
                if name in kept and not expression.meta.is_column():
                    kept.discard(name)
    if not kept or not kept <= set(node.keys):
        raise TopologyError(
            f"{node.at}: rows of one group may lie in different partitions of {source.topic!r}",
            remedy=f"say which column the topic is keyed by at {source.at} "
            f'(partitioned_by="...") and group by it; a topic keyed otherwise has to be '
            "written keyed by it first, by a topology of its own",
        )


def _sink(plan: nodes.Plan, sink: nodes.Sink, columns: schema.Columns) -> None:
    have = columns[id(sink.parent)]
    if sink.key is not None and sink.key not in have:
        raise TopologyError(
            f"{sink.at}: key={sink.key!r} is no column",
            remedy=f"the columns here are: {', '.join(have)}",
        )
    aggregates = [node for node in nodes.path(sink) if isinstance(node, nodes.Aggregate)]
    if sink.mode != "append" and not aggregates:
        raise TopologyError(
            f"{sink.at}: mode={sink.mode!r} without an aggregate has no meaning",
            remedy='leave the mode out, or say mode="append"',
        )
    if sink.mode == "append" and aggregates:
        if plan.delay() is None or aggregates[0].window is None:
            raise TopologyError(
                f"{sink.at}: append of an aggregate needs windows that close",
                remedy='group by F.window(...) behind with_watermark(...), or use mode="update"',
            )
