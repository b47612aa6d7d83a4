"""What nodes of a plan are made of that is no node: windows, aggregates, places outside."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias

NOTHING: Final = timedelta(0)

Function: TypeAlias = Literal["count", "sum", "min", "max", "mean"]
Per: TypeAlias = Literal["batch", "task"]


@dataclass(frozen=True, slots=True)
class Window:
    """A window of event time: [start + k·slide, start + k·slide + size) since 1970 in UTC.

    Without a ``slide`` one begins where the former ends: windows are tumbling. Otherwise a row is
    in several; ``start`` is less than the slide and not negative. That of a ``clock`` is of the
    time at which a row is read, which is given to it as the column.
    """

    column: str
    size: timedelta
    slide: timedelta | None = None
    start: timedelta = NOTHING
    clock: bool = False

    @property
    def every(self) -> timedelta:
        """From one window's beginning to the next one's."""
        return self.slide or self.size

    @property
    def plain(self) -> bool:
        """Whether it is tumbling, and begins at whole multiples of its size."""
        return self.every == self.size and not self.start


@dataclass(frozen=True, slots=True)
class Aggregation:
    """One aggregate of a group, ``name``: ``function`` of ``column`` (``None`` for a count)."""

    name: str
    function: Function
    column: str | None


@dataclass(frozen=True, slots=True)
class Files:
    """A directory that rows go to: a file for each task and batch."""

    folder: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the user's that is called with a batch's rows.

    One of all rows is called once ``per`` batch, which all come to one place for, or once for each
    task; with ``told`` it is told what the batch is of. With ``each`` it is called with one row at
    a time, or is an object whose ``process`` is.
    """

    name: str
    function: Any = field(compare=False)
    per: Per = "batch"
    told: bool = False
    each: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table in memory, which can be queried while the topology runs."""

    name: str
