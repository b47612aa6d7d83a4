"""Durations as people write them: ``"500ms"``, ``"2 s"``, ``"10 minutes"``, ``"1 day"``."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Final

_MICROSECONDS: Final = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
_UNITS: Final = {
    alias: unit
    for unit, aliases in {
        "us": ("us", "µs", "microsecond", "microseconds"),
        "ms": ("ms", "millisecond", "milliseconds"),
        "s": ("s", "sec", "second", "seconds"),
        "m": ("m", "min", "minute", "minutes"),
        "h": ("h", "hour", "hours"),
        "d": ("d", "day", "days"),
        "w": ("w", "week", "weeks"),
    }.items()
    for alias in aliases
}
_NAMES: Final = {"d": "d", "h": "h", "m": "min", "s": "s", "ms": "ms", "us": "us"}
_LONG: Final = 1_000  # of one unit; more is easier to read in several
_PART: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zµ]+)\s*")


def parse(text: str) -> timedelta:
    """Read a duration: a number and a unit, or several of them that add up.

    Raises ``ValueError`` that says what is wrong. A number without a unit is refused, since a
    reader cannot tell seconds from milliseconds.

    >>> parse("10 minutes")
    datetime.timedelta(seconds=600)
    >>> parse("1h 30m") == parse("90 minutes")
    True
    """
    rest = text.strip().lower()
    if not rest:
        raise ValueError('the duration is empty; write it like "500ms" or "10 minutes"')
    total = Decimal(0)
    at = 0
    while at < len(rest):
        part = _PART.match(rest, at)
        if part is None:
            raise ValueError(
                f'"{text}" is not a duration; write a number and a unit, like "500ms", "2 s", '
                '"10 minutes" or "1 day"'
            )
        unit = _UNITS.get(part[2])
        if unit is None:
            raise ValueError(
                f'"{text}" has the unknown unit "{part[2]}"; units are us, ms, s, min, h, d, w, '
                "or their full names"
            )
        total += Decimal(part[1]) * _MICROSECONDS[unit]
        at = part.end()
    if total != total.to_integral_value():
        raise ValueError(f'"{text}" is finer than one microsecond')
    try:
        return timedelta(microseconds=int(total))
    except OverflowError:
        raise ValueError(f'"{text}" is too long') from None


def text(duration: timedelta) -> str:
    """Write a duration the short way, so that `parse` reads it back.

    >>> text(timedelta(minutes=90)), text(timedelta(milliseconds=500))
    ('90m', '500ms')
    >>> text(timedelta(milliseconds=30975548))
    '8h 36m 15s 548ms'
    """
    microseconds = duration // timedelta(microseconds=1)
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(microseconds, _MICROSECONDS[unit])
        if microseconds and not rest and count < _LONG:
            return f"{count}{unit}"
    parts = []
    for unit in ("d", "h", "m", "s", "ms", "us"):
        count, microseconds = divmod(microseconds, _MICROSECONDS[unit])
        parts += [f"{count}{unit}"] * bool(count)
    return " ".join(parts) or "0s"


def about(duration: timedelta) -> str:
    """A duration by its two largest units, for people.

    >>> about(timedelta(milliseconds=30975548)), about(timedelta(milliseconds=1500))
    ('8 h 36 min', '1 s 500 ms')
    """
    words = []
    left = duration // timedelta(microseconds=1)
    for unit, name in _NAMES.items():
        count, left = divmod(left, _MICROSECONDS[unit])
        words.append(f"{count} {name}" if count else "")
    first = next((at for at, word in enumerate(words) if word), len(words))
    return " ".join(filter(None, words[first : first + 2])) or "0 s"
