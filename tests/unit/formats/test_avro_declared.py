"""What a topology says of Avro: schemas, columns, and what is refused at its line."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import fastavro
import polars as pl
import pytest

from processor import Avro, TopologyError
from processor.formats.avro.schema import _LOGICAL, NAMED, PRIMITIVES, SchemaError, parse
from processor.formats.base import WriteError

RIDE: dict[str, Any] = {
    "type": "record",
    "name": "Ride",
    "namespace": "nyc",
    "fields": [
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "lat", "type": "double"},
        {"name": "base", "type": ["null", "string"], "default": None},
        {"name": "cluster", "type": "int", "default": 0},
    ],
}


def record(kind: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": [{"name": "v", "type": kind}]}


def fixed(size: int, **more: Any) -> dict[str, Any]:
    return {"type": "fixed", "name": "F", "size": size, **more}


def test_a_schema_is_a_mapping_or_text_or_a_file(tmp_path) -> None:
    path = tmp_path / "ride.avsc"
    path.write_text(json.dumps(RIDE))
    for form in (Avro(RIDE), Avro(json.dumps(RIDE)), Avro(path)):
        assert dict(form.columns) == {
            "at": pl.Datetime("ms", "UTC"),
            "lat": pl.Float64,
            "base": pl.String,
            "cluster": pl.Int32,
        }
        assert form.optional == {"base"}


def test_its_line_has_the_name_the_fingerprint_and_the_columns() -> None:
    assert Avro(RIDE, select=("cluster",)).describe().startswith("avro(nyc.Ride ")
    assert Avro(RIDE, select=("cluster",)).describe().endswith(": cluster Int32)")
    other = {**RIDE, "fields": RIDE["fields"][1:]}
    lines = {Avro(each).describe() for each in (RIDE, other, json.dumps(RIDE))}
    assert len(lines) == 2
    noted = {**RIDE, "doc": "rides"}
    assert Avro(noted).describe() == Avro(RIDE).describe()


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        ("boolean", pl.Boolean),
        ("int", pl.Int32),
        ("long", pl.Int64),
        ("float", pl.Float32),
        ("double", pl.Float64),
        ("bytes", pl.Binary),
        ("string", pl.String),
        ("null", pl.Null),
        (fixed(3), pl.Binary),
        (fixed(16, logicalType="uuid"), pl.String),
        (fixed(12, logicalType="duration"),
         pl.Struct({"months": pl.UInt32, "days": pl.UInt32, "milliseconds": pl.UInt32})),
        (fixed(8, logicalType="decimal", precision=18, scale=4), pl.Decimal(18, 4)),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9}, pl.Decimal(9, 0)),
        ({"type": "string", "logicalType": "uuid"}, pl.String),
        ({"type": "int", "logicalType": "date"}, pl.Date),
        ({"type": "int", "logicalType": "time-millis"}, pl.Time),
        ({"type": "long", "logicalType": "time-micros"}, pl.Time),
        ({"type": "long", "logicalType": "timestamp-millis"}, pl.Datetime("ms", "UTC")),
        ({"type": "long", "logicalType": "timestamp-micros"}, pl.Datetime("us", "UTC")),
        ({"type": "long", "logicalType": "timestamp-nanos"}, pl.Datetime("ns", "UTC")),
        ({"type": "long", "logicalType": "local-timestamp-millis"}, pl.Datetime("ms")),
        ({"type": "long", "logicalType": "local-timestamp-micros"}, pl.Datetime("us")),
        ({"type": "long", "logicalType": "local-timestamp-nanos"}, pl.Datetime("ns")),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, pl.Enum(["A", "B"])),
        ({"type": "array", "items": ["null", "long"]}, pl.List(pl.Int64)),
        ({"type": "map", "values": "int"},
         pl.List(pl.Struct({"key": pl.String, "value": pl.Int32}))),
        (["null", "string"], pl.String),
        (["string"], pl.String),
        (["null"], pl.Null),
        (["int", "null", "string"], pl.Struct({"int": pl.Int32, "string": pl.String})),
        # What is no logical type, or does not fit its base, is the base.
        ({"type": "string", "logicalType": "date"}, pl.String),
        ({"type": "int", "logicalType": "week"}, pl.Int32),
        (fixed(4, logicalType="uuid"), pl.Binary),
        (fixed(11, logicalType="duration"), pl.Binary),
        ({"type": "bytes", "logicalType": "decimal"}, pl.Binary),
    ],
    ids=str,
)  # fmt: skip
def test_each_type_is_a_column(kind: Any, column: Any) -> None:
    assert Avro(record(kind)).columns["v"] == column


def test_a_name_is_used_again_and_two_namespaces_may_have_one() -> None:
    kind = [
        {"type": "fixed", "name": "a.F", "size": 2},
        {"type": "fixed", "name": "b.F", "size": 3},
        {"type": "array", "items": "a.F"},
    ]
    form = Avro(record(kind))
    names = [field.name for field in form.columns["v"].fields]  # type: ignore[union-attr]
    assert names == ["a.F", "b.F", "array"]
    assert form.decode([b"\x02abc"]).frame.item() == {"a.F": None, "b.F": b"abc", "array": None}
    assert parse(record("Other"), [{"type": "enum", "name": "Other", "symbols": ["A"]}]).fields


TREE = {
    "type": "record",
    "name": "Tree",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "children", "type": {"type": "array", "items": "Tree"}},
    ],
}
WIDE = {"type": "record", "name": "Ride", "fields": [{"name": "lat", "type": "float"}]}


@pytest.mark.parametrize(
    ("said", "why", "remedy"),
    [
        ({"schema": "ride.avsc"}, "'ride.avsc' is no schema of a record", 'Path("ride.avsc")'),
        ({"schema": "{"}, "no Avro schema: '{' is no JSON", '"type": "record"'),
        ({"schema": 5}, "no Avro schema: it is 5", '"type": "record"'),
        ({"schema": {"type": "record"}}, '"name" is a required field', '"type": "record"'),
        ({"schema": record("nix")}, "there is no type 'nix'", "references="),
        ({"schema": record({"type": "array"})}, "'items' is missing", '"type": "record"'),
        ({"schema": {"type": "string"}}, "the writer's schema is string, no record", "put it into"),
        ({"schema": {"type": "array", "items": "int"}}, "array of int, no record", "put it into"),
        ({"schema": TREE}, "'children[]' is a 'Tree' inside a 'Tree'", 'select=("a", "b")'),
        ({"schema": record({"type": "record", "name": "E", "fields": []})},
         "'v' is a record without fields", "leave it out"),
        ({"schema": record({"type": "enum", "name": "E", "symbols": []})},
         "'v' is an enumeration without words", "give it one"),
        ({"schema": record(["int", "int"])}, "'v' is no union: [int, int]", "each type once"),
        ({"schema": record([["int"], "null"])}, "'v' is no union", "no union inside it"),
        ({"schema": {"type": "record", "name": "E", "fields": []}}, "E has no fields", "some"),
        ({"schema": record([])}, "'v' is no union", "each type once"),
        ({"schema": record(fixed(17, logicalType="decimal", precision=40))},
         "'v' is a decimal of 40 digits, and a column has 38", "read as bytes"),
        ({"schema": record(fixed(-1))}, "the size of 'F' is -1", '"type": "record"'),
        ({"schema": {**RIDE, "fields": RIDE["fields"][:1] * 2}}, "two fields called", "record"),
        ({"schema": RIDE, "select": "at"}, "'at' is a text where a set of names is due", "{'at'}"),
        ({"schema": RIDE, "select": ()}, "select names no field", "at, lat, base, cluster"),
        ({"schema": RIDE, "select": ("x",)}, "'x' is no column", "at, lat, base, cluster"),
        ({"schema": RIDE, "value_bytes_max": 0}, "value_bytes_max is 0", "number of bytes"),
        ({"schema": RIDE, "writer": WIDE}, "'at' is no field of the writer's 'Ride'", '"default"'),
        ({"schema": WIDE, "writer": RIDE}, "'lat' is written as double, which cannot be", "wider"),
        ({"schema": {**RIDE, "name": "Trip"}, "writer": RIDE},
         "the writer's schema is a record 'nyc.Ride', and 'nyc.Trip' is read", '["nyc.Ride"]'),
        ({"schema": record(["null", "int"]), "writer": record("string")},
         "'v' is written as string, which cannot be read as [null, int]", "a union of both"),
        ({"schema": record({"type": "long", "logicalType": "timestamp-millis"}),
          "writer": record({"type": "long", "logicalType": "timestamp-micros"})},
         "'v' is written as long (timestamp-micros)", "wider"),
        ({"schema": record(fixed(8, logicalType="decimal", precision=9, scale=2)),
          "writer": record(fixed(8, logicalType="decimal", precision=9, scale=3))},
         "they are of other digits", "wider"),
        ({"schema": record(fixed(2)), "writer": record(fixed(3))}, "of 3 and 2 bytes", "wider"),
        ({"schema": record({"type": "enum", "name": "E", "symbols": ["A"]}),
          "writer": record({"type": "enum", "name": "E", "symbols": ["B"]})},
         "without a word in common", "wider"),
        ({"schema": {**RIDE, "fields": [*RIDE["fields"],
          {"name": "x", "type": {"type": "array", "items": "int"}, "default": ["y"]}]},
          "writer": RIDE}, "'x': the default 'y' is no int", "the field's type"),
    ],
    ids=range(31),
)  # fmt: skip
def test_what_cannot_be_is_refused_at_its_line(said: dict[str, Any], why: str, remedy: str) -> None:
    with pytest.raises(TopologyError) as caught:
        Avro(**said)
    assert caught.value.message.startswith(f"{__file__}:")
    assert why in caught.value.message
    assert remedy in caught.value.remedy


def test_a_file_that_cannot_be_read_is_told(tmp_path) -> None:
    with pytest.raises(TopologyError, match=r"missing\.avsc: No such file"):
        Avro(tmp_path / "missing.avsc")
    path = tmp_path / "odd.avsc"
    for odd in (b"\xff", b"{", b"[" * 100_000):
        path.write_bytes(odd)
        with pytest.raises(TopologyError):
            Avro(path)


def test_a_schema_without_an_end_is_read_in_part() -> None:
    form = Avro(TREE, select=("id",))
    assert form.decode([b"\x02\x02\x04\x00\x00"]).frame["id"].to_list() == [1]
    with pytest.raises(TopologyError, match="'children' is no column, and cannot be written"):
        form.encode(pl.DataFrame({"id": [1]}))


def test_a_schema_of_the_registry_that_is_wrong_names_what_is_right() -> None:
    with pytest.raises(SchemaError) as caught:
        parse({"type": "record", "name": "R"}, ["["])
    assert "no JSON" in str(caught.value)
    assert caught.value.remedy


def test_the_guide_names_every_type() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "guide.md").read_text()
    part = guide.partition("### Avro")[2].partition("###")[0].replace("`-", "`timestamp-")
    for name in (*PRIMITIVES, *NAMED, "array", "map", *_LOGICAL):
        assert f"`{name.removeprefix('local-')}`" in part, name


def test_a_schema_that_is_nested_too_deep_is_refused() -> None:
    kind: Any = "int"
    for level in range(90):
        kind = (
            {"type": "array", "items": kind} if level % 2 else record(kind) | {"name": f"R{level}"}
        )
    with pytest.raises(TopologyError, match="nested deeper than 64 levels"):
        Avro(record(kind))
    more = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}
    more["fields"] += record(kind)["fields"]  # type: ignore[operator]
    with pytest.raises(TopologyError, match="nested deeper than 64 levels"):
        Avro(more, select=("a",))


def test_a_map_with_one_key_twice_is_not_written():
    form = Avro(
        {"type": "record", "name": "R",
         "fields": [{"name": "m", "type": {"type": "map", "values": "long"}}]}
    )  # fmt: skip

    def rows(*maps):
        cells = [[{"key": key, "value": n} for key, n in entries] for entries in maps]
        return pl.DataFrame({"m": cells}, schema=form.columns)

    once = form.encode(rows([("a", 1), ("b", 2)], [("a", 1)], []))
    assert once == [b"\x04\x02a\x02\x02b\x04\x00", b"\x02\x02a\x02\x00", b"\x00"]
    with pytest.raises(WriteError, match="column 'm' has the key 'a' twice"):
        form.encode(rows([("b", 1)], [("a", 1), ("a", 2)]))


def _record(fields, **more):
    return {"type": "record", "name": "R", "fields": fields, **more}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (_record([{"name": "a", "type": "int"}], name="R R"), "'R R' cannot be the name"),
        (_record([{"name": "a", "type": "int"}], name=""), "'' cannot be the name of a record"),
        (_record([{"name": "a", "type": "int"}], name="int"), "'int' cannot be the name"),
        (_record([{"name": "a", "type": "int"}], name=5), "a name is 5, and no text"),
        (_record([{"name": "a", "type": "int"}], namespace="a b"), "'a b.R' cannot be the name"),
        (_record([{"name": "a", "type": "int"}], namespace=5), "a namespace is 5"),
        (_record([{"name": "a b", "type": "int"}]), "'a b' cannot be the name of a field of 'R'"),
        (_record([{"name": "1a", "type": "int"}]), "'1a' cannot be the name of a field"),
        (_record([{"name": "a.b", "type": "int"}]), "'a.b' cannot be the name of a field"),
        (_record([{"name": "", "type": "int"}]), "'' cannot be the name of a field"),
        (_record([{"name": 5, "type": "int"}]), "a name is 5, and no text"),
        (_record("ab"), "the fields of 'R' are 'ab'"),
        (_record(None), "the fields of 'R' are None"),
        (_record({"a": "int"}), "the fields of 'R' are {'a': 'int'}"),
        (_record([{"name": "a", "type": "int", "aliases": "xy"}]), "the aliases of 'a' are 'xy'"),
        (_record([{"name": "a", "type": "int"}], aliases="xy"), "the aliases of 'R' are 'xy'"),
        *(
            (_record([{"name": "a", "type": ["null", {"type": "enum", "name": "E", **enum}]}]), why)
            for enum, why in (
                ({"symbols": "ab"}, "the symbols of 'E' are 'ab', and no list"),
                ({"symbols": ["a", "a"]}, "must be unique"),
                ({"symbols": ["a b"]}, "must match the regular expression"),
                ({"symbols": [1]}, "must match the regular expression"),
                ({"symbols": ["a"], "name": "E E"}, "'E E' cannot be the name of an enum"),
            )
        ),
        (_record([{"name": "a", "type": {"type": "array", "items": {
            "type": "fixed", "name": "F-1", "size": 3}}}]), "'F-1' cannot be the name of a fixed"),
        (_record([{"name": "a", "type": {"type": "fixed", "name": "F", "size": True}}]),
         "the size of 'F' is True"),
    ],
)  # fmt: skip
def test_names_and_words_are_as_avro_has_them(schema, words):
    with pytest.raises(TopologyError, match=re.escape(words)) as refused:
        Avro(schema)
    assert "test_avro_declared.py:" in refused.value.message
    assert refused.value.remedy


def test_what_others_call_otherwise_is_read_by_an_alias():
    theirs = _record([{"name": "straße", "type": "int"}], name="Ort-1")
    ours = _record([{"name": "street", "type": "int", "aliases": ["straße"]}], aliases=["Ort-1"])
    assert Avro(ours, writer=theirs).decode([b"\x06"]).frame.rows() == [(3,)]


def test_values_that_are_no_records_are_read_as_the_field_value_of_one():
    row = _record([{"name": "value", "type": "string"}])
    for kind in ("string", "bytes"):
        row["fields"][0]["type"] = kind
        theirs = json.dumps({"type": kind})
        assert Avro(row, writer=theirs).decode([b"\x02a"]).bad == {}
    with pytest.raises(TopologyError, match="the writer's schema is string, no record"):
        Avro(_record([{"name": "other", "type": "string"}]), writer='{"type": "string"}')


MAPS = {
    "type": "record", "name": "R", "fields": [
        {"name": "m", "type": {"type": "map", "values": ["null", "string"]}},
        {"name": "l", "type": ["null", {"type": "array", "items": {
            "type": "record", "name": "In", "fields": [
                {"name": "of", "type": {"type": "map", "values": "long"}},
            ]}}]},
        {"name": "again", "type": ["null", "In"]},
        {"name": "u", "type": ["null", "string", "long"]},
    ],
}  # fmt: skip


def test_a_map_that_is_fed_is_what_avros_library_writes_of_it():
    row = {
        "m": {"k": "v", "q": None}, "l": [{"of": {"a": 1, "b": 2}}, {"of": {}}],
        "again": {"of": {"z": -1}}, "u": None,
    }  # fmt: skip
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(MAPS), row)
    assert Avro(MAPS).records([row]) == [out.getvalue()]
    with pytest.raises(ValueError, match="name its member"):
        Avro(MAPS).records([row | {"u": "v"}])
