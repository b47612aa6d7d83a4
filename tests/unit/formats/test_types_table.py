"""The guide's table of formats and types is what the code takes and refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from processor import Bytes, Csv, Json, Text, TopologyError
from tests.property.every_type import KINDS

GUIDE = (Path(__file__).parents[3] / "docs" / "guide.md").read_text()
NO = "\N{EN DASH}"


WRITTEN: dict[str, Any] = {
    **{kind.__name__: kind for kind in (
        pl.String, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64,
        pl.Float32, pl.Float64, pl.Boolean, pl.Binary, pl.Date, pl.Time, pl.Int128, pl.Categorical,
        pl.Null,
    )},
    **{f'{kind.__name__}("{unit}")': kind(unit)
       for kind in (pl.Datetime, pl.Duration) for unit in ("ms", "us", "ns")},
    'Datetime("us", "Europe/Berlin")': pl.Datetime("us", "Europe/Berlin"),
    "Decimal(10, 2)": pl.Decimal(10, 2),
    'Enum(["a", "b"])': pl.Enum(["a", "b"]),
    'Struct({"a": Int64})': pl.Struct({"a": pl.Int64}),
    "List(Int64)": pl.List(pl.Int64),
    'List(Struct({"key": String, "value": Int64}))': pl.List(
        pl.Struct({"key": pl.String, "value": pl.Int64})
    ),
    "Array(Int64, 2)": pl.Array(pl.Int64, 2),
}  # fmt: skip


def table() -> list[tuple[list[Any], dict[str, str]]]:
    head, rows = re.search(
        r"^\| type \| (.+) \|\n\|[-|]+\|\n((?:\|.+\|\n)+)", GUIDE, re.MULTILINE
    ).groups()  # type: ignore[union-attr]
    formats = [name.strip("` ") for name in head.split("|")]
    found = []
    for row in rows.splitlines():
        kinds, *words = [cell.strip() for cell in row.strip("|").split("|")]
        of = [WRITTEN[code] for code in re.findall(r"`([^`]+)`", kinds)]
        found.append((of, dict(zip(formats, words, strict=True))))
    return found


ROWS = [pytest.param(kind, words, id=str(kind)) for kinds, words in table() for kind in kinds]


@pytest.mark.parametrize(("kind", "words"), ROWS)
def test_a_format_reads_the_types_that_the_table_says_and_refuses_the_others(kind, words):
    for name, form in {"Json": Json, "Csv": Csv}.items():
        if words[name] == NO:
            with pytest.raises(TopologyError, match="'x' cannot be read as"):
                form({"x": kind})
        else:
            form({"x": kind})
    for name, form in {"Text": Text(), "Bytes": Bytes()}.items():
        assert (kind in form.columns.values()) == (words[name] != NO)


def test_the_table_has_every_type_that_is_tried():
    there = [kind() if isinstance(kind, type) else kind for kinds, _ in table() for kind in kinds]
    assert [
        kind for kind in KINDS if not any(kind.base_type() == k.base_type() for k in there)
    ] == []


@pytest.mark.parametrize("option", ["epoch", "durations"])
@pytest.mark.parametrize("form", [Json, Csv])
def test_where_the_table_says_a_number_there_is_one(form, option):
    kinds = {"epoch": pl.Datetime, "durations": pl.Duration}
    rows = [words for found, words in table() if found[0] == kinds[option]]
    assert [option in words["Json"] for words in rows] == [True]
    made_ = form({"x": kinds[option]("us")}, **{option: {"x": "ms"}})
    decoded = made_.decode([b'{"x":1500000000000}' if form is Json else b"1500000000000"])
    assert decoded.bad == {}
    assert decoded.frame["x"].dtype == kinds[option]("us")
