"""Puts a worker's watermarks on the records that it publishes, for who reads them.

The header goes on the last record of a batch in each partition that it writes to, behind all rows
of the batch there, and tells of all tasks that the worker has: what they have published before lies
before it. So the partitions have to be known here; they are those that the keys' murmur2 picks, as
the client's would be.

An internal topic is told in every partition, in a record of its own where the batch has none there:
who reads it may wait for nothing else. As this is part of the batch that moved the watermark, it is
never owed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from processor.connectors.partitioner import partition as partition_of
from processor.connectors.ports import Log
from processor.engine.commit.task import Task
from processor.model.batch import Result, Slice
from processor.model.log import NULL_KEYS, Output, TopicPartition
from processor.model.watermark import HEADER, Told
from processor.operators.windows import MICROSECOND
from processor.plan import nodes, schema
from processor.plan.carried import times


class Carry:
    """Of one plan's sinks, those that carry the watermark.

    Args:
        partitions: how many the input has: the number of writing tasks.
    """

    def __init__(self, plan: nodes.Plan, log: Log, partitions: int) -> None:
        self._app, self._log, self._of = plan.app, log, partitions
        sinks = [sink for sink in plan.sinks if sink.watermark is not None]
        columns = schema.columns(plan) if sinks else {}
        self._lags: dict[str, int] = {}
        self._times: dict[str, tuple[str, ...]] = {}
        for sink in sinks:  # of one topic all that two streams write has to be true
            of, lag = times(plan, sink, columns), _lag_us(plan, sink)
            self._lags[sink.topic] = max(lag, self._lags.get(sink.topic, lag))
            before = self._times.get(sink.topic, of)
            self._times[sink.topic] = tuple(name for name in before if name in of)
        self._internal = {sink.topic for sink in sinks if sink.internal}
        self._counts: dict[str, int] = {}

    def begin(self) -> None:
        """A membership begins: topics may have been given more partitions."""
        self._counts.clear()

    def carried(
        self, result: Result, slices: Sequence[Slice], tasks: Mapping[TopicPartition, Task]
    ) -> Sequence[Output]:
        """The outputs of a batch, with headers where they belong.

        ``slices`` are those of the batch, ``tasks`` all that the worker has, as they were before.
        """
        outputs = result.outputs
        if not self._lags:
            return outputs
        largest = {partition: task.event_time_max for partition, task in tasks.items()}
        after = {s.partition: t for s, t in zip(slices, result.event_times_max, strict=True)}
        moved = any(time != largest[partition] for partition, time in after.items())
        largest |= after
        known = sorted((p.partition, time) for p, time in largest.items() if time is not None)
        done: list[Output] = []
        parts: dict[tuple[str, int], list[Output]] = {}
        for output in outputs:
            if output.topic not in self._lags or not known:
                done.append(output)
                continue
            for number, part in self._parted(output):
                parts.setdefault((output.topic, number), []).append(part)
        told = {topic: self._told(topic, known) for topic in self._lags}
        for (topic, _), (*before, last) in parts.items():
            done += [*before, *_marked(last, told[topic])]
        for topic in self._internal if moved else ():
            done += [
                Output(topic, [None], headers=[[(HEADER, told[topic])]], partition=number)
                for number in range(self.count(topic))
                if (topic, number) not in parts
            ]
        return done

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
    # A window that is still open has begun no earlier than its size before the watermark.
    return (delay + (window.size if window else nodes.NOTHING)) // MICROSECOND


def _marked(output: Output, told: bytes) -> list[Output]:
    """An output in two: the last record has the header."""
    last, number = len(output) - 1, output.partition or 0
    tail = output.rows([last], number)
    headers = [*(tail.headers[0] if tail.headers else ()), (HEADER, told)]
    body = output.rows(range(last), number)
    return [*([body] if last else []), tail.with_headers([headers])]
