"""The sink: columns to bytes, and the key of each record."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from processor.formats.base import Format
from processor.model.log import NULL_KEYS, Output
from processor.operators.base import HIDDEN, Context


@dataclass(frozen=True, slots=True)
class Emit:
    """Encodes the rows for a topic. A key is the text of its column: ``6`` becomes ``b"6"``.

    Rows whose key is null have none, and go to one partition (`NULL_KEYS`): the updates of a group
    stay in order, and a reader that groups by the column has all of them in one place.
    """

    topic: str
    format: Format
    key: str | None

    def process(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        """Add the rows to the batch's outputs; nothing goes on."""
        if not frame.is_empty():
            rows = frame.select_seq(pl.exclude(HIDDEN))
            if self.key is None:
                self._add(rows, None, context)
            else:
                keys = rows[self.key].cast(pl.String).cast(pl.Binary)
                if not keys.null_count():
                    self._add(rows, keys, context)
                else:
                    column = pl.col(self.key)
                    self._add(rows.filter(column.is_not_null()), keys.drop_nulls(), context)
                    self._add(rows.filter(column.is_null()), None, context, NULL_KEYS)
        return frame.clear()

    def _add(
        self,
        rows: pl.DataFrame,
        keys: pl.Series | None,
        context: Context,
        partition: int | None = None,
    ) -> None:
        if rows.is_empty():
            return
        if rows.n_chunks() > 1:
            # Over an empty chunk, which a filter may leave, joining columns ends in a panic of the
            # column engine (Polars 2.1).
            rows = rows.rechunk()
        texts = None if keys is None else keys.to_list()
        values = self.format.encode(rows)
        context.result.outputs.append(Output(self.topic, values, texts, partition=partition))
