"""What a format writes it reads back: every type, every format; and text as it stands."""

from __future__ import annotations

import json
from decimal import Decimal

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from processor import Csv, Json, Text
from tests.property.profile import QUICK

whole = {
    pl.Int8: (-(2**7), 2**7 - 1), pl.Int16: (-(2**15), 2**15 - 1), pl.Int32: (-(2**31), 2**31 - 1),
    pl.Int64: (-(2**63), 2**63 - 1), pl.UInt8: (0, 2**8 - 1), pl.UInt16: (0, 2**16 - 1),
    pl.UInt32: (0, 2**32 - 1), pl.UInt64: (0, 2**64 - 1),
}  # fmt: skip
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
texts |= st.sampled_from(
    ["1.10", "-0", "1E5", "true", "null", '"', "a,b", "\ufeffx", "[1, 2.0]", " "]
)
cells = {
    **{kind: st.one_of(st.sampled_from(ends), st.integers(*ends)) for kind, ends in whole.items()},
    pl.Float64: st.floats(allow_nan=False, allow_infinity=False),
    pl.Float32: st.floats(width=32, allow_nan=False, allow_infinity=False),
    pl.Boolean: st.booleans(),
    pl.String: texts.filter(bool),
    pl.Datetime: st.datetimes(),
    pl.Date: st.dates(),
    pl.Time: st.times(),
    pl.Decimal(12, 3): st.decimals(-(10**9) + 1, 10**9 - 1, places=3),
    pl.Decimal(38, 0): st.integers(-(10**38) + 1, 10**38 - 1).map(Decimal),
    pl.Enum(["a", "b,c", "1.10"]): st.sampled_from(["a", "b,c", "1.10"]),
}
names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=4
)


@st.composite
def frames(draw: st.DrawFn, *, nulls: bool) -> pl.DataFrame:
    kinds = draw(st.lists(st.sampled_from(list(cells)), min_size=1, max_size=5))
    called = draw(st.lists(names, min_size=len(kinds), max_size=len(kinds), unique=True))
    height = draw(st.integers(1, 5))
    columns = []
    for name, kind in zip(called, kinds, strict=True):
        cell = cells[kind] | st.none() if nulls else cells[kind]
        drawn = draw(st.lists(cell, min_size=height, max_size=height))
        columns.append(pl.Series(name, drawn, dtype=kind))
    return pl.DataFrame(columns)


@QUICK
@given(frames(nulls=False), st.sampled_from([",", ";", "\t", "|", ":", " ", "/"]))
def test_csv_reads_back_every_type(frame: pl.DataFrame, separator: str) -> None:
    form = Csv(dict(frame.schema), separator=separator)
    values = form.encode(frame)
    decoded = form.decode(values)
    assert decoded.bad == {}, values
    assert decoded.frame.equals(frame), values


@QUICK
@given(frames(nulls=True))
def test_json_reads_back_every_type_and_null(frame: pl.DataFrame) -> None:
    form = Json(dict(frame.schema), optional=frozenset(frame.columns))
    values = form.encode(frame)
    decoded = form.decode(values)
    assert decoded.bad == {}, values
    assert decoded.frame.equals(frame), values
    assert values == [value for i in range(frame.height) for value in form.encode(frame[i])]
    for value in values:
        assert list(json.loads(value)) == frame.columns


@QUICK
@given(st.lists(texts.filter(bool) | st.just("\0"), min_size=1, max_size=5))
def test_text_reads_back_every_text(drawn: list[str]) -> None:
    frame = pl.DataFrame({"value": drawn})
    assert Text().decode(Text().encode(frame)).frame.equals(frame)


numbers = st.one_of(
    st.integers(), st.floats(allow_nan=False, allow_infinity=False),
    st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
).map(str)  # fmt: skip
inner = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda some: st.lists(some, max_size=3) | st.dictionaries(texts, some, max_size=3),
    max_leaves=6,
)
members = st.one_of(numbers, inner.map(json.dumps), texts.map(json.dumps))
spaces = st.sampled_from(["", " ", "\t", "\n", " \r\n "])


@QUICK
@given(st.lists(st.tuples(members, spaces, names), min_size=1, max_size=6), names, st.booleans())
def test_a_column_of_text_has_what_stands_in_the_record(
    drawn: list[tuple[str, str, str]], name: str, bad: bool
) -> None:
    form = Json({name: pl.String, "#": pl.Int64}, optional=frozenset({name}))
    if name == "#":
        return
    values, want = [], []
    for row, (member, space, other) in enumerate(drawn):
        more = "" if other in (name, "#") else f"{json.dumps(other)}{space}:{member},"
        values.append(
            f'{space}{{{more}{json.dumps(name)}{space}:{space}{member}{space},"#":{row}}}'.encode()
        )
        cell = json.loads(member)
        want.append(cell if isinstance(cell, str) else None if member == "null" else member)
    decoded = form.decode(values + [b"junk"] * bad)
    assert decoded.bad.keys() <= {len(drawn)}, decoded.bad
    assert decoded.frame[name].to_list()[: len(drawn)] == want
    assert decoded.frame["#"].to_list()[: len(drawn)] == list(range(len(drawn)))
