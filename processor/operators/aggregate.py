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

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

import numpy as np
import polars as pl

from processor.operators.base import TASK, Context
from processor.plan.nodes import Aggregation, OutputMode, Window
from processor.state.index import Slots
from processor.state.slab import NUMBER_MAX, Cell, Column, Slab

WINDOW_START: Final = "window_start"
WINDOW_END: Final = "window_end"
MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Term:
    """One aggregate, resolved: its stored cells, its partial expressions, its output type.

    ``kind`` is the type of the aggregated column.
    """

    aggregation: Aggregation
    kind: pl.DataType

    def cells(self) -> list[Cell]:
        """The stored columns: one, or a sum and a count for a mean."""
        name, function = self.aggregation.name, self.aggregation.function
        if function == "count":
            return [Cell(name, "<i8", "add")]
        if function == "mean":
            return [Cell(f"{name}.sum", "<f8", "add"), Cell(f"{name}.count", "<i8", "add")]
        dtype: Literal["<f8", "<i8"] = "<f8" if self.kind.is_float() else "<i8"
        return [Cell(name, dtype, "add" if function == "sum" else function)]

    def partials(self) -> list[pl.Expr]:
        """The same columns computed for a batch's group."""
        name, function, column = (
            self.aggregation.name,
            self.aggregation.function,
            self.aggregation.column,
        )
        if function == "count":
            count = pl.len() if column is None else pl.col(column).count()
            return [count.cast(pl.Int64).alias(name)]
        values = pl.col(str(column))
        if function == "mean":
            total = values.cast(pl.Float64).sum().alias(f"{name}.sum")
            return [total, values.count().cast(pl.Int64).alias(f"{name}.count")]
        cell = self.cells()[0]
        stored = pl.Float64 if cell.dtype == "<f8" else pl.Int64
        numbers = values.to_physical().cast(stored)
        folded = {"sum": numbers.sum(), "min": numbers.min(), "max": numbers.max()}[function]
        return [folded.fill_null(cell.identity()).alias(name)]

    def output(self, slab: Slab, slots: Slots) -> pl.Series:
        """The aggregate's values now."""
        name, function = self.aggregation.name, self.aggregation.function
        if function == "mean":
            totals, counts = slab.gather(f"{name}.sum", slots), slab.gather(f"{name}.count", slots)
            with np.errstate(invalid="ignore", divide="ignore"):
                return pl.Series(name, totals / counts).fill_nan(None)
        column: Column = slab.gather(name, slots)
        values = pl.Series(name, column)
        if function in ("min", "max"):
            identity = self.cells()[0].identity()
            values = values.set(values == identity, None).cast(self.kind)
        return values


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
        window: the tumbling window; its column holds no null.
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
        self._size_us = window.size // MICROSECOND if window else 0
        self._others = list(keys)
        self._keys = ({WINDOW_START: pl.Datetime("us")} if window else {}) | keys
        self._terms = tuple(terms)
        self._mode = mode
        self._delay_us = None if mode == "complete" else delay_us

    def new_state(self) -> Slab:
        """An empty slab."""
        return Slab(self._keys, [cell for term in self._terms for cell in term.cells()])

    def process(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        """Fold the rows in; the groups that the mode asks for go on.

        Rows come in the order of their tasks, and so do the groups.
        """
        groups = self.grouped(frame)
        tasks = groups[TASK].to_numpy()
        starts = np.searchsorted(tasks, np.arange(len(context.slices) + 1))
        parts: list[pl.DataFrame] = []
        for i, state in enumerate(context.states):
            slab = state[self.name]
            part = groups[int(starts[i]) : int(starts[i + 1])]
            slots = self._fold(slab, part)
            closed = self._closed(slab, part, context.result.event_times_max[i])
            rows = self._emit(slab, part, slots, closed)
            parts.append(rows.with_columns_seq(pl.lit(i, pl.UInt32).alias(TASK)))
            if len(closed):
                slab.free(closed)
        return pl.concat(parts)

    def grouped(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Partial results of these rows by task, window and keys; state is left alone."""
        keys: list[pl.Expr] = [pl.col(TASK)]
        if self._window:
            time = pl.col(self._window.column).cast(pl.Datetime("us")).to_physical()
            start = time.floordiv(self._size_us) * self._size_us
            keys.append(start.cast(pl.Datetime("us")).alias(WINDOW_START))
        keys += [pl.col(name) for name in self._others]
        partials = [expression for term in self._terms for expression in term.partials()]
        # Rows come by task, and the order of first appearance keeps them so.
        return frame.group_by(keys, maintain_order=True).agg(partials)

    def _fold(self, slab: Slab, part: pl.DataFrame) -> Slots:
        if part.is_empty():
            return np.zeros(0, np.int32)
        cells = [cell.name for term in self._terms for cell in term.cells()]
        return slab.fold(
            part.select_seq(list(self._keys)), {name: part[name].to_numpy() for name in cells}
        )

    def _closed(self, slab: Slab, part: pl.DataFrame, event_time_max: int | None) -> Slots:
        """The slots whose window the watermark has passed."""
        if not self._window or self._delay_us is None:
            return np.zeros(0, np.int32)
        if not part.is_empty():
            slab.low = min(slab.low, int(part[WINDOW_START].to_physical().min()))  # type: ignore[arg-type]
        # Nothing is looked at until the watermark has reached the end of the oldest window.
        if event_time_max is None or slab.low + self._size_us > event_time_max - self._delay_us:
            return np.zeros(0, np.int32)
        live = slab.live()
        starts = slab.key_numbers(WINDOW_START, live)
        over = starts + self._size_us <= event_time_max - self._delay_us
        slab.low = int(starts[~over].min(initial=NUMBER_MAX))
        return live[over]

    def _emit(self, slab: Slab, part: pl.DataFrame, slots: Slots, closed: Slots) -> pl.DataFrame:
        if self._mode == "update":
            keys = part.select_seq(list(self._keys))
        else:
            slots = closed if self._mode == "append" else slab.live()
            keys = slab.keys(slots)
        if self._window:
            end = (pl.col(WINDOW_START) + self._window.size).alias(WINDOW_END)
            keys = keys.select_seq(WINDOW_START, end, *self._others)
        return keys.with_columns_seq(term.output(slab, slots) for term in self._terms)
