"""Rows to JSON objects by joining columns of text, where no cell needs more than that.

Numbers, booleans, times and text without quotes, backslashes and control characters are written as
Polars' own NDJSON writer writes them, in less than half its time and without its threads
(docs/decisions/0006-json-by-joining-columns.md). For anything else there is that writer.
"""

from __future__ import annotations

import re
from typing import Final

import polars as pl

from processor.formats.base import finite
from processor.formats.forms import form
from processor.formats.times import ISO, TIMESTAMP, time_texts

_TO_ESCAPE: Final = r'["\\\x00-\x1f]'
_QUOTED: Final = re.compile(_TO_ESCAPE)


def join_rows(frame: pl.DataFrame, time_form: str = ISO) -> list[bytes] | None:
    """One JSON object a row, members in the order of the columns; ``None`` where a cell is special.

    Timestamps are written as text of ``time_form``.

    >>> join_rows(pl.DataFrame({"k": ["a"], "n": [1.5]}))
    [b'{"k":"a","n":1.5}']
    """
    members: list[str] = []
    cells: list[pl.Series] = []
    for column in frame.get_columns():
        found = _cells(column, time_form)
        if found is None or not column.name.isidentifier():
            return None
        quote = '"' * (found[0].dtype == pl.String)
        members.append(f'"{column.name}":{quote}{"{}" * len(found)}{quote}')
        cells += found
    rows = pl.format(f"{{{{{','.join(members)}}}}}", *map(pl.lit, cells))
    return pl.select(rows.cast(pl.Binary)).to_series().to_list()


def _cells(column: pl.Series, time_form: str) -> list[pl.Series] | None:
    """The columns that a cell's text is joined of; ``None`` where one needs the other writer."""
    kind = column.dtype
    if column.null_count():
        return None
    if kind == pl.String:
        return None if column.str.contains(_TO_ESCAPE).any() else [column]
    if kind == TIMESTAMP:
        return None if _QUOTED.search(form(time_form).writes) else time_texts(column, time_form)
    if kind.is_float():
        return [column] if finite(column) else None
    return [column] if kind.is_integer() or kind == pl.Boolean else None
