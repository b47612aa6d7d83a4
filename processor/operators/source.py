"""The source: bytes to columns, bad records set aside, lateness decided in offset order.

A record is late when its event time is behind the largest one that its own partition had shown up
to and with it, by more than the delay::

    event time    10:00  10:07  10:02  10:09  10:01        delay 5 minutes
    maximum       10:00  10:07  10:07  10:09  10:09
    late?           no     no     no     no    10:01 < 10:04: yes

Where the records carry the watermark (`processor.operators.carried`), that stands for the maximum.
Both are functions of the log alone, so batches, workers, speed and crashes cannot change them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from processor.formats.base import Decoded, Format, many_rows
from processor.model import duration
from processor.model.batch import Sample, Slice
from processor.model.log import Output
from processor.operators import many, own
from processor.operators.ahead import ahead
from processor.operators.aside import DECODE, Aside, messages_at, origin
from processor.operators.base import ROW, TASK, Context, Refusal
from processor.operators.carried import Carried
from processor.operators.derived import Derived
from processor.operators.framed import explained
from processor.plan.nodes import Source

_LOWEST: Final = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Decode:
    """Turns a batch's messages into the first frame.

    Args:
        delay_us: how far behind a record may be, in microseconds; ``None``: never late.
        late: the topic for late records; ``None``: they are counted only.
        aside: what becomes of records that cannot be read.
        ahead_us: how far ahead of its record's timestamp an event time may be, in microseconds.
        source: says which columns take what the log has of each record; ``None``: there is none.
        tagged: whether rows carry their slice's number, for state further down.
        carried: hears the watermark of the records' own; ``None``: event times make it.
        derived: computes the event time; ``None``: it is a column that was read.
    """

    format: Format
    event_time: str | None
    delay_us: int | None
    late: str | None
    aside: Aside
    tagged: bool
    ahead_us: int | None = None
    source: Source | None = None
    carried: Carried | None = None
    derived: Derived | None = None

    def decode(self, slices: Sequence[Slice]) -> tuple[Decoded, Sequence[Slice]]:
        """All records of a batch as columns, and the slices with a message for each row."""
        decoded = own.read(self.format, slices, self.source.tombstones if self.source else "bad")
        rows = many.by_row(slices, decoded)
        if self.source is not None:
            decoded = own.added(decoded, rows, self.source)
        return decoded if self.derived is None else self.derived.added(decoded), rows

    def admit(
        self,
        decoded: Decoded,
        refused: Mapping[int, Refusal],
        context: Context,
        *,
        numbered: bool = False,
    ) -> pl.DataFrame:
        """The batch's good and timely rows; the others are counted and sent where they belong.

        Args:
            decoded: what `decode` has made of the context's slices.
            context: takes the counts, the partitions' largest event times, and what is published.
            refused: rows that a step further down cannot compute: they are as bad as those that
                cannot be read, and as these they say nothing of the time.
            numbered: whether rows carry their number in the batch.
        """
        result, frame = context.result, decoded.frame
        result.counts.read = frame.height
        sizes = [len(s.messages) for s in context.slices]
        if self.tagged:
            tasks = np.repeat(np.arange(len(sizes), dtype=np.uint32), sizes)
            frame = frame.hstack([pl.Series(TASK, tasks)])
        if numbered:
            frame = frame.with_row_index(ROW)
        keep = np.ones(frame.height, np.bool_)
        keep[[*decoded.bad, *decoded.passed, *refused]] = False
        key = self.source.key_format if self.source else None
        reasons = explained(decoded.bad, context.slices, self.format, key)
        bad = {row: Refusal(DECODE, reason) for row, reason in reasons.items()}
        bad.update(refused)
        times = self.times(frame)
        bad.update(self._ahead(times, sizes, keep, context))
        bad = many.whole(bad, decoded)
        if bad:
            self.aside.records(bad, context)
            keep[list(bad)] = False
        behind = self.behind(times, sizes, keep, context)
        late = behind != 0
        result.counts.late = int(late.sum())
        result.counts.filtered = len(decoded.passed)
        if self.late is not None and result.counts.late:
            self._send_late(self.late, frame, behind, context)
        keep &= ~late
        if keep.all():
            return frame
        mask = pl.Series(keep)
        # By column: the frame's own filter costs 137 us whatever its height, this 8.
        return pl.DataFrame([column.filter(mask) for column in frame.get_columns()])

    def times(self, frame: pl.DataFrame) -> npt.NDArray[np.int64]:
        """The event times in microseconds since 1970, the least number where there is none.

        Without an event time there are no numbers.
        """
        if self.event_time is None:
            return np.zeros(0, np.int64)
        times = frame[self.event_time].cast(pl.Datetime("us")).cast(pl.Int64)
        return (times.fill_null(_LOWEST) if times.null_count() else times).to_numpy()

    def _ahead(
        self,
        times: npt.NDArray[np.int64],
        sizes: Sequence[int],
        good: npt.NDArray[np.bool_],
        context: Context,
    ) -> dict[int, Refusal]:
        """The rows whose event time is too far ahead; carries the partitions' log times on."""
        context.result.log_times = [part.log_time for part in context.slices]
        if self.event_time is None or self.ahead_us is None:
            return {}
        found: dict[int, Refusal] = {}
        start = 0
        for i, (part, size) in enumerate(zip(context.slices, sizes, strict=True)):
            here = slice(start, start + size)
            rows, context.result.log_times[i] = ahead(
                times[here], good[here], part.messages, self.ahead_us, part.log_time
            )
            for row in rows:
                time = np.datetime64(int(times[start + row]), "us")
                bound = duration.about(timedelta(microseconds=self.ahead_us))
                reason = (
                    f"column {self.event_time!r}: {time} is more than {bound} ahead of when the "
                    "record was written"
                )
                found[start + row] = Refusal("watermark", reason)
            start += size
        return found

    def samples(
        self, decoded: Decoded, slices: Sequence[Slice], columns: Sequence[str], count: int
    ) -> list[Sample]:
        """Some of a batch's good records, evenly spread, with the text of columns.

        ``count`` is no more than there are.
        """
        spread = (number * decoded.frame.height // count for number in range(count))
        rows = [row for row in spread if row not in decoded.bad]
        frame = decoded.frame.select_seq(columns)[rows].cast(pl.String)
        texts: list[str | None] = frame.to_series().to_list()
        if len(columns) > 1:
            texts = [None if set(row) == {None} else repr(row) for row in frame.iter_rows()]
        return [Sample(*pair) for pair in zip(messages_at(slices, rows), texts, strict=True)]

    def behind(
        self,
        times: npt.NDArray[np.int64],
        sizes: Sequence[int],
        good: npt.NDArray[np.bool_],
        context: Context,
    ) -> npt.NDArray[np.int64]:
        """By how much each late record is behind, in microseconds; 0 for one that is not late.

        Also carries the partitions' largest event times on.
        """
        behind = np.zeros(len(good), np.int64)
        maxima = [s.event_time_max for s in context.slices]
        if self.event_time is not None:
            numbers = np.where(good, times, _LOWEST)
            start = 0
            heard = context.heard
            for i, size in enumerate(sizes):
                part = numbers[start : start + size]
                if size and self.delay_us is not None:
                    known = heard[i].known if heard else self._running_max(part, maxima[i])
                    late = part + self.delay_us < known
                    behind[start : start + size] = np.where(late, known - part, 0)
                if heard:
                    maxima[i] = heard[i].after
                elif size and (largest := int(part.max())) != _LOWEST:
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

    def _send_late(
        self, topic: str, frame: pl.DataFrame, behind: npt.NDArray[np.int64], context: Context
    ) -> None:
        rows: list[int] = np.flatnonzero(behind).tolist()
        messages = messages_at(context.slices, rows)
        values: list[bytes | None] = [message.value() for message in messages]
        if (form := many_rows(self.format)) is not None:
            # Of a record only the rows that are late: the others have been counted.
            columns = list(self.format.columns or ())
            values, kept = many.repacked(form, frame.select_seq(columns)[rows], messages)
            messages, rows = [messages[i] for i in kept], [rows[i] for i in kept]
        times = frame[str(self.event_time)].gather(rows).cast(pl.Datetime("us")).to_physical()
        context.result.aside += len(values)
        context.result.outputs.append(
            Output(
                topic,
                values,
                [message.key() for message in messages],
                [
                    origin(
                        m,
                        f"{self.aside.app}/watermark",
                        {"event-time": np.datetime64(time, "us"), "behind": behind[row] / 1e6},
                    )
                    for m, row, time in zip(messages, rows, times, strict=True)
                ],
            )
        )
