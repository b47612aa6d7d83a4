"""An expression tried on made-up rows: together, one by one, and in another order.

It is for what the column engine does not say of itself: results that chance has a part in, and
functions that it takes for row by row by mistake. A row that an expression cannot compute is left
out; where fewer than two are left, nothing is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import cycle, islice
from typing import Any, Final, TypeAlias

import polars as pl
from polars.testing import assert_frame_equal

_Texts: TypeAlias = tuple[str | None, ...]
_SELECTOR: Final = "cs."  # how the column engine shows what picks columns by pattern or type
_OF_TEXT: Final = re.compile("String|Categorical|Binary")
_ROWS: Final = 6
_LIST: Final = 20  # long enough that chance does not give one order twice
# Small numbers: an expression may make lists of so many, or text of that length.
_NUMBERS: Final = (2, 0, 1, 3, None, 1)
_TEXTS: Final = (
    ("b", "a", "", "a c", None, "b"),
    ("3", "1", "2", "10", None, "1"),
    ("1970-01-02T03:04:05", "1970-01-01T00:00:00", "1970-01-02T00:00:01", None),
    ("1970-01-02", "1970-01-01", "1970-02-03", None),
)


def differs(expression: pl.Expr, columns: Mapping[str, pl.DataType]) -> bool:
    """Whether rows have other results beside each other than alone, or with each try.

    >>> n = {"n": pl.Int64()}
    >>> differs(pl.col("n") - pl.col("n").mean(), n), differs(pl.col("n") * 2, n)
    (True, False)
    """
    roots = [name for name in expression.meta.root_names() if name in columns]
    if roots and _SELECTOR not in str(expression):
        columns = {name: columns[name] for name in roots}
    texts = _TEXTS if _OF_TEXT.search(str(columns.values())) else _TEXTS[:1]
    return any(_differs(expression, _made(columns, cells)) for cells in texts)


def _differs(expression: pl.Expr, frame: pl.DataFrame) -> bool:
    alone = [_tried(expression, frame[row]) for row in range(frame.height)]
    good = [row for row, result in enumerate(alone) if result is not None]
    if len(good) < 2:
        return False
    one_by_one = pl.concat([result for result in alone if result is not None])
    together = _tried(expression, frame[good])
    turned = _tried(expression, frame[good[::-1]])
    if together is None or turned is None:
        return True
    return not (
        _same(together, one_by_one) and _same(turned[list(range(len(good)))[::-1]], one_by_one)
    )


def _tried(expression: pl.Expr, rows: pl.DataFrame) -> pl.DataFrame | None:
    try:
        return rows.with_columns(expression)
    # Whatever it is, the row is left out.
    except (Exception, pl.exceptions.PanicException):  # noqa: BLE001
        return None


def _same(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    try:
        # Vectors of numbers and single ones may be rounded in different ways.
        assert_frame_equal(one, other, rel_tol=1e-9)
    except AssertionError:
        return False
    return True


def _made(columns: Mapping[str, pl.DataType], texts: _Texts) -> pl.DataFrame:
    cells = {name: _cells(kind, texts, _ROWS) for name, kind in columns.items()}
    return pl.DataFrame(cells, schema=dict(columns), strict=False)


def _cells(kind: Any, texts: _Texts, count: int) -> list[Any]:
    """So many values of a type; nulls of one that is not known here."""
    values: Iterable[Any] = (None,)
    if isinstance(kind, pl.List | pl.Array):
        size = kind.size if isinstance(kind, pl.Array) else _LIST
        inner = _cells(kind.inner, texts, size + count)
        values = [inner[row : row + size] for row in range(count)]
    elif isinstance(kind, pl.Struct):
        fields = {f.name: _cells(f.dtype, texts, count) for f in kind.fields}
        values = [dict(zip(fields, row, strict=True)) for row in zip(*fields.values(), strict=True)]
    elif isinstance(kind, pl.Enum):
        values = (*kind.categories, None)
    elif kind in (pl.String, pl.Categorical):
        values = texts
    elif kind == pl.Binary:
        values = [None if text is None else text.encode() for text in texts]
    elif kind == pl.Boolean:
        values = (True, False, None, False)
    elif kind.is_temporal():
        numbers = pl.Series(_NUMBERS, dtype=pl.Int32 if kind == pl.Date else pl.Int64)
        values = numbers.cast(kind).to_list()
    elif kind.is_numeric():
        values = _NUMBERS
    return list(islice(cycle(values), count))
