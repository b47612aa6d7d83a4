"""What a user writes for columns, as Polars expressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from processor.errors import TopologyError
from processor.plan import nodes


def expressions(
    columns: Sequence[str | pl.Expr], named: Mapping[str, pl.Expr | str], at: nodes.Location
) -> tuple[pl.Expr, ...]:
    """Names, expressions and ``name=expression`` as expressions; `TopologyError` for another."""
    for name, value in named.items():
        if isinstance(value, str):
            raise TopologyError(
                f"{at}: {name}={value!r} is no Polars expression",
                remedy=f'say {name}=pl.col("{value}") for the column, or pl.lit("{value}")',
            )
    for several in [*columns, *named.values()]:
        _check_one(several, at)
    plain = [pl.col(c) if isinstance(c, str) else c for c in columns]
    expressions = [*plain, *named.values()]
    for expression in expressions:
        if not isinstance(expression, pl.Expr):
            raise TopologyError(
                f"{at}: {expression!r} is no Polars expression",
                remedy='say pl.col("n") for a column, pl.col("n") > 0 for a condition, pl.lit(5) '
                "for a value",
            )
    made = [e for e in expressions if isinstance(e, pl.Expr)]
    names = [None] * len(plain) + [*named]
    return tuple(e if n is None else e.alias(n) for e, n in zip(made, names, strict=True))


def _check_one(given: object, at: nodes.Location) -> None:
    """Raise `TopologyError` for a list where columns are given one by one."""
    if isinstance(given, list | tuple):
        names = ", ".join(f'"{one}"' if isinstance(one, str) else str(one) for one in given)
        raise TopologyError(
            f"{at}: {given!r} is no Polars expression",
            remedy=f"give them without the list: select({names}), columns by name or as pl.col",
        )
