"""The bytes that a topic's keys have, by the columns that it is keyed by."""

from __future__ import annotations

import polars as pl

from processor.plan.nodes import Source


class KeyBytes:
    """Makes keys of columns as their writers do, as far as that is known.

    A key of a format is what the format writes of its columns; else it is the text of one column.

    >>> from processor import Json, Text, Topology
    >>> form = Json({"user": pl.Int64})
    >>> rows = Topology("t").read.kafka("in", format=Text(), key_format=form, partitioned_by="user")
    >>> keys = KeyBytes(rows._node)
    >>> keys.name, keys.of(pl.DataFrame({"user": [7, None], "more": [1, 2]}))
    ('user', [b'{"user":7}', None])
    """

    def __init__(self, source: Source) -> None:
        form = source.key_format if source.keyed_by_format() else None
        self._form, self._prefix = form, source.key_prefix
        self._columns = tuple(source.of_key()) if form is not None else source.partitioned_by[:1]
        self.known = form is not None or len(source.partitioned_by) == 1
        self.name = ", ".join(self._columns)

    def of(self, frame: pl.DataFrame) -> list[bytes | None]:
        """The key of each row; ``None`` where all of its columns are null."""
        if self._form is None:
            return frame[self._columns[0]].cast(pl.String).cast(pl.Binary).to_list()
        rows = frame.select(
            pl.col(name).alias(name.removeprefix(self._prefix)) for name in self._columns
        )
        none = rows.select(pl.all_horizontal(pl.all().is_null())).to_series()
        keys: list[bytes | None] = [*self._form.encode(rows)]
        for row in none.arg_true():
            keys[row] = None
        return keys
