"""Outputs by row, where a record of theirs holds many: which rows it holds, batches decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from processor.formats.base import SchemaFormat, many_rows
from processor.formats.blocks import Blocks
from processor.formats.legible import rows_as_json
from processor.model.batch import Result, Slice
from processor.model.headers import headers_of
from processor.model.log import Headers, Message, Output
from processor.operators.base import KeyWatch
from processor.operators.pipeline import Pipeline
from processor.plan import nodes
from processor.state.base import TaskState


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a record, as a record whose value is the row's JSON."""

    of: Message
    row: bytes | None

    def topic(self) -> str | None:
        """That of the record."""
        return self.of.topic()

    def partition(self) -> int | None:
        """That of the record."""
        return self.of.partition()

    def offset(self) -> int | None:
        """That of the record."""
        return self.of.offset()

    def key(self) -> bytes | None:
        """That of the record."""
        return self.of.key()

    def value(self) -> bytes | None:
        """The row."""
        return self.row

    def headers(self) -> Headers | None:
        """Those of the record."""
        return headers_of(self.of)

    def timestamp(self) -> tuple[int, int]:
        """That of the record."""
        return self.of.timestamp()


class ByRow(Pipeline):
    """A pipeline whose outputs are rows: those of a format with many in a record as JSON."""

    def __init__(self, plan: nodes.Plan, keys: KeyWatch | None = None) -> None:
        super().__init__(plan, keys)
        self._forms = {
            sink.topic: sink.format
            for sink in plan.sinks
            if isinstance(sink.format, SchemaFormat | Blocks) and many_rows(sink.format)
        }

    def run(
        self,
        slices: Sequence[Slice],
        states: Sequence[TaskState],
        begins: Callable[[str], object] = lambda _: None,
        *,
        publishes: bool = True,
    ) -> Result:
        """As `Pipeline.run`."""
        result = super().run(slices, states, begins, publishes=publishes)
        result.outputs = [self._unpacked(output) for output in result.outputs]
        return result

    def _unpacked(self, output: Output) -> Output:
        form = self._forms.get(output.topic)
        if form is None:
            return output
        found = rows_as_json(form, output.values)
        places = [place for place, rows in enumerate(found) for _ in rows or ()]
        keys = output.keys and [output.keys[place] for place in places]
        return replace(output, values=[row for rows in found for row in rows or ()], keys=keys)

    def rows(self, topic: str, messages: Sequence[Message]) -> Sequence[Message]:
        """The rows of records of a topic; one that cannot be read stays as it is."""
        form = self._forms.get(topic)
        if form is None:
            return messages
        found = rows_as_json(form, [message.value() for message in messages])
        return [
            Row(message, row)
            for message, rows in zip(messages, found, strict=True)
            for row in ([message.value()] if rows is None else rows)
        ]
