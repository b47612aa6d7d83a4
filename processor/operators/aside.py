"""What becomes of a record that a step cannot take: it is published elsewhere, counted, or the end.

A row behind an aggregate is no record but a group. It goes where records go, as the JSON of its
columns, and its group stays in state as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson
import polars as pl

from processor.errors import RecordError
from processor.formats.times import in_python
from processor.model.batch import Slice
from processor.model.headers import headers_of
from processor.model.letters import reason_of
from processor.model.log import Headers, Message, Output
from processor.operators.base import HIDDEN, TASK, Context, Refusal
from processor.plan.nodes import OnError

DECODE: Final = "decode"


@dataclass(frozen=True, slots=True)
class Aside:
    """Where refused records and groups of an application go.

    Args:
        app: the application, which headers and errors name with the step.
        topic: the dead-letter topic.
        internal: whether records are blocks of another stage, of which none may be left out.
    """

    app: str
    on_error: OnError
    topic: str
    internal: bool = False

    def records(self, bad: Mapping[int, Refusal], context: Context) -> None:
        """Set rows of the batch aside; raises `RecordError` for the first if told to fail."""
        rows = sorted(bad)
        if self.internal:
            (message,) = messages_at(context.slices, rows[:1])
            raise RecordError(
                f"{message.topic()}[{message.partition()}] offset {message.offset()}: the block "
                f"cannot be taken by {self.app}/{bad[rows[0]].step}: {bad[rows[0]].reason}",
                remedy="let the topology that wrote it read it to its end (--until-caught-up), or "
                "begin anew with `processor reset`; nobody else may write to this topic",
            )
        if self.on_error == "skip":
            context.result.counts.skipped += len(rows)
            return
        messages = messages_at(context.slices, rows)
        lettered = len(rows)
        # A record is set aside once, however many of its rows are.
        once = [i for i, one in enumerate(messages) if not i or one is not messages[i - 1]]
        messages, rows = [messages[i] for i in once], [rows[i] for i in once]
        if self.on_error == "fail":
            message, first = messages[0], bad[rows[0]]
            verb = "read" if first.step == DECODE else "compute"
            raise RecordError(
                f"{message.topic()}[{message.partition()}] offset {message.offset()}: step "
                f"{self.app}/{first.step} cannot {verb} the record: {first.reason}",
                remedy="correct the producer or the step, filter such records out before it, or "
                'set on_error to "dead_letter" or "skip"',
            )
        context.result.counts.dead_lettered += lettered
        context.result.aside += len(rows)
        context.result.letters.update(reason_of(bad[row].step) for row in rows)
        headers = [
            origin(message, f"{self.app}/{bad[row].step}", {"error": bad[row].reason})
            for message, row in zip(messages, rows, strict=True)
        ]
        values = [message.value() for message in messages]
        keys = [message.key() for message in messages]
        context.result.outputs.append(Output(self.topic, values, keys, headers))

    def groups(
        self, frame: pl.DataFrame, bad: Mapping[int, str], step: str, context: Context
    ) -> None:
        """Set rows behind an aggregate aside; raises `RecordError` for the first if told to fail.

        Their headers name the last record that was read of the partition. They tell no timestamp,
        by which a group is known from a record (`processor.model.letters`).
        """
        rows = sorted(bad)
        refused = frame[rows]
        slices = [context.slices[task] for task in refused[TASK].to_list()]
        values = [
            orjson.dumps(row, default=str, option=orjson.OPT_NON_STR_KEYS)
            for row in in_python(refused.drop(HIDDEN, strict=False)).iter_rows(named=True)
        ]
        if self.on_error == "fail":
            raise RecordError(
                f"{slices[0].partition} up to offset {slices[0].end - 1}: step {self.app}/{step} "
                f"cannot compute the group {values[0].decode()}: {bad[rows[0]]}",
                remedy="correct the step, filter such groups out before it, or set on_error to "
                '"dead_letter" or "skip"',
            )
        if self.on_error == "dead_letter":
            context.result.letters["group"] += len(rows)
            headers = [
                _encoded(
                    {
                        "topic": part.partition.topic,
                        "partition": part.partition.partition,
                        "offset": part.end - 1,
                        "stage": f"{self.app}/{step}",
                        "error": bad[row],
                    }
                )
                for part, row in zip(slices, rows, strict=True)
            ]
            context.result.outputs.append(Output(self.topic, values, None, headers))


def origin(message: Message, stage: str, more: Mapping[str, object]) -> Headers:
    """The record's own headers, and where it comes from, what set it aside and why.

    Among its own is `processor.redriven`, where it was sent to the input again.
    """
    known = {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp": message.timestamp()[1],
        "stage": stage,
    }
    return [*headers_of(message), *_encoded({**known, **more})]


def _encoded(told: Mapping[str, object]) -> Headers:
    # A reason may quote what no UTF-8 can be made of, and must not stop the run that it is told in.
    return [
        (f"processor.{name}", str(value).encode(errors="backslashreplace"))
        for name, value in told.items()
    ]


def messages_at(slices: Sequence[Slice], rows: Sequence[int]) -> list[Message]:
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
