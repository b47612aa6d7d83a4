"""The sink: columns to bytes, and the key of each record."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from processor.formats.base import Format
from processor.model.log import Output
from processor.operators.base import HIDDEN, Context


@dataclass(frozen=True, slots=True)
class Emit:
    """Encodes the rows for a topic. A key is the text of its column: ``6`` becomes ``b"6"``."""

    topic: str
    format: Format
    key: str | None

    def process(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        """Add the rows to the batch's outputs; nothing goes on."""
        if not frame.is_empty():
            rows = frame.select_seq(pl.exclude(HIDDEN))
            keys = None
            if self.key is not None:
                keys = rows[self.key].cast(pl.String).cast(pl.Binary).to_list()
            context.result.outputs.append(Output(self.topic, self.format.encode(rows), keys))
        return frame.clear()
