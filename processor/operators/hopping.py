"""Aggregates by windows that slide: what is kept is of panes, a window is put together of them.

::

    rows ── group by (task, pane, keys) ──► fold ──► slab of panes ── combine ──► windows

Folding a row costs the same however many windows it is in. A window is published once in `append`,
when the watermark has passed its end; in `update` whenever one of its panes has changed; in
`complete` always. A pane is freed when the last window that has it is over.

Which windows have been published before, the watermark before the batch tells: all that were over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from processor.operators import sums
from processor.operators.aggregate import NONE, WINDOW_START, Aggregate, Made, SumError, Term
from processor.operators.base import Context
from processor.operators.windows import Panes
from processor.plan.nodes import OutputMode, Window
from processor.state.cells import Column
from processor.state.index import Slots
from processor.state.slab import NUMBER_MAX, NUMBER_MIN, Slab

_AT_ONCE: Final = 2**18
"""So many panes of windows are put together at a time."""
_SLOT: Final = "__slot"


class Hopping(Aggregate):
    """An aggregate whose windows overlap.

    >>> from processor.operators.windows import MICROSECOND
    >>> from processor.plan.nodes import Aggregation
    >>> window = Window("at", MICROSECOND * 20, MICROSECOND * 10)
    >>> term = Term(Aggregation("n", "count", None), pl.Int64())
    >>> trips = Hopping("a", window=window, keys={}, terms=[term], mode="update", delay_us=None)
    >>> trips.new_state().rows()
    0

    Args:
        name, window, keys, terms, mode, delay_us: as `Aggregate` has them.
    """

    def __init__(
        self,
        name: str,
        *,
        window: Window,
        keys: dict[str, pl.DataType],
        terms: Sequence[Term],
        mode: OutputMode,
        delay_us: int | None,
    ) -> None:
        super().__init__(
            name, window=window, keys=keys, terms=terms, mode=mode, delay_us=delay_us
        )  # fmt: skip
        self._of = Panes(window)
        self._sums = {str(term.total()): term for term in self._totals}

    def _through(
        self, slab: Slab, keys: pl.DataFrame, slots: Slots, number: int, context: Context
    ) -> tuple[Slots, list[Made]]:
        """The panes that are in no window any more, and the windows that go on."""
        before = self._watermark(context.slices[number].event_time_max)
        now = self._watermark(context.result.event_times_max[number])
        closing = self._closes(slab.low, before, now)
        live = slab.live() if closing or self._mode == "complete" else NONE
        parts: list[Made] = []
        if context.publishes and self._mode == "update":
            parts = [*self._changed(slab, keys, slots)]
        elif context.publishes:
            parts = [*self._due(slab, live, before, now)]
        over = NONE
        if closing and now is not None:
            panes = slab.key_numbers(WINDOW_START, live)
            gone = self._of.last(panes) + self._size_us <= now
            over = live[gone]
            slab.low = int(panes[~gone].min(initial=NUMBER_MAX))
        return over, parts

    def _watermark(self, event_time_max: int | None) -> int | None:
        if self._delay_us is None or event_time_max is None:
            return None
        return event_time_max - self._delay_us

    def _closes(self, low: int, before: int | None, now: int | None) -> bool:
        """Whether a window is over now that was not before, as the oldest pane tells."""
        if now is None:
            return False
        first = int(self._of.first(low))
        if before is not None:
            first = max(first, self._of.open_at(before))
        return first + self._size_us <= now

    def _due(self, slab: Slab, live: Slots, before: int | None, now: int | None) -> Iterator[Made]:
        """The windows that are over now and were not before; in `complete` all. Some at a time."""
        low, high = NUMBER_MIN, NUMBER_MAX
        if self._mode == "append":
            if now is None:
                return
            high = now - self._size_us
            low = NUMBER_MIN if before is None else self._of.open_at(before)
        if not len(live):
            return
        panes = slab.key_numbers(WINDOW_START, live)
        low = max(low, int(self._of.first(int(panes.min()))))
        high = min(high, int(self._of.last(int(panes.max()))))
        for first, last in self._pieces(panes, low, high):
            yield self._of_live(slab, live, panes, first, last)

    def _pieces(self, panes: Column, low: int, high: int) -> Iterator[tuple[int, int]]:
        """Windows that begin from ``low`` to ``high``, cut into pieces that fit into the memory.

        A single window is as large as it is.
        """
        pairs = self._of.pairs(panes, low, high)
        if not pairs:
            return
        number = (high - low) // self._of.slide_us + 1
        if pairs <= _AT_ONCE or number == 1:
            yield low, high
            return
        middle = low + number // 2 * self._of.slide_us
        yield from self._pieces(panes, low, middle - self._of.slide_us)
        yield from self._pieces(panes, middle, high)

    def _of_live(self, slab: Slab, live: Slots, panes: Column, low: int, high: int) -> Made:
        """All groups of the windows that begin from ``low`` to ``high``."""
        places, starts = self._of.spread(panes, low, high)
        used = np.unique(places)
        keys = slab.keys(live[used])[np.searchsorted(used, places)]
        keys = keys.with_columns_seq(_times(starts), pl.Series(_SLOT, live[places]))
        groups = keys.sort(WINDOW_START, maintain_order=True)
        groups = groups.group_by(list(self._keys), maintain_order=True).agg(_SLOT)
        lengths = groups[_SLOT].list.len().to_numpy().astype(np.intp)
        slots = groups[_SLOT].explode().to_numpy()
        return self._combined(slab, groups.drop(_SLOT), slots, lengths)

    def _changed(self, slab: Slab, keys: pl.DataFrame, changed: Slots) -> Iterator[Made]:
        """The windows of panes that have changed, with all that is there of their other panes."""
        panes = keys[WINDOW_START].cast(pl.Int64).to_numpy()
        most = max(1, _AT_ONCE // self._of.count)
        places, starts = self._of.spread(panes, NUMBER_MIN, NUMBER_MAX)
        windows = keys.with_columns(pl.Series(_SLOT, changed))[places]
        windows = windows.with_columns_seq(_times(starts)).unique(
            list(self._keys), keep="first", maintain_order=True
        )
        steps = np.arange(self._of.count) * self._of.pane_us
        for at in range(0, windows.height, most):
            some = windows[at : at + most]
            firsts = some[WINDOW_START].cast(pl.Int64).to_numpy()
            wanted = (firsts[:, None] + steps).reshape(-1)
            like = np.repeat(some[_SLOT].to_numpy(), len(steps))
            found = slab.beside(like, WINDOW_START, wanted)
            there = found >= 0
            lengths = there.reshape(some.height, len(steps)).sum(axis=1)
            yield self._combined(slab, some.drop(_SLOT), found[there], lengths)

    def _combined(
        self, slab: Slab, windows: pl.DataFrame, slots: Slots, lengths: npt.NDArray[np.intp]
    ) -> Made:
        """Windows whose panes lie in ``slots`` one after the other."""
        bounds = np.cumsum(lengths) - lengths
        made: dict[str, Column] = {}
        folds = {"add": np.add, "min": np.fmin, "max": np.fmax}
        for name, cell in self._cells.items():
            values = slab.gather(name, slots)
            with np.errstate(over="ignore", invalid="ignore"):
                made[name] = folds[cell.fold].reduceat(values, bounds)
            if name in self._sums:
                self._check(name, values, lengths, made[name], windows)
        return Made(windows[list(self._keys)], made)

    def _check(
        self,
        name: str,
        values: Column,
        lengths: npt.NDArray[np.intp],
        totals: Column,
        windows: pl.DataFrame,
    ) -> None:
        """Raise `SumError` for a window whose total is not in its type, though its panes' are."""
        far = float(np.abs(values.astype(np.float64)).max()) * self._of.count
        if far <= sums.limit(totals):
            return
        bounds = np.cumsum(lengths) - lengths
        for place, (start, length) in enumerate(
            zip(bounds.tolist(), lengths.tolist(), strict=True)
        ):
            panes = values[start : start + length]
            if totals.dtype.kind == "f":
                out = bool(np.isfinite(panes).all() and not np.isfinite(totals[place]))
            else:
                out = not NUMBER_MIN <= sum(panes.tolist()) <= NUMBER_MAX
            if out:
                dtype = "Float64" if totals.dtype.kind == "f" else "Int64"
                group = windows.row(place, named=True)
                raise SumError(self._told(self._sums[name], group, dtype), None)


def _times(starts: Column) -> pl.Series:
    return pl.Series(WINDOW_START, starts, dtype=pl.Int64).cast(pl.Datetime("us"))
