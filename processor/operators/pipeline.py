"""From plan to operators, and one batch through them.

Rows go down the plan's tree once, parents first; where two paths part, both get the same frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from processor.errors import ProcessorError, RecordError
from processor.formats.base import Decoded
from processor.model.batch import Result, Slice
from processor.operators.aggregate import MICROSECOND, Aggregate, SumError, Term
from processor.operators.aside import Aside, messages_at
from processor.operators.base import ROW, Context, KeyWatch, Operator, Refusal, Stateful, TaskState
from processor.operators.carried import Carried, Note
from processor.operators.derived import derived_of
from processor.operators.emit import Emit, required
from processor.operators.fit import Fitted, fit_of
from processor.operators.search import ROW_ERRORS, StepError, failing
from processor.operators.source import Decode
from processor.operators.stateless import Extend, Filter, Select
from processor.plan import beside, nodes, schema

_DAY_US: Final = 86_400_000_000
_NAMES: Final[dict[type[nodes.Node], str]] = {
    nodes.Select: "select",
    nodes.Extend: "with_columns",
    nodes.Filter: "filter",
    nodes.Aggregate: "agg",
}


class ConservationError(ProcessorError):
    """A batch lost or invented records between its steps: nothing of it was committed."""

    code = "conservation"


@dataclass(slots=True, eq=False)
class _Step:
    """``behind`` an aggregate rows are groups, and no longer records."""

    operator: Operator
    name: str
    behind: bool
    children: list[_Step] = field(default_factory=list)


class _RowsError(Exception):
    """A step cannot compute some of its rows, which are records."""

    def __init__(self, step: _Step) -> None:
        super().__init__(step.name)
        self.step = step


class _TotalError(Exception):
    """A total of a step would leave its type."""

    def __init__(self, step: _Step, cause: SumError) -> None:
        super().__init__(step.name)
        self.step, self.cause = step, cause


class Pipeline:
    """A compiled plan: pure, and the same for every task.

    ``keys`` looks at some records of each batch, where an aggregate counts on where they lie.
    ``note`` hears of what a person should see.

    >>> from processor import Text, Topology
    >>> topology = Topology("copy")
    >>> topology.read.kafka("from", format=Text()).write.kafka("to", format=Text())
    >>> pipeline = Pipeline(topology.plan())
    >>> pipeline.stateful, pipeline.new_state(), pipeline.run([], []).counts.read
    (False, {}, 0)
    """

    def __init__(
        self, plan: nodes.Plan, keys: KeyWatch | None = None, note: Note = lambda _: None
    ) -> None:
        self._decode, self._root = _compile(plan, note)
        self._keys, self._keyed_by = keys, plan.source().partitioned_by
        self._source = f"decode at {plan.source().at}"
        self._carried = self._decode.carried
        heard = () if self._carried is None else (self._carried,)
        self._stateful = (*_stateful(self._root), *heard)

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
            RecordError: a record is bad and the topology says to fail, or it would take a sum out
                of its type, whatever the topology says.
            StepError: a step cannot compute the batch, but each of its records.
            ConservationError: a step made more or fewer rows out of its rows than it may.
        """
        if not slices:
            return Result()
        begins(self._source)
        decoded = self._decode.decode(slices)
        heard = () if self._carried is None else self._carried.hear(slices, states)
        refused: dict[int, Refusal] = {}
        while True:
            context = Context(slices, states, Result(), heard)
            frame = self._decode.admit(decoded, refused, context)
            context.result.counts.contributed = frame.height
            try:
                self._descend(self._root, frame, context, begins)
                break
            except _RowsError as error:
                for state in states:
                    for slab in state.values():
                        slab.rollback()
                refused |= self._refused(error.step, decoded, refused, context)
            except _TotalError as error:
                raise self._told(error, decoded, refused, context) from error.cause
        if self._carried is not None:
            self._carried.fold(heard, states)
        if not context.result.counts.balanced():
            raise ConservationError(
                f"the records of a batch do not add up: {context.result.counts}",
                remedy="this is a fault of the processor: report it with the topology",
            )
        context.result.misplaced = self._misplaced(decoded, slices)
        return context.result

    def _misplaced(self, decoded: Decoded, slices: Sequence[Slice]) -> int:
        wanted = self._keys.wanted(decoded.frame.height) if self._keys and self._stateful else 0
        if not wanted or self._keys is None:
            return 0
        samples = self._decode.samples(decoded, slices, self._keyed_by[0], wanted)
        return self._keys.look(samples)

    def _descend(
        self,
        steps: Iterable[_Step],
        frame: pl.DataFrame,
        context: Context,
        begins: Callable[[str], None],
    ) -> None:
        for step in steps:
            begins(step.name)
            try:
                rows = step.operator.process(frame, context)
            except ProcessorError:
                raise
            except SumError as error:
                raise _TotalError(step, error) from error
            except ROW_ERRORS as error:
                if not step.behind:
                    raise _RowsError(step) from error
                rows = self._without_refused(step, frame, context)
            if (
                isinstance(step.operator, Select)
                and not step.behind
                and rows.height != frame.height
            ):
                raise ConservationError(
                    f"a select made {rows.height} rows out of {frame.height}",
                    remedy="select columns that are computed row by row",
                )
            if isinstance(step.operator, Filter) and step.operator.counted:
                context.result.counts.filtered += frame.height - rows.height
                context.result.counts.contributed -= frame.height - rows.height
            self._descend(step.children, rows, context, begins)

    def _refused(
        self,
        step: _Step,
        decoded: Decoded,
        refused: Mapping[int, Refusal],
        running: Context,
    ) -> dict[int, Refusal]:
        """The batch's rows that a step cannot compute, of those that come to it.

        A row that is bad says nothing of the time, and so one behind it may be on time after all:
        the batch is run again until there is none left. That ends where looking at one record
        after the other would.
        """
        context = _aside(running)
        frame = self._numbered(step, decoded, refused, context)
        numbers = frame[ROW].to_list()
        bad = _failing(step, frame, context)
        return {numbers[row]: Refusal(step.name, reason) for row, reason in bad.items()}

    def _numbered(
        self,
        step: _Step,
        decoded: Decoded,
        refused: Mapping[int, Refusal],
        context: Context,
    ) -> pl.DataFrame:
        """The rows that come to a step, with their numbers in the batch."""
        frame = self._decode.admit(decoded, refused, context, numbered=True)
        for before in _way(self._root, step):
            frame = before.operator.process(frame, context)
        return frame

    def _told(
        self,
        error: _TotalError,
        decoded: Decoded,
        refused: Mapping[int, Refusal],
        running: Context,
    ) -> RecordError:
        """The error with the record at which it comes."""
        frame = self._numbered(error.step, decoded, refused, _aside(running))
        (message,) = messages_at(running.slices, [frame[ROW][error.cause.row]])
        return RecordError(
            f"{message.topic()}[{message.partition()}] offset {message.offset()}: step "
            f"{self._decode.aside.app}/{error.step.name} cannot add the record: {error.cause}",
            remedy="filter such records out before the step, or add up numbers that have room: "
            "pl.col(...).cast(pl.Float64), or a larger unit",
        )

    def _without_refused(self, step: _Step, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        """A step behind an aggregate, on the groups that it can compute."""
        bad = _failing(step, frame, Context(context.slices, context.states, Result()))
        self._decode.aside.groups(frame, bad, step.name, context)
        good = np.ones(frame.height, np.bool_)
        good[list(bad)] = False
        return step.operator.process(frame.filter(pl.Series(good)), context)


def _aside(running: Context) -> Context:
    """To look at a batch's rows once more, without its state and its outputs."""
    return Context(running.slices, [], Result(), running.heard)


def _failing(step: _Step, frame: pl.DataFrame, context: Context) -> dict[int, str]:
    """The rows of a frame that a step cannot compute; nothing is done with what it makes."""
    operator = step.operator
    bad = dict(operator.misfits(frame)) if isinstance(operator, Fitted | Emit) else {}
    rest = [row for row in range(frame.height) if row not in bad]
    others = frame[rest] if bad else frame

    def attempt(first: int, end: int) -> None:
        part = others[first:end]
        if isinstance(step.operator, Aggregate):
            step.operator.grouped(part)
        else:
            step.operator.process(part, context)

    try:
        if bad:
            try:
                attempt(0, others.height)
            except ROW_ERRORS:
                pass
            else:
                return bad
        found = failing(attempt, others.height)
    except StepError as error:
        raise StepError(f"{step.name}: {error.message}", remedy=error.remedy) from error
    return bad | {rest[row]: reason for row, reason in found.items()}


def _way(steps: Iterable[_Step], wanted: _Step) -> list[_Step]:
    """The steps from the source to one of them, without it."""
    for step in steps:
        if step is wanted:
            return []
        if (way := _way(step.children, wanted)) or wanted in step.children:
            return [step, *way]
    return []


def _compile(plan: nodes.Plan, note: Note) -> tuple[Decode, list[_Step]]:
    source = plan.source()
    delay, ahead = plan.delay(), plan.ahead()
    delay_us = None if delay is None else delay // MICROSECOND
    tagged = any(isinstance(node, nodes.Aggregate) for node in plan.nodes())
    columns = schema.columns(plan)
    decode = Decode(
        source.format, source.event_time, delay_us, plan.late(),
        Aside(plan.app, source.on_error, plan.dead_letters()), tagged,
        None if ahead is None else ahead // MICROSECOND, source,
        _carried(source, columns, note), derived_of(source),
    )  # fmt: skip
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
        else:
            counted = single and not _behind_aggregate(node)
            operator = _stateless(node, columns[id(node.parent)], counted=counted)
        step = _Step(operator, f"{_NAMES[type(node)]} at {node.at}", _behind_aggregate(node))
        children[id(node.parent)].append(step)
        children[id(node)] = step.children
    for sink in plan.sinks:
        behind = any(isinstance(node, nodes.Aggregate) for node in nodes.path(sink))
        have = columns[id(sink.parent)]
        aside = beside.apart(sink, have)
        emit = Emit(
            sink.topic, sink.format, sink.key, sink.timestamp, sink.headers, aside,
            required(sink.format, [name for name in have if name not in aside]),
        )  # fmt: skip
        children[id(sink.parent)].append(_Step(emit, f"write at {sink.at}", behind))
    return decode, top


def _carried(source: nodes.Source, columns: schema.Columns, note: Note) -> Carried | None:
    if source.watermark is None or source.event_time is None:
        return None
    kind = columns[id(source)][source.event_time]
    fine = isinstance(kind, pl.Datetime) and kind.time_unit != "ms"
    unit_us = 1 if fine else 1_000 if isinstance(kind, pl.Datetime) else _DAY_US
    return Carried(source.event_time, unit_us, note)


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
