"""Nested JSON against a reader of one value at a time; and what is written is read back."""

from __future__ import annotations

import json
import math
from datetime import date, datetime
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from processor import Json
from tests.property.profile import QUICK
from tests.property.test_round_trip import cells

BAD = object()
WHOLE = {pl.Int64: (-(2**63), 2**63 - 1), pl.Int8: (-(2**7), 2**7 - 1), pl.UInt64: (0, 2**64 - 1)}
LEAVES = [*WHOLE, pl.Float64, pl.Boolean, pl.String, pl.Datetime, pl.Date]

kinds = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: (
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3).map(pl.Struct)
        | inner.map(pl.List)
    ),
    max_leaves=5,
)
deep = kinds.filter(lambda kind: isinstance(kind, pl.Struct | pl.List))
odd = st.sampled_from(
    [None, 5, -0.0, 1.5, 1e300, 2**63, 2**64, True, "x", "1.10", "é\n", [], [1, "x"], {}, {"a": 1},
     {"a": {"b": [None]}}, "2014-08-01", "2014-08-01T00:03:00.250"]
)  # fmt: skip
PARTS = {
    pl.Datetime: st.datetimes().map(datetime.isoformat),
    pl.Date: st.dates().map(date.isoformat),
    pl.Float64: cells[pl.Float64] | st.integers(-5, 5),
}


def documents(kind: Any) -> st.SearchStrategy[Any]:
    """JSON values that fit a type, mostly."""
    if isinstance(kind, pl.Struct):
        fits = st.fixed_dictionaries(
            {}, optional={f.name: documents(f.dtype) for f in kind.fields} | {"more": odd}
        )
    elif isinstance(kind, pl.List):
        fits = st.lists(documents(kind.inner), max_size=3)
    else:
        fits = (cells | PARTS)[kind.base_type()]
    return st.integers(0, 11).flatmap(lambda n: odd if n == 0 else st.none() if n == 1 else fits)


class Number(str):
    """A number as its JSON stands in the record."""

    __slots__ = ()


def read(cell: Any, kind: Any) -> Any:
    """What a column holds for a JSON value, or `BAD`."""
    if cell is None:
        return None
    if isinstance(kind, pl.Struct):
        if not isinstance(cell, dict):
            return BAD
        found = {f.name: read(cell.get(f.name), f.dtype) for f in kind.fields}
        return BAD if BAD in found.values() else found
    if isinstance(kind, pl.List):
        each = [read(e, kind.inner) for e in cell] if isinstance(cell, list) else [BAD]
        return BAD if BAD in each else each
    return read_leaf(cell, kind)


def as_it_stands(cell: Any) -> str:
    if isinstance(cell, Number):
        return cell
    if isinstance(cell, list):
        return f"[{', '.join(map(as_it_stands, cell))}]"
    if isinstance(cell, dict):
        members = (f"{json.dumps(name)}: {as_it_stands(part)}" for name, part in cell.items())
        return f"{{{', '.join(members)}}}"
    return json.dumps(cell)


def read_leaf(cell: Any, kind: Any) -> Any:
    if kind == pl.String:
        return cell if isinstance(cell, str) else as_it_stands(cell)
    if kind == pl.Boolean:
        return cell if isinstance(cell, bool) else BAD
    if isinstance(cell, Number):
        return read_number(cell, kind)
    return read_time(cell, kind) if isinstance(cell, str) else BAD


def read_number(cell: Number, kind: Any) -> Any:
    if kind == pl.Float64:
        return float(cell) if math.isfinite(float(cell)) else BAD
    low, high = WHOLE.get(kind, (1, 0))
    return int(cell) if cell.lstrip("-").isdigit() and low <= int(cell) <= high else BAD


def read_time(cell: str, kind: Any) -> Any:
    try:
        if kind == pl.Datetime:
            return datetime.fromisoformat(cell) if "T" in cell else BAD
        return date.fromisoformat(cell) if kind == pl.Date else BAD
    except ValueError:
        return BAD


def plain(cell: Any) -> Any:
    """Numbers in text columns are their text, and the rest compares by value and sign."""
    if isinstance(cell, dict):
        return {name: plain(inner) for name, inner in cell.items()}
    if isinstance(cell, list):
        return [plain(inner) for inner in cell]
    return str(cell) if isinstance(cell, str) else (type(cell), repr(cell))


@st.composite
def batches(draw: st.DrawFn) -> tuple[pl.DataType, list[bytes]]:
    kind = draw(deep)
    values = draw(st.lists(documents(kind), min_size=1, max_size=6))
    return kind, [
        json.dumps({"v": value}, ensure_ascii=draw(st.booleans())).encode() for value in values
    ]


@QUICK
@given(batches())
def test_nested_columns_are_what_a_reader_of_one_value_makes_of_them(
    batch: tuple[pl.DataType, list[bytes]],
) -> None:
    kind, values = batch
    decoded = Json({"v": kind}, optional=frozenset({"v"})).decode(values)
    for row, value in enumerate(values):
        text = json.loads(value, parse_int=Number, parse_float=Number)["v"]
        expected = read(text, kind)
        assert (row in decoded.bad) == (expected is BAD), (value, kind, decoded.bad)
        if expected is not BAD:
            found = decoded.frame["v"].slice(row, 1).to_list()[0]
            assert plain(found) == plain(expected), (value, kind)


@QUICK
@given(batches())
def test_nested_columns_are_read_back_as_they_were_written(
    batch: tuple[pl.DataType, list[bytes]],
) -> None:
    kind, values = batch
    form = Json({"v": kind}, optional=frozenset({"v"}))
    decoded = form.decode(values)
    frame = decoded.frame[[row for row in range(len(values)) if row not in decoded.bad]]
    again = form.decode(form.encode(frame))
    assert again.bad == {}
    assert again.frame.equals(frame)
