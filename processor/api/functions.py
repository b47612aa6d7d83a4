"""Functions for expressions and aggregates: ``from processor import functions as F``."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np
import numpy.typing as npt
import polars as pl

from processor.api import arguments, ways
from processor.api.location import caller
from processor.errors import TopologyError
from processor.plan.nodes import CLOCK, NOTHING, Function, Location, Window

_SIZE_MAX: Final = timedelta(days=365_000)
_MICROSECOND: Final = timedelta(microseconds=1)
_PANES_MAX: Final = 100_000
_SLIDES: Final = 'windows that overlap have a slide: window("at", "1 hour", "10 minutes")'
_NO_GAP: Final = "there are no sessions: windows have a size, and may slide"
_THERE: Final = [
    "centroids", "count", "max", "mean", "min", "nearest", "processing_time", "sum", "window",
]  # fmt: skip


if not TYPE_CHECKING:  # to a type checker there is no such name

    def __getattr__(name: str) -> NoReturn:
        raise ways.missing("F", name, ways.FUNCTIONS, _THERE)


@dataclass(frozen=True, slots=True)
class Aggregator:
    """An aggregate that is not named yet: ``trips=F.count()`` names it."""

    function: Function
    column: str | None

    if not TYPE_CHECKING:  # to a type checker there is no such name

        def __getattr__(self, name: str) -> NoReturn:
            raise ways.missing("an aggregate", name, ways.AGGREGATE, ["function", "column"])


@dataclass(frozen=True, slots=True)
class ProcessingTime:
    """The time at which a row is read; `window` takes it in place of a column."""


@arguments.told(
    'window("dt", "1 hour"), or window("dt", "1 hour", "10 minutes") for one that slides',
    **dict.fromkeys(("slideDuration", "every", "hop", "step", "advance"), _SLIDES),
    **dict.fromkeys(("gap", "session"), _NO_GAP),
    **dict.fromkeys(("offset", "startTime"), "it is called start"),
    **dict.fromkeys(("windowDuration", "duration", "length"), "it is called size"),
    grace="records are waited for by with_watermark(delay)",
)
def window(
    column: str | ProcessingTime,
    size: str | timedelta,
    slide: str | timedelta | None = None,
    start: str | timedelta | None = None,
) -> Window:
    """A window of event time: tumbling, or with a ``slide`` one of several that overlap.

    Args:
        column: the event-time column; or `processing_time`, the time at which a row is read.
        size: its length: ``"1 hour"``, ``"90s"``, or a timedelta of at least one microsecond.
        slide: from one window's beginning to the next one's, no longer than the size. Left out,
            one begins where the former ends.
        start: windows begin at this and whole multiples of the slide since 1970 in UTC. Less than
            the slide either way.

    Raises `TopologyError` that names the line for what is none, or out of bounds.

    >>> window("dt", "1 hour").size
    datetime.timedelta(seconds=3600)
    >>> window("dt", "1 hour", "10 minutes").every
    datetime.timedelta(seconds=600)
    """
    at = caller()
    clock = isinstance(column, ProcessingTime)
    name = CLOCK if isinstance(column, ProcessingTime) else column
    arguments.column(name, "the window's column", at)
    length = arguments.length(size, "window size", at, '"1 hour" or "90s"')
    if not timedelta(0) < length <= _SIZE_MAX:
        raise TopologyError(f"{at}: window size {size!r} is out of bounds", remedy='say "1 hour"')
    every = length
    if slide is not None:
        every = arguments.length(slide, "the window's slide", at, '"10 minutes"')
    if not timedelta(0) < every <= length:
        raise TopologyError(
            f"{at}: the window's slide {slide!r} is "
            + ("longer than its size: rows between would be in none" if every > length
               else "out of bounds"),
            remedy='say up to the size, as in F.window("dt", "1 hour", "10 minutes"); to look at a '
            "part of the rows alone, filter them",
        )  # fmt: skip
    pane = math.gcd(length // _MICROSECOND, every // _MICROSECOND) * _MICROSECOND
    if length // pane > _PANES_MAX:
        raise TopologyError(
            f"{at}: a window of {size!r} by {slide!r} has {length // pane:,} panes of {pane}, and "
            "as many are put together for each that is published",
            remedy=f"say a slide that divides the size, into at most {_PANES_MAX:,}",
        )
    first = NOTHING
    if start is not None:
        first = arguments.length(start, "the window's start", at, '"15 minutes"')
    if not -every < first < every:
        raise TopologyError(
            f"{at}: the window's start {start!r} is not less than "
            f"{'the slide' if slide is not None else 'the size'}",
            remedy='windows begin at whole multiples of it, moved by the start: "15 minutes"',
        )
    return Window(name, length, None if every == length else every, first % every, clock)


@arguments.told('F.window(F.processing_time(), "1 minute")')
def processing_time() -> ProcessingTime:
    """The time at which a row is read, for windows of the clock.

    It is written down with the row before any state, so that what is computed again comes to the
    same. Windows close when their end has passed, also when no row comes.

    >>> window(processing_time(), "1 minute").size
    datetime.timedelta(seconds=60)
    """
    return ProcessingTime()


@arguments.told("F.count()")
def count(column: str | None = None) -> Aggregator:
    """Records of the group; with a column, those where it is not null.

    >>> count("base")
    Aggregator(function='count', column='base')
    """
    if column is not None:
        arguments.column(column, "F.count", caller())
    return Aggregator("count", column)


@arguments.told('F.sum("amount")')
def sum(column: str) -> Aggregator:  # noqa: A001 - the name that every user looks for
    """Sum of a column; integers stay integers, of 64 bits. Without a value it is 0.

    A record that takes it out of Int64 or Float64 ends the run; the error names it and the group.

    >>> sum("amount")
    Aggregator(function='sum', column='amount')
    """
    return Aggregator("sum", arguments.column(column, "F.sum", caller()))


@arguments.told('F.min("amount")')
def min(column: str) -> Aggregator:  # noqa: A001 - the name that every user looks for
    """Smallest value of a column; null without one. What is not a number is passed over.

    >>> min("amount")
    Aggregator(function='min', column='amount')
    """
    return Aggregator("min", arguments.column(column, "F.min", caller()))


@arguments.told('F.max("amount")')
def max(column: str) -> Aggregator:  # noqa: A001 - the name that every user looks for
    """Largest value of a column; null without one. What is not a number is passed over.

    >>> max("amount")
    Aggregator(function='max', column='amount')
    """
    return Aggregator("max", arguments.column(column, "F.max", caller()))


@arguments.told('F.mean("amount")')
def mean(column: str) -> Aggregator:
    """Mean of a column, a float; null without a value.

    A record that takes the sum out of Float64 ends the run; the error names it and the group.

    >>> mean("amount")
    Aggregator(function='mean', column='amount')
    """
    return Aggregator("mean", arguments.column(column, "F.mean", caller()))


def centroids(path: str | Path) -> list[tuple[float, float]]:
    """Read a centroid file: JSON with a list ``centroids`` of ``[lat, lon]`` by cluster id.

    Raises `TopologyError` that names the file and what is wrong with it.
    """
    try:
        points = json.loads(Path(path).read_text())["centroids"]
        found = [(float(lat), float(lon)) for lat, lon in points]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TopologyError(
            f"centroid file {path} cannot be used: {error!r}",
            remedy='it must hold {"centroids": [[lat, lon], ...]}; topologies.uber.train makes one',
        ) from error
    if not found or not np.isfinite(found).all():
        raise TopologyError(
            f"centroid file {path} has no centroids, or one that is not finite",
            remedy='it must hold {"centroids": [[lat, lon], ...]} with numbers',
        )
    return found


def nearest(lat: str, lon: str, points: Sequence[tuple[float, float]]) -> pl.Expr:
    """The number of the nearest point, by squared Euclidean distance; the first of equals.

    ``lat`` and ``lon`` name two columns of numbers in the unit of the points; the result is Int64.
    It is null where one of the two is null, not a number, or infinite or so large that its square
    is. Raises `TopologyError` for no points, and for one that is not finite.

    >>> frame = pl.DataFrame({"a": [1.0, 9.0, None], "b": [1.0, 9.0, 9.0]})
    >>> frame.select(n=nearest("a", "b", [(0.0, 0.0), (10.0, 10.0)]))["n"].to_list()
    [0, 1, None]
    """
    known = _points(points, caller())

    def numbers(columns: Sequence[pl.Series]) -> pl.Series:
        x, y = (column.to_numpy() for column in columns[:2])
        with np.errstate(over="ignore", invalid="ignore"):
            found, there = _nearest(x, y, known)
        if there is None:
            return pl.Series(found)
        return pl.select(pl.when(pl.Series(there)).then(pl.Series(found))).to_series()

    # The column engine does not show what a function computes: by the digest, other points are
    # another expression, and so another topology.
    digest = blake2b(repr(known).encode(), digest_size=8).hexdigest()
    return pl.map_batches(
        [lat, lon, pl.lit(digest)], numbers, return_dtype=pl.Int64, is_elementwise=True
    )


def _points(points: Sequence[tuple[float, float]], at: Location) -> list[tuple[float, float]]:
    try:
        known = [(float(lat), float(lon)) for lat, lon in points]
    except (TypeError, ValueError) as error:
        raise TopologyError(
            f"{at}: F.nearest: the points are no pairs of numbers: {error}",
            remedy="give a list of (lat, lon), as F.centroids(path) does",
        ) from error
    if not known or not np.isfinite(known).all():
        raise TopologyError(
            f"{at}: F.nearest: "
            + ("there are no points" if not known else "a point is not finite"),
            remedy="give a list of (lat, lon), as F.centroids(path) does",
        )
    return known


def _nearest(
    x: npt.NDArray[Any], y: npt.NDArray[Any], points: Sequence[tuple[float, float]]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_] | None]:
    """Each place's nearest point, and where there is one; ``None``: everywhere."""
    # Point by point, in the same few arrays: they stay in the cache, which takes a third of what
    # new arrays and masked copies take.
    best, distance, square = (np.full(len(x), np.inf) for _ in range(3))
    number = np.zeros(len(x), np.min_scalar_type(len(points)))
    for i, (a, b) in enumerate(points):
        np.square(np.subtract(x, a, out=distance), out=distance)
        np.square(np.subtract(y, b, out=square), out=square)
        distance += square
        closer = distance < best
        np.minimum(best, distance, out=best)
        # Later numbers are larger, and so the largest of those that were closer at their turn.
        np.maximum(number, closer * number.dtype.type(i), out=number)
    # One sum tells whether all distances are finite: it costs a twentieth of a point.
    there = None if math.isfinite(best.sum()) else np.isfinite(best)
    return number.astype(np.int64), there
