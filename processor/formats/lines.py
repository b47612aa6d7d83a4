"""Rows to JSON objects by joining columns of text, where no cell needs more than that.

Numbers, booleans and text without quotes, backslashes and control characters are written as Polars'
own NDJSON writer writes them, in less than half its time and without its threads
(docs/decisions/0006-json-by-joining-columns.md). For anything else there is that writer.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import polars as pl

_TO_ESCAPE: Final = r'["\\\x00-\x1f]'


def join_rows(frame: pl.DataFrame, plain: Collection[str] = ()) -> list[bytes] | None:
    """One JSON object a row, members in the order of the columns; ``None`` where a cell is special.

    The columns of text in ``plain`` are known to have nothing special in them.

    >>> join_rows(pl.DataFrame({"k": ["a"], "n": [1.5]}))
    [b'{"k":"a","n":1.5}']
    """
    parts: list[pl.Expr] = []
    text = "{"
    for name, column in zip(frame.columns, frame.get_columns(), strict=True):
        if column.null_count() or not name.isidentifier():
            return None
        kind = column.dtype
        quoted = kind == pl.String
        if quoted:
            if name not in plain and column.str.contains(_TO_ESCAPE).any():
                return None
        elif kind.is_float():
            if not column.is_finite().all():
                return None
        elif not (kind.is_integer() or kind == pl.Boolean):
            return None
        parts += [
            pl.lit(f'{text}"{name}":' + '"' * quoted),
            pl.col(name) if quoted else pl.col(name).cast(pl.String),
        ]
        text = '"' * quoted + ","
    parts.append(pl.lit(text[:-1] + "}"))
    joined = frame.select(pl.concat_str(parts).cast(pl.Binary).alias("row"))
    return joined["row"].to_list()
