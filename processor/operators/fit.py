"""Sees that the values a step has computed fit their types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from processor.operators.base import HIDDEN
from processor.operators.search import ROW_ERRORS, told
from processor.plan import overflow
from processor.plan.hoist import hoist
from processor.plan.nodes import Location
from processor.plan.rowwise import FUNCTION


class Fit:
    """What has to be looked at beside the expressions of a step.

    >>> fit, _ = fit_of(Location("t.py", 3), [pl.col("n") + 1], {"n": pl.Int8()})
    >>> fit.check(pl.DataFrame({"n": [126, 127]}, {"n": pl.Int8}))
    Traceback (most recent call last):
    OverflowError: [(col("n")) + (dyn int: 1)] does not fit Int8

    Args:
        checks: at least one.
        functions: what is computed first, by the names of columns that the step itself uses.
    """

    def __init__(self, checks: Sequence[overflow.Check], functions: Mapping[str, pl.Expr]) -> None:
        self._checks = tuple(checks)
        self._any = pl.any_horizontal(check.rows for check in checks).any()
        self._functions = [function.alias(name) for name, function in functions.items()]
        self._names = list(functions)

    def before(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with what is computed first."""
        return frame.with_columns_seq(self._functions) if self._functions else frame

    def after(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows without it."""
        return rows.drop(self._names) if self._names else rows

    def check(self, frame: pl.DataFrame) -> None:
        """Raise `OverflowError` if a value does not fit that the step makes of the frame's rows."""
        if frame.select_seq(self._any).item():
            told = (
                check.what for check in self._checks if frame.select_seq(check.rows.any()).item()
            )
            raise OverflowError("; ".join(told))

    def misfits(self, frame: pl.DataFrame) -> dict[int, str]:
        """The rows in which a value does not fit, with which one; none where another one fails."""
        try:
            own = self.before(frame.drop(HIDDEN, strict=False))
            marks = own.with_columns_seq(
                check.rows.alias(f"__{number}") for number, check in enumerate(self._checks)
            )
        except ROW_ERRORS:
            return {}
        found: dict[int, str] = {}
        for number, check in enumerate(self._checks):
            for row in marks[f"__{number}"].arg_true().to_list():
                found.setdefault(row, told(OverflowError(check.what)))
        return found


class Fitted:
    """A step whose values may not fit their types."""

    __slots__ = ()
    fit: Fit | None

    def misfits(self, frame: pl.DataFrame) -> dict[int, str]:
        """The rows in which one does not, found at once."""
        return self.fit.misfits(frame) if self.fit else {}


def fit_of(
    at: Location, expressions: Sequence[pl.Expr], columns: Mapping[str, pl.DataType]
) -> tuple[Fit | None, Sequence[pl.Expr]]:
    """What has to be looked at, and the expressions for it; ``None`` where all has room.

    >>> fit, _ = fit_of(Location("t.py", 3), [pl.col("n") / 2], {"n": pl.Int8()})
    >>> fit is None
    True
    """
    found = overflow.checks(at, expressions, columns)
    if not found:
        return None, expressions
    functions: dict[str, pl.Expr] = {}
    if any(FUNCTION in str(check.rows) for check in found):
        functions, expressions = hoist(expressions)
        taken = [function.alias(name) for name, function in functions.items()]
        known = pl.LazyFrame(schema=dict(columns)).with_columns(taken).collect_schema()
        found = overflow.checks(at, [*functions.values(), *expressions], known)
    return Fit(found, functions), expressions
