"""Windowed and keyed aggregates: partial results of the batch folded into the slab.

::

    rows ── group by (task, window, keys) ──► partial aggregates ── fold ──► slab of each task
                                                                      │
                                       changed groups (update), closed windows (append),
                                       or all of them (complete) ◄────┘

A window is over when its partition's watermark (largest event time less the delay) has reached its
end. Every record that is not late belongs to a window that is still open, so the state of those
that are over can be freed; only ``complete``, which promises all groups for ever, keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, TypeAlias

import numpy as np
import polars as pl

from processor.model.frames import stacked
from processor.operators import sums
from processor.operators.base import TASK, Context, slab_of
from processor.operators.windows import Panes
from processor.plan.nodes import Aggregation, OutputMode, Window
from processor.state.cells import Cell, Column
from processor.state.index import Slots
from processor.state.slab import NUMBER_MAX, Slab

WINDOW_START: Final = "window_start"
WINDOW_END: Final = "window_end"
Gather: TypeAlias = Callable[[str], Column]
"""The values of a stored column, of the groups that are asked for."""
_AT: Final = "__at"
_VALUE: Final = "__value"
NONE: Final[Slots] = np.zeros(0, np.int32)


@dataclass(frozen=True, slots=True)
class Made:
    """Groups that go on: their keys, and by name the stored values of each."""

    keys: pl.DataFrame
    values: Mapping[str, Column]


class SumError(Exception):
    """A record takes a sum out of its type; ``row`` is its place among the rows of the step.

    ``None``: no single record does, but several that are added up.
    """

    def __init__(self, message: str, row: int | None) -> None:
        super().__init__(message)
        self.row = row


@dataclass(frozen=True, slots=True)
class Term:
    """One aggregate, resolved: its stored cells, its partial expressions, its output type.

    ``kind`` is the type of the aggregated column.
    """

    aggregation: Aggregation
    kind: pl.DataType

    def cells(self) -> list[Cell]:
        """The stored columns: one for a count or a sum, else two."""
        name, function = self.aggregation.name, self.aggregation.function
        if function == "count":
            return [Cell(name, "<i8", "add")]
        if function == "mean":
            return [Cell(f"{name}.sum", "<f8", "add"), Cell(f"{name}.count", "<i8", "add")]
        dtype: Literal["<f8", "<i8"] = "<f8" if self.kind.is_float() else "<i8"
        if function == "sum":
            return [Cell(name, dtype, "add")]
        return [Cell(name, dtype, function), Cell(f"{name}.known", "|u1", "max", tells=name)]

    def partials(self) -> list[pl.Expr]:
        """The columns of a batch's groups, as they are computed from its rows."""
        name, function, column = (
            self.aggregation.name,
            self.aggregation.function,
            self.aggregation.column,
        )
        if function == "count":
            count = pl.len() if column is None else pl.col(column).count()
            return [count.cast(pl.Int64).alias(name)]
        values = self._numbers()
        if function == "mean":
            total = values.sum().alias(f"{name}.sum")
            return [total, values.count().cast(pl.Int64).alias(f"{name}.count")]
        folded = {"sum": values.sum(), "min": values.min(), "max": values.max()}[function]
        return [folded.alias(name)]

    def known(self) -> list[pl.Expr]:
        """What is computed from the groups: whether there is a smallest or largest value.

        What is not a number is none.
        """
        name = self.aggregation.name
        if self.aggregation.function not in ("min", "max"):
            return []
        value = pl.col(name)
        known = value.is_not_null()
        if self.kind.is_float():
            known &= value.is_not_nan()
        identity = self.cells()[0].identity()
        return [value.fill_null(identity), known.cast(pl.UInt8).alias(f"{name}.known")]

    def total(self) -> str | None:
        """The stored column that is a sum of numbers which may leave its type."""
        name, function = self.aggregation.name, self.aggregation.function
        if function == "count":
            return name
        if function == "mean":
            return f"{name}.sum"
        return name if function == "sum" else None

    def reach(self, frame: pl.DataFrame) -> float:
        """How far from zero the sum of some of the rows can be."""
        column = self.aggregation.column
        if self.aggregation.function == "count" or column is None:
            return frame.height
        if self.aggregation.function == "mean" and self.kind.is_integer():
            return 0  # as Float64, which no sum of integers leaves
        return sums.reach(frame[column])

    def values(self) -> pl.Expr:
        """What each row adds to the total; null for one that adds nothing."""
        if self.aggregation.function == "count":
            given = pl.lit(1) if self.aggregation.column is None else self._given()
            return given.cast(pl.Int64)
        return self._numbers()

    def output(self, gather: Gather) -> pl.Series:
        """The aggregate's values, of what is stored."""
        name, function = self.aggregation.name, self.aggregation.function
        if function == "mean":
            totals, counts = gather(f"{name}.sum"), gather(f"{name}.count")
            none = counts == 0
            means = pl.Series(name, totals / np.where(none, 1, counts))
            return means.set(pl.Series(none), None) if none.any() else means
        values = pl.Series(name, gather(name))
        if function in ("min", "max"):
            known = gather(f"{name}.known") != 0
            if not known.all():
                values = values.set(pl.Series(~known), None)
            values = values.cast(self.kind)
        return values

    def _given(self) -> pl.Expr:
        return pl.when(pl.col(str(self.aggregation.column)).is_not_null()).then(1)

    def _numbers(self) -> pl.Expr:
        floating = self.aggregation.function == "mean" or self.kind.is_float()
        values = pl.col(str(self.aggregation.column)).to_physical()
        return values.cast(pl.Float64 if floating else pl.Int64)


class Aggregate:
    """Aggregates by an optional window and keys, in state.

    >>> term = Term(Aggregation("n", "count", None), pl.Int64())
    >>> trips = Aggregate(
    ...     "a", window=None, keys={"user": pl.String()}, terms=[term], mode="update", delay_us=None
    ... )
    >>> trips.new_state().rows()
    0

    Args:
        name: the operator's name in checkpoints.
        window: the window; its column holds no null. What is kept is of its panes.
        keys: key columns with their types, without the window's.
        mode: what goes on downstream: changed groups, closed windows, or all groups.
        terms: the aggregates.
        delay_us: the watermark's delay in microseconds; ``None``: windows never close.
    """

    def __init__(
        self,
        name: str,
        *,
        window: Window | None,
        keys: dict[str, pl.DataType],
        terms: Sequence[Term],
        mode: OutputMode,
        delay_us: int | None,
    ) -> None:
        self.name = name
        self._window = window
        self._panes = Panes(window) if window else None
        self._size_us = self._panes.size_us if self._panes else 0
        self._others = list(keys)
        self._keys = ({WINDOW_START: pl.Datetime("us")} if window else {}) | keys
        self._terms = tuple(terms)
        self._cells = {cell.name: cell for term in terms for cell in term.cells()}
        self._totals = [term for term in terms if term.total() is not None]
        self._known = [expression for term in terms for expression in term.known()]
        self._mode = mode
        self._delay_us = None if mode == "complete" else delay_us

    def new_state(self) -> Slab:
        """An empty slab."""
        return Slab(self._keys, [*self._cells.values()])

    def process(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        """Fold the rows in; the groups that the mode asks for go on.

        Rows come in the order of their tasks, and so do the groups. Raises `SumError`; then what
        was folded has to be rolled back.
        """
        groups = self.grouped(frame)
        keys = groups[list(self._keys)]
        values = {name: groups[name].to_numpy() for name in self._cells}
        reaches = [term.reach(frame) for term in self._totals]
        bounds = np.searchsorted(groups[TASK].to_numpy(), np.arange(len(context.slices) + 1))
        made: list[Made] = []
        tasks: list[int] = []
        for i, (state, (first, end)) in enumerate(
            zip(context.states, pairwise(bounds.tolist()), strict=True)
        ):
            slab, part = slab_of(state, self.name), keys[first:end]
            slots = self._fold(slab, part, {n: column[first:end] for n, column in values.items()})
            for term, reach in zip(self._totals, reaches, strict=True):
                if len(slots):
                    self._look(term, reach, frame, slab, slots, first=first)
            closed, parts = self._through(slab, part, slots, i, context)
            if len(closed):
                slab.free(closed)
            made += parts
            tasks += [i] * len(parts)
        # Once for all tasks: the column engine takes as long for few rows as for many.
        if not made:
            made, tasks = [self._made(slab.keys(NONE), slab, NONE)], [0]
        of = np.repeat(np.array(tasks, np.uint32), [part.keys.height for part in made])
        return self._rows(made).hstack([pl.Series(TASK, of)])

    def grouped(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Partial results of these rows by task, window and keys; state is left alone.

        Raises `OverflowError` for a window that has no end among the times there are.
        """
        if self._panes and frame.height:
            self._panes.check(frame[self._panes.window.column])
        partials = [expression for term in self._terms for expression in term.partials()]
        # Rows come by task, and the order of first appearance keeps them so.
        groups = frame.group_by(self._by(), maintain_order=True).agg(partials)
        return groups.with_columns_seq(self._known) if self._known else groups

    def _by(self) -> list[pl.Expr]:
        keys: list[pl.Expr] = [pl.col(TASK)]
        if self._panes:
            keys.append(self._panes.pane().cast(pl.Datetime("us")).alias(WINDOW_START))
        return keys + [pl.col(name) for name in self._others]

    def _fold(self, slab: Slab, part: pl.DataFrame, values: Mapping[str, Column]) -> Slots:
        if part.is_empty():
            return NONE
        if self._window:
            slab.low = min(slab.low, int(part[WINDOW_START].cast(pl.Int64).min()))  # type: ignore[arg-type]
        return slab.fold(part, values)

    def _look(
        self, term: Term, reach: float, frame: pl.DataFrame, slab: Slab, slots: Slots, *, first: int
    ) -> None:
        """See that no total of the groups from ``first`` on has left its type on the way."""
        name = str(term.total())
        totals = slab.made(name)
        far = reach > sums.limit(totals)
        if not far and sums.close(totals):
            return
        places = np.flatnonzero(sums.beyond(totals) | far)
        dtype = pl.Float64 if totals.dtype.kind == "f" else pl.Int64
        rows = frame.with_row_index(_AT).with_columns_seq(term.values().alias(_VALUE))
        groups = rows.group_by(self._by(), maintain_order=True).agg(_AT, _VALUE)[places + first]
        for place, group in zip(places, groups.iter_rows(named=True), strict=True):
            values = pl.Series(group[_VALUE], dtype=dtype)
            given = values.is_not_null()
            numbers, before = values.filter(given).to_numpy(), slab.before(name)[place]
            if (at := sums.leaves(before, numbers)) is not None:
                row = pl.Series(group[_AT]).filter(given)[at]
                raise SumError(self._told(term, group, str(dtype)), row)
            if dtype is pl.Float64:
                slab.amend(name, slots[[place]], np.array([sums.total_of(before, numbers)]))

    def _told(self, term: Term, group: Mapping[str, object], dtype: str) -> str:
        of = ", ".join(f"{key}={group[key]!s}" for key in self._keys)
        called, function = term.aggregation.name, term.aggregation.function
        return f"it takes {called!r}, the {function} of the group {of}, out of {dtype}"

    def _through(
        self, slab: Slab, keys: pl.DataFrame, slots: Slots, number: int, context: Context
    ) -> tuple[Slots, list[Made]]:
        """The slots that are to be given up, and the groups that go on, of one task."""
        closed = self._closed(slab, context.result.event_times_max[number])
        if self._mode != "update":
            slots = closed if self._mode == "append" else slab.live()
            keys = slab.keys(slots)
        return closed, [self._made(keys, slab, slots)] if len(slots) else []

    def _closed(self, slab: Slab, event_time_max: int | None) -> Slots:
        """The slots whose window the watermark has passed."""
        if not self._window or self._delay_us is None:
            return NONE
        # Nothing is looked at until the watermark has reached the end of the oldest window.
        if event_time_max is None or slab.low + self._size_us > event_time_max - self._delay_us:
            return NONE
        live = slab.live()
        starts = slab.key_numbers(WINDOW_START, live)
        over = starts + self._size_us <= event_time_max - self._delay_us
        slab.low = int(starts[~over].min(initial=NUMBER_MAX))
        return live[over]

    def _made(self, keys: pl.DataFrame, slab: Slab, slots: Slots) -> Made:
        return Made(keys, {name: slab.gather(name, slots) for name in self._cells})

    def _rows(self, made: Sequence[Made]) -> pl.DataFrame:
        keys = stacked([part.keys for part in made])
        if self._window:
            end = (pl.col(WINDOW_START) + self._window.size).alias(WINDOW_END)
            keys = keys.select_seq(WINDOW_START, end, *self._others)
        values = {
            name: np.concatenate([part.values[name] for part in made]) for name in self._cells
        }
        return keys.hstack([term.output(values.__getitem__) for term in self._terms])
