"""Functions of the user's own, taken out of expressions whose values are looked at.

What is looked at is computed a second time. A function may be slow, and is called once::

    f(a) * 2   ──►   __f0 = f(a),  then  __f0 * 2  and whether it fits
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Final

import polars as pl

from processor.plan import wraps
from processor.plan.rowwise import FUNCTION, parts

_SELECTOR: Final = "cs."
_MAKES: Final[list[wraps.Make]] = [
    *(wrap.make for wrap in wraps.WRAPS),
    operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne,
    operator.and_, operator.or_, operator.invert,
    lambda yes, no, test: pl.when(test).then(yes).otherwise(no), pl.coalesce,
    lambda value, other: value.fill_null(other),
]  # fmt: skip


def hoist(expressions: Sequence[pl.Expr]) -> tuple[dict[str, pl.Expr], list[pl.Expr]]:
    """The functions by the names of new columns, and the expressions that use these.

    Nothing is taken out beside patterns and selectors, which might pick the new columns.

    >>> def f(n: int) -> int:
    ...     return n + len(str(n))
    >>> made = pl.col("n").map_elements(f, return_dtype=pl.Int64)
    >>> functions, (rest,) = hoist([(made * 2).alias("m")])
    >>> list(functions), str(rest)
    (['__f0'], '[(col("__f0")) * (dyn int: 2)].alias("m")')
    """
    functions: dict[str, pl.Expr] = {}
    if any(_SELECTOR in str(expression) for expression in expressions):
        return functions, list(expressions)
    return functions, [_named(_rest(each, functions), each) for each in expressions]


def _named(rest: pl.Expr, expression: pl.Expr) -> pl.Expr:
    """The name of a result is that of its first column, which may be a new one now."""
    name = expression.meta.output_name()
    return rest if rest.meta.output_name() == name else rest.alias(name)


def _rest(node: pl.Expr, functions: dict[str, pl.Expr]) -> pl.Expr:
    if FUNCTION not in str(node):
        return node
    inner = parts(node)
    if any(FUNCTION in str(part) for part in inner):
        named: wraps.Make = lambda of: of.alias(node.meta.output_name())  # noqa: E731
        for make in (*_MAKES, named):
            if wraps.equal(node, make, *inner):
                return make(*(_rest(part, functions) for part in inner))
    for name, function in functions.items():
        if function.meta.eq(node):
            return pl.col(name)
    name = f"__f{len(functions)}"
    functions[name] = node
    return pl.col(name)
