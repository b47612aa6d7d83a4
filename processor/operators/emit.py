"""The sink: columns to bytes, and the key of each record."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from processor.errors import WriteError
from processor.formats.base import Format
from processor.model.log import Output
from processor.operators.base import TASK, Context


@dataclass(frozen=True, slots=True)
class Emit:
    """Encodes the rows for a topic. A key is the text of its column: ``6`` becomes ``b"6"``."""

    topic: str
    format: Format
    key: str | None
    at: str = ""

    def process(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        """Add the rows to the batch's outputs; nothing goes on."""
        if not frame.is_empty():
            rows = frame.select_seq(pl.exclude(TASK)) if TASK in frame.columns else frame
            keys = None
            if self.key is not None:
                keys = rows[self.key].cast(pl.String).cast(pl.Binary).to_list()
            context.result.outputs.append(Output(self.topic, self._encode(rows), keys))
        return frame.clear()

    def _encode(self, rows: pl.DataFrame) -> list[bytes]:
        try:
            return self.format.encode(rows)
        except WriteError as error:
            raise WriteError(
                f"{self.at}: rows for {self.topic!r}: {error.message}", remedy=error.remedy
            ) from error
