"""Whether an expression computes each row from that row alone.

What looks at other rows would have results that change with the way that records fall into batches.
The column engine knows it of every function of its own: only what goes row by row lets it take a
slice before it computes and not after. So it is asked for its plan of a slice behind the
expression. That sees through patterns and selectors, and it is what a function of the user's own
declares of itself. What it says is tried on a few made-up rows besides (`processor.plan.trial`).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Final

import polars as pl

from processor.errors import TopologyError
from processor.plan import trial
from processor.plan.nodes import Location

FUNCTION: Final = "python_udf"
"""How the column engine shows a function of the user's own."""

_REMEDY: Final = "compute each row from itself; for more, group_by(...).agg(...)"
_ONE_ROW: Final = (
    "one row stays one row: compute inside the list, pl.col(...).list.eval(...) or .list.sum(), or "
    "let the producer write a record for each element"
)
_OTHERWISE: Final = (
    "use map_elements, or say is_elementwise=True of a function that computes each row from itself "
    "alone: others see a whole batch"
)
_LITERAL: Final = (
    "put the literal into a column first, with_columns(x=...), and go on from pl.col('x'): by "
    "itself it is one row beside many"
)
# Of a literal by a column, the column engine computes one row, by the first of them, or none.
_OF_ONE_ROW: Final = (
    ".dt.replace(", ".dt.replace_time_zone(", ".list.join(", ".arr.join(", ".str.replace(",
    ".str.replace_all(", ".str.count_matches(", ".str.extract_all(", ".list.count_matches(",
    ".arr.count_matches(", ".list.gather_every(", ".str.strptime(", ".str.extract(",
)  # fmt: skip
_TIMES: Final = "give the form of the text: without one it is guessed from the first row"


def check(at: Location, expression: pl.Expr, columns: Mapping[str, pl.DataType]) -> None:
    """Raise `TopologyError` for an expression that looks at other rows; ``at`` is its line.

    >>> check(Location("t.py", 3), pl.col("n").shift(), {"n": pl.Int64()})
    Traceback (most recent call last):
    processor.errors.TopologyError: t.py:3: col("n").shift([dyn int: 1]) looks at other rows, ...
      remedy: compute each row from itself; for more, group_by(...).agg(...)
    """
    try:
        look(at, expression, columns)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise TopologyError(
            f"{at}: whether {expression} looks at other rows cannot be seen: {error}",
            remedy="say it in several steps, with the columns by their names",
        ) from error


def look(at: Location, expression: pl.Expr, columns: Mapping[str, pl.DataType]) -> None:
    """The same, for a step that may have other faults: then the column engine's errors come out."""
    if (found := refusal(expression, columns)) is not None:
        part, remedy = found
        raise TopologyError(
            f"{at}: {part} looks at other rows, so that its result would change with the way that "
            "records fall into batches",
            remedy=remedy,
        )


def refusal(expression: pl.Expr, columns: Mapping[str, pl.DataType]) -> tuple[pl.Expr, str] | None:
    """The part of an expression that looks at other rows and what to do; ``None`` if none does.

    >>> n = pl.col("n")
    >>> part, remedy = refusal(n - pl.col("^n$").mean(), {"n": pl.Int64()})
    >>> print(part)
    cs.matches("^n$").mean()
    >>> refusal(n - 1, {"n": pl.Int64()})
    """
    if not separable(expression, columns):
        part = _culprit(expression, columns)
        return part, _remedy(part)
    for part in every_node(expression):
        if _claims_order(part):
            return part, "leave it out: that rows are in order is a claim about all of them"
        if _literal_by_column(part):
            return part, _LITERAL
        if _numbers_of_categories(part, columns):
            return part, "cast it to pl.String: the numbers of categories change with what was seen"
    plain = expression.meta.is_column_selection(allow_aliasing=True)
    if not plain and FUNCTION not in str(expression) and trial.differs(expression, columns):
        return expression, _REMEDY
    return None


def separable(expression: pl.Expr, columns: Mapping[str, pl.DataType]) -> bool:
    """Whether the column engine takes a slice before it computes the expression.

    >>> separable(pl.col("n") + 1, {"n": pl.Int64()}), separable(pl.len(), {"n": pl.Int64()})
    (True, False)
    """
    frame = pl.LazyFrame(schema=dict(columns))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan = frame.with_columns(expression).slice(1, 1).explain()
    return not plan.startswith("SLICE") or _by_business_days(expression, columns)


def parts(expression: pl.Expr) -> list[pl.Expr]:
    """What an expression is directly made of, in order.

    >>> [str(part) for part in parts(pl.col("a") - pl.col("b"))]
    ['col("a")', 'col("b")']
    """
    return expression.meta.pop()[::-1]


def pure(expression: pl.Expr) -> bool:
    """Whether an expression is made of literals alone.

    >>> pure(pl.lit("a").str.len_chars()), pure(pl.col("a") + 1)
    (True, False)
    """
    inner = parts(expression)
    return all(map(pure, inner)) if inner else expression.meta.is_literal()


def every_node(expression: pl.Expr) -> list[pl.Expr]:
    """An expression and all that it is made of."""
    return [expression, *(node for part in parts(expression) for node in every_node(part))]


def _by_business_days(expression: pl.Expr, columns: Mapping[str, pl.DataType]) -> bool:
    """Whether what keeps the slice behind are only the holidays that business days skip."""
    if "business_day" not in str(expression):
        return False
    inner = parts(expression)
    meta = expression.meta
    return (
        bool(inner)
        and meta.is_row_separable()
        and meta.is_length_preserving()
        and all(part.meta.is_literal() or separable(part, columns) for part in inner)
    )


def _culprit(expression: pl.Expr, columns: Mapping[str, pl.DataType]) -> pl.Expr:
    """The smallest part that looks at other rows."""
    for part in parts(expression):
        try:
            if not separable(part, columns):
                return _culprit(part, columns)
        except pl.exceptions.PolarsError:
            continue  # it has a meaning only where it stands
    return expression


def _remedy(part: pl.Expr) -> str:
    text = str(part)
    if text.endswith((f"{FUNCTION}()", ")])")) and f".{FUNCTION}(" in text:
        return _OTHERWISE
    if ".explode(" in text:
        return _ONE_ROW
    return _TIMES if ".strptime(" in text else _REMEDY


def _literal_by_column(part: pl.Expr) -> bool:
    inner = parts(part)
    if len(inner) < 2 or not pure(inner[0]) or all(map(pure, inner)):
        return False
    return any(
        str(part).count(name) > sum(str(of).count(name) for of in inner) for name in _OF_ONE_ROW
    )


def _claims_order(part: pl.Expr) -> bool:
    inner = parts(part)
    return len(inner) == 1 and any(
        part.meta.eq(inner[0].set_sorted(descending=down, nulls_last=last))
        for down in (False, True)
        for last in (False, True)
    )


def _numbers_of_categories(part: pl.Expr, columns: Mapping[str, pl.DataType]) -> bool:
    inner = parts(part)
    if not inner or _type(inner[0], columns) != pl.Categorical:
        return False
    kind, of = _type(part, columns), inner[0]
    casts = [of.cast(kind, strict=strict) for strict in (True, False)] if kind else []
    numbers = [of.to_physical(), of.cat.physical(), *casts]
    return (
        kind is not None and kind.is_numeric() and any(part.meta.eq(number) for number in numbers)
    )


def _type(part: pl.Expr, columns: Mapping[str, pl.DataType]) -> pl.DataType | None:
    """The type of a part with one result, as far as it has a meaning by itself."""
    try:
        found = pl.LazyFrame(schema=dict(columns)).select(part).collect_schema().dtypes()
    except pl.exceptions.PolarsError:
        return None
    return found[0] if len(found) == 1 else None
