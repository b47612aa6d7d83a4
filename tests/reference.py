"""What a windowed or keyed aggregation must come to, one record after the other, in dictionaries.

It shares nothing with the processor: it reads JSON with the standard library and knows no batches.
A record is ``{"t": seconds, "k": key, "v": integer}``; a partition is a list of values (bytes).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Outcome:
    """``groups`` by (window start or None, key); ``closed`` those whose window is over.

    ``leaves`` is the number of the first record that takes a sum out of 64 bits.
    """

    groups: dict[tuple[int | None, str | None], dict[str, Any]] = field(default_factory=dict)
    closed: set[tuple[int | None, str | None]] = field(default_factory=set)
    read: int = 0
    bad: int = 0
    late: int = 0
    filtered: int = 0
    time_max: int | None = None
    leaves: int | None = None


def _record(value: bytes | None) -> tuple[int, str | None, int | None] | None:
    try:
        parsed = json.loads(value.decode()) if value else None
    except ValueError:
        return None
    if not isinstance(parsed, dict):
        return None
    time, key, number = parsed.get("t"), parsed.get("k"), parsed.get("v")
    if isinstance(time, bool) or not isinstance(time, int):
        return None
    if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
        return None
    return time, key, number


def _fold(group: dict[str, Any], number: int | None) -> None:
    group["n"] += 1
    if number is None:
        return
    group["values"] += 1
    group["sum"] += number
    group["min"] = number if group["min"] is None else min(group["min"], number)
    group["max"] = number if group["max"] is None else max(group["max"], number)


def windows_of(time: int, size: int | None, slide: int | None, first: int) -> list[int | None]:
    """The beginnings of the windows that a time is in; one that is ``None`` without windows."""
    if size is None:
        return [None]
    slide = slide or size
    last = (time - first) // slide * slide + first
    return [start for start in range(last, time - size, -slide) if start <= time < start + size]


def interpret(
    values: list[bytes | None],
    *,
    window: int | None,
    delay: int | None,
    at_least: int | None = None,
    slide: int | None = None,
    first: int = 0,
) -> Outcome:
    """One partition from beginning to end; times in seconds, ``at_least`` filters by ``v``.

    Windows that begin each ``slide`` overlap; one begins at ``first``.
    """
    out = Outcome()
    for offset, value in enumerate(values):
        out.read += 1
        record = _record(value)
        if record is None:
            out.bad += 1
            continue
        time, key, number = record
        out.time_max = time if out.time_max is None else max(out.time_max, time)
        if delay is not None and time < out.time_max - delay:
            out.late += 1
            continue
        if at_least is not None and (number is None or number < at_least):
            out.filtered += 1
            continue
        for start in windows_of(time, window, slide, first):
            new = {"n": 0, "values": 0, "sum": 0, "min": None, "max": None}
            group = out.groups.setdefault((start, key), new)
            _fold(group, number)
            if out.leaves is None and not -(2**63) <= group["sum"] < 2**63:
                out.leaves = offset
    for group in out.groups.values():
        group["mean"] = group["sum"] / group["values"] if group["values"] else None
    if window is not None and delay is not None and out.time_max is not None:
        out.closed = {
            (start, key)
            for start, key in out.groups
            if start is not None and start + window <= out.time_max - delay
        }
    return out
