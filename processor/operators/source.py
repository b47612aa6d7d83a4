"""The source: bytes to columns, bad records set aside, lateness decided in offset order.

A record is late when its event time is behind the largest one that its own partition had shown up
to and with it, by more than the delay::

    event time    10:00  10:07  10:02  10:09  10:01        delay 5 minutes
    maximum       10:00  10:07  10:07  10:09  10:09
    late?           no     no     no     no    10:01 < 10:04: yes

That is a function of the log alone, so batches, workers, speed and crashes cannot change it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import polars as pl

from processor.errors import RecordError
from processor.formats.base import Format
from processor.model.batch import Slice
from processor.model.headers import headers_of
from processor.model.log import Headers, Message, Output
from processor.operators.base import TASK, Context
from processor.plan.nodes import OnError


@dataclass(frozen=True, slots=True)
class Decode:
    """Turns a batch's messages into the first frame.

    Args:
        app: the application, which headers and errors name with the step.
        delay_us: how far behind a record may be, in microseconds; ``None``: never late.
        late: the topic for late records; ``None``: they are counted only.
        tagged: whether rows carry their slice's number, for state further down.
    """

    format: Format
    event_time: str | None
    delay_us: int | None
    on_error: OnError
    dead_letters: str
    late: str | None
    app: str
    tagged: bool

    def decode(self, context: Context) -> pl.DataFrame:
        """The batch's good and timely rows; the others are counted and sent where they belong."""
        slices, result = context.slices, context.result
        values = list(chain.from_iterable(s.values for s in slices))
        result.counts.read = len(values)
        decoded = self.format.decode(values)
        sizes = [len(s.messages) for s in slices]
        frame = decoded.frame
        if self.tagged:
            tasks = np.repeat(np.arange(len(sizes), dtype=np.uint32), sizes)
            frame = frame.with_columns(pl.Series(TASK, tasks))
        keep = np.ones(len(values), np.bool_)
        if decoded.bad:
            self._set_aside(decoded.bad, values, context)
            keep[list(decoded.bad)] = False
        behind = self.behind(frame, sizes, keep, context)
        late = behind != 0
        result.counts.late = int(late.sum())
        if self.late is not None and result.counts.late:
            self._send_late(self.late, frame, behind, context)
        keep &= ~late
        if keep.all():
            return frame
        mask = pl.Series(keep)
        # By column: the frame's own filter costs 137 us whatever its height, this 8.
        return pl.DataFrame([column.filter(mask) for column in frame.get_columns()])

    def behind(
        self,
        frame: pl.DataFrame,
        sizes: Sequence[int],
        good: npt.NDArray[np.bool_],
        context: Context,
    ) -> npt.NDArray[np.int64]:
        """By how much each late record is behind, in microseconds; 0 for one that is not late.

        Also carries the partitions' largest event times on.
        """
        behind = np.zeros(frame.height, np.int64)
        maxima = [s.event_time_max for s in context.slices]
        if self.event_time is not None:
            lowest = np.iinfo(np.int64).min
            times = frame[self.event_time].cast(pl.Datetime("us")).cast(pl.Int64)
            if times.null_count():
                times = times.fill_null(lowest)
            numbers = np.where(good, times.to_numpy(), lowest)
            start = 0
            for i, size in enumerate(sizes):
                part = numbers[start : start + size]
                if size and self.delay_us is not None:
                    known = self._running_max(part, maxima[i])
                    late = part + self.delay_us < known
                    behind[start : start + size] = np.where(late, known - part, 0)
                if size and (largest := int(part.max())) != lowest:
                    before = maxima[i]
                    maxima[i] = largest if before is None else max(largest, before)
                start += size
            behind[~good] = 0
        context.result.event_times_max = maxima
        return behind

    @staticmethod
    def _running_max(times: npt.NDArray[np.int64], before: int | None) -> npt.NDArray[np.int64]:
        known = np.maximum.accumulate(times)
        return known if before is None else np.maximum(known, before)

    def _set_aside(
        self, bad: Mapping[int, str], values: Sequence[bytes | None], context: Context
    ) -> None:
        rows = sorted(bad)
        if self.on_error == "skip":
            context.result.counts.skipped += len(rows)
            return
        messages = _messages(context.slices, rows)
        if self.on_error == "fail":
            message = messages[0]
            raise RecordError(
                f"{message.topic()}[{message.partition()}] offset {message.offset()}: step "
                f"{self.app}/decode cannot read the record: {bad[rows[0]]}",
                remedy='correct the producer, or set on_error to "dead_letter" or "skip"',
            )
        context.result.counts.dead_lettered += len(rows)
        context.result.outputs.append(
            Output(
                self.dead_letters,
                [values[row] for row in rows],
                [message.key() for message in messages],
                [
                    _headers(m, f"{self.app}/decode", {"error": bad[row]})
                    for m, row in zip(messages, rows, strict=True)
                ],
            )
        )

    def _send_late(
        self, topic: str, frame: pl.DataFrame, behind: npt.NDArray[np.int64], context: Context
    ) -> None:
        rows: list[int] = np.flatnonzero(behind).tolist()
        messages = _messages(context.slices, rows)
        times = frame[str(self.event_time)].gather(rows).cast(pl.Datetime("us")).to_physical()
        context.result.outputs.append(
            Output(
                topic,
                [message.value() for message in messages],
                [message.key() for message in messages],
                [
                    _headers(
                        m,
                        f"{self.app}/watermark",
                        {"event-time": np.datetime64(time, "us"), "behind": behind[row] / 1e6},
                    )
                    for m, row, time in zip(messages, rows, times, strict=True)
                ],
            )
        )


def _headers(message: Message, stage: str, more: Mapping[str, object]) -> Headers:
    """The record's own headers, and where it comes from, what set it aside and why."""
    origin = {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp": message.timestamp()[1],
        "stage": stage,
    }
    told = {f"processor.{name}": str(value) for name, value in {**origin, **more}.items()}
    # A reason may quote what no UTF-8 can be made of, and must not stop the run that it is told in.
    encoded = [(name, text.encode(errors="backslashreplace")) for name, text in told.items()]
    return [*headers_of(message), *encoded]


def _messages(slices: Sequence[Slice], rows: Sequence[int]) -> list[Message]:
    """The messages at these rows of the whole batch; rows ascend."""
    found: list[Message] = []
    start, wanted = 0, iter(rows)
    row = next(wanted, None)
    for part in slices:
        while row is not None and row < start + len(part.messages):
            found.append(part.messages[row - start])
            row = next(wanted, None)
        start += len(part.messages)
    return found
