"""From the nodes of a plan to the steps that are run: operators, with names and children."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from processor.formats.blocks import Blocks
from processor.formats.parquet import Parquet
from processor.formats.rows import Rows
from processor.model.log import NULL_KEYS
from processor.operators.aggregate import Aggregate, Term
from processor.operators.aside import Aside
from processor.operators.base import HIDDEN, Context, Keeps, Operator
from processor.operators.carried import Carried, Note
from processor.operators.derived import derived_of
from processor.operators.emit import Emit, required
from processor.operators.fit import fit_of
from processor.operators.hopping import Hopping
from processor.operators.join import Join
from processor.operators.ordered import Limit, Newest, Sort
from processor.operators.show import Show
from processor.operators.shuffle import Shuffle, Targets
from processor.operators.source import Decode
from processor.operators.stateless import Extend, Filter, Select
from processor.operators.windows import MICROSECOND
from processor.plan import beside, nodes, pairs, schema

_DAY_US: Final = 86_400_000_000
_NAMES: Final[dict[type[nodes.Node], str]] = {
    nodes.Select: "select",
    nodes.Extend: "with_columns",
    nodes.Filter: "filter",
    nodes.Aggregate: "agg",
    nodes.Newest: "gather",
    nodes.Sort: "order_by",
    nodes.Limit: "limit",
    pairs.Joined: "join",
}
STATEFUL: Final = (Aggregate, Newest, Join)
"""Operators behind which rows are no longer records."""


@dataclass(slots=True, eq=False)
class Step:
    """An operator with its name; ``behind`` an aggregate or a join rows are no longer records.

    ``columns`` are those of its rows where they depend on nothing but the rows before.
    """

    operator: Operator
    name: str
    behind: bool
    columns: Mapping[str, pl.DataType] | None = None
    children: list[Step] = field(default_factory=list)

    def process(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        """The rows that go on; no function of the user's is asked where there are none."""
        if self.columns is None or frame.height:
            return self.operator.process(frame, context)
        hidden = {str(name): frame.schema[name] for name in HIDDEN if name in frame.columns}
        return pl.DataFrame(schema={**hidden, **self.columns})


def compiled(
    plan: nodes.Plan, note: Note, targets: Targets = lambda _: 1
) -> tuple[Decode, list[Step]]:
    """The source and the steps behind it, parents first."""
    source = plan.source()
    delay, ahead = plan.delay(), plan.ahead()
    delay_us = None if delay is None else delay // MICROSECOND
    tagged = len(plan.published()) < len(plan.sinks) or any(
        isinstance(node, nodes.STATEFUL) for node in plan.nodes()
    )
    columns = schema.columns(plan)
    decode = Decode(
        source.format, source.event_time, delay_us, plan.late(),
        Aside(plan.app, source.on_error, plan.dead_letters(), internal=source.internal), tagged,
        None if ahead is None else ahead // MICROSECOND, source,
        _carried(source, columns, note), derived_of(source),
    )  # fmt: skip
    # Only on the way to a single sink is a filtered record gone for good, and so counted.
    single = len(plan.sinks) == 1
    top: list[Step] = []
    children: dict[int, list[Step]] = {id(source): top}
    aggregates, gathers = 0, list[Newest]()
    for node in plan.nodes():
        if isinstance(node, nodes.Source):
            continue
        if isinstance(node, nodes.Watermark):
            children[id(node)] = children[id(node.parent)]
            continue
        have = None
        if isinstance(node, nodes.Aggregate):
            operator: Operator = _aggregate(plan, node, columns, aggregates, delay_us)
            aggregates += 1
        elif isinstance(node, nodes.Newest | nodes.Sort | nodes.Limit):
            operator = _ordered(node, columns[id(node)], len(gathers))
            gathers += [operator] if isinstance(operator, Newest) else []
        elif isinstance(node, pairs.Joined):
            operator = Join(node, columns[id(node.parent)])
        else:
            counted = single and not _behind_state(node)
            operator = _stateless(node, columns[id(node.parent)], counted=counted)
            have = columns[id(node)]
        name = f"{_NAMES[type(node)]} at {node.at}"
        step = Step(operator, name, _behind_state(node), have)
        children[id(node.parent)].append(step)
        children[id(node)] = step.children
    for sink in plan.sinks:
        behind = any(isinstance(node, nodes.STATEFUL) for node in nodes.path(sink))
        if isinstance(sink.format, Blocks):
            keys = nodes.key_columns(sink.key)
            shuffle = Shuffle(
                plan.app, sink.topic, sink.format, keys, sink.window, targets, sink.evenly
            )
            children[id(sink.parent)].append(Step(shuffle, f"hand on at {sink.at}", behind))
            continue
        have = columns[id(sink.parent)]
        if sink.outside is not None:
            lines = None if isinstance(sink.format, Rows | Parquet) else sink.format
            needed = () if lines is None else required(lines, list(have))
            show = Show(sink.topic, sink.format, lines, needed, sink.newest)
            children[id(sink.parent)].append(Step(show, f"write at {sink.at}", behind))
            continue
        aside = beside.apart(sink, have)
        emit = Emit(
            sink.topic, sink.format, sink.key, sink.timestamp, sink.headers, aside,
            required(sink.format, [name for name in have if name not in aside]), sink.key_format,
            # All groups are here: what is published again stays in order in one partition.
            NULL_KEYS if source.gathered() and sink.mode != "append" else None,
        )  # fmt: skip
        children[id(sink.parent)].append(Step(emit, f"write at {sink.at}", behind))
    return decode, top


def _carried(source: nodes.Source, columns: schema.Columns, note: Note) -> Carried | None:
    if source.watermark is None or source.event_time is None:
        return None
    kind = columns[id(source)][source.event_time]
    fine = isinstance(kind, pl.Datetime) and kind.time_unit != "ms"
    unit_us = 1 if fine else 1_000 if isinstance(kind, pl.Datetime) else _DAY_US
    return Carried(source.event_time, unit_us, note, source.upstreams, source.sides)


def _stateless(
    node: nodes.Select | nodes.Extend | nodes.Filter,
    columns: Mapping[str, pl.DataType],
    *,
    counted: bool,
) -> Operator:
    whole = not isinstance(node, nodes.Filter)
    fit, expressions = fit_of(node.at, nodes.expressions(node), columns, whole=whole)
    if isinstance(node, nodes.Filter):
        return Filter(expressions[0], counted, fit)
    return (Select if isinstance(node, nodes.Select) else Extend)(expressions, fit)


def _ordered(
    node: nodes.Newest | nodes.Sort | nodes.Limit, have: Mapping[str, pl.DataType], number: int
) -> Operator:
    if isinstance(node, nodes.Sort):
        return Sort(node.by, node.descending, node.nulls_last)
    if isinstance(node, nodes.Limit):
        return Limit(node.count)
    values = {name: kind for name, kind in have.items() if name not in node.keys}
    return Newest(f"newest-{number}", {key: have[key] for key in node.keys}, values, have)


def _aggregate(
    plan: nodes.Plan,
    node: nodes.Aggregate,
    columns: schema.Columns,
    number: int,
    delay_us: int | None,
) -> Aggregate:
    before = columns[id(node.parent)]
    mode = next(sink.mode for sink in plan.sinks if any(n is node for n in nodes.path(sink)))
    terms = [
        Term(a, pl.Int64() if a.column is None else before[a.column]) for a in node.aggregations
    ]
    keys = {key: before[key] for key in node.keys}
    name, window = f"aggregate-{number}", node.window
    if window is not None and window.every != window.size:
        return Hopping(
            name, window=window, keys=keys, terms=terms, mode=mode, delay_us=delay_us
        )  # fmt: skip
    return Aggregate(name, window=window, keys=keys, terms=terms, mode=mode, delay_us=delay_us)


def _behind_state(node: nodes.Node) -> bool:
    while not isinstance(node, nodes.Source):
        node = node.parent
        if isinstance(node, nodes.STATEFUL):
            return True
    return False


def stateful(steps: Iterable[Step]) -> Iterable[Keeps]:
    """The operators that keep state, in the order of the plan."""
    for step in steps:
        if isinstance(step.operator, Aggregate | Newest):
            yield step.operator
        elif isinstance(step.operator, Join):
            yield from step.operator.sides
        yield from stateful(step.children)
