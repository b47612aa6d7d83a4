"""What of the column engine wraps around, and the same in numbers that do not.

Integers, times and durations have so many bits; what does not fit comes out as another number, or
as null. So the same is computed a second time in floating-point numbers, which are never off by as
much as wrapping is: a quarter of the type's range lies between the two.

An expression does not tell what it is. It is known by being made again of its parts::

    part, other = parts(node)
    node.meta.eq(part + other)      ──► it is a sum
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import starmap
from typing import Any, Final, TypeAlias

import polars as pl

Make: TypeAlias = Callable[..., pl.Expr]

_DAY: Final = 86_400 * 10**9
_NANOSECONDS: Final = {"ns": 1, "us": 10**3, "ms": 10**6}
_TOTALS: Final = {
    "days": _DAY, "hours": 3600 * 10**9, "minutes": 60 * 10**9, "seconds": 10**9,
    "milliseconds": 10**6, "microseconds": 10**3, "nanoseconds": 1,
}  # fmt: skip
_DURATION: Final = (7 * _DAY, *_TOTALS.values())
_YEAR: Final = 365.2425 * _DAY
_LENGTHS: Final = {
    "ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9, "d": float(_DAY),
    "w": 7.0 * _DAY, "mo": _YEAR / 12, "q": _YEAR / 4, "y": _YEAR,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wrap:
    """A computation that wraps around.

    Args:
        make: makes it of its parts.
        wide: makes the same of numbers, times and durations in nanoseconds.
        nulls: whether null of parts that are not null is what does not fit.
        unit: nanoseconds in the unit of its result, which is no time; what is not finer than its
            first part has room.
        mean: whether it is the mean of its parts, which has no bounds of its own.
        room: how far the two may be apart, where that is not for the result's type to say.
    """

    make: Make
    wide: Make
    nulls: bool = True
    unit: int | None = None
    mean: bool = False
    room: float | None = None


def _length(text: pl.Expr) -> pl.Expr:
    """Nanoseconds of ``1d12h`` and the like; months and years have their mean length."""
    sizes = [
        text.str.extract(rf"(\d+){unit}(?:[^a-zµ]|$)").cast(pl.Float64).fill_null(0) * size
        for unit, size in _LENGTHS.items()
    ]
    size = pl.sum_horizontal(sizes)
    return pl.when(text.str.starts_with("-")).then(-size).otherwise(size)


def _same(make: Make, **options: Any) -> Wrap:
    return Wrap(make, make, **options)


def _first(value: pl.Expr, *_: pl.Expr) -> pl.Expr:
    return value


def _durations() -> list[Wrap]:
    names = ("weeks", *_TOTALS)

    def make(*parts: pl.Expr, unit: Any) -> pl.Expr:
        return pl.duration(**dict(zip(names, parts, strict=True)), time_unit=unit)

    def wide(*parts: pl.Expr) -> pl.Expr:
        sizes = starmap(operator.mul, zip(parts, _DURATION, strict=True))
        return pl.sum_horizontal(sizes, ignore_nulls=False)

    return [Wrap(partial(make, unit=unit), wide) for unit in _NANOSECONDS]


def _of_times() -> list[Wrap]:
    found = [
        # What it is offset by has 64 bits of nanoseconds, whatever the times count.
        Wrap(
            lambda time, by: time.dt.offset_by(by),
            lambda time, by: time + _length(by),
            room=2.0**62,
        ),
        Wrap(lambda time, every: time.dt.truncate(every), _first),
        Wrap(lambda time, every: time.dt.round(every), _first),
    ]
    for name, size in _NANOSECONDS.items():
        unit: Any = name
        found += [
            Wrap(lambda d, t, *, u=unit: d.dt.combine(t, u), operator.add),
            Wrap(lambda t, *, u=unit: t.dt.timestamp(u), lambda t, *, s=size: t / s, unit=size),
        ]
    found += [
        Wrap(
            lambda d, *, n=name: getattr(d.dt, f"total_{n}")(),
            lambda d, *, s=size: d / s,
            unit=size,
        )
        for name, size in _TOTALS.items()
    ]
    return found + _durations()


def _inside_lists() -> list[Wrap]:
    found = [
        _same(lambda n: n.list.sum()), _same(lambda n: n.arr.sum()), _same(lambda n: n.sum()),
        _same(lambda n, m: n.arr.dot(m)), _same(lambda n: n.product()),
    ]  # fmt: skip
    for nulls in ("ignore", "drop"):
        ways: Any = nulls
        found.append(_same(lambda n, by, *, w=ways: n.diff(by, w), nulls=False))
        found += [
            _same(lambda n, *, by=by, w=ways: n.list.diff(by, w), nulls=False)
            for by in range(-8, 9)
        ]
    for back in (False, True):
        found += [
            _same(lambda n, *, r=back: n.cum_sum(reverse=r)),
            _same(lambda n, *, r=back: n.cum_prod(reverse=r)),
        ]
    return found


def _of_numbers() -> list[Wrap]:
    found = [_same(make) for make in (operator.add, operator.sub, operator.mul, operator.pow)]
    found += [
        _same(operator.neg), _same(lambda n: n.abs()),
        Wrap(operator.floordiv, operator.truediv, nulls=False),
        Wrap(lambda n, m: n.truncdiv(m), operator.truediv, nulls=False),
        # Of durations; of numbers it is a fraction.
        _same(operator.truediv),
    ]  # fmt: skip
    for ignore in (True, False):
        total = partial(pl.sum_horizontal, ignore_nulls=ignore)
        mean = partial(pl.mean_horizontal, ignore_nulls=ignore)
        found += [_same(total), _same(mean, mean=True, nulls=False)]
    return found


WRAPS: Final = tuple(_of_numbers() + _of_times() + _inside_lists())


def known(node: pl.Expr, inner: Sequence[pl.Expr]) -> Wrap | None:
    """What of them a node is.

    >>> a, b = pl.col("a"), pl.col("b")
    >>> known(a * b, [a, b]) is None, known(a & b, [a, b]) is None
    (False, True)
    """
    found = (wrap for wrap in WRAPS if inner and equal(node, wrap.make, *inner))
    return next(found, None)


def equal(node: pl.Expr, make: Make, *inner: pl.Expr) -> bool:
    """Whether a node is what would be made of its parts."""
    try:
        return node.meta.eq(make(*inner))
    except (TypeError, ValueError):  # of another number of parts
        return False


def bounded(kind: pl.DataType) -> bool:
    """Whether values of a type may wrap around, alone or in a list.

    >>> bounded(pl.Int8()), bounded(pl.List(pl.Date())), bounded(pl.Float64())
    (True, True, False)
    """
    if isinstance(kind, pl.List | pl.Array):
        return bounded(_inner(kind))
    return kind.is_integer() or kind in (pl.Duration, pl.Datetime, pl.Date)


def number(value: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """A value as Float64: times and durations in nanoseconds, lists element by element."""
    if isinstance(kind, pl.List):
        return value.list.eval(number(pl.element(), _inner(kind)))
    if isinstance(kind, pl.Array):
        return value.arr.eval(number(pl.element(), _inner(kind)))
    if kind.is_temporal():
        return value.to_physical().cast(pl.Float64) * float(unit(kind))
    plain = kind.is_numeric() or kind in (pl.Boolean, pl.Null)
    return value.cast(pl.Float64) if plain else value


def differ(
    one: pl.Expr,
    wide: pl.Expr,
    kind: pl.DataType,
    *,
    nulls: bool = True,
    room: float | None = None,
) -> pl.Expr:
    """Whether a value has wrapped around; ``one`` and ``wide`` are numbers, or lists of them.

    ``room`` is how far they may be apart; a quarter of the type's range if left out.
    """
    if isinstance(kind, pl.List | pl.Array):
        lists = isinstance(kind, pl.List)
        apart = (one - wide) if lists else (one - wide).arr.to_list()
        far = pl.element().abs() > _room(_inner(kind))
        return apart.list.eval(far.fill_null(value=False)).list.any().fill_null(value=False)
    far = (one - wide).abs() > (_room(kind) if room is None else room)
    return far.fill_null(wide.is_finite()) if nulls else far.fill_null(value=False)


def mean_differs(one: pl.Expr, wide: pl.Expr, kinds: Sequence[pl.DataType]) -> pl.Expr:
    """The same of a mean, whose sum may have wrapped around."""
    room = max(_room(kind) for kind in kinds) / len(kinds)
    return ((one - wide).abs() > room).fill_null(value=False)


def room_of(wrap: Wrap, kind: pl.DataType, kinds: Sequence[pl.DataType]) -> float | None:
    """How far the two may be apart, where parts of another type say it; ``None``: by the type.

    A day and a duration in microseconds are added in microseconds, whatever comes of it.
    """
    if wrap.room is not None or not kind.is_temporal():
        return wrap.room
    return min(_room(of) for of in (kind, *kinds) if of.is_temporal() and bounded(of))


def unit(kind: pl.DataType) -> int:
    """Nanoseconds in what a time or a duration counts."""
    return _DAY if kind == pl.Date else _NANOSECONDS.get(getattr(kind, "time_unit", "ns"), 1)


def _room(kind: pl.DataType) -> float:
    """A quarter of the type's range."""
    if kind.is_integer():
        return 2.0 ** (int(re.sub(r"\D", "", str(kind))) - 2)
    return 2.0 ** (30 if kind == pl.Date else 62) * unit(kind)


def _inner(kind: pl.List | pl.Array) -> pl.DataType:
    return pl.Series([], dtype=kind.inner).dtype
