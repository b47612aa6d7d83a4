"""Values that do not fit their type, found row by row beside the expression that makes them.

::

    when(a < b).then(a * 2).otherwise(c + d)
                     └──► does it fit?  where a < b
                                           └──► does it fit?  elsewhere

What a condition leaves out may be anything: it is no value of the row.
"""

from __future__ import annotations

import io
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import polars as pl

from processor.errors import TopologyError
from processor.plan import wraps
from processor.plan.nodes import Location
from processor.plan.rowwise import parts

_FIELD: Final = "__field"
# How the column engine shows what adds up or folds, but not how far or by which function.
_SUMS: Final = (
    ".rolling_rsum(", ".rolling_sum_by(", ".fold(", ".reduce(", ".cum_fold(", ".cum_reduce(",
)  # fmt: skip
_PARTLY: Final = ".Cumulative_eval(", ".over(", ".rolling("


@dataclass(frozen=True, slots=True)
class Check:
    """``rows`` is true of rows in which a value does not fit; ``what`` says which it is."""

    what: str
    rows: pl.Expr


@dataclass(frozen=True, slots=True)
class _Scope:
    """Where an expression has its meaning: rows, the elements of lists, the fields of a struct.

    Args:
        place: an expression of the scope as one of rows, ``lists`` deep in lists.
        lift: whether it is true of anything in a row.
        guard: where its value counts, as an expression of the scope; ``None``: everywhere.
        outer: where the value of the whole list or struct counts, as an expression of rows.
    """

    columns: Mapping[str, pl.DataType]
    place: Callable[[pl.Expr], pl.Expr] = lambda value: value
    lift: Callable[[pl.Expr], pl.Expr] = lambda value: value
    lists: int = 0
    guard: pl.Expr | None = None
    outer: pl.Expr | None = None

    def types(self, value: pl.Expr) -> dict[str, pl.DataType]:
        """The names and types of its results; nothing where they cannot be told."""
        try:
            found = pl.LazyFrame(schema=dict(self.columns)).select(self.place(value))
            schema = dict(found.collect_schema())
        except pl.exceptions.PolarsError:
            return {}
        for _ in range(self.lists):
            schema = {n: pl.Series([], dtype=kind.inner).dtype for n, kind in schema.items()
                      if isinstance(kind, pl.List)}  # fmt: skip
        return schema

    def where(self, condition: pl.Expr) -> _Scope:
        """The part of the scope where a condition holds as well."""
        return replace(self, guard=condition if self.guard is None else self.guard & condition)

    def within(self, place: Callable[[pl.Expr], pl.Expr], *, lists: bool) -> _Scope:
        """The scope of what is inside a list or a struct."""

        def lift(value: pl.Expr) -> pl.Expr:
            inside = place(value)
            return self.lift(inside.list.any() if lists else inside)

        whole = [part for part in (self.outer, self.guard) if part is not None]
        outer = None if self.lists else (pl.all_horizontal(whole) if whole else None)
        return _Scope(
            self.columns, lambda value: self.place(place(value)), lift, self.lists + lists,
            outer=outer,
        )  # fmt: skip

    def check(self, what: str, rows: pl.Expr) -> Check:
        """What is wrong in the scope, as a check of rows."""
        found = self.lift(rows if self.guard is None else rows & self.guard)
        if self.outer is not None:
            found &= self.outer
        return Check(what, found.fill_null(value=False))


def checks(
    at: Location, expressions: Sequence[pl.Expr], columns: Mapping[str, pl.DataType]
) -> list[Check]:
    """What has to be looked at beside expressions; nothing where all has room.

    Raises `TopologyError` for one in which it cannot be seen; ``at`` is its line.

    >>> found = checks(Location("t.py", 3), [pl.col("n") * 2], {"n": pl.Int8()})
    >>> found[0].what
    '[(col("n")) * (dyn int: 2)] does not fit Int8'
    >>> pl.DataFrame({"n": [63, 64]}, {"n": pl.Int8}).select(found[0].rows).to_series().to_list()
    [False, True]
    """
    try:
        return [check for value in expressions for check in _walk(value, _Scope(columns))]
    except _UnseenError as error:
        raise TopologyError(
            f"{at}: whether the values of {error} fit their type cannot be seen",
            remedy=error.remedy,
        ) from None


class _UnseenError(Exception):
    """A node of which nothing can be said."""

    def __init__(self, node: pl.Expr, remedy: str) -> None:
        super().__init__(str(node))
        self.remedy = remedy


def _walk(node: pl.Expr, scope: _Scope) -> Iterator[Check]:
    inner = parts(node)
    if not inner:
        return
    if (wrap := wraps.known(node, inner)) is not None:
        yield from _own(node, inner, wrap, scope)
    elif _parses(node, inner):
        yield from _parsed(node, scope)
    elif _hides(node, inner, scope):
        raise _UnseenError(node, "compute it of floating-point numbers: cast(pl.Float64) before it")
    elif ".pipe_with_dtype(" in str(node) and not any(".pipe_with_dtype(" in str(p) for p in inner):
        raise _UnseenError(node, "use pipe: the types are known, they are those of the columns")
    for part, place in zip(inner, _scopes(node, inner, scope), strict=True):
        yield from _walk(part, place)


def _hides(node: pl.Expr, inner: Sequence[pl.Expr], scope: _Scope) -> bool:
    """Whether a node adds up or multiplies what it does not show: how far, or by which function."""
    mine = [name for name in (*_SUMS, *_PARTLY)
            if str(node).count(name) > sum(str(part).count(name) for part in inner)]  # fmt: skip
    kinds = scope.types(node).values()
    if not mine or (kinds and not any(map(_may_wrap, kinds))):
        return False
    # What comes of a part of the elements may not fit, though what comes of all does.
    return mine[0] in _SUMS or any(True for part in inner for _ in _walk(part, scope))


def _may_wrap(kind: pl.DataType) -> bool:
    if isinstance(kind, pl.Struct):
        return any(_may_wrap(pl.Series([], dtype=field.dtype).dtype) for field in kind.fields)
    return wraps.bounded(kind)


def _own(
    node: pl.Expr, inner: Sequence[pl.Expr], wrap: wraps.Wrap, scope: _Scope
) -> Iterator[Check]:
    """The checks of a node itself: one for each of its results."""
    kinds = scope.types(node)
    values = [_single(part, scope) for part in inner]
    for at, (name, kind) in enumerate(kinds.items()):
        if isinstance(kind, pl.Struct) or (kind.is_nested() and _deep(kind)):
            raise _UnseenError(node, "compute its fields or elements one by one")
        if not wraps.bounded(kind) and not (wrap.mean and kind.is_float()):
            continue
        if len(kinds) == 1:
            taken = [pair for found in values for pair in found]
        else:
            taken = [found[at] if len(found) == len(kinds) else found[0] for found in values]
        if wrap.unit is not None and taken and wraps.unit(taken[0][1]) <= wrap.unit:
            continue
        if wrap.mean and not all(of.is_integer() for _, of in taken):
            continue
        one = node if len(kinds) == 1 else pl.struct(node).struct.field(name)
        wide = wrap.wide(*(wraps.number(value, of) for value, of in taken))
        if wrap.mean:
            found = wraps.mean_differs(one, wide, [of for _, of in taken])
        else:
            room = wraps.room_of(wrap, kind, [of for _, of in taken])
            found = wraps.differ(wraps.number(one, kind), wide, kind, nulls=wrap.nulls, room=room)
        yield scope.check(f"{node} does not fit {kind}", found)


def _single(value: pl.Expr, scope: _Scope) -> list[tuple[pl.Expr, pl.DataType]]:
    """An expression's results, each by itself, with their types."""
    kinds = scope.types(value)
    if len(kinds) == 1:
        return [(value, kind) for kind in kinds.values()]
    return [(pl.struct(value).struct.field(name), kind) for name, kind in kinds.items()]


def _deep(kind: pl.DataType) -> bool:
    inner = getattr(kind, "inner", None)
    return inner is not None and pl.Series([], dtype=inner).dtype.is_nested()


def _parses(node: pl.Expr, inner: Sequence[pl.Expr]) -> bool:
    return ".str.strptime(" in str(node) and not any(".str.strptime(" in str(p) for p in inner)


def _parsed(node: pl.Expr, scope: _Scope) -> Iterator[Check]:
    """Text to nanoseconds wraps around outside 1677 to 2262; to microseconds it does not."""
    kinds = scope.types(node)
    if list(kinds.values()) != [pl.Datetime("ns")]:
        return
    try:
        written = node.meta.serialize(format="json")
        wide = pl.Expr.deserialize(
            io.StringIO(written.replace('"Nanoseconds"', '"Microseconds"')), format="json"
        )
    except pl.exceptions.PolarsError:
        raise _UnseenError(node, 'read it with time_unit="us"') from None
    kind = pl.Datetime("ns")
    found = wraps.differ(wraps.number(node, kind), wraps.number(wide, pl.Datetime("us")), kind)
    yield scope.check(f"{node} does not fit {kind}", found)


def _scopes(node: pl.Expr, inner: Sequence[pl.Expr], scope: _Scope) -> list[_Scope]:
    """Where each part of a node has its meaning."""
    if len(inner) > 1 and _plain(node, scope) and (found := _chosen(node, inner, scope)):
        return found
    if len(inner) == 2:
        of, value = inner
        for is_it, place, lists in _INSIDE:
            if any(wraps.equal(node, make, of, value) for make in is_it):
                return [scope, scope.within(partial(place, of), lists=lists)]
    return [scope] * len(inner)


def _chosen(node: pl.Expr, inner: Sequence[pl.Expr], scope: _Scope) -> list[_Scope]:
    """The same of a node that leaves some of its parts out; nothing for another one."""
    of, value = inner[:2]
    if len(inner) == 3 and node.meta.eq(pl.when(inner[2]).then(of).otherwise(value)):
        yes = inner[2].fill_null(value=False)
        return [scope.where(yes), scope.where(~yes), scope]
    if node.meta.eq(pl.coalesce(*inner)) or (len(inner) == 2 and node.meta.eq(of.fill_null(value))):
        scopes = [scope]
        for part in inner[:-1]:
            scopes.append(scopes[-1].where(part.is_null()))
        return scopes
    for make, never in ((operator.and_, False), (operator.or_, True)):
        if len(inner) == 2 and node.meta.eq(make(of, value)):
            return [scope.where((other != never).fill_null(value=True)) for other in (value, of)]
    return []


_INSIDE: Final[list[tuple[list[wraps.Make], wraps.Make, bool]]] = [
    ([lambda of, e: of.list.eval(e), lambda of, e: of.list.agg(e)],
     lambda of, e: of.list.eval(e), True),
    ([lambda of, e: of.arr.eval(e), lambda of, e: of.arr.eval(e, as_list=True),
      lambda of, e: of.arr.agg(e)], lambda of, e: of.arr.to_list().list.eval(e), True),
    ([lambda of, e: of.struct.with_fields(e), lambda of, e: of.struct.eval(e)],
     lambda of, e: of.struct.with_fields(e.alias(_FIELD)).struct.field(_FIELD), False),
]  # fmt: skip


def _plain(node: pl.Expr, scope: _Scope) -> bool:
    """Whether it has one result, and its parts as many values: then one may leave another out."""
    if len(scope.types(node)) != 1:
        return False
    try:
        return not scope.lists or all(
            part.meta.is_row_separable()
            and (part.meta.is_length_preserving() or part.meta.is_scalar())
            for part in (node, *parts(node))
        )
    except pl.exceptions.PolarsError:
        return False
