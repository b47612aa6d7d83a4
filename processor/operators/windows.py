"""Where windows begin and end, in microseconds since 1970.

A window that slides is made of *panes*, stretches of time of which every window has some as a
whole. They are as long as the greatest common divisor of the window's size and its slide::

    size 30, slide 20            |0        |10       |20       |30       |40       |50
    panes of 10                  |  pane   |  pane   |  pane   |  pane   |  pane   |
    windows                      [0 ─────────────────────── 30)
                                                     [20 ────────────────────── 50)

A row is counted in one pane, whatever the number of its windows. Where windows tumble, a pane is a
window.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from processor.plan.nodes import Window
from processor.state.slab import NUMBER_MAX, NUMBER_MIN

MICROSECOND: Final = timedelta(microseconds=1)

Times = npt.NDArray[np.int64]


class Panes:
    """The arithmetic of a window.

    >>> panes = Panes(Window("at", MICROSECOND * 30, MICROSECOND * 20))
    >>> panes.pane_us, panes.first(20), panes.last(20), panes.first(30)
    (10, 0, 20, 20)
    """

    def __init__(self, window: Window) -> None:
        self.window = window
        self.size_us = window.size // MICROSECOND
        self.slide_us = window.every // MICROSECOND
        self.start_us = window.start // MICROSECOND
        self.pane_us = math.gcd(self.size_us, self.slide_us)
        self.count = self.size_us // self.pane_us

    def pane(self) -> pl.Expr:
        """The first microsecond of the pane that a row is in."""
        found: pl.Expr = self.at(pl.col(self.window.column).cast(pl.Datetime("us")).to_physical())
        return found

    # Of a number, an array of numbers or an expression of numbers: the same for all.

    def at(self, time: Any) -> Any:
        """The first microsecond of the pane that a time is in."""
        offset = self.start_us % self.pane_us
        if not offset:
            return time // self.pane_us * self.pane_us
        return (time - offset) // self.pane_us * self.pane_us + offset

    def last(self, pane: Any) -> Any:
        """The beginning of the last window that a pane is in."""
        return (pane - self.start_us) // self.slide_us * self.slide_us + self.start_us

    def first(self, pane: Any) -> Any:
        """The beginning of the first window that a pane is in."""
        return self.last(pane + self.pane_us - self.size_us + self.slide_us - 1)

    def open_at(self, watermark: int) -> int:
        """The beginning of the first window that is not over at a watermark."""
        return int(self.last(watermark - self.size_us)) + self.slide_us

    def check(self, times: pl.Series) -> None:
        """Raise `OverflowError` for a time with a window that is not among the times there are.

        What is between the first and the last has windows if these two have.
        """
        whole = times.cast(pl.Datetime("us")).cast(pl.Int64)
        # Numbers of Python, which do not wrap around.
        first, last = int(whole.min()), int(whole.max())  # type: ignore[arg-type]
        if self.last(self.at(last)) > NUMBER_MAX - self.size_us:
            raise OverflowError("the window of the event time has no end that is a Datetime")
        least = self.at(first) if self.window.plain else self.first(self.at(first))
        bound = NUMBER_MIN if self.window.plain else NUMBER_MIN + 2 * self.size_us
        if least < bound or first - self.start_us % self.pane_us < NUMBER_MIN:
            raise OverflowError("a window of the event time has no beginning that is a Datetime")

    def spread(self, panes: Times, low: int, high: int) -> tuple[npt.NDArray[np.intp], Times]:
        """The windows of panes that begin from ``low`` to ``high``, with both.

        Which of the panes each is of, and where it begins.

        >>> panes = Panes(Window("at", MICROSECOND * 30, MICROSECOND * 20))
        >>> places, starts = panes.spread(np.array([20, 30]), -100, 100)
        >>> places.tolist(), starts.tolist()
        ([0, 0, 1], [0, 20, 20])
        """
        firsts, counts = self._counts(panes, low, high)
        places = np.repeat(np.arange(len(panes)), counts)
        within = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
        return places, firsts[places] + within * self.slide_us

    def pairs(self, panes: Times, low: int, high: int) -> int:
        """How many windows `spread` would make."""
        return int(self._counts(panes, low, high)[1].sum())

    def _counts(self, panes: Times, low: int, high: int) -> tuple[Times, Times]:
        firsts = np.maximum(self.first(panes), _bounded(low))
        lasts = np.minimum(self.last(panes), _bounded(high))
        # Where there is a window the difference is less than the size; else it may wrap around.
        return firsts, np.where(firsts <= lasts, (lasts - firsts) // self.slide_us + 1, 0)


def _bounded(number: int) -> int:
    return max(NUMBER_MIN, min(NUMBER_MAX, number))


def check_windows(frame: pl.DataFrame, window: Window) -> None:
    """Raise `OverflowError` where a row has a window that is not among the times there are."""
    if frame.height:
        Panes(window).check(frame[window.column])
