"""Integer arithmetic in expressions, against Python's own, which has no bounds."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.plan.nodes import Location
from processor.plan.overflow import checks
from tests.property.profile import QUICK

KINDS = {
    "a": pl.Int64(), "b": pl.Int64(), "c": pl.Int32(), "d": pl.Int16(), "e": pl.Int8(),
    "u": pl.UInt8(), "v": pl.UInt32(), "w": pl.UInt64(),
}  # fmt: skip


def bounds(kind: pl.DataType) -> tuple[int, int]:
    bits = int(re.sub(r"\D", "", str(kind)))
    return (
        (0, 2**bits - 1)
        if kind.is_unsigned_integer()
        else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    )


@dataclass
class Tree:
    """An expression, its value in one row, and the values on the way with the nodes they are of.

    A value is ``None`` where it is null.
    """

    expr: pl.Expr
    value: Callable[[dict[str, Any]], int | None]
    inner: tuple[Tree, ...] = ()
    counts: Callable[[dict[str, Any]], tuple[bool, ...]] | None = None
    checked: bool = True

    def fits(self, row: dict[str, Any]) -> bool:
        """Whether everything that counts in the row fits the type that the engine has for it."""
        value = self.value(row)
        kind = pl.LazyFrame(schema=KINDS).select(self.expr).collect_schema().dtypes()[0]
        low, high = bounds(kind) if kind.is_integer() else (-(2**300), 2**300)
        if self.checked and value is not None and not low <= value <= high:
            return False
        used = self.counts(row) if self.counts else (True,) * len(self.inner)
        return all(tree.fits(row) for tree, does in zip(self.inner, used, strict=True) if does)


def leaf(name: str) -> Tree:
    return Tree(pl.col(name), lambda row: row[name])


def literal(number: int) -> Tree:
    return Tree(pl.lit(number), lambda _: number)


def nulls(make: Callable[[int, int], int | None]) -> Callable[[Any, Any], int | None]:
    return lambda p, q: None if p is None or q is None else make(p, q)


OPERATORS: dict[str, tuple[Any, Any]] = {
    "+": (operator.add, operator.add),
    "-": (operator.sub, operator.sub),
    "*": (operator.mul, operator.mul),
    "//": (operator.floordiv, lambda p, q: p // q if q else None),
    "%": (operator.mod, lambda p, q: p % q if q else None),
}


def binary(name: str, p: Tree, q: Tree) -> Tree:
    make, value = OPERATORS[name]
    fold = nulls(value)
    return Tree(make(p.expr, q.expr), lambda row: fold(p.value(row), q.value(row)), (p, q))


def unary(name: str, p: Tree) -> Tree:
    signed = p.expr.cast(pl.Int64)
    inner = Tree(signed, p.value, (p,))
    make = (lambda e: -e) if name == "-" else (lambda e: e.abs())
    value = operator.neg if name == "-" else abs
    return Tree(make(signed), lambda row: None if (v := p.value(row)) is None else value(v),
                (inner,))  # fmt: skip


def chosen(test: Tree, p: Tree, q: Tree) -> Tree:
    def yes(row: dict[str, Any]) -> bool:
        return (value := test.value(row)) is not None and value > 3

    return Tree(
        pl.when(test.expr > 3).then(p.expr).otherwise(q.expr),
        lambda row: (p if yes(row) else q).value(row),
        (test, p, q),
        lambda row: (True, yes(row), not yes(row)),
    )


def first(p: Tree, q: Tree) -> Tree:
    return Tree(
        pl.coalesce(p.expr, q.expr),
        lambda row: q.value(row) if p.value(row) is None else p.value(row),
        (p, q),
        lambda row: (True, p.value(row) is None),
    )


def total(p: Tree, q: Tree, r: Tree) -> Tree:
    def value(row: dict[str, Any]) -> int:
        return sum(tree.value(row) or 0 for tree in (p, q, r))

    named = [tree.expr.alias(name) for tree, name in zip((p, q, r), "xyz", strict=True)]
    return Tree(pl.sum_horizontal(named), value, (p, q, r))


numbers = st.one_of(st.integers(-3, 5), st.sampled_from([100, 127, 1000, 2**31, 2**40, -(2**63)]))
leaves = st.one_of(st.sampled_from(list(KINDS)).map(leaf), numbers.map(literal))
trees = st.recursive(
    st.sampled_from(list(KINDS)).map(leaf),
    lambda some: st.one_of(
        st.builds(binary, st.sampled_from(list(OPERATORS)), some, st.one_of(some, leaves)),
        st.builds(binary, st.sampled_from(["+", "-", "*"]), leaves, some),
        st.builds(unary, st.sampled_from(["-", "abs"]), some),
        st.builds(chosen, some, some, some),
        st.builds(first, some, some),
        st.builds(total, some, some, some),
    ),
    max_leaves=6,
)


def cell(kind: pl.DataType) -> st.SearchStrategy[int | None]:
    low, high = bounds(kind)
    ends = [low, low + 1, 0, 1, 2, 5, high // 2, high - 1, high]
    return st.one_of(st.none(), st.sampled_from(ends), st.integers(low, high))


rows = st.lists(st.fixed_dictionaries({n: cell(kind) for n, kind in KINDS.items()}), min_size=1,
                max_size=4)  # fmt: skip


@settings(QUICK, max_examples=300)
@given(trees, rows)
def test_a_value_is_what_python_has_or_it_is_said_that_it_does_not_fit(
    tree: Tree, cells: list[dict[str, Any]]
) -> None:
    frame = pl.DataFrame(cells, schema=KINDS)
    found = checks(Location("t.py", 1), [tree.expr], KINDS)
    bad = [False] * len(cells)
    try:
        results = frame.with_columns(result=tree.expr)["result"].to_list()
        for check in found:
            marks = frame.with_columns(mark=check.rows)["mark"].to_list()
            bad = [was or is_ for was, is_ in zip(bad, marks, strict=True)]
    except pl.exceptions.PolarsError:
        return  # a cast inside that does not fit is told by the engine itself
    for row, result, marked in zip(cells, results, bad, strict=True):
        if marked:
            assert not tree.fits(row)
        elif isinstance(result, int) or result is None:
            assert result == tree.value(row)


UNITS = {"ns": 1, "us": 10**3, "ms": 10**6}
TIMES: dict[str, Any] = {f"t{unit}": pl.Datetime(unit) for unit in UNITS}  # type: ignore[arg-type]
TIMES |= {f"d{unit}": pl.Duration(unit) for unit in UNITS} | {"day": pl.Date(), "n": pl.Int64()}  # type: ignore[arg-type]
LENGTHS = {"s": 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9, "ms": 10**6, "us": 10**3}
MAX = 2**63 - 1
ends = st.sampled_from([0, 1, -1, MAX, -MAX, MAX // 2, 10**15])
counts = st.one_of(st.none(), ends, st.integers(-MAX, MAX), st.integers(-(10**15), 10**15))


def unit_of(kind: Any) -> int:
    if kind == pl.Date:
        return 86_400 * 10**9
    return UNITS[kind.time_unit] if kind.is_temporal() else 1


def steps() -> list[tuple[str, pl.Expr, Callable[..., int]]]:
    """Expressions of two columns or one, and the same in nanoseconds."""
    found: list[tuple[str, pl.Expr, Callable[..., int]]] = []
    times = [name for name in TIMES if name != "n"]
    for p in times:
        found += [(p, -pl.col(p), operator.neg), (p, pl.col(p).abs(), abs)]
        found += [
            (p, pl.col(p).dt.offset_by(f"{count}{name}"), lambda v, by=count * size: v + by)
            for name, size in LENGTHS.items()
            for count in (1, -5, 10**6, 10**12)
        ]
        for q in (*times, "n"):
            both = f"{p} {q}"
            found += [
                (both, pl.col(p) + pl.col(q), operator.add),
                (both, pl.col(p) - pl.col(q), operator.sub),
                (both, pl.col(p) * pl.col(q), operator.mul),
            ]
    return [step for step in found if typed(step[1])]


def typed(expression: pl.Expr) -> bool:
    try:
        kind = pl.DataFrame(schema=TIMES).select(expression).to_series().dtype
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return False
    return kind in (pl.Datetime, pl.Duration, pl.Date)


@settings(QUICK, max_examples=400)
@given(
    st.deferred(lambda: st.sampled_from(steps())),
    st.fixed_dictionaries(dict.fromkeys(TIMES, counts)),
)
def test_a_time_or_a_duration_is_right_or_it_is_said_that_it_does_not_fit(
    step: tuple[str, pl.Expr, Callable[..., int]], cells: dict[str, int | None]
) -> None:
    names, expression, exact = step
    if cells["day"] is not None:
        cells["day"] = cells["day"] % 2**31
    frame = pl.DataFrame(
        {n: pl.Series([v], dtype=pl.Int32 if n == "day" else pl.Int64) for n, v in cells.items()}
    ).with_columns(pl.col(n).cast(kind) for n, kind in TIMES.items())
    marks = [
        frame.select(check.rows).item()
        for check in checks(Location("t.py", 1), [expression], TIMES)
    ]
    try:
        result = frame.select(expression).to_series()
    except pl.exceptions.PolarsError:
        return  # it is told by the engine itself
    given_ = [(cells[name], unit_of(TIMES[name])) for name in names.split()]
    if any(count is None for count, _ in given_):
        assert not any(marks)
        return
    unit = unit_of(result.dtype)
    wanted = exact(*(count * size for count, size in given_)) // unit  # type: ignore[operator]
    found = result.to_physical().item()
    # The coarser unit of two is taken before.
    assert any(marks) or (found is not None and abs(found - wanted) <= 1)
    assert not any(marks) or found is None or abs(found - wanted) > 1
