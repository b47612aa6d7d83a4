"""What a sample of records is taken for."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from processor import Csv, Json, Text
from processor.formats.inferred import MEMBERS, infer
from processor.formats.spelling import quoted, spelt


def of(*cells: Any) -> tuple[Any, str, dict[str, str]]:
    """Type, note and unit of a member that has these values."""
    found = infer([json.dumps({"id": "a", "c": cell}).encode() for cell in cells])
    assert isinstance(found.form, Json)
    return found.form.columns["c"], found.notes.get("c", ""), dict(found.form.epoch)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([1, -5], pl.Int64),
        ([2**63 - 1, -(2**63)], pl.Int64),
        ([2**64 - 1, 0], pl.UInt64),
        ([1, 2.5], pl.Float64),
        ([1e300], pl.Float64),
        ([True, False], pl.Boolean),
        (["a", "1"], pl.String),
        (["1", "2"], pl.String),
        (["2026-05-01T09:10:00", "2026-05-01 09:10:00.5+02:00"], pl.Datetime("us")),
        (["2026-05-01"], pl.Date),
        (["2026-13-01"], pl.String),
        (["2026-05-01", "2026-05-01T09:10:00"], pl.String),
        (["09:10", "09:10:11"], pl.Time),
        (["25:00"], pl.String),
        ([[1], [], None], pl.List(pl.Int64)),
        ([[1, None, 2.5]], pl.List(pl.Float64)),
        ([["2026-05-01"]], pl.List(pl.Date)),
        ([{"a": 1}, {"b": "x", "a": None}], pl.Struct({"a": pl.Int64, "b": pl.String})),
        ([[{"a": 1}], [{"a": 2}]], pl.List(pl.Struct({"a": pl.Int64}))),
    ],
)
def test_a_member_has_the_narrowest_type_that_takes_its_values(cells, kind):
    assert of(*cells)[0] == kind


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        ([None], "always null in the sample"),
        ([1, "a"], "of several types"),
        ([{"a": 1}, [1]], "of several types"),
        ([2**64], "too large for 64 bits"),
        ([2**53 + 1, 0.5], "no Float64 tells apart"),
        ([{}], "kept as its JSON"),
        ([{f"k{n}": n for n in range(MEMBERS + 1)}], "kept as its JSON"),
    ],
)
def test_what_no_type_takes_is_text_with_the_reason(cells, note):
    kind, told, _ = of(*cells)
    assert kind == pl.String
    assert note in told


def test_lists_that_are_always_empty_say_so_and_notes_of_inner_members_are_kept():
    assert of([], [])[:2] == (pl.List(pl.String), "always empty in the sample")
    kind, note, _ = of({"a": None, "b": 1})
    assert kind == pl.Struct({"a": pl.String, "b": pl.Int64})
    assert note == "a: always null in the sample"


@pytest.mark.parametrize(
    ("cells", "unit"),
    [
        ([1_406_851_380, 1_406_851_381.5], "s"),
        ([1_406_851_380_000], "ms"),
        ([1_406_851_380_000_000], "us"),
        ([1_406_851_380_000, 5], None),
        ([4_006_381_333_931], None),
        ([1_406_851_380_000.5], None),
        ([None], None),
    ],
)
def test_numbers_of_the_size_of_times_are_times_and_say_so(cells, unit):
    kind, note, epoch = of(*cells)
    assert epoch == ({} if unit is None else {"c": unit})
    assert (kind == pl.Datetime("us")) == (unit is not None) == ("by its size" in note)


def test_what_is_missing_or_null_in_any_record_is_optional():
    found = infer([b'{"a":1,"b":1,"c":1}', b'{"a":1,"b":null}'])
    assert found.form.optional == {"b", "c"}


def test_members_that_cannot_be_columns_are_left_out():
    found = infer([b'{"a":1,"":2,"__x":3,"n\\u0000":4}'])
    assert list(found.form.columns) == ["a"]


@pytest.mark.parametrize(
    ("lines", "separator", "kinds"),
    [
        (["1,a", "2,b"], ",", [pl.Int64, pl.String]),
        (["2014-08-01 00:00:00,40.7,007,true"], ",",
         [pl.Datetime("us"), pl.Float64, pl.String, pl.Boolean]),
        (["1;2,5", "2;3"], ";", [pl.Int64, pl.String]),
        (["1\t2", "3\t4.5"], "\t", [pl.Int64, pl.Float64]),
        (["2026-05-01|09:10"], "|", [pl.Date, pl.Time]),
        (['"a,b",1', "c,2"], ",", [pl.String, pl.Int64]),
        (["1406851380000,5"], ",", [pl.Datetime("us"), pl.Int64]),
        (["18446744073709551616,5"], ",", [pl.String, pl.Int64]),
    ],
)  # fmt: skip
def test_lines_of_as_many_fields_are_csv(lines, separator, kinds):
    found = infer([line.encode() for line in lines])
    assert isinstance(found.form, Csv)
    assert found.form.separator == separator
    assert list(found.form.columns.values()) == kinds


@pytest.mark.parametrize(
    ("lines", "columns"),
    [
        (["id,fare", "1,2.5", "2,3"], {"id": pl.Int64, "fare": pl.Float64}),
        (["ann;7", "name;n", "bob;8", "name;n"], {"name": pl.String, "n": pl.Int64}),
        (["at,who", "2026-05-01,ann"], {"at": pl.Date, "who": pl.String}),
    ],
)
def test_a_line_of_the_columns_names_is_no_record(lines, columns):
    form = infer([line.encode() for line in lines]).form
    assert (form.header, form.columns) == (True, columns)


@pytest.mark.parametrize(
    ("record", "maps"),
    [
        ('{"m":{"x":{"n%d":{"q":1}}}}', {"m.x"}),
        ('{"l":[{"z%d":1}]}', {"l[]"}),
        ('{"m":{"n%d":{"q":[{"r":1}]}}}', {"m"}),
    ],
)
def test_names_that_are_ever_new_are_found_at_any_depth(record, maps):
    found = infer([(record % number).encode() for number in range(30)])
    assert found.form.maps == maps
    value = (record % 99).encode()
    assert b"99" in found.form.encode(found.form.decode([value]).frame)[0]


@pytest.mark.parametrize(
    ("lines", "optional", "header"),
    [
        (["1,ann,2.5", "2,,3"], {"c2"}, False),
        (["3\t\t7", "4\t\t8"], {"c2"}, False),
        (["id,n", "1,5", ",6"], {"id"}, True),
        (["\ufeffid,n", "1,5"], set(), True),
        (["a,b", "c,"], {"c2"}, False),
    ],
)
def test_columns_with_an_empty_field_are_optional(lines, optional, header):
    values = [line.encode() for line in lines]
    form = infer(values).form
    assert (form.optional, form.header) == (optional, header)
    assert form.decode(values).bad == {}


@pytest.mark.parametrize(
    "lines",
    [
        ["ann,paris", "bob,rome"], ["ann,paris", "bob,9", "eve,rome"], ["id,id", "1,2"],
        ["id,fare"], ["1,2.5", "2,3"],
    ],
)  # fmt: skip
def test_lines_that_may_be_records_are_kept(lines):
    form = infer([line.encode() for line in lines]).form
    assert not form.header
    assert list(form.columns) == ["c1", "c2"]


def test_an_object_whose_names_are_ever_new_is_a_list_of_key_and_value():
    of_user = [b'{"clicks":{"user-%d":%d,"user-%d":1}}' % (n, n, n + 100) for n in range(30)]
    found = infer(of_user)
    entry = pl.Struct({"key": pl.String, "value": pl.Int64})
    assert found.form.columns == {"clicks": pl.List(entry)}
    assert found.form.maps == {"clicks"}
    assert "ever new" in found.notes["clicks"]
    assert found.form.decode(of_user[5:6]).frame.item().to_list() == [
        {"key": "user-5", "value": 5}, {"key": "user-105", "value": 1},
    ]  # fmt: skip
    of_kinds = [b'{"clicks":{"user-%d":%s}}' % (n, (b"1", b'"a"')[n % 2]) for n in range(30)]
    form = infer(of_kinds).form
    assert form.maps == {"clicks"}
    assert [row["clicks"][0]["value"] for row in form.decode(of_kinds[:2]).frame.to_dicts()] == [
        "1", "a",
    ]  # fmt: skip
    same = [b'{"clicks":{"ann":%d,"bob":1}}' % n for n in range(30)]
    assert isinstance(infer(same).form.columns["clicks"], pl.Struct)


@pytest.mark.parametrize(
    "values",
    [
        [b"hello"], [b"a,b", b"c"], [b",", b","], [b"[1]"], [b"1"], [b'{"a":1}', b"{"],
        [b'{"a":1}', b"1,2"], [b"{}"], [b'{"a":NaN}'], [b'{"a":"\\ud800"}'],
    ],
)  # fmt: skip
def test_all_else_is_text(values):
    assert isinstance(infer(values).form, Text)


def test_bytes_that_are_no_text_have_no_format():
    assert infer([b"\xff\xfe"]) is None


def test_deep_records_are_text_and_no_end_of_the_command():
    deep = b'{"a":' * 2_000 + b"1" + b"}" * 2_000
    assert isinstance(infer([deep]).form, Text)
    nested = b'{"a":' * 30 + b"1" + b"}" * 30
    assert infer([nested]).form.decode([nested]).bad == {}


def test_large_records_have_a_bound_that_takes_them():
    found = infer([b'{"a":"%s"}' % (b"x" * 1_100_000)])
    assert found.form.columns == {"a": pl.String}
    assert found.form.value_bytes_max > 2_000_000


@pytest.mark.parametrize(
    "kind",
    [pl.Int64, pl.String(), pl.Datetime("us"), pl.List(pl.Date),
     pl.Struct({"a": pl.List(pl.Struct({"it's": pl.Time})), 'q"': pl.Float64})],
)  # fmt: skip
def test_a_type_is_written_as_it_is_read(kind):
    made = eval(spelt(kind), {"pl": pl})  # noqa: S307 - our own text
    assert made == kind


@pytest.mark.parametrize("text", ["a", "it's", 'a"b', "a\"'b", "\n\0", "é", "\\", "{}", "\ud800"])
def test_a_text_is_written_as_it_is_read(text):
    assert eval(quoted(text)) == text  # noqa: S307 - our own text
