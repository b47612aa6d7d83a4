"""The end of a stage that hands its rows to another: dealt out by key, as blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
import polars as pl

from processor.formats import placing
from processor.formats.blocks import Blocks
from processor.model.headers import STAGE
from processor.model.log import Headers, Output
from processor.operators.base import Context
from processor.operators.windows import check_windows
from processor.plan.nodes import Window

Targets: TypeAlias = Callable[[str], int]
"""How many partitions an internal topic has."""


_SHORT: Final = 2**16


@dataclass(frozen=True, slots=True)
class Shuffle:
    """Writes the rows as blocks, each to the partition of its key, in their order.

    Args:
        app: the application of the stage, which each block names.
        topic: the internal topic.
        form: the rows' layout.
        keys: the columns that say which rows belong together; without any, all do.
        window: that of the aggregate behind: a row that it could not take is refused here, where
            its record is known.
        targets: the topic's partition count.
        evenly: rows are dealt out in turns, where there are no keys.
    """

    app: str
    topic: str
    form: Blocks
    keys: tuple[str, ...]
    window: Window | None
    targets: Targets
    evenly: bool = False

    def process(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        """Add the blocks to the batch's outputs; nothing goes on.

        Raises `OverflowError` for a row whose window has no end among the times there are, and
        `WriteError` for one that is too long for a block.
        """
        if self.window is not None:
            check_windows(frame, self.window)
        rows = frame[list(self.form.columns)]
        for number, part in self._dealt(rows, context):
            values: list[bytes | None] = [value for _, value in self.form.pack(part)]
            headers: list[Headers] = [[(STAGE, self.app.encode())]] * len(values)
            context.result.outputs.append(
                Output(self.topic, values, headers=headers, partition=number)
            )
        return frame.clear()

    def _dealt(self, rows: pl.DataFrame, context: Context) -> list[tuple[int, pl.DataFrame]]:
        """The rows of each partition that has some."""
        count = self.targets(self.topic)
        if rows.is_empty():
            return []
        if count == 1 or not (self.keys or self.evenly):
            return [(0, rows)]
        if self.evenly:
            # Batches of one row are dealt out evenly too; the same batch is, when run again, alike.
            starts = pl.DataFrame({"at": [part.start for part in context.slices]}).sum()
            first = int(placing.partitions(starts, count)[0])
            numbers = (np.arange(first, first + rows.height) % count).astype(np.uint32)
        else:
            numbers = placing.partitions(rows[list(self.keys)], count)
        # Numbers of two bytes are sorted by counting them, eight times as fast.
        order = np.argsort(numbers.astype(np.uint16) if count < _SHORT else numbers, kind="stable")
        bounds = np.searchsorted(numbers[order], np.arange(count + 1))
        dealt = rows[order]
        return [
            (number, dealt[int(start) : int(end)])
            for number, (start, end) in enumerate(pairwise(bounds))
            if end > start
        ]
