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
        (
            record({"at": "yesterday"}),
            "column 'at': 'yesterday' is no date-time as RFC 3339 has it (2026-05-01T09:10:00Z)",
        ),
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


TIMES = {
    "date": pl.Date(),
    "date-time": pl.Datetime("us", "UTC"),
    "time": pl.Time(),
}


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("date", ["2026-01-02"],
         ["1/2/2026", "2026/1/2", "2026-1-2", " 2026-01-02", "2026-02-30", "20260102",
          "2026-01-02Z"]),
        ("date-time", ["2026-01-02T03:04:05Z", "2026-01-02t03:04:05.5z",
                       "2026-01-02T03:04:05+02:00", "2026-01-02T03:04:05-00:00"],
         ["2026-01-02", "2026-01-02T03:04:05", "2026-1-2T03:04:05Z", "2026-01-02T3:04:05Z",
          "2026-01-02 03:04:05Z", "2026-01-02T03:04:05+02", "2026-01-02T03:04:05+0200",
          "2026-01-02T25:00:00Z", "1/2/2026 3:04:05"]),
        ("time", ["03:04:05Z", "03:04:05.25z", "03:04:05+00:00", "03:04:05-00:00"],
         ["03:04:05", "3:04:05Z", "03:04Z", "03:04:05+02:00", "25:00:00Z"]),
    ],
)  # fmt: skip
def test_times_are_as_rfc_3339_has_them_wherever_they_stand(form, good, bad):
    kind = {"type": "string", "format": form}
    schema = JsonSchema({"type": "object", "properties": {
        "at": kind, "all": {"type": "array", "items": kind}}})  # fmt: skip
    assert schema.columns == {"at": TIMES[form], "all": pl.List(TIMES[form])}
    for place in ("at", "all"):
        rows = [{place: text if place == "at" else [text]} for text in (*good, *bad)]
        decoded = schema.decode([json.dumps(row).encode() for row in rows])
        assert list(decoded.bad) == list(range(len(good), len(rows)))
        assert all(reason.startswith(f"column '{place}") for reason in decoded.bad.values())
        assert all(" is no " in reason for reason in decoded.bad.values())
        read = decoded.frame[: len(good)].select(place)
        again = schema.decode(schema.encode(read.with_columns(
            **dict.fromkeys({"at", "all"} - {place})).cast(schema.columns)))  # fmt: skip
        assert again.bad == {}
        assert again.frame.select(place).equals(read)


NUMBER = {"$defs": {"n": {"$anchor": "n", "type": "integer"}}}


@pytest.mark.parametrize(
    ("a", "defs", "references"),
    [
        ({"$dynamicRef": "#n"}, {"n": {"$anchor": "n", "type": "integer"}}, {}),
        ({"$dynamicRef": "#n"}, {"n": {"$dynamicAnchor": "n", "type": "integer"}}, {}),
        ({"$dynamicRef": "#/$defs/n"}, {"n": {"type": "integer"}}, {}),
        ({"$ref": "#n"}, {"n": {"$anchor": "n", "type": "integer"}}, {}),
        ({"$ref": "#n"}, {"n": {"$dynamicAnchor": "n", "type": "integer"}}, {}),
        ({"$dynamicRef": "#n", "minimum": 0}, {"n": {"$anchor": "n", "type": "integer"}}, {}),
        ({"$ref": "#n", "$dynamicRef": "#n"}, {"n": {"$anchor": "n", "type": "integer"}}, {}),
        ({"$ref": "line.json#n"}, {}, {"line.json": NUMBER}),
        ({"$ref": "line.json#/$defs/m"}, {}, {"line.json": {"$defs": {
            "m": {"$dynamicRef": "#n"}, "n": {"$dynamicAnchor": "n", "type": "integer"}}}}),
    ],
)  # fmt: skip
def test_what_is_referred_to_by_an_anchor_is_followed_where_it_is_one_thing(a, defs, references):
    form = JsonSchema(
        {"type": "object", "properties": {"a": a}, "$defs": defs}, references=references
    )
    assert form.columns == {"a": pl.Int64}
    assert form.decode([b'{"a":"s"}', b'{"a":1}']).bad == {0: "column 'a': 's' is no Int64"}


def test_what_a_dynamic_reference_leads_to_only_by_the_way_to_it_is_refused_by_name():
    defs = {"n": {"$dynamicAnchor": "n", "type": "integer"},
            "m": {"$dynamicAnchor": "n", "type": "string"}}  # fmt: skip
    with pytest.raises(TopologyError, match=r"\$dynamicRef '#n' may lead to several") as refused:
        JsonSchema({"type": "object", "properties": {"a": {"$dynamicRef": "#n"}}, "$defs": defs})
    assert "#/$defs/n" in refused.value.remedy
    with pytest.raises(TopologyError, match="there is no '#x' that the schema refers to"):
        JsonSchema({"type": "object", "properties": {"a": {"$dynamicRef": "#x"}}})


def test_a_schema_written_with_tuples_is_one_with_lists():
    form = JsonSchema({
        "type": "object", "required": ("a",),
        "properties": {"a": {"type": ("integer", "null")}, "b": {"enum": ("x", "y")}},
    })  # fmt: skip
    assert form.columns == {"a": pl.Int64, "b": pl.Enum(["x", "y"])}
    assert form.decode([b'{"b":"x"}']).bad == {0: "column 'a': missing"}
    with pytest.raises(TopologyError) as refused:
        JsonSchema({"type": "object", "required": {"b", "a"}, "properties": {"a": {}, "b": {}}})
    assert refused.value.remedy == "it is a list of names: ['a', 'b']"


@pytest.mark.parametrize("depth", [51, 100, 200, 2_000])
def test_what_is_nested_too_deep_is_refused_by_name(depth):
    schema = {"type": "integer"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    with pytest.raises(TopologyError, match=r"JsonSchema: .* deep") as refused:
        JsonSchema(schema)
    assert "say {} for what is inside" in refused.value.remedy
    deep = {"type": "integer"}
    for _ in range(50):
        deep = {"type": "object", "properties": {"a": deep}}
    value = b'{"a":' * 50 + b"1" + b"}" * 50
    assert JsonSchema(deep).decode([value]).bad == {}


def test_reasons_name_columns_as_they_are_called():
    least = {"type": "integer", "minimum": 3}
    inner = {"type": "object", "properties": {"a b": {"type": "array", "items": least}}}
    form = JsonSchema({"type": "object", "properties": {"straße": least, "o": inner}})
    bad = form.decode(['{"straße":1}'.encode(), b'{"o":{"a b":[7,1]}}']).bad
    assert bad == {
        0: "column 'straße': 1 is less than the minimum of 3",
        1: "column 'o.a b[1]': 1 is less than the minimum of 3",
    }
