"""Steps that look at the batch alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from processor.operators.base import TASK, Context


def _together() -> bool:
    """Whether columns are computed side by side.

    They are handed to the column engine's threads for it; where that is one thread, the way there
    and back is 0.1 ms a step for nothing.
    """
    return pl.thread_pool_size() > 1


@dataclass(frozen=True, slots=True)
class Select:
    """These columns and no others."""

    expressions: Sequence[pl.Expr]

    def process(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:  # noqa: ARG002 - as `Operator`
        """Rows with the chosen columns."""
        keep = [pl.col(TASK)] if TASK in frame.columns else []
        select = frame.select if _together() else frame.select_seq
        rows = select(*keep, *self.expressions)
        if rows.height == 1 != frame.height:
            # Nothing but literals: they are the same in every row.
            rows = pl.concat([rows] * frame.height) if frame.height else rows.clear()
        return rows


@dataclass(frozen=True, slots=True)
class Extend:
    """These columns beside the others."""

    expressions: Sequence[pl.Expr]

    def process(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:  # noqa: ARG002 - as `Operator`
        """Rows with more columns."""
        extend = frame.with_columns if _together() else frame.with_columns_seq
        return extend(*self.expressions)


@dataclass(frozen=True, slots=True)
class Filter:
    """Rows for which the predicate is true; ``counted`` where the rows are still records."""

    predicate: pl.Expr
    counted: bool

    def process(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:  # noqa: ARG002 - as `Operator`
        """The rows that pass."""
        return frame.filter(self.predicate)
