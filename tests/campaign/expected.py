"""What one partition of the input has to make: computed from its records alone, one by one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.campaign.collect import Record
from tests.campaign.terms import DELAY_S, WINDOW_S

FORM = "%Y-%m-%dT%H:%M:%S"
INT64 = range(-(2**63), 2**63)

Group = tuple[int, str]


@dataclass(slots=True)
class Ride:
    """A record that is a ride."""

    offset: int
    key: str
    text: str
    amount: int
    number: int


@dataclass
class Expected:
    """``rides`` by their numbers; ``bad`` and ``late`` records by their offsets, ``late`` with its
    event time and how far behind it is; the ``groups``: offset and amount of all that count.
    """

    partition: int
    rides: dict[int, Ride] = field(default_factory=dict)
    bad: dict[int, Record] = field(default_factory=dict)
    late: dict[int, tuple[Record, int, int]] = field(default_factory=dict)
    groups: dict[Group, list[tuple[int, int]]] = field(default_factory=dict)


def expect(partition: int, records: Sequence[Record]) -> Expected:
    out = Expected(partition)
    latest: int | None = None
    for record in records:
        ride = read(record)
        if ride is None:
            out.bad[record.offset] = record
            continue
        out.rides[ride.number] = ride
        time = seconds(ride.text)
        latest = time if latest is None else max(latest, time)
        if time + DELAY_S < latest:
            out.late[record.offset] = record, time, latest - time
            continue
        group = time // WINDOW_S * WINDOW_S, ride.key
        out.groups.setdefault(group, []).append((record.offset, ride.amount))
    return out


def read(record: Record) -> Ride | None:
    """The ride that a record is; ``None`` for one that is none."""
    try:
        row = json.loads((record.value or b"").decode())
        key, text, amount, number = (row[name] for name in ("k", "t", "v", "u"))
        key.encode()
        seconds(text)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if not isinstance(key, str) or type(amount) is not int or type(number) is not int:
        return None
    if amount not in INT64 or number not in INT64:
        return None
    return Ride(record.offset, key, text, amount, number)


_known: dict[str, int] = {}


def seconds(text: str) -> int:
    """Of a time as it stands in rides and outputs, since 1970."""
    found = _known.get(text)
    if found is None:
        if len(_known) > 1_000_000:
            _known.clear()
        found = int(datetime.strptime(text, FORM).replace(tzinfo=UTC).timestamp())
        _known[text] = found
    return found
