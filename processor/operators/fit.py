"""Sees that the values a step has computed fit their types."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import polars as pl

from processor.operators.base import HIDDEN
from processor.operators.search import ROW_ERRORS, told
from processor.plan import overflow
from processor.plan.hoist import hoist
from processor.plan.nodes import Location
from processor.plan.rowwise import FUNCTION, parts, pure


class Fit:
    """What has to be looked at beside the expressions of a step.

    >>> fit, _ = fit_of(Location("t.py", 3), [pl.col("n") + 1], {"n": pl.Int8()})
    >>> fit.check(pl.DataFrame({"n": [126, 127]}, {"n": pl.Int8}))
    Traceback (most recent call last):
    OverflowError: [(col("n")) + (dyn int: 1)] does not fit Int8

    Args:
        checks: what does not fit.
        functions: what is computed first, by the names of columns that the step itself uses.
        lengths: functions that are called once more, for how many values they return.
        strict: whether the step calls functions: the column engine's threads would call them on
            parts of the rows, and take one value for that of a whole part.
    """

    def __init__(
        self,
        checks: Sequence[overflow.Check],
        functions: Mapping[str, pl.Expr],
        lengths: Sequence[pl.Expr] = (),
        *,
        strict: bool = False,
    ) -> None:
        self.strict = strict
        self._lengths = tuple(lengths)
        self._checks = tuple(checks)
        self._any = pl.any_horizontal(pl.lit(value=False), *(c.rows for c in checks)).any()
        self._functions = [function.alias(name) for name, function in functions.items()]
        self._names = list(functions)

    def before(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with what is computed first.

        Raises what the column engine does of a function that returns too many or too few values.
        """
        for function in self._lengths:
            frame.with_columns_seq(function)
        return frame.with_columns_seq(self._functions) if self._functions else frame

    def after(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows without it."""
        return rows.drop(self._names) if self._names else rows

    def check(self, frame: pl.DataFrame) -> None:
        """Raise `OverflowError` if a value does not fit that the step makes of the frame's rows."""
        if self._checks and frame.select_seq(self._any).item():
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
    at: Location,
    expressions: Sequence[pl.Expr],
    columns: Mapping[str, pl.DataType],
    *,
    whole: bool = True,
) -> tuple[Fit | None, Sequence[pl.Expr]]:
    """What has to be looked at, and the expressions for it; ``None`` where all has room.

    ``whole`` is whether each expression is a column of the step's rows, which must be as many.

    >>> fit, _ = fit_of(Location("t.py", 3), [pl.col("n") / 2], {"n": pl.Int8()})
    >>> fit is None
    True
    """
    found = overflow.checks(at, expressions, columns)
    functions: dict[str, pl.Expr] = {}
    called = any(FUNCTION in str(expression) for expression in expressions)
    if not found and not called:
        return None, expressions
    looked = any(FUNCTION in str(check.rows) for check in found)
    if called and (looked or not whole or any(True for _ in _unseen(expressions, columns))):
        functions, expressions = hoist(expressions)
        taken = [function.alias(name) for name, function in functions.items()]
        known = pl.LazyFrame(schema=dict(columns)).with_columns(taken).collect_schema()
        found = overflow.checks(at, [*functions.values(), *expressions], known)
        columns = known
    lengths = list(_unseen([*functions.values(), *(expressions if whole else ())], columns))
    if not whole:
        lengths += [node for each in expressions for node in _called(each, columns)]
    return Fit(found, functions, lengths, strict=called), expressions


def _unseen(
    expressions: Iterable[pl.Expr], columns: Mapping[str, pl.DataType]
) -> Iterator[pl.Expr]:
    """The functions whose number of values is not that of the whole expression."""
    for expression in expressions:
        node = expression
        while FUNCTION in str(node):
            inner = parts(node)
            if _is_function(node, inner) and len(inner) == 1:
                node = inner[0]
                continue
            of_rows = [part for part in inner if not pure(part)]
            if len(of_rows) != 1:
                own = _called(node, columns)
                yield from (each for each in own if not each.meta.eq(node))
                break
            node = of_rows[0]


def _called(node: pl.Expr, columns: Mapping[str, pl.DataType]) -> Iterator[pl.Expr]:
    """The functions in an expression that are called on rows, and not on the elements of lists."""
    if FUNCTION not in str(node):
        return
    inner = parts(node)
    if _is_function(node, inner):
        with contextlib.suppress(pl.exceptions.PolarsError):
            pl.LazyFrame(schema=dict(columns)).select(node).collect_schema()
            yield node
    for part in inner:
        yield from _called(part, columns)


def _is_function(node: pl.Expr, inner: Sequence[pl.Expr]) -> bool:
    return str(node).count(FUNCTION) > sum(str(part).count(FUNCTION) for part in inner)
