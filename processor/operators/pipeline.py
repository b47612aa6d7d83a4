"""From plan to operators, and one batch through them.

Rows go down the plan's tree once, parents first; where two paths part, both get the same frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from processor.errors import ProcessorError, RecordError
from processor.formats.base import Decoded
from processor.model.batch import Result, Slice
from processor.operators import many
from processor.operators.aggregate import Aggregate, SumError
from processor.operators.aside import messages_at
from processor.operators.base import ROW, Context, KeyWatch, Refusal
from processor.operators.carried import Note
from processor.operators.emit import Emit
from processor.operators.fit import Fitted
from processor.operators.search import ROW_ERRORS, StepError, failing, told
from processor.operators.show import Show
from processor.operators.shuffle import Targets
from processor.operators.stateless import Filter, Select
from processor.operators.steps import STATEFUL, Step, compiled, stateful
from processor.plan import nodes
from processor.state.base import TaskState


class ConservationError(ProcessorError):
    """A batch lost or invented records between its steps: nothing of it was committed."""

    code = "conservation"


class _RowsError(Exception):
    """A step cannot compute some of its rows, which are records."""

    def __init__(self, step: Step) -> None:
        super().__init__(step.name)
        self.step = step


class _TotalError(Exception):
    """A total of a step would leave its type."""

    def __init__(self, step: Step, cause: SumError) -> None:
        super().__init__(step.name)
        self.step, self.cause = step, cause


@dataclass(frozen=True, slots=True)
class Looked:
    """A batch's records as `Pipeline.look` found them.

    ``frame`` has a row for each, ``times`` its event time in microseconds since 1970. ``readable``
    and ``usable`` tell which could be read, and computed by each step that they come to as well.
    ``log_times`` are those of the slices after the batch.
    """

    frame: pl.DataFrame
    times: npt.NDArray[np.int64]
    readable: npt.NDArray[np.bool_]
    usable: npt.NDArray[np.bool_]
    log_times: list[int | None]


class Pipeline:
    """A compiled plan: pure, and the same for every task.

    ``keys`` looks at some records of each batch, where an aggregate counts on where they lie.
    ``note`` hears of what a person should see. ``targets`` says how many partitions an internal
    topic has. With ``lenient`` no record is late, and what is bad is skipped, whatever the topology
    says: that is for who looks on.

    >>> from processor import Text, Topology
    >>> topology = Topology("copy")
    >>> topology.read.kafka("from", format=Text()).write.kafka("to", format=Text())
    >>> pipeline = Pipeline(topology.plan())
    >>> pipeline.stateful, pipeline.new_state(), pipeline.run([], []).counts.read
    (False, {}, 0)
    """

    def __init__(
        self,
        plan: nodes.Plan,
        keys: KeyWatch | None = None,
        note: Note = lambda _: None,
        targets: Targets = lambda _: 1,
        *,
        lenient: bool = False,
    ) -> None:
        self._decode, self._root = compiled(plan, note, targets)
        if lenient:
            aside = replace(self._decode.aside, on_error="skip")
            self._decode = replace(self._decode, delay_us=None, aside=aside)
        self._keys, self._keyed_by = keys, plan.source().partitioned_by
        self._source = f"decode at {plan.source().at}"
        self._carried = self._decode.carried
        heard = () if self._carried is None else (self._carried,)
        self._stateful = (*stateful(self._root), *heard)

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
        begins: Callable[[str], object] = lambda _: None,
        *,
        publishes: bool = True,
    ) -> Result:
        """One batch: a slice per partition, and the state of each slice's task.

        State is changed but not committed: its commit or rollback comes next. ``begins`` is told
        of every step each time that it is done, before, as in ``filter at rides.py:12``.
        Without ``publishes``, for who wants the state alone, nothing is computed of groups.

        Raises:
            RecordError: a record is bad and the topology says to fail, or it would take a sum out
                of its type, whatever the topology says.
            StepError: a step cannot compute the batch, but each of its records.
            ConservationError: a step made more or fewer rows out of its rows than it may.
        """
        if not slices:
            return Result()
        begins(self._source)
        decoded, rows = self._decode.decode(slices)
        heard = () if self._carried is None else self._carried.hear(slices, states)
        known = many.spread(heard, slices, decoded)
        refused: dict[int, Refusal] = {}
        while True:
            context = Context(rows, states, Result(), known, begins, publishes)
            frame = self._decode.admit(decoded, refused, context)
            context.result.counts.contributed = frame.height
            try:
                self._descend(self._root, frame, context)
                break
            except _RowsError as error:
                for task in states:
                    for state in task.values():
                        state.rollback()
                refused |= self._refused(error, decoded, refused, context)
            except _TotalError as error:
                raise self._told(error, decoded, refused, context) from error.cause
        if self._carried is not None:
            self._carried.fold(heard, states)
        if not context.result.counts.balanced():
            raise ConservationError(
                f"the records of a batch do not add up: {context.result.counts}",
                remedy="this is a fault of the processor: report it with the topology",
            )
        context.result.misplaced = self._misplaced(decoded, rows)
        return context.result

    def look(self, slices: Sequence[Slice]) -> Looked:
        """Which of a batch's records a run could read and compute, up to the aggregates.

        State is left alone, and nothing is published.
        """
        decoded, rows = self._decode.decode(slices)
        refused: dict[int, Refusal] = {}
        while True:
            context = Context(rows, [], Result())
            frame = self._decode.admit(decoded, refused, context, numbered=True)
            try:
                self._try(self._root, frame, context)
                break
            except _RowsError as error:
                refused |= self._refused(error, decoded, refused, context)
        readable = np.ones(decoded.frame.height, np.bool_)
        readable[[*many.whole(decoded.bad, decoded), *decoded.passed]] = False
        usable = np.zeros(decoded.frame.height, np.bool_)
        usable[frame[ROW].to_numpy()] = True
        times = self._decode.times(decoded.frame)
        return Looked(decoded.frame, times, readable, usable, context.result.log_times)

    def _try(self, steps: Iterable[Step], frame: pl.DataFrame, context: Context) -> None:
        for step in steps:
            try:
                if isinstance(step.operator, STATEFUL):
                    if isinstance(step.operator, Aggregate):
                        step.operator.grouped(frame)
                    continue
                rows = step.process(frame, context)
            except ROW_ERRORS as error:
                raise _RowsError(step) from error
            self._try(step.children, rows, context)

    def _misplaced(self, decoded: Decoded, slices: Sequence[Slice]) -> int:
        wanted = self._keys.wanted(decoded.frame.height) if self._keys and self._stateful else 0
        if not wanted or self._keys is None:
            return 0
        samples = self._decode.samples(decoded, slices, self._keyed_by, wanted)
        return self._keys.look(samples)

    def _descend(
        self,
        steps: Iterable[Step],
        frame: pl.DataFrame,
        context: Context,
    ) -> None:
        for step in steps:
            context.begins(step.name)
            try:
                rows = step.process(frame, context)
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
            if context.publishes or not isinstance(step.operator, STATEFUL):
                self._descend(step.children, rows, context)

    def _refused(
        self,
        error: _RowsError,
        decoded: Decoded,
        refused: Mapping[int, Refusal],
        running: Context,
    ) -> dict[int, Refusal]:
        """The batch's rows that a step cannot compute, of those that come to it.

        A row that is bad says nothing of the time, and so one behind it may be on time after all:
        the batch is run again until there is none left. That ends where looking at one record
        after the other would.
        """
        context, step = _aside(running), error.step
        frame = self._numbered(step, decoded, refused, context)
        numbers = frame[ROW].to_list()
        if len(numbers) == 1 and error.__cause__ is not None:
            # It need not be computed again to know which row it is.
            return {numbers[0]: Refusal(step.name, told(error.__cause__))}
        bad = _failing(step, frame, context)
        return {numbers[row]: Refusal(step.name, reason) for row, reason in bad.items()}

    def _numbered(
        self,
        step: Step,
        decoded: Decoded,
        refused: Mapping[int, Refusal],
        context: Context,
    ) -> pl.DataFrame:
        """The rows that come to a step, with their numbers in the batch."""
        frame = self._decode.admit(decoded, refused, context, numbered=True)
        for before in _way(self._root, step):
            frame = before.process(frame, context)
        return frame

    def _told(
        self,
        error: _TotalError,
        decoded: Decoded,
        refused: Mapping[int, Refusal],
        running: Context,
    ) -> RecordError:
        """The error with the record at which it comes."""
        if error.cause.row is None:
            return RecordError(
                f"step {self._decode.aside.app}/{error.step.name} cannot add up a window's panes: "
                f"{error.cause}",
                remedy=_ROOM,
            )
        frame = self._numbered(error.step, decoded, refused, _aside(running))
        (message,) = messages_at(running.slices, [frame[ROW][error.cause.row]])
        return RecordError(
            f"{message.topic()}[{message.partition()}] offset {message.offset()}: step "
            f"{self._decode.aside.app}/{error.step.name} cannot add the record: {error.cause}",
            remedy=_ROOM,
        )

    def _without_refused(self, step: Step, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        """A step behind an aggregate, on the groups that it can compute."""
        looking = Context(context.slices, context.states, Result(), begins=context.begins)
        bad = _failing(step, frame, looking)
        self._decode.aside.groups(frame, bad, step.name, context)
        good = np.ones(frame.height, np.bool_)
        good[list(bad)] = False
        return step.process(frame.filter(pl.Series(good)), context)


_ROOM: Final = (
    "filter such records out before the step, or add up numbers that have room: "
    "pl.col(...).cast(pl.Float64), or a larger unit"
)


def _aside(running: Context) -> Context:
    """To look at a batch's rows once more, without its state and its outputs."""
    return Context(running.slices, [], Result(), running.heard, running.begins)


def _failing(step: Step, frame: pl.DataFrame, context: Context) -> dict[int, str]:
    """The rows of a frame that a step cannot compute; nothing is done with what it makes."""
    operator = step.operator
    bad = dict(operator.misfits(frame)) if isinstance(operator, Fitted | Emit | Show) else {}
    rest = [row for row in range(frame.height) if row not in bad]
    others = frame[rest] if bad else frame

    def attempt(first: int, end: int) -> None:
        # Each attempt is one: together they may take longer than a step that never ends.
        context.begins(step.name)
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


def _way(steps: Iterable[Step], wanted: Step) -> list[Step]:
    """The steps from the source to one of them, without it."""
    for step in steps:
        if step is wanted:
            return []
        if (way := _way(step.children, wanted)) or wanted in step.children:
            return [step, *way]
    return []
