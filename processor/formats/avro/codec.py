"""The seam: records of one writer's schema to columns, and rows to records.

Nothing here knows of headers, ids or topics. Who has records of several writers' schemas in a batch
makes a `AvroReader` for each, decodes the rows of each by themselves, and puts them back in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from processor.formats.avro.batch import Batch, Bytes
from processor.formats.avro.kinds import columns_of
from processor.formats.avro.nodes import cut
from processor.formats.avro.resolve import resolve
from processor.formats.avro.schema import Type
from processor.formats.avro.single import RecordError, Single
from processor.formats.avro.write import AvroWriter
from processor.formats.base import VALUE_BYTES_MAX, Decoded, Values, size_errors

__all__ = ["AvroReader", "AvroWriter", "columns_of"]


class AvroReader:
    r"""Decodes records of one writer's schema to the columns of a reader's.

    Args:
        reader: the schema whose fields are the columns (`processor.formats.avro.schema.parse`).
        writer: the schema that the records are written in; the reader's, if left out.

    Raises `SchemaError` where the reader's schema cannot be made of the writer's.

    >>> from processor.formats.avro.schema import parse
    >>> ride = parse('{"type": "record", "name": "R", "fields": [{"name": "n", "type": "long"}]}')
    >>> AvroReader(ride).decode([b"\x02", b"\x80"]).bad
    {1: "column 'n': the record ends in it, after 1 bytes"}
    """

    def __init__(self, reader: Type, writer: Type | None = None) -> None:
        self._root, self._pieces = resolve(writer or reader, reader)
        self.columns: Mapping[str, pl.DataType] = columns_of(reader)

    def decode(self, values: Values, skip: int = 0, *, bytes_max: int = VALUE_BYTES_MAX) -> Decoded:
        """Records to columns, a row each; raises nothing for what is no record.

        Args:
            values: each record's bytes; ``None`` is bad.
            skip: how many bytes of each are before the record itself.
            bytes_max: a longer value is bad without being looked at.
        """
        if not values:
            return Decoded(pl.DataFrame(schema=dict(self.columns)))
        try:
            source = Bytes(values, skip)  # type: ignore[arg-type]
        except TypeError:
            return self._without_odd(values, skip, bytes_max)
        if source.longest > bytes_max:
            return self._without_odd(values, skip, bytes_max)
        batch = Batch(source)
        ends = self._root.scan(batch, np.arange(len(values)), source.starts)
        batch.doubt |= ends != source.ends
        cut(batch, self._pieces)
        frame = self._root.frame(batch)
        if not batch.doubt.any():
            return Decoded(frame)
        return self._again(frame, source, np.flatnonzero(batch.doubt).tolist())

    def _without_odd(self, values: Values, skip: int, bytes_max: int) -> Decoded:
        """As `decode`, where a value is absent or too large: these are told, and left out."""
        bad = {
            row: reason
            for row, reason in size_errors(values, bytes_max).items()
            if values[row] != b""
        }
        kept = [b"" if row in bad else value for row, value in enumerate(values)]
        decoded = self.decode(kept, skip, bytes_max=bytes_max)
        return Decoded(decoded.frame, {**decoded.bad, **bad})

    def _again(self, frame: pl.DataFrame, source: Bytes, rows: Sequence[int]) -> Decoded:
        """Read the rows in doubt one by one: what is no record is bad, the rest takes its place."""
        single = Single(source)
        bad: dict[int, str] = {}
        good: list[int] = []
        for row in rows:
            single.keep = False
            try:
                single.end(self._root.one(single, single.begin(row)))
            except RecordError as error:
                bad[row] = str(error)
                continue
            single.keep = True
            self._root.one(single, single.begin(row))
            good.append(row)
        if good:
            cut(single, self._pieces)
            found = self._root.frame(single)
            order = np.arange(frame.height)
            order[good] = np.arange(frame.height, frame.height + len(good))
            frame = pl.concat([frame, found]).select(pl.all().gather(order))
        return Decoded(frame, bad | single.bad)
