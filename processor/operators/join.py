"""The join of two streams by key and a stretch of time.

Both sides come in one topic, each row tagged with its side, so a partition is a total order and
what comes of it a function of the log. A row of the right with the time r matches one of the left
with the time l if their keys are equal and r lies from l + lower to l + upper::

    left 10:00, between -10 minutes and 1 hour      right   9:50 ├──────────────────┤ 11:00

Each side has a watermark of its own: no row of it that is still to come is earlier. A row of the
right is freed once the left's watermark is past what could match it, and one of the left once the
right's is; then a left join lets it go on with nulls, unless it had a match. All matches of a batch
are made before anything is freed, so it is no matter where the batch begins and ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from processor.operators.base import TASK, Context
from processor.plan.pairs import AT, LEFT, RIGHT, SIDE, Joined
from processor.state.base import TaskState
from processor.state.timed import FIRST, LAST, Timed, hashes

Numbers = npt.NDArray[np.int64]


class Side:
    """What is kept of one side.

    >>> Side("join-left", {"k.user": pl.String()}, {"l.n": pl.Int64()}).new_state().rows()
    0
    """

    def __init__(
        self, name: str, keys: Mapping[str, pl.DataType], columns: Mapping[str, pl.DataType]
    ) -> None:
        self.name = name
        self.keys, self.columns = dict(keys), dict(columns)

    def new_state(self) -> Timed:
        """No rows."""
        return Timed(self.keys, self.columns)

    def rows_of(self, state: TaskState) -> Timed:
        """The side's rows in a task's state."""
        found = state[self.name]
        if not isinstance(found, Timed):
            raise TypeError(f"{self.name} keeps no rows: {type(found).__name__}")
        return found


class Join:
    """Joins by key and time, in state.

    Args:
        node: says how.
        layout: the columns of the topic that has both sides.
    """

    def __init__(self, node: Joined, layout: Mapping[str, pl.DataType]) -> None:
        keys = {name: layout[name] for name in node.keys}
        of = {
            side: {name: kind for name, kind in layout.items() if name.startswith(side)}
            for side in (LEFT, RIGHT)
        }
        self.left = Side("join-left", keys, of[LEFT])
        self.right = Side("join-right", keys, of[RIGHT])
        self._outer = node.how == "left"
        self._keys = list(node.keys)
        self._lower, self._upper = _us(node.lower), _us(node.upper)
        self._columns = [pl.col(of).alias(name) for name, of in node.columns]
        self._schema = {name: layout[of] for name, of in node.columns}

    @property
    def sides(self) -> tuple[Side, Side]:
        """What keeps state."""
        return self.left, self.right

    def process(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        """Take the rows in; the pairs that they make go on, and rows that had none.

        Rows come in the order of their tasks, and so do the pairs; of one task in no order.
        """
        tasks = frame[TASK].to_numpy()
        starts = np.searchsorted(tasks, np.arange(len(context.slices) + 1))
        parts = [pl.DataFrame(schema={**self._schema, TASK: pl.UInt32()})]
        for i, state in enumerate(context.states):
            part = frame[int(starts[i]) : int(starts[i + 1])]
            made = self._taken(part, state, publishes=context.publishes)
            made.append(self._freed(state, context.heard[i].sides))
            if context.publishes:
                rows = pl.concat(made).select_seq(self._columns)
                parts.append(rows.with_columns_seq(pl.lit(i, pl.UInt32).alias(TASK)))
        return pl.concat(parts)

    def _taken(
        self, part: pl.DataFrame, state: TaskState, *, publishes: bool
    ) -> list[pl.DataFrame]:
        """Take a task's rows in: what they match, and rows of the left that nothing can match."""
        lefts, rights = self.left.rows_of(state), self.right.rows_of(state)
        if part.is_empty():
            return []
        left, alone = self._of(part.filter(~part[SIDE]), self.left)
        right, _ = self._of(part.filter(part[SIDE]), self.right)
        left_at, right_at = _times(left), _times(right)
        left_keys, right_keys = (rows.select_seq(self._keys) for rows in (left, right))
        of_left, of_right = hashes(left_keys), hashes(right_keys)
        # The batch's own pairs are found by its right rows, which are not there for its left ones.
        low, high = _plus(left_at, self._lower), _plus(left_at, self._upper)
        old = rights.find(left_keys, low, high, of_left)
        lefts.append(left, left_at, of_left)
        low, high = _plus(right_at, -self._upper), _plus(right_at, -self._lower)
        new = lefts.find(right_keys, low, high, of_right)
        rights.append(right, right_at, of_right)
        if self._outer:
            lefts.mark_new(old.asked)
            lefts.mark(new)
        if not publishes:
            return []
        names = list(self.right.columns)
        left, right = left.drop(AT), right.select_seq(names)
        pairs = [
            left[old.asked].hstack(rights.take(old).select_seq(names)),
            lefts.take(new).hstack(right[new.asked]),
        ]
        return [*pairs, self._alone(alone.drop(AT))] if self._outer else pairs

    def _freed(self, state: TaskState, marks: Sequence[int]) -> pl.DataFrame:
        """Free what nothing can match any more: rows of the left that nothing has matched.

        ``marks`` are the watermarks of the left and of the right.
        """
        left, right = marks
        gone = self.left.rows_of(state).free(_sum(right, -self._upper))
        self.right.rows_of(state).free(_sum(left, self._lower))
        return self._alone(gone if self._outer else gone.clear())

    def _of(self, rows: pl.DataFrame, side: Side) -> tuple[pl.DataFrame, pl.DataFrame]:
        """A side's rows that have a key, and those with a null in it, which equals nothing."""
        own = rows.select_seq(AT, *self._keys, *side.columns)
        if not any(own[name].null_count() for name in self._keys):
            return own, own.clear()
        null = pl.any_horizontal(pl.col(name).is_null() for name in self._keys)
        return own.filter(~null), own.filter(null)

    def _alone(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows of the left with nulls for the right's columns."""
        nothing = [pl.lit(None, kind).alias(name) for name, kind in self.right.columns.items()]
        return rows.with_columns_seq(nothing)


def _us(bound: timedelta) -> int:
    return bound // timedelta(microseconds=1)


def _times(rows: pl.DataFrame) -> Numbers:
    return rows[AT].to_physical().to_numpy()


def _plus(times: Numbers, by: int) -> Numbers:
    """Sums that stop at the first and the last time there are."""
    if by >= 0:
        return np.where(times > LAST - by, LAST, times + min(by, LAST))
    return np.where(times < FIRST - by, FIRST, times + by)


def _sum(time: int, by: int) -> int:
    """A watermark and a bound; there is none without a watermark."""
    return FIRST if time == FIRST else min(max(time + by, FIRST), LAST)
