"""Recomputes a range of the input from scratch and compares it with what was published.

::

    input ── scan ──► Pipeline, fresh state ──► expected ─┐
                                                          ├─► a judge per topic ──► findings
    output topics ── scan ────────────────────► found ────┘

Nothing is written and no group is joined. What cannot be judged is said in the report's notes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from processor.engine.offline.byrow import ByRow
from processor.engine.offline.compare import (
    Bag,
    Bounds,
    Finding,
    Groups,
    Judge,
    Origins,
    Piece,
)
from processor.engine.offline.rows import row_reader
from processor.engine.offline.slack import Slack, slack_of
from processor.engine.offline.span import Span, check, edited
from processor.engine.running.keys import Keys
from processor.model.batch import Slice
from processor.model.log import Extent, Message, Output, TopicPartition
from processor.operators.pipeline import Pipeline
from processor.plan import beside, nodes, order, schema
from processor.state.base import TaskState

Scan: TypeAlias = Callable[[TopicPartition, int, int], Iterator[Sequence[Message]]]
LOCATED_MAX = 20
Times: TypeAlias = tuple[int | None, int | None]
"""A partition's largest event time, and the largest timestamp looked at."""


@dataclass(slots=True)
class Report:
    """What came of it: input records recomputed, output records compared, and what is amiss.

    ``judged`` says whether what any sink writes could be compared, ``unjudged`` why one could not.
    """

    recomputed: int = 0
    compared: int = 0
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    judged: bool = True
    unjudged: list[str] = field(default_factory=list)


def verify(
    plan: nodes.Plan,
    scan: Scan,
    spans: Mapping[TopicPartition, Span],
    outputs: Mapping[str, Mapping[int, Extent]],
    shared: Collection[str] = (),
    *,
    begun: Mapping[TopicPartition, int] | None = None,
) -> Report:
    """Compare all topics that a plan writes with what the spans of its input make.

    Those that are ``shared`` other stages write too: whose a record is that is not expected, is not
    known. Internal topics are looked at from where their readers have ``begun``.

    Raises `SettingsError` for a range that cannot be recomputed.
    """
    report = Report()
    told: list[str] = []
    keys = None if plan.source().internal else Keys(plan, len(spans), told.append)
    pipeline = ByRow(plan, keys)
    check(plan, spans, stateful=pipeline.stateful)
    report.notes += edited(plan, spans)
    judges = _judges(plan, _Locator(pipeline, scan), spans, outputs, report, shared=shared)
    found = [j.slack for j in judges.values() if isinstance(j, Groups) and j.slack]
    slacks = {slack.sink.topic: slack for slack in found}
    if slacks:
        measured = replace(plan, sinks=(*plan.sinks, *(slack.sink for slack in found)))
        pipeline = ByRow(measured, keys)
    for partition, span in sorted(spans.items()):
        for piece, records in _recompute(pipeline, plan, scan, partition, span, judges, slacks):
            report.recomputed += records if piece.start >= span.start else 0
    if keys is not None and keys.misplaced:
        report.notes.append(f"{keys.misplaced} of {keys.seen} records looked at: {told[0]}")
    for topic, judge in judges.items():
        for number, extent in sorted(outputs[topic].items()):
            where = TopicPartition(topic, number)
            first = max(extent.low, (begun or {}).get(where, 0))
            for messages in scan(where, first, extent.high):
                rows = pipeline.rows(topic, messages)
                report.compared += len(rows)
                judge.found(rows)
        report.findings += judge.findings()
    return report


def _recompute(  # noqa: PLR0917 - all that a partition's run needs
    pipeline: Pipeline,
    plan: nodes.Plan,
    scan: Scan,
    partition: TopicPartition,
    span: Span,
    judges: Mapping[str, Judge],
    slacks: Mapping[str, Slack],
) -> Iterator[tuple[Piece, int]]:
    state = pipeline.new_state()
    times: Times = (None, None)
    # Where nothing is ever late, a record does not depend on those before it.
    first = span.low if plan.delay() is not None else span.start
    for start, messages in _pieces(scan, partition, first, span):
        end = (messages[-1].offset() or 0) + 1
        piece = Piece(partition, start, end, *times)
        outputs, times = _run(pipeline, state, piece, messages)
        if start >= span.start:
            for output in outputs:
                if output.topic in judges:
                    judges[output.topic].expect(output, piece)
                elif output.topic in slacks:
                    slacks[output.topic].expect(output)
        yield piece, len(messages)


def _pieces(
    scan: Scan, partition: TopicPartition, first: int, span: Span
) -> Iterator[tuple[int, Sequence[Message]]]:
    """Runs of records, none of them across the beginning of what is judged."""
    if span.end <= first:
        return
    for messages in scan(partition, first, span.end):
        before = [m for m in messages if (m.offset() or 0) < span.start]
        for part in (before, messages[len(before) :]):
            if part:
                yield part[0].offset() or 0, part


def _run(
    pipeline: Pipeline, state: TaskState, piece: Piece, messages: Sequence[Message]
) -> tuple[list[Output], Times]:
    values = [message.value() for message in messages]
    part = Slice(
        piece.partition, messages, values, piece.start, piece.end, piece.event_time_max,
        piece.log_time,
    )  # fmt: skip
    result = pipeline.run([part], [state])
    for kept in state.values():
        kept.commit(kept.changed())
    return result.outputs, (result.event_times_max[0], result.log_times[0])


class _Locator:
    """Finds the input record of a missing output, by halving the piece that made it."""

    def __init__(self, pipeline: Pipeline, scan: Scan) -> None:
        self._pipeline, self._scan = pipeline, scan
        self._left = LOCATED_MAX

    def __call__(self, piece: Piece, topic: str, pair: tuple[bytes | None, bytes | None]) -> str:
        whole = f"{piece.partition} offsets {piece.start} to {piece.end - 1}"
        if self._pipeline.stateful or self._left <= 0:
            return whole
        self._left -= 1
        batches = self._scan(piece.partition, piece.start, piece.end)
        messages = [message for batch in batches for message in batch]
        times: Times = piece.event_time_max, piece.log_time
        while len(messages) > 1:
            half = messages[: len(messages) // 2]
            tried = Piece(piece.partition, piece.start, piece.end, *times)
            outputs, after = _run(self._pipeline, {}, tried, half)
            pairs = (
                found
                for output in outputs
                if output.topic == topic
                for found in zip(output.keys or [None] * len(output), output.values, strict=True)
            )
            if pair in pairs:
                messages = half
            else:
                messages, times = messages[len(half) :], after
        return f"{piece.partition} offset {messages[0].offset()}" if messages else whole


# Which judge for which topic.


def _judges(
    plan: nodes.Plan,
    locator: _Locator,
    spans: Mapping[TopicPartition, Span],
    outputs: Mapping[str, Mapping[int, Extent]],
    report: Report,
    *,
    shared: Collection[str],
) -> dict[str, Judge]:
    surplus = all(s.start == 0 and s.end == s.committed for s in spans.values())
    if not surplus:
        report.notes.append(
            "a part of the input only: outputs that it does not make may be of the rest, so "
            "duplicate and wrong ones are looked for among records set aside only"
        )
    for sink in plan.published():
        if sink.headers is not None or sink.timestamp is not None:
            report.notes.append(f"{sink.topic}: headers and timestamps are not compared")
    judged = {partition: (span.start, span.end) for partition, span in spans.items()}
    judges: dict[str, Judge] = {}
    for sink in plan.sinks:
        if sink.outside is not None:
            report.notes.append(f"{sink.topic} is not compared: it is no topic")
            report.unjudged.append(f"{sink.topic}: it is no topic")
            continue
        topic = sink.topic
        if surplus and topic in shared:
            report.notes.append(
                f"{topic}: other stages write there too, so duplicate and wrong records are not "
                "looked for"
            )
        alone = surplus and topic not in shared
        judge = _judge(plan, sink, _bounds(topic, outputs, report, surplus=alone), locator)
        if isinstance(judge, str):
            report.notes.append(f"{topic} is not compared: {judge}")
            report.unjudged.append(f"{topic}: {judge}")
        else:
            judges[topic] = judge
    report.judged = bool(judges)
    if plan.source().on_error == "dead_letter":
        topic = plan.dead_letters()
        bounds = _bounds(topic, outputs, report)
        judges[topic] = Origins(topic, bounds, judged, f"{plan.app}/decode")
    late = plan.late()
    if late is not None:
        bounds = _bounds(late, outputs, report)
        judges[late] = Origins(late, bounds, judged, f"{plan.app}/watermark")
    return judges


def _bounds(
    topic: str, outputs: Mapping[str, Mapping[int, Extent]], report: Report, *, surplus: bool = True
) -> Bounds:
    gone = [extent.low for extent in outputs[topic].values() if extent.low > 0]
    if gone:
        report.notes.append(
            f"{topic}: its first records are gone, so missing ones are not looked for"
        )
    return Bounds(len(outputs[topic]), surplus=surplus, missing=not gone)


def _judge(plan: nodes.Plan, sink: nodes.Sink, bounds: Bounds, locator: _Locator) -> Judge | str:
    """The judge of a sink's topic, or why there is none."""
    if plan.source().clock:
        return "its rows have the time at which they were read"
    if sink.internal and sink.mode != "append":
        return "which groups are handed on depends on the batches' bounds"
    if any(isinstance(node, nodes.Newest) for node in nodes.path(sink)):
        return "its lists depend on the batches' bounds"
    aggregate = _aggregate(sink)
    if sink.internal and sink.mode != "append":
        return "which groups it hands on depends on the batches' bounds"
    if aggregate is None or sink.internal:
        return Bag(sink.topic, bounds, locator)
    return _grouped(plan, sink, aggregate, bounds)


def _grouped(
    plan: nodes.Plan, sink: nodes.Sink, aggregate: nodes.Aggregate, bounds: Bounds
) -> Judge | str:
    path = nodes.path(sink)
    behind = path[[node is aggregate for node in path].index(True) + 1 :]
    if sink.mode != "append" and any(isinstance(node, nodes.Filter) for node in behind):
        return f"a filter behind an aggregate lets mode {sink.mode} depend on the batches' bounds"
    columns = schema.columns(plan)
    have = columns[id(sink.parent)]
    aside = beside.apart(sink, have)
    names = [name for name in have if name not in aside]
    kept_as = _column_origins(aggregate, behind, columns)
    origins = {name: origin for name, origin in kept_as.items() if name in names}
    kept = {name for name, origin in origins.items() if name == origin}
    one_place = plan.source().gathered()
    groups = _group_columns(aggregate, kept, one_group=one_place and aggregate.window is None)
    read = row_reader(sink.format, names)
    if groups is None or read is None:
        return "its records do not tell their groups apart"
    if (
        sink.mode != "append"
        and bounds.partitions > 1
        and not (one_place and sink.key is None)
        and not order.is_fixed(plan, sink, aggregate)
    ):
        return "its key is no column of the group, so that records of a group have no order"
    made = {a.name: a for a in aggregate.aggregations}
    published = {name: made[origin] for name, origin in origins.items() if origin in made}
    slack = slack_of(plan, sink, aggregate, groups, published)
    counts = {a.name for a in aggregate.aggregations if a.function == "count" and not a.column}
    return Groups(
        sink.topic, bounds, read, groups, once=sink.mode == "append",
        rising=sink.mode == "update" and bool(counts & kept),
        exact=origins.keys() - (slack.columns.keys() if slack else ()), slack=slack,
    )  # fmt: skip


def _aggregate(sink: nodes.Sink) -> nodes.Aggregate | None:
    return next((n for n in nodes.path(sink) if isinstance(n, nodes.Aggregate)), None)


def _column_origins(
    aggregate: nodes.Aggregate, behind: Sequence[nodes.Node], columns: schema.Columns
) -> Mapping[str, str]:
    """The aggregate's columns that come out as they are, each by the name it has at the end."""
    made = (*aggregate.keys, *(a.name for a in aggregate.aggregations))
    origins = {name: name for name in ("window_start", "window_end", *made)}
    for node in behind:
        if isinstance(node, nodes.Select | nodes.Extend):
            before = dict(origins)
            have = columns[id(node.parent)]
            for expression in node.expressions:
                if expression.meta.is_column_selection():
                    continue
                renamed = expression.meta.is_column_selection(allow_aliasing=True)
                roots = expression.meta.root_names() if renamed else []
                # One expression may make several columns, as pl.col("a", "b") * 2 does.
                for name in schema.names(expression, have):
                    origins.pop(name, None)
                    for root in before.keys() & roots:
                        origins[name] = before[root]
    return origins


def _group_columns(
    aggregate: nodes.Aggregate, kept: set[str], *, one_group: bool
) -> list[str] | None:
    if one_group and kept.isdisjoint(aggregate.keys):
        return []
    window = [name for name in ("window_start", "window_end") if name in kept][:1]
    if not kept >= set(aggregate.keys) or (aggregate.window and not window):
        return None
    return [*(window if aggregate.window else ()), *aggregate.keys]
