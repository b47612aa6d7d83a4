"""What is written as events is read back as the same rows, here and by a reader of another kind."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor import CloudEvents, Csv, Json, Text
from processor.formats.base import Format
from tests.property.profile import QUICK

TYPES = {"id": pl.String, "source": pl.String, "subject": pl.String, "time": pl.Datetime("us")}
MORE = {"n": pl.Int64, "s": pl.String, "at": pl.Datetime("us"), "l": pl.List(pl.Float64)}
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1,
                max_size=5)  # fmt: skip
cells = {
    "id": texts, "source": texts, "subject": st.none() | texts, "time": st.none() | st.datetimes(),
    "n": st.integers(-(2**63), 2**63 - 1), "s": texts, "value": texts, "at": st.datetimes(),
    "l": st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=2),
}  # fmt: skip


def events(data: Format, mode: str) -> CloudEvents:
    names = {name: name for name in TYPES}
    return CloudEvents(data, mode=mode, attributes=names, constants={"type": "t"})


@pytest.mark.parametrize("mode", ["structured", "binary"])
@pytest.mark.parametrize(
    "data", [Json(MORE), Csv({"n": pl.Int64, "s": pl.String}), Text()], ids=["json", "csv", "text"]
)
@QUICK
@given(st.data())
def test_events_are_read_back_as_they_were_written(mode: str, data: Format, given: Any) -> None:
    form = events(data, mode)
    columns = {**TYPES, **(data.columns or {})}
    row = st.fixed_dictionaries({name: cells[name] for name in columns})
    rows = given.draw(st.lists(row, max_size=5))
    frame = pl.DataFrame(rows, schema=columns)
    values, headers = form.encode(frame), form.write_headers(frame)
    decoded = form.decode_with(values, headers) if mode == "binary" else form.decode(values)
    assert decoded.bad == {}
    assert decoded.frame.to_dicts() == rows
    for value, beside, wanted in zip(values, headers, rows, strict=True):
        found = json.loads(value) if mode == "structured" else {
            name.removeprefix("ce_"): cell.decode() for name, cell in beside
        }  # fmt: skip
        assert (found["specversion"], found["type"]) == ("1.0", "t")
        for name in ("id", "source", "subject"):
            assert found.get(name) == wanted[name]
        if wanted["time"] is None:
            assert found.get("time") is None
        else:
            time = datetime.fromisoformat(found["time"])
            assert (time.replace(tzinfo=None), time.utcoffset().seconds) == (wanted["time"], 0)


@QUICK
@given(st.lists(st.binary(max_size=60) | st.none() | st.sampled_from(
    [b'{"specversion":"1.0","id":"a","source":"s","type":"t","data":{"n":1}}'])))  # fmt: skip
def test_whatever_the_bytes_each_row_is_as_it_would_be_alone(values: list[bytes | None]) -> None:
    form = CloudEvents(Json({"n": pl.Int64}))
    decoded = form.decode(values)
    assert decoded.frame.height == len(values)
    for row, value in enumerate(values):
        alone = form.decode([value])
        assert alone.bad.get(0) == decoded.bad.get(row)
        if not alone.bad:
            assert alone.frame.row(0) == decoded.frame.row(row)
