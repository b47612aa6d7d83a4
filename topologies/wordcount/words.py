"""A line of text as its words: a format with many rows in a record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from processor import Text
from processor.formats.base import Decoded


@dataclass(frozen=True)
class Words:
    """Each record is a line, and each of its words a row.

    >>> Words().decode([b"a b", b"", b"b"]).frame["word"].to_list()
    ['a', 'b', 'b']
    """

    @property
    def columns(self) -> Mapping[str, pl.DataType]:
        """One column, ``word``."""
        return {"word": pl.String()}

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Lines to words; a line that is no text has one row, a bad one."""
        lines = Text().decode(values)
        bad = {row: why for row, why in lines.bad.items() if values[row]}
        text = lines.frame["value"].fill_null("")
        words = text.str.extract_all(r"\S+")
        counts = words.list.len().to_numpy().astype(np.intp)
        counts[list(bad)] = 1
        records = np.repeat(np.arange(len(values), dtype=np.intp), counts)
        starts = np.cumsum(counts) - counts
        whole = pl.select(
            pl.when(pl.Series([row in bad for row in range(len(values))], dtype=pl.Boolean))
            .then(pl.lit([""]))
            .otherwise(words)
            .alias("word")
        )
        frame = whole.explode("word", empty_as_null=False, keep_nulls=False)
        return Decoded(frame, {int(starts[row]): why for row, why in bad.items()}, records=records)

    def pack(self, frame: pl.DataFrame) -> list[tuple[int, bytes]]:
        """Words to one line."""
        if not frame.height:
            return []
        return [(frame.height, " ".join(frame["word"].to_list()).encode())]

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """Each word as a line."""
        return [word.encode() for word in frame["word"].to_list()]

    def describe(self) -> str:
        """``words``."""
        return "words"
