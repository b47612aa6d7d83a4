"""Puts a worker's watermarks on the records that it publishes, for who reads them.

The header goes on the last record of a batch in each partition that it writes to, behind all rows
of the batch there, and tells of all tasks that the worker has: what they have published before lies
before it. So the partitions have to be known here; they are those that the keys' murmur2 picks, as
the client's would be.

An internal topic is told in every partition, in a record of its own where the batch has none there:
who reads it may wait for nothing else. That is done at once when a window behind may be over, else
once in `TELL_S` seconds: over 40 partitions it costs as much as rows do. Until then it is *owed*,
and an empty batch pays it if no other does. Who has loaded a task does not know what its former
owner has told, and so owes it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from processor.clock import Clock
from processor.connectors.partitioner import partition as partition_of
from processor.connectors.ports import Log
from processor.engine.commit.task import Task
from processor.model.batch import Result, Slice
from processor.model.log import NULL_KEYS, Output, TopicPartition
from processor.model.watermark import HEADER, Told
from processor.operators.windows import MICROSECOND, Panes
from processor.plan import nodes, pairs, schema
from processor.plan.carried import times

TELL_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Debt:
    """What is told in all partitions of the internal topics, and since when more is known.

    ``told`` is the least watermark of the worker's tasks as they were told it, in microseconds
    since 1970 without any sink's lag; ``owed_s`` the time from which on it is owed.
    """

    told: int | None = None
    owed_s: float | None = None


class Carry:
    """Of one plan's sinks, those that carry the watermark.

    Args:
        partitions: how many the input has: the number of writing tasks.
    """

    def __init__(self, plan: nodes.Plan, log: Log, clock: Clock, partitions: int) -> None:
        self._app, self._log, self._of = plan.app, log, partitions
        self._clock = clock
        sinks = [sink for sink in plan.sinks if sink.watermark is not None]
        columns = schema.columns(plan) if sinks else {}
        self._lags: dict[str, int] = {}
        self._times: dict[str, tuple[str, ...]] = {}
        for sink in sinks:  # of one topic all that two streams write has to be true
            of, lag = times(plan, sink, columns), _lag_us(plan, sink)
            self._lags[sink.topic] = max(lag, self._lags.get(sink.topic, lag))
            before = self._times.get(sink.topic, of)
            self._times[sink.topic] = tuple(name for name in before if name in of)
        windows = {sink.topic: sink.window for sink in sinks if sink.internal}
        self._internal = {topic: Panes(w) if w else None for topic, w in windows.items()}
        self._counts: dict[str, int] = {}
        self._debt = self._after = _Debt()

    def begin(self) -> None:
        """A membership begins: topics may have been given more partitions."""
        self._counts.clear()
        self._debt = self._after = _Debt()

    def loaded(self, tasks: Iterable[Task]) -> None:
        """What these tasks' former owner has told is not known."""
        if self._internal and any(task.event_time_max is not None for task in tasks):
            self._debt = self._after = _Debt(None, self._clock.monotonic_s())

    def committed(self) -> None:
        """The batch of the last `carried` is committed, and with it what it tells."""
        self._debt = self._after

    def pay(self) -> bool:
        """Let the next batch tell what is owed; false where that is nothing."""
        owes = self._debt.owed_s is not None
        if owes:
            self._debt = _Debt(self._debt.told, -math.inf)
        return owes

    @property
    def due(self) -> bool:
        """Whether what is owed has been so for long enough."""
        since_s = self._debt.owed_s
        return since_s is not None and self._clock.monotonic_s() >= since_s + TELL_S

    def carried(
        self, result: Result, slices: Sequence[Slice], tasks: Mapping[TopicPartition, Task]
    ) -> Sequence[Output]:
        """The outputs of a batch, with headers where they belong.

        ``slices`` are those of the batch, ``tasks`` all that the worker has, as they were before.
        """
        self._after = self._debt
        if not self._lags:
            return result.outputs
        largest = {partition: task.event_time_max for partition, task in tasks.items()}
        after = {s.partition: t for s, t in zip(slices, result.event_times_max, strict=True)}
        moved = any(time != largest[partition] for partition, time in after.items())
        largest |= after
        known = sorted((p.partition, time) for p, time in largest.items() if time is not None)
        told = {topic: self._told(topic, known) for topic in self._lags}
        done: list[Output] = []
        parts: dict[tuple[str, int], list[Output]] = {}
        for output in result.outputs:
            if output.topic not in self._lags or not known:
                done.append(output)
                continue
            for number, part in self._parted(output):
                parts.setdefault((output.topic, number), []).append(part)
        for (topic, _), (*before, last) in parts.items():
            done += [*before, *_marked(last, told[topic])]
        if self._everywhere(known, moved=moved, whole=len(known) == len(largest)):
            done += [
                Output(topic, [None], headers=[[(HEADER, told[topic])]], partition=number)
                for topic in self._internal
                for number in range(self.count(topic))
                if (topic, number) not in parts
            ]
        return done

    def _everywhere(self, known: Sequence[tuple[int, int]], *, moved: bool, whole: bool) -> bool:
        """Whether a batch tells all partitions; if not, what has moved is owed."""
        if not self._internal or not (known and (moved or self._debt.owed_s is not None)):
            return False
        # Where one of the tasks has no time yet, nothing behind can be over.
        least = min(time for _, time in known) if whole else None
        if not self.due and (least is None or not self._closes(least)):
            since_s = self._debt.owed_s
            since_s = self._clock.monotonic_s() if since_s is None else since_s
            self._after = _Debt(self._debt.told, since_s)
            return False
        self._after = _Debt(least)
        return True

    def _closes(self, least: int) -> bool:
        """Whether a window behind may be over that was not when all were told."""
        before = self._debt.told
        if before is None:
            return True
        return any(
            window is not None
            and window.open_at(least - self._lags[topic])
            != window.open_at(before - self._lags[topic])
            for topic, window in self._internal.items()
        )

    def _told(self, topic: str, known: Sequence[tuple[int, int]]) -> bytes:
        at = tuple((task, time - self._lags[topic]) for task, time in known)
        return Told(self._app, self._of, self._times[topic], at).encode()

    def _parted(self, output: Output) -> Iterable[tuple[int, Output]]:
        if output.partition is not None:
            return [(output.partition, output)]
        count = self.count(output.topic)
        rows: dict[int, list[int]] = {}
        for row, key in enumerate(output.keys or ()):
            number = NULL_KEYS if key is None else partition_of(key, count)
            rows.setdefault(number, []).append(row)
        return [(number, output.rows(ours, number)) for number, ours in rows.items()]

    def count(self, topic: str) -> int:
        """How many partitions a topic has."""
        if topic not in self._counts:
            self._counts[topic] = len(self._log.describe([topic])[topic].extents)
        return self._counts[topic]


def _lag_us(plan: nodes.Plan, sink: nodes.Sink) -> int:
    """How far behind a task's largest event time its rows may be, when they come to a sink."""
    delay = plan.delay() or nodes.NOTHING
    window = next((n.window for n in nodes.path(sink) if isinstance(n, nodes.Aggregate)), None)
    joined = next((n for n in nodes.path(sink) if isinstance(n, pairs.Joined)), None)
    # A window that is still open has begun no earlier than its size before the watermark.
    length = window.size if window else nodes.NOTHING
    return (delay + length + (joined.lag() if joined else nodes.NOTHING)) // MICROSECOND


def _marked(output: Output, told: bytes) -> list[Output]:
    """An output in two: the last record has the header."""
    last, number = len(output) - 1, output.partition or 0
    tail = output.rows([last], number)
    headers = [*(tail.headers[0] if tail.headers else ()), (HEADER, told)]
    body = output.rows(range(last), number)
    return [*([body] if last else []), tail.with_headers([headers])]
