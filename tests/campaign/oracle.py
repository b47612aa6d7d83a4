"""Judges the outputs against the input: what is lost, doubled, changed or misplaced.

It uses the standard library alone and knows no batches: what it says holds however work was cut.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from tests.campaign.collect import Record
from tests.campaign.expected import Expected, Group, seconds
from tests.campaign.places import place
from tests.campaign.terms import PARTITIONS, WINDOW_S, Stage


@dataclass(frozen=True)
class Wrong:
    """``kind`` of wrong in a ``topic``; which ``offsets`` of the input's ``partition`` it is about.

    ``at_ms`` is when it was written, or when what is missing should have been, as near as is known.
    """

    kind: str
    topic: str
    partition: int
    what: str
    offsets: tuple[int, ...] = ()
    at_ms: int | None = None


class Passage:
    """When the work on a partition passed its offsets, as far as outputs tell."""

    def __init__(self) -> None:
        self._seen: list[tuple[int, int]] = []
        self._sorted: tuple[list[int], list[int]] | None = None

    def add(self, offset: int, at_ms: int) -> None:
        self._seen.append((offset, at_ms))

    def when(self, offset: int) -> int | None:
        """The first time that something at or behind an offset was written."""
        if self._sorted is None:
            self._seen.sort()
            earliest = [*accumulate((at_ms for _, at_ms in reversed(self._seen)), min)][::-1]
            self._sorted = [at for at, _ in self._seen], earliest
        offsets, earliest = self._sorted
        place = bisect_left(offsets, offset)
        return earliest[place] if place < len(offsets) else None


# Rows that each come once.


def judge_rows(stage: Stage, expected: Expected, records: Sequence[Record]) -> list[Wrong]:
    """The stateless output of one partition: every ride once, and nothing else."""
    here, wrong = expected.partition, []
    times, passage = {}, Passage()
    for record in records:
        row = _row(record)
        ride = expected.rides.get(row.get("u"))
        if ride is None:
            wrong.append(_wrong("surplus", stage.output, here, record, "no ride of this partition"))
            continue
        wanted = {
            "k": ride.key, "t": ride.text, "v": ride.amount, "u": ride.number,
            "twice": 2 * ride.amount,
        }  # fmt: skip
        if row != wanted or record.key != ride.key.encode():
            told = f"{record.value!r} under key {record.key!r}, not {wanted}"
            wrong.append(_wrong("changed", stage.output, here, record, told, ride.offset))
        if record.partition != place(ride.key.encode(), PARTITIONS):
            wrong.append(_wrong("misplaced", stage.output, here, record, "", ride.offset))
        if ride.offset in times:
            wrong.append(_wrong("doubled", stage.output, here, record, "again", ride.offset))
        times[ride.offset] = record.at_ms
        passage.add(ride.offset, record.at_ms)
    for ride in expected.rides.values():
        if ride.offset not in times:
            what = f"no output for ride {ride.number} of key {ride.key[:60]!r}"
            when = passage.when(ride.offset)
            wrong.append(Wrong("lost", stage.output, here, what, (ride.offset,), when))
    return wrong


def _wrong(kind, topic, partition, record, what, *offsets) -> Wrong:
    text = f"{topic}[{record.partition}]@{record.offset}: {what}"
    return Wrong(kind, topic, partition, text, offsets, record.at_ms)


def _row(record: Record) -> dict[str, object]:
    try:
        row = json.loads(record.value or b"")
    except ValueError:
        row = None
    return row if isinstance(row, dict) else {}


# Updates of windows.


def judge_windows(stage: Stage, expected: Expected, records: Sequence[Record]) -> list[Wrong]:
    """The windowed output of one partition.

    Every update of a group is that of the first so many of its records, more with each update; the
    last one is of all.
    """
    here, wrong = expected.partition, []
    told: dict[Group, list[tuple[Record, tuple[int, ...]]]] = {}
    for record in records:
        row = _row(record)
        try:
            group = seconds(row["window_start"]), row["k"]
            numbers = tuple(row[name] for name in ("n", "total", "low", "high"))
            whole = len(row) == 7 and seconds(row["window_end"]) == group[0] + WINDOW_S
            whole = whole and all(type(n) is int for n in numbers)
            key = group[1].encode()
        except (KeyError, TypeError, ValueError, AttributeError):
            whole = False
        if not whole or group not in expected.groups or record.key != key:
            text = f"{record.value!r} under key {record.key!r} is of no group of this partition"
            wrong.append(_wrong("surplus", stage.output, here, record, text))
            continue
        if record.partition != place(key, PARTITIONS):
            wrong.append(_wrong("misplaced", stage.output, here, record, repr(key)))
        told.setdefault(group, []).append((record, numbers))
    short, passage = [], Passage()
    for group, members in expected.groups.items():
        found, counted = _judge_group(stage.output, here, group, members, told.get(group, ()))
        wrong += found
        for record, n in counted:
            passage.add(members[n - 1][0], record.at_ms)
        if not found and (n := counted[-1][1] if counted else 0) < len(members):
            short.append((group, n, _offsets(members[n:])))
    for (start, key), n, offsets in short:
        what = f"window {start} of {key[:60]!r}: the last n is {n}, without {len(offsets)} more"
        when = passage.when(offsets[0])
        wrong.append(Wrong("lost", stage.output, here, what, offsets, when))
    return wrong


def _judge_group(topic, here, group, members, updates) -> tuple[list[Wrong], list]:
    """At most one finding, since what follows it may be its echo; and the updates before it."""
    amounts = [amount for _, amount in members]
    sums = [0, *accumulate(amounts)]
    lows, highs = [*accumulate(amounts, min)], [*accumulate(amounts, max)]
    before, counted = 0, []
    for record, (n, total, low, high) in updates:
        name = f"window {group[0]} of {group[1][:60]!r}"
        if n <= before:
            what = f"{name}: n is {n} after {before}"
            return [_wrong("doubled", topic, here, record, what, *_offsets(members[:n]))], counted
        known = n <= len(members)
        if known and (total, low, high) == (sums[n], lows[n - 1], highs[n - 1]):
            before = n
            counted.append((record, n))
            continue
        what = f"{name}: n {n}, total {total}, low {low}, high {high}"
        if known:
            what += f", not {sums[n]}, {lows[n - 1]}, {highs[n - 1]}"
        kind, some = _explained(sums, before, n - before, total - sums[before])
        offsets = _offsets(members[some[0] : some[1]])
        return [_wrong(kind, topic, here, record, what, *offsets)], counted
    return [], counted


def _offsets(members) -> tuple[int, ...]:
    return tuple(offset for offset, _ in members)


def _explained(sums, before, more, total) -> tuple[str, tuple[int, int]]:
    """Which run of records makes up an update's growth: one that begins too late, or too early.

    Amounts are such that hardly two runs have one sum.
    """
    for start in range(len(sums) - max(more, 0)):
        if more > 0 and sums[start + more] - sums[start] == total and start != before:
            return ("lost", (before, start)) if start > before else ("doubled", (start, before))
    return "changed", (before, before + 1)


# Records that are set aside.


def judge_aside(
    topic: str, source: str, wanted: Mapping[tuple[int, int], tuple], records: Sequence[Record]
) -> list[Wrong]:
    """Dead letters or late records: each wanted one once, bytes and all, and nothing else.

    ``wanted``: by partition and offset of the input, the record and what more has to be told of it.
    """
    wrong: list[Wrong] = []
    times: Counter[tuple[int, int]] = Counter()
    passages: dict[int, Passage] = defaultdict(Passage)
    for record in records:
        headers = dict(record.headers)
        try:
            where = int(headers["processor.partition"]), int(headers["processor.offset"])
            from_source = headers["processor.topic"] == source.encode()
        except (KeyError, ValueError, TypeError):
            where, from_source = (-1, -1), False
        if not from_source or where not in wanted:
            what = f"is of no record that belongs here: {record.headers}"
            wrong.append(_wrong("surplus", topic, where[0], record, what, where[1]))
            continue
        times[where] += 1
        passages[where[0]].add(where[1], record.at_ms)
        if times[where] > 1:
            wrong.append(_wrong("doubled", topic, where[0], record, "again", where[1]))
        if problem := _differs(record, headers, *wanted[where]):
            wrong.append(_wrong("changed", topic, where[0], record, problem, where[1]))
    for where in wanted.keys() - times.keys():
        what = f"no record for {source}[{where[0]}]@{where[1]}"
        when = passages[where[0]].when(where[1])
        wrong.append(Wrong("lost", topic, where[0], what, (where[1],), when))
    return wrong


def _differs(record: Record, headers, origin: Record, *more) -> str:
    if (record.key, record.value) != (origin.key, origin.value):
        return f"{record.key!r}: {record.value!r}, not {origin.key!r}: {origin.value!r}"
    if record.headers[: len(origin.headers)] != origin.headers:
        return f"its own headers are {record.headers}, not {origin.headers}"
    if headers.get("processor.timestamp") != b"%d" % origin.at_ms:
        return f"its timestamp is {headers.get('processor.timestamp')!r}, not {origin.at_ms}"
    if not more:
        return "" if headers.get("processor.error") else "no reason is told"
    time, behind = more
    try:
        said = seconds(headers["processor.event-time"].decode()[:19])
        told = said, float(headers["processor.behind"])
    except (KeyError, ValueError, AttributeError):
        told = None
    return "" if told == (time, behind) else f"it tells {told}, not {(time, behind)}"
