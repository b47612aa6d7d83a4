"""JSON by a JSON Schema: its columns, and what columns alone cannot judge."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time

import polars as pl
import pytest

from processor import JsonSchema, TopologyError
from processor.formats.base import WriteError

LINE = {
    "type": "object", "required": ["sku"],
    "properties": {"sku": {"type": "string"}, "n": {"type": "integer"}},
}  # fmt: skip
ORDER = {
    "type": "object", "title": "Order", "required": ["id", "by", "first"],
    "$defs": {"Line": LINE},
    "properties": {
        "id": {"type": "integer"},
        "by": {"type": ["string", "null"]},
        "note": {"type": "string"},
        "at": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
        "day": {"type": "string", "format": "date"},
        "clock": {"type": "string", "format": "time"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
        "first": {"allOf": [{"$ref": "#/$defs/Line"}]},
        "state": {"enum": ["NEW", "PAID"]},
        "price": {"type": ["integer", "number"]},
        "paid": {"type": "boolean"},
    },
}  # fmt: skip
KIND = pl.Struct({"sku": pl.String, "n": pl.Int64})
FULL = {
    "id": 1, "by": "ann", "note": "a", "at": "2014-08-01T00:00:00.5Z", "day": "2014-08-01",
    "clock": "10:00:00Z", "lines": [{"sku": "x"}, {"sku": "y", "n": 4}],
    "first": {"sku": "x", "n": -1}, "state": "PAID", "price": 1.5, "paid": True,
}  # fmt: skip
LEAST = {"id": 2, "by": None, "first": {"sku": ""}}


def record(changed=(), *, without=()):
    made = {**LEAST, **dict(changed)}
    return json.dumps({k: v for k, v in made.items() if k not in without}).encode()


def test_the_schema_names_the_columns():
    form = JsonSchema(ORDER)
    assert form.columns == {
        "id": pl.Int64, "by": pl.String, "note": pl.String, "at": pl.Datetime("us", "UTC"),
        "day": pl.Date, "clock": pl.Time, "lines": pl.List(KIND), "first": KIND,
        "state": pl.Enum(["NEW", "PAID"]), "price": pl.Float64, "paid": pl.Boolean,
    }  # fmt: skip
    assert form.optional == set(form.columns) - {"id", "first"}


def test_a_record_is_a_row():
    decoded = JsonSchema(ORDER).decode([json.dumps(FULL).encode(), record()])
    assert decoded.bad == {}
    assert decoded.frame.row(0, named=True) == FULL | {
        "at": datetime(2014, 8, 1, 0, 0, 0, 500_000, tzinfo=UTC), "day": date(2014, 8, 1),
        "clock": time(10), "lines": [{"sku": "x", "n": None}, {"sku": "y", "n": 4}],
    }  # fmt: skip
    assert decoded.frame.row(1)[:2] == (2, None)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (record(without=["by"]), "column 'by': missing"),
        (record({"note": None}), "column 'note': null"),
        (record({"note": 5}), "column 'note': 5 is no text"),
        (record({"note": {"a": 1}}), "column 'note': {'a': 1} is no text"),
        (record({"state": 5}), "column 'state'"),
        (record({"state": "LOST"}), "column 'state': 'LOST'"),
        (record({"id": "5"}), "column 'id': '5' is no Int64"),
        (record({"id": 2**63}), "column 'id'"),
        (record(without=["id"]), "column 'id': missing"),
        (record({"first": {"n": 1}}), "column 'first.sku': missing"),
        (record({"first": {"sku": "a", "n": None}}), "column 'first.n': null"),
        (record({"first": None}), "column 'first': null"),
        (record({"lines": [{"sku": "a"}, {}]}), "column 'lines[1].sku': missing"),
        (record({"lines": [None]}), "column 'lines[0]': null"),
        (record({"lines": [{"sku": 1}]}), "column 'lines[0].sku': 1 is no text"),
        (record({"at": "yesterday"}), "column 'at': 'yesterday' is no date-time as RFC 3339 has it (2026-05-01T09:10:00Z)"),
        (b"[]", "no JSON object"),
        (b"\xff", ""),
        (b"", "the record is empty"),
        (None, "the record has no value"),
    ],
)
def test_what_the_schema_does_not_allow_is_bad_and_touches_no_neighbour(value, reason):
    decoded = JsonSchema(ORDER).decode([record(), value, json.dumps(FULL).encode()])
    assert list(decoded.bad) == [1]
    assert reason in decoded.bad[1]
    assert decoded.frame["id"].gather([0, 2]).to_list() == [2, 1]


@pytest.mark.parametrize("text", ["5", "-1.5", "true", "{", "[1]", "null", ""])
def test_text_that_looks_like_something_else_is_text(text):
    decoded = JsonSchema(ORDER).decode([record({"note": text, "by": text})])
    assert decoded.bad == {}
    assert decoded.frame.row(0)[1:3] == (text, text)


def test_what_is_written_is_read_back_and_allowed_by_the_schema():
    jsonschema = pytest.importorskip("jsonschema")
    form = JsonSchema(ORDER)
    frame = form.decode([json.dumps(FULL).encode(), record(), record({"lines": []})]).frame
    values = form.encode(frame)
    for value in values:
        jsonschema.validate(json.loads(value), ORDER)
    assert form.decode(values).frame.equals(frame)
    assert json.loads(values[1]) == LEAST | {"at": None}


def test_no_records_are_an_empty_frame():
    form = JsonSchema(ORDER)
    assert form.decode([]).frame.schema == form.columns
    assert form.encode(form.decode([]).frame) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"id": None},
        {"first": None},
        {"first": {"sku": None, "n": 1}},
        {"lines": [None]},
        {"lines": [{"sku": None, "n": 1}]},
        {"price": float("nan")},
        {"price": float("inf")},
    ],
)
def test_a_row_that_the_schema_does_not_allow_is_refused(changed):
    form = JsonSchema(ORDER)
    row = form.decode([record()]).frame.row(0, named=True) | changed
    with pytest.raises(WriteError):
        form.encode(pl.DataFrame([row], schema=form.columns))


WORDS = {
    "type": "object", "additionalProperties": False,
    "properties": {
        "n": {"type": "integer", "minimum": 3},
        "code": {"type": "string", "pattern": "^[A-Z]+$"},
    },
}  # fmt: skip


def test_words_that_no_column_says_are_kept_to():
    decoded = JsonSchema(WORDS).decode(
        [b'{"n":3,"code":"A"}', b'{"n":2}', b'{"code":"a"}', b'{"x":1}', b'{"code":5}', b"{}"]
    )
    assert decoded.bad == {
        1: "column 'n': 2 is less than the minimum of 3",
        2: "column 'code': 'a' does not match '^[A-Z]+$'",
        3: "Additional properties are not allowed ('x' was unexpected)",
        4: "column 'code': 5 is not of type 'string'",
    }


def test_members_that_are_not_named_are_bad_where_objects_are_closed():
    inner = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"a": {"type": "integer"}},
    }
    form = JsonSchema({"properties": {"o": inner, "l": {"type": "array", "items": inner}}})
    decoded = form.decode(
        [b'{"o":{"a":1},"new":2}', b'{"o":{"a":1,"b":2}}', b'{"l":[{"a":1},{"c":null}]}', b"{}"]
    )
    assert decoded.bad == {
        1: "column 'o.b': no such member",
        2: "column 'l[1].c': no such member",
    }
    assert form._errors is None
    whole = JsonSchema({**inner, "patternProperties": {"^x": {}}})
    assert list(whole.decode([b'{"x1":1}', b'{"y":1}']).bad) == [1]


def test_words_hold_for_what_is_written_too():
    form = JsonSchema(WORDS)
    kinds = {"n": pl.Int64, "code": pl.String}
    assert form.encode(pl.DataFrame({"n": [3], "code": [None]}, schema=kinds)) == [b'{"n":3}']
    with pytest.raises(WriteError, match="less than the minimum"):
        form.encode(pl.DataFrame({"n": [2], "code": ["A"]}, schema=kinds))


def test_what_may_be_of_several_types_is_read_as_it_stands_and_not_written():
    form = JsonSchema(
        {"properties": {"a": {"type": ["string", "integer"]}, "b": {}, "c": {"type": "object"}}}
    )
    decoded = form.decode([b'{"a":5,"b":[1, 2],"c":{"x":1.10}}', b'{"a":true}', b'{"c":5}'])
    assert decoded.frame.row(0) == ("5", "[1, 2]", '{"x":1.10}')
    assert sorted(decoded.bad) == [1, 2]
    with pytest.raises(TopologyError, match="'a' may be of several types"):
        form.encode(decoded.frame)


def test_a_schema_may_be_text_a_path_or_refer_to_others(tmp_path):
    path = tmp_path / "line.json"
    path.write_text(json.dumps(LINE))
    wanted = {"sku": pl.String, "n": pl.Int64}
    for schema in (LINE, json.dumps(LINE), path, str(path)):
        assert JsonSchema(schema).columns == wanted
    outer = {
        "properties": {"line": {"$ref": "line.json"}, "s": {"$ref": "line.json#/properties/n"}}
    }
    form = JsonSchema(outer, references={"line.json": LINE})
    assert form.columns == {"line": pl.Struct(wanted), "s": pl.Int64}


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        ({"type": "array"}, "names no members of an object"),
        ({}, "names no members of an object"),
        ("nothing.json", "cannot be read"),
        ("{", "is no JSON"),
        ("{}x", "is no JSON"),
        (5, "is no schema"),
        ({"properties": {"a": {"$ref": "#/gone"}}}, "there is no '#/gone'"),
        ({"properties": {"a": {"$ref": "http://127.0.0.1:1/a"}}}, "there is no"),
        ({"properties": {"a": {"$ref": "#"}}}, "holds itself to any depth"),
        ({"properties": {"a": {"type": "integer", "minimum": "x"}}}, "this is no schema"),
        ({"properties": {"a": {"type": "strng"}}}, "properties.a.type: 'strng'"),
        ({"properties": {"a": {"type": "string", "enum": "x"}}}, "properties.a.enum: 'x'"),
        ({"properties": {"a": {"type": "string", "format": 5}}}, "properties.a.format: 5"),
        ({"$schema": 5, "properties": {"a": {"type": "string"}}}, "$schema is 5"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused_with_its_line(schema, what):
    with pytest.raises(TopologyError) as error:
        JsonSchema(schema)
    assert what in error.value.message
    assert "test_json_schema.py" in error.value.message
    assert error.value.remedy


@pytest.mark.parametrize(
    ("part", "right", "wrong"),
    [
        ({"type": "string", "enum": []}, [], ["x", None, 5]),
        ({"type": ["string", "null"], "enum": ["x"]}, ["x"], [None, "y"]),
        ({"type": "string", "enum": ["x", None]}, ["x"], [None, "y"]),
        ({"type": ["string", "null"], "enum": ["x", None]}, ["x", None], ["y", 5]),
        ({"type": "integer", "enum": ["x"]}, [], [5, "x", None]),
        ({"enum": ["x", None]}, ["x", None], ["y", 5]),
        ({"oneOf": [{"maxLength": 1}, {"type": "null"}], "type": "string"}, ["x"], [None, "xy", 5]),
    ],
)
def test_words_and_types_hold_together(part, right, wrong):
    form = JsonSchema({"required": ["a"], "properties": {"a": part}})
    values = [json.dumps({"a": cell}).encode() for cell in (*right, *wrong)]
    assert sorted(form.decode(values).bad) == list(range(len(right), len(values)))


def test_what_is_said_beside_several_ways_is_what_the_columns_are():
    either = {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    whole = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}
    form = JsonSchema({**whole, **either})
    assert list(form.decode([b'{"a":1}', b'{"b":"x"}', b"{}"]).bad) == [2]
    form = JsonSchema({"allOf": [whole, {"required": ["b"]}]})
    assert list(form.decode([b'{"a":1}', b'{"b":"x"}']).bad) == [0]
    words = {"type": "string", "oneOf": [{"const": "x", "title": "X"}, {"const": "y"}]}
    form = JsonSchema({"properties": {"a": words}})
    decoded = form.decode([b'{"a":"x"}', b'{"a":"z"}'])
    assert list(decoded.bad) == [1]
    assert form.encode(decoded.frame[:1]) == [b'{"a":"x"}']


def test_a_schema_may_refer_to_itself_by_its_own_address():
    address = "https://shop.example/order.json"
    parts = {"$defs": {"c%d": {"type": "integer"}}}
    for ref in (f"{address}#/$defs/c%25d", "#/$defs/c%25d"):
        form = JsonSchema({"$id": address, **parts, "properties": {"n": {"$ref": ref}}})
        assert form.columns == {"n": pl.Int64}


@pytest.mark.parametrize(
    ("part", "right", "wrong"),
    [
        ({"type": "string", "pattern": "^x"}, "x", "evil"),
        ({"type": "integer", "minimum": 0}, 5, -5),
        ({"oneOf": [{"type": "integer"}, {"type": "boolean"}]}, 1, "text"),
        ({"type": "object", "properties": {"n": {"type": "integer"}},
          "additionalProperties": False}, {"n": 1}, {"n": 1, "m": 2}),
    ],
)  # fmt: skip
def test_of_two_members_of_one_name_the_first_is_read_and_checked(part, right, wrong):
    form = JsonSchema({"properties": {"a": part}})
    pair = [json.dumps(right), json.dumps(wrong)]
    values = [b'{"a":%s,"a":%s}' % tuple(map(str.encode, each)) for each in (pair, pair[::-1])]
    assert list(form.decode(values).bad) == [1]


def test_three_hundred_members_and_deep_ones_work():
    wide = {"properties": {f"m{n}": {"type": "integer"} for n in range(300)}}
    form = JsonSchema(wide)
    frame = form.decode([b'{"m299":1}', b'{"m0":1,"m1":2}']).frame
    assert form.encode(frame) == [b'{"m299":1}', b'{"m0":1,"m1":2}']
    deep = {"type": "integer"}
    for _ in range(20):
        deep = {"type": "object", "properties": {"a": deep}}
    nested = JsonSchema(deep)
    value = b'{"a":' * 20 + b"7" + b"}" * 20
    assert nested.encode(nested.decode([value]).frame) == [value]


def test_words_within_a_schema_that_is_referred_to_are_kept_to():
    line = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 5}}}
    form = JsonSchema(
        {"properties": {"line": {"$ref": "line.json"}}}, references={"line.json": line}
    )
    decoded = form.decode([b'{"line":{"n":5}}', b'{"line":{"n":6}}'])
    assert decoded.bad == {1: "column 'line.n': 6 is greater than the maximum of 5"}


def test_a_schema_says_which_draft_it_is_of():
    older = {"$schema": "http://json-schema.org/draft-04/schema#", "properties": {
        "n": {"type": "integer", "minimum": 3, "exclusiveMinimum": True},
    }}  # fmt: skip
    assert list(JsonSchema(older).decode([b'{"n":3}', b'{"n":4}']).bad) == [0]
