"""Every format, every type that it claims: what is written is read back as the same value."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor import Arrow, Bytes, Csv, Json, Text
from processor.formats.base import WriteError
from processor.formats.extras import map_of
from processor.formats.inner_maps import lists_in
from tests.property.every_type import KINDS, cells, frames, inside, series, texts
from tests.property.profile import QUICK

flat = st.sampled_from(list(KINDS))


@QUICK
@given(frames(flat | inside(KINDS)), st.booleans())
def test_json_reads_back_every_type(frame: pl.DataFrame, spread: bool) -> None:
    form = Json(dict(frame.schema), optional=frozenset(frame.columns))
    values = form.encode(frame)
    if spread:  # the slow way
        values = [value.replace(b"{", b"{\n", 1) for value in values]
    decoded = form.decode(values)
    assert decoded.bad == {}, values
    assert decoded.frame.equals(frame), values


@QUICK
@given(frames(flat, nulls=False), st.sampled_from([",", ";", "\t", "|", " ", "\x01", "'"]),
       st.sampled_from(['"', "^", None]))  # fmt: skip
def test_csv_reads_back_every_type_or_refuses_the_row(
    frame: pl.DataFrame, separator: str, quote: str | None
) -> None:
    form = Csv(dict(frame.schema), separator=separator, quote=quote)
    try:
        values = form.encode(frame)
    except WriteError:
        assert quote is None
        return
    decoded = form.decode(values)
    assert decoded.bad == {}, values
    assert decoded.frame.equals(frame), values


@QUICK
@given(
    frames(flat | inside(KINDS)),
    st.sampled_from(["uncompressed", "lz4", "zstd"]),
    st.integers(1, 4),
)
def test_arrow_reads_back_every_type(frame: pl.DataFrame, compression: Any, rows_max: int) -> None:
    form = Arrow(
        dict(frame.schema),
        optional=frozenset(frame.columns),
        compression=compression,
        rows_max=rows_max,
    )
    packed = form.pack(frame)
    assert [count for count, _ in packed[:-1]] == [rows_max] * (len(packed) - 1)
    decoded = form.decode([value for _, value in packed])
    assert decoded.bad == {}
    assert decoded.frame.equals(frame)


tokens = st.lists(st.sampled_from(["", "NA", "-1", "null", "a", "true"]), min_size=1, max_size=3)


@QUICK
@given(frames(flat), tokens)
def test_csv_reads_back_nulls_or_refuses_the_row(frame: pl.DataFrame, nulls: list[str]) -> None:
    form = Csv(dict(frame.schema), optional=frozenset(frame.columns), nulls=nulls)
    try:
        values = form.encode(frame)
    except WriteError as error:
        told = error
    else:
        decoded = form.decode(values)
        assert decoded.bad == {}, values
        assert decoded.frame.equals(frame), values
        return
    named = [name for name, kind in frame.schema.items() if kind not in (pl.Binary, pl.Duration)]
    plain = frame.select(pl.col(named).cast(pl.String), pl.col(pl.Binary).bin.encode("base64"))
    found = {str(cell).lower() for row in plain.rows() for cell in row if cell is not None}
    assert found & {word.lower() for word in nulls}, told


epochs = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


@QUICK
@given(
    st.data(),
    st.sampled_from([k for k in KINDS if k in (pl.Datetime, pl.Duration)]),
    st.sampled_from(list(epochs)),
    st.sampled_from(["json", "csv"]),
)
def test_times_and_durations_are_read_back_as_numbers_or_refused(
    data: st.DataObject, kind: pl.DataType, unit: Any, form: str
) -> None:
    own = epochs[kind.time_unit]  # type: ignore[attr-defined]
    whole = max(epochs[unit] // own, 1)
    cell = KINDS[kind] | st.integers(-(2**50) // whole, 2**50 // whole).map(lambda n: n * whole)
    frame = pl.DataFrame([series("t", data.draw(st.lists(cell, min_size=1, max_size=4)), kind)])
    option = {"epoch" if kind == pl.Datetime else "durations": {"t": unit}}
    made = (Json if form == "json" else Csv)({"t": kind}, **option)
    try:
        values = made.encode(frame)
    except WriteError:
        return
    decoded = made.decode(values)
    assert decoded.bad == {}, values
    assert decoded.frame.equals(frame), values


@QUICK
@given(st.lists(st.none() | st.binary(max_size=5), min_size=1, max_size=5), st.booleans(),
       st.booleans())  # fmt: skip
def test_bytes_are_read_back_or_refused(
    drawn: list[bytes | None], empty: bool, tombstones: bool
) -> None:
    form = Bytes("b", empty=empty, tombstones=tombstones)
    frame = pl.DataFrame({"b": drawn}, schema={"b": pl.Binary})
    refused = (b"" in drawn and not empty) or (None in drawn and not tombstones)
    decoded = form.decode(drawn)
    assert bool(decoded.bad) == refused
    assert decoded.frame.equals(frame)
    if refused:
        with pytest.raises(WriteError, match="column 'b' is "):
            form.encode(frame)
    else:
        assert form.encode(frame) == drawn


@QUICK
@given(st.lists(st.none() | texts.filter(bool), min_size=1, max_size=5))
def test_text_is_read_back_with_its_tombstones(drawn: list[str | None]) -> None:
    form = Text(tombstones=True)
    frame = pl.DataFrame({"value": drawn}, schema={"value": pl.String})
    decoded = form.decode(form.encode(frame))
    assert decoded.bad == {}
    assert decoded.frame.equals(frame)


more = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda some: st.lists(some, max_size=3) | st.dictionaries(texts, some, max_size=3),
    max_leaves=8,
)
documents = st.fixed_dictionaries(
    {"m": st.dictionaries(texts, more, max_size=4)},
    optional={"a": st.none() | st.integers(-9, 9), "n": more, "é": more, "x y": more, "\n": more},
)
MAP = pl.List(pl.Struct({"key": pl.String, "value": pl.String}))
WHOLE = Json(
    {"a": pl.Int64, "m": MAP, "no_a": pl.Boolean, "other": pl.String},
    optional=frozenset({"a"}), maps=frozenset({"m"}), missing={"a": "no_a"}, rest="other",
)  # fmt: skip


def as_map(document: dict[str, Any], compact: bool) -> list[dict[str, Any]]:
    """The entries of ``m``, with the JSON of what is no text."""
    separators = (",", ":") if compact else None

    def value(cell: Any) -> str | None:
        return cell if isinstance(cell, str | None) else json.dumps(cell, separators=separators)

    return [{"key": key, "value": value(cell)} for key, cell in document["m"].items()]


@QUICK
@given(st.lists(documents, min_size=1, max_size=4), st.booleans(), st.sampled_from([None, 1]))
def test_json_passes_a_record_through_with_all_its_members(
    drawn: list[dict[str, Any]], compact: bool, indent: int | None
) -> None:
    separators = (",", ":") if compact and indent is None else None
    values = [json.dumps(d, separators=separators, indent=indent).encode() for d in drawn]
    decoded = WHOLE.decode(values)
    assert decoded.bad == {}
    rows = decoded.frame.to_dicts()
    for row, document in zip(rows, drawn, strict=True):
        known = {"a", "m"}
        assert row["a"] == document.get("a")
        assert row["no_a"] == ("a" not in document)
        others = {name: value for name, value in document.items() if name not in known}
        assert json.loads(row["other"]) == others
        assert list(json.loads(row["other"])) == list(others)
        if indent is None:
            assert row["m"] == as_map(document, compact)
    again = WHOLE.decode(WHOLE.encode(decoded.frame))
    assert again.bad == {}
    assert again.frame.equals(decoded.frame)


@QUICK
@given(st.data(), flat | inside(KINDS))
def test_maps_are_read_back_with_values_of_every_type(data: st.DataObject, kind: Any) -> None:
    entries = st.dictionaries(texts, st.none() | cells(kind, KINDS), max_size=3).map(
        lambda found: [{"key": key, "value": value} for key, value in found.items()]
    )
    drawn = data.draw(st.lists(st.none() | entries, min_size=1, max_size=4))
    whole = pl.List(pl.Struct({"key": pl.String, "value": kind}))
    frame = pl.DataFrame([series("m", drawn, whole)])
    form = Json({"m": whole}, optional=frozenset({"m"}), maps=frozenset({"m"}))
    values = form.encode(frame)
    decoded = form.decode(values)
    assert decoded.bad == {}, values
    assert decoded.frame.equals(frame), values


@QUICK
@given(frames(inside(KINDS)), st.data())
def test_maps_inside_of_other_columns_are_read_back(
    frame: pl.DataFrame, data: st.DataObject
) -> None:
    places = {
        place
        for name, kind in frame.schema.items()
        for place, part in ({name: kind} | lists_in(kind, name)).items()
        if map_of(part) is not None
    }
    maps = frozenset(data.draw(st.sets(st.sampled_from(sorted(places))))) if places else frozenset()
    form = Json(dict(frame.schema), optional=frozenset(frame.columns), maps=maps)
    values = form.encode(frame)
    decoded = form.decode(values)
    assert decoded.bad == {}, values
    assert decoded.frame.equals(frame), values
