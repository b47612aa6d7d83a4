"""Every type that a format reads and writes, with cells that fit it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import strategies as st

from processor.formats.extras import map_of
from processor.formats.nested import made, mapped

DAY_NS = 86_400 * 10**9
WHOLE = {
    pl.Int8(): (-(2**7), 2**7 - 1), pl.Int16(): (-(2**15), 2**15 - 1),
    pl.Int32(): (-(2**31), 2**31 - 1), pl.Int64(): (-(2**63), 2**63 - 1), pl.UInt8(): (0, 2**8 - 1),
    pl.UInt16(): (0, 2**16 - 1), pl.UInt32(): (0, 2**32 - 1), pl.UInt64(): (0, 2**64 - 1),
}  # fmt: skip
# Microseconds of the years 1 to 9999, less two days for what clocks elsewhere show.
YEARS = -62_135_596_800_000_000 + 2 * DAY_NS // 1_000, 253_402_300_799_999_999 - 2 * DAY_NS // 1_000
NUMBERS: dict[pl.DataType, tuple[int, int]] = {
    pl.Datetime("ms"): (YEARS[0] // 1_000, YEARS[1] // 1_000),
    pl.Datetime("us"): YEARS,
    pl.Datetime("ns"): (-(2**63), 2**63 - 1),
    pl.Datetime("ms", "Europe/Berlin"): (YEARS[0] // 1_000, YEARS[1] // 1_000),
    pl.Datetime("us", "Europe/Berlin"): YEARS,
    pl.Datetime("ns", "America/New_York"): (-(2**63) + DAY_NS + 1, 2**63 - 1 - DAY_NS),
    pl.Datetime("ns", "UTC"): (-(2**63) + DAY_NS + 1, 2**63 - 1 - DAY_NS),
    pl.Date(): (-719_162, 2_932_896),
    pl.Time(): (0, DAY_NS - 1),
    **{pl.Duration(unit): (-(2**63) + 1, 2**63 - 1) for unit in ("ms", "us", "ns")},  # type: ignore[arg-type]
}
"""The types whose cells are numbers to the column engine, with the least and the largest."""

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
texts |= st.sampled_from(
    ["1.10", "-0", "1E5", "true", "null", '"', "a,b", "\ufeffx", "[1, 2.0]", " ", "{}", '{"a":1}']
)
words = ["a", "b,c", "1.10"]
KINDS: dict[pl.DataType, st.SearchStrategy[Any]] = {
    **{kind: st.sampled_from(ends) | st.integers(*ends) for kind, ends in WHOLE.items()},
    **{
        kind: st.sampled_from((*ends, 0, -1 if ends[0] < 0 else 1)) | st.integers(*ends)
        for kind, ends in NUMBERS.items()
    },
    pl.Float64(): st.floats(allow_nan=False, allow_infinity=False),
    pl.Float32(): st.floats(width=32, allow_nan=False, allow_infinity=False),
    pl.Boolean(): st.booleans(),
    pl.String(): texts.filter(bool),
    pl.Binary(): st.binary(min_size=1, max_size=5)
    | st.sampled_from([b"\xd7m\xf8", b"\xb6\xbb\x9e"]),
    pl.Decimal(12, 3): st.decimals(-(10**9) + 1, 10**9 - 1, places=3),
    pl.Decimal(38, 0): st.integers(-(10**38) + 1, 10**38 - 1).map(Decimal),
    pl.Enum(words): st.sampled_from(words),
}
NO_TYPES = [pl.Int128(), pl.Categorical(), pl.Null(), pl.Array(pl.Int64, 2), pl.Object()]


def inside(leaves: dict[pl.DataType, st.SearchStrategy[Any]]) -> st.SearchStrategy[pl.DataType]:
    """Types of objects and lists of these."""
    kinds = st.recursive(
        st.sampled_from(list(leaves)),
        lambda inner: (
            st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3).map(pl.Struct)
            | inner.map(pl.List)
            | inner.map(lambda of: pl.List(pl.Struct({"key": pl.String, "value": of})))
        ),
        max_leaves=4,
    )
    return kinds.filter(lambda kind: isinstance(kind, pl.Struct | pl.List))


def cells(kind: Any, leaves: dict[pl.DataType, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Cells of a type, with nulls inside of it."""
    kind = made(kind)
    value = map_of(kind)
    if value is not None:
        entries = st.dictionaries(texts, st.none() | cells(value, leaves), max_size=3)
        return entries.map(lambda found: [{"key": k, "value": v} for k, v in found.items()])
    if isinstance(kind, pl.Struct):
        return st.fixed_dictionaries(
            {field.name: st.none() | cells(field.dtype, leaves) for field in kind.fields}
        )
    if isinstance(kind, pl.List):
        return st.lists(st.none() | cells(kind.inner, leaves), max_size=3)
    return leaves[kind]


def series(name: str, drawn: list[Any], kind: pl.DataType) -> pl.Series:
    """A column of cells: of nanoseconds Python has no times."""
    plain = mapped(
        kind, "", lambda leaf, _: pl.Int64() if leaf in NUMBERS and leaf != pl.Date else leaf
    )
    plain = mapped(plain, "", lambda leaf, _: pl.Int32() if leaf == pl.Date else leaf)
    return pl.Series(name, drawn, dtype=plain).cast(kind)


names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=4
)


@st.composite
def frames(
    draw: st.DrawFn, kinds: st.SearchStrategy[pl.DataType], *, nulls: bool = True
) -> pl.DataFrame:
    """Some columns of these types."""
    drawn = draw(st.lists(kinds, min_size=1, max_size=4))
    called = draw(st.lists(names, min_size=len(drawn), max_size=len(drawn), unique=True))
    height = draw(st.integers(1, 4))
    columns = []
    for name, kind in zip(called, drawn, strict=True):
        cell = cells(kind, KINDS)
        cell = st.none() | cell if nulls else cell
        rows = draw(st.lists(cell, min_size=height, max_size=height))
        columns.append(series(name, rows, kind))
    return pl.DataFrame(columns)
