"""From plan to operators, and one batch through them.

Rows go down the plan's tree once, parents first; where two paths part, both get the same frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from processor.errors import ProcessorError
from processor.model.batch import Result, Slice
from processor.operators.aggregate import MICROSECOND, Aggregate, Term
from processor.operators.base import Context, Operator, Stateful, TaskState
from processor.operators.emit import Emit
from processor.operators.source import Decode
from processor.operators.stateless import Extend, Filter, Select
from processor.plan import nodes, schema

_NAMES: Final[dict[type[nodes.Node], str]] = {
    nodes.Select: "select",
    nodes.Extend: "with_columns",
    nodes.Filter: "filter",
    nodes.Aggregate: "agg",
}


class ConservationError(ProcessorError):
    """A batch lost or invented records between its steps: nothing of it was committed."""

    code = "conservation"


@dataclass(slots=True)
class _Step:
    operator: Operator
    name: str
    children: list[_Step] = field(default_factory=list)


class Pipeline:
    """A compiled plan: pure, and the same for every task.

    >>> from processor import Text, Topology
    >>> topology = Topology("copy")
    >>> topology.read.kafka("from", format=Text()).write.kafka("to", format=Text())
    >>> pipeline = Pipeline(topology.plan())
    >>> pipeline.stateful, pipeline.new_state(), pipeline.run([], []).counts.read
    (False, {}, 0)
    """

    def __init__(self, plan: nodes.Plan) -> None:
        self._decode, self._root = _compile(plan)
        self._source = f"decode at {plan.source().at}"
        self._stateful = tuple(_stateful(self._root))

    @property
    def stateful(self) -> bool:
        """Whether any operator keeps state."""
        return bool(self._stateful)

    def new_state(self) -> TaskState:
        """The state of a task that has seen nothing."""
        return {operator.name: operator.new_state() for operator in self._stateful}

    def run(
        self,
        slices: Sequence[Slice],
        states: Sequence[TaskState],
        begins: Callable[[str], None] = lambda _: None,
    ) -> Result:
        """One batch: a slice per partition, and the state of each slice's task.

        State is changed but not committed: `Slab.commit` or `Slab.rollback` comes next. ``begins``
        is told of every step before it is done, as in ``filter at rides.py:12``.

        Raises:
            RecordError: a record is bad and the topology says to fail.
            ConservationError: a step made more or fewer rows out of its rows than it may.
        """
        context = Context(slices, states, Result())
        if not slices:
            return context.result
        begins(self._source)
        frame = self._decode.decode(context)
        context.result.counts.contributed = frame.height
        _descend(self._root, frame, context, begins)
        if not context.result.counts.balanced():
            raise ConservationError(
                f"the records of a batch do not add up: {context.result.counts}",
                remedy="this is a fault of the processor: report it with the topology",
            )
        return context.result


def _descend(
    steps: Iterable[_Step], frame: pl.DataFrame, context: Context, begins: Callable[[str], None]
) -> None:
    for step in steps:
        begins(step.name)
        rows = step.operator.process(frame, context)
        if isinstance(step.operator, Select) and rows.height != frame.height:
            raise ConservationError(
                f"a select made {rows.height} rows out of {frame.height}",
                remedy="select columns that are computed row by row",
            )
        if isinstance(step.operator, Filter) and step.operator.counted:
            context.result.counts.filtered += frame.height - rows.height
            context.result.counts.contributed -= frame.height - rows.height
        _descend(step.children, rows, context, begins)


def _compile(plan: nodes.Plan) -> tuple[Decode, list[_Step]]:
    source = plan.source()
    delay = plan.delay()
    delay_us = None if delay is None else delay // MICROSECOND
    tagged = any(isinstance(node, nodes.Aggregate) for node in plan.nodes())
    decode = Decode(
        source.format, source.event_time, delay_us, source.on_error,
        plan.dead_letters(), plan.late(), plan.app, tagged,
    )  # fmt: skip
    columns = schema.columns(plan)
    # Only on the way to a single sink is a filtered record gone for good, and so counted.
    single = len(plan.sinks) == 1
    top: list[_Step] = []
    children: dict[int, list[_Step]] = {id(source): top}
    aggregates = 0
    for node in plan.nodes():
        if isinstance(node, nodes.Source):
            continue
        if isinstance(node, nodes.Watermark):
            children[id(node)] = children[id(node.parent)]
            continue
        if isinstance(node, nodes.Aggregate):
            operator: Operator = _aggregate(plan, node, columns, aggregates, delay_us)
            aggregates += 1
        elif isinstance(node, nodes.Filter):
            operator = Filter(node.predicate, counted=single and not _behind_aggregate(node))
        elif isinstance(node, nodes.Select):
            operator = Select(node.expressions)
        else:
            operator = Extend(node.expressions)
        step = _Step(operator, f"{_NAMES[type(node)]} at {node.at}")
        children[id(node.parent)].append(step)
        children[id(node)] = step.children
    for sink in plan.sinks:
        emit = Emit(sink.topic, sink.format, sink.key, str(sink.at))
        children[id(sink.parent)].append(_Step(emit, f"write at {sink.at}"))
    return decode, top


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
    return Aggregate(
        f"aggregate-{number}",
        window=node.window,
        keys=keys,
        terms=terms,
        mode=mode,
        delay_us=delay_us,
    )


def _behind_aggregate(node: nodes.Node) -> bool:
    while not isinstance(node, nodes.Source):
        node = node.parent
        if isinstance(node, nodes.Aggregate):
            return True
    return False


def _stateful(steps: Iterable[_Step]) -> Iterable[Stateful]:
    for step in steps:
        if isinstance(step.operator, Aggregate):
            yield step.operator
        yield from _stateful(step.children)
