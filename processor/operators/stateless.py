"""Steps that look at the batch alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from processor.operators.base import HIDDEN, Context
from processor.operators.fit import Fit, Fitted


def _together(fit: Fit | None) -> bool:
    """Whether columns are computed side by side.

    They are handed to the column engine's threads for it; where that is one thread, the way there
    and back is 0.1 ms a step for nothing.
    """
    return not (fit and fit.strict) and pl.thread_pool_size() > 1


def _selects(*expressions: pl.Expr) -> bool:
    """Whether an expression picks columns by pattern or type, and so might see those not its own.

    The column engine has no question for it, but shows all selectors in one way.
    """
    return any("cs." in str(expression) for expression in expressions)


def _hidden(frame: pl.DataFrame) -> list[str]:
    return [name for name in HIDDEN if name in frame.columns]


@dataclass(frozen=True, slots=True)
class Select(Fitted):
    """These columns and no others."""

    expressions: Sequence[pl.Expr]
    fit: Fit | None = None

    def process(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:  # noqa: ARG002 - as `Operator`
        """Rows with the chosen columns."""
        hidden = _hidden(frame)
        if hidden and _selects(*self.expressions):
            own = frame.select_seq(hidden).get_columns()
            return self._select(frame.drop(hidden), self.expressions).hstack(own)
        return self._select(frame, [*map(pl.col, hidden), *self.expressions])

    def _select(self, frame: pl.DataFrame, expressions: Sequence[pl.Expr]) -> pl.DataFrame:
        if self.fit:
            frame = self.fit.before(frame)
        rows = (frame.select if _together(self.fit) else frame.select_seq)(*expressions)
        if rows.height != frame.height and self.fit and self.fit.strict:
            raise pl.exceptions.ShapeError(
                f"a function returned {rows.height} values for {frame.height} rows"
            )
        if rows.height == 1 != frame.height:
            # Nothing but literals: they are the same in every row.
            rows = pl.concat([rows] * frame.height) if frame.height else rows.clear()
        if self.fit:
            self.fit.check(frame)
        return rows


@dataclass(frozen=True, slots=True)
class Extend(Fitted):
    """These columns beside the others."""

    expressions: Sequence[pl.Expr]
    fit: Fit | None = None

    def process(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:  # noqa: ARG002 - as `Operator`
        """Rows with more columns."""
        hidden = _hidden(frame)
        if hidden and _selects(*self.expressions):
            own = frame.select_seq(hidden).get_columns()
            return self._extend(frame.drop(hidden)).hstack(own)
        return self._extend(frame)

    def _extend(self, frame: pl.DataFrame) -> pl.DataFrame:
        if self.fit:
            frame = self.fit.before(frame)
        rows = (frame.with_columns if _together(self.fit) else frame.with_columns_seq)(
            *self.expressions
        )
        if self.fit:
            self.fit.check(frame)
            return self.fit.after(rows)
        return rows


@dataclass(frozen=True, slots=True)
class Filter(Fitted):
    """Rows for which the predicate is true; ``counted`` where the rows are still records."""

    predicate: pl.Expr
    counted: bool
    fit: Fit | None = None

    def process(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:  # noqa: ARG002 - as `Operator`
        """The rows that pass."""
        hidden = _hidden(frame)
        if hidden and _selects(self.predicate):
            own = frame.drop(hidden)
            if self.fit:
                self.fit.check(own)
            return frame.filter(own.select(self.predicate).to_series())
        if self.fit:
            frame = self.fit.before(frame)
            self.fit.check(frame)
            return self.fit.after(frame.filter(self.predicate))
        return frame.filter(self.predicate)
