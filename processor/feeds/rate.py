"""Rows at a rate: a number and a time, for demonstrations and loads."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from processor.feeds.base import Limit, Opening, Piece, Place

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """Rows ``{"timestamp", "value"}``; the value counts from 0.

    Args:
        rows_per_second: how many become due in each second.
        rows: how many there are in all; ``None``: no end.

    The k-th row has the time at which it is due, a function of k alone: whoever comes late gives
    what was missed, and no row is given twice.
    """

    rows_per_second: float
    rows: int | None = None

    kind = "rate"
    waits = False
    noted = False
    again = False

    @property
    def endless(self) -> str:
        """Without a number of rows there is always another one."""
        return "" if self.rows is not None else "a rate has no end: give it one, rows=1000"

    def open(self, opening: Opening) -> RateReading:
        """Begin to count."""
        return RateReading(self, opening)

    def untouched(self) -> Rate:
        """Nothing is left outside."""
        return self

    def describe(self) -> str:
        """``rate of 10 rows a second``."""
        end = "" if self.rows is None else f", {self.rows} in all"
        return f"rate of {self.rows_per_second:g} rows a second{end}"


class RateReading:
    """Implements `processor.feeds.base.Reading`.

    A place is ``{"n", "from", "at", "per"}``: so many rows were given, and the row of the number
    ``from`` is due ``at`` so many microseconds since 1970, at a rate of ``per`` from there on.
    """

    def __init__(self, rate: Rate, opening: Opening) -> None:
        self._rate, self._opening = rate, opening
        self._place: Place = {}

    def begin(self, place: Place, notes: Iterable[Place]) -> None:
        """Go on; where the rate is another one than before, from the time that was come to."""
        del notes
        self._place = place
        if place and place["per"] != self._rate.rows_per_second:
            self._place = self._from(place["n"], _due(place, place["n"]))

    def _from(self, number: int, at_us: int) -> Place:
        return {"n": number, "from": number, "at": at_us, "per": self._rate.rows_per_second}

    def read(self, limit: Limit) -> Piece | None:
        """The rows that are due; in a bounded run all are."""
        now_us = self._opening.clock.now_ms() * 1000
        place = self._place or self._from(0, now_us)
        count = place["n"]
        due = (
            place["from"]
            + 1
            + math.floor((now_us - place["at"]) * self._rate.rows_per_second / _SECOND_US)
        )
        most = math.inf if self._rate.rows is None else self._rate.rows
        upto = min(most if self._opening.bounded else due, most, count + limit.records)
        if upto <= count:
            return None
        numbers = range(count, int(upto))
        values = [
            b'{"timestamp":"%b","value":%d}' % (_text(_due(place, n)).encode(), n) for n in numbers
        ]
        return Piece(values, {**place, "n": int(upto)})

    def kept(self, piece: Piece) -> None:
        """Count on from there."""
        self._place = piece.place

    def at_end(self) -> bool:
        """Whether all rows were given."""
        return self._rate.rows is not None and self._place.get("n", 0) >= self._rate.rows

    def notes(self) -> Iterable[Place]:
        """None."""
        return itertools.chain()

    def close(self) -> None:
        """Nothing is open."""


def _due(place: Place, number: int) -> int:
    """When a row is due, in microseconds since 1970."""
    behind = (number - place["from"]) * _SECOND_US / place["per"]
    return int(place["at"] + math.floor(behind))


def _text(us: int) -> str:
    return (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds")
