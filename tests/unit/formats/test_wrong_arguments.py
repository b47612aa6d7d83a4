"""Every option of every format, with each value that it is not: refused at its line, with a way."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from processor import (
    Arrow,
    Avro,
    Bytes,
    CloudEvents,
    Csv,
    Debezium,
    Json,
    JsonSchema,
    Protobuf,
    Registered,
    Text,
    TopologyError,
)

N: Final = {"n": pl.Int64}
RECORD: Final = {"type": "record", "name": "R", "fields": [{"name": "n", "type": "long"}]}
OBJECT: Final = {"type": "object", "properties": {"n": {"type": "integer"}}}
FORMATS: Final[dict[type, dict[str, Any]]] = {
    Json: {"columns": N},
    Csv: {"columns": N},
    Text: {},
    Bytes: {},
    Avro: {"schema": RECORD},
    Protobuf: {"source": Timestamp},
    JsonSchema: {"schema": OBJECT},
    Debezium: {"row": N},
    CloudEvents: {"data": Json(N)},
    Arrow: {"columns": N},
    Registered: {"format": Avro(RECORD)},
}
WRONG: Final[dict[str, Any]] = {
    "None": None, "[]": [], "{}": {}, "()": (), "a dict": {"a": 1}, "a list": ["x"], "a set": {"x"},
    "a text": "x", "bytes": b"x", "a number": 5, "a fraction": 1.5, "True": True,
    "a Path": Path("u.x"), "a type": pl.Int64, "a format": Text(), "a class": Text,
    "an object": object(), "a list of lists": [["x"]],
}  # fmt: skip
# What some options take all the same, each a thing that they may well be.
NONE: Final = {
    "columns", "time_form", "rest", "nan", "quote", "writer", "select", "message", "fields",
    "added", "schema",
}  # fmt: skip
EMPTY_LIST: Final = {"optional", "millis", "maps", "required", "references", "nulls"}
EMPTY_DICT: Final = {
    "optional", "millis", "maps", "required", "epoch", "durations", "missing", "units", "added",
    "attributes", "constants", "columns",
}  # fmt: skip


def may_be(form: type, option: str, what: str) -> bool:
    """Whether an option takes a value after all."""
    if what == "None":
        required = (form, option) in {(Arrow, "columns"), (Csv, "columns"), (Avro, "schema"),
                                      (JsonSchema, "schema")}  # fmt: skip
        return option in NONE and not required
    if what in {"[]", "()"}:
        return option in EMPTY_LIST and (form, option) != (JsonSchema, "references")
    if what == "{}":
        by_name = (form, option) == (JsonSchema, "references")
        return by_name or (option in EMPTY_DICT and (form, option) not in {
            (Csv, "columns"), (Arrow, "columns")})  # fmt: skip
    return {
        "a number": option in {"value_bytes_max", "rows_max"},
        "True": option in {"header", "tombstones", "empty", "unwrap", "schema", "auto_register"}
        and form not in {Avro, JsonSchema}
        and (form, option) != (Debezium, "tombstones"),
        "a text": option in {"column", "rest"} and form is Bytes,
        "a list": option == "nulls",
        "a format": (form, option) == (CloudEvents, "data"),
    }.get(what, False)


CASES: Final = [
    (form, option.name, what)
    for form in FORMATS
    for option in dataclasses.fields(form)
    if option.init
    for what in WRONG
]


@pytest.mark.parametrize(("form", "option", "what"), CASES)
def test_a_wrong_argument_is_refused_at_its_line_with_what_would_be_right(form, option, what):
    arguments = {**FORMATS[form], option: WRONG[what]}
    if may_be(form, option, what):
        form(**arguments)
        return
    with pytest.raises(TopologyError) as refused:
        form(**arguments)
    assert "test_wrong_arguments.py:" in refused.value.message
    assert f"{form.__name__}: " in refused.value.message
    assert refused.value.remedy
    assert "object is not" not in str(refused.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Text({"user": pl.String}), ["called 'value'", "Json({"]),
        (lambda: Text("v"), ["called 'value'", "say Text()"]),
        (lambda: Bytes({"a": pl.Binary}), ["cannot name a column", 'Bytes("image")']),
        (lambda: Protobuf(Timestamp()), ["its class is due", "Protobuf(Timestamp), not"]),
        (lambda: Protobuf("shop.Order"),
         ["cannot be read", "_out=shop.desc", 'Protobuf("shop.desc", "shop.Order")']),
        (lambda: Protobuf("shop.proto"), ["--descriptor_set_out=shop.desc shop.proto"]),
        (lambda: Protobuf(Timestamp, fields=[]), ["fields names none", "leave it out"]),
        (lambda: Registered(Avro), ["the class Avro", "Registered(Avro(...))"]),
        (lambda: Registered(Timestamp), ["Registered(Protobuf(Timestamp))"]),
        (lambda: Registered(RECORD), ["Registered(Avro({...}))"]),
        (lambda: Registered("ride.avsc"), ["Avro(Path('ride.avsc'))"]),
        (lambda: Registered(Path("ride.avsc")), ["Avro(Path('ride.avsc'))"]),
        (lambda: Registered(Json(N)), ["Json has no schema", "give Avro(schema)"]),
        (lambda: Avro(RECORD, references=Path("u.avsc")), ["references=", "references=[...]"]),
        (lambda: JsonSchema(OBJECT, references=Path("u.json")), ['references={"name": ...}']),
        (lambda: Csv(N, separator=5), ["separator=5", 'separator=";"']),
        (lambda: Csv({**N, "at": pl.Date}, times={"%Y-%m-%d"}), ["give a list: times=["]),
        (lambda: Json({"a": pl.Decimal(50, 2)}), ["'a'", "write pl.Decimal(38, 2)"]),
        (lambda: Csv({"a": pl.Decimal(5, 7)}), ["'a'", "write pl.Decimal(7, 7)"]),
        (lambda: Arrow({"a": pl.Decimal(5, 7)}), ["'a'", "write pl.Decimal(7, 7)"]),
        (lambda: Debezium({"a": pl.List(pl.Decimal(50, 49))}), ["write pl.Decimal(38, 38)"]),
        (lambda: Debezium(N, units={"n": "ms"}), ["'n' is Int64", "leave its unit out"]),
        (lambda: Debezium({"n": pl.Date}, units={"n": "ms"}), ["'n' is Date"]),
        (lambda: Debezium({"n": pl.Datetime("us", "UTC")}, units={"n": "ms"}), ["a unit is for"]),
        (lambda: Debezium({"n": pl.Time}, units={"n": "ms"}, times="text"), ["is text, by times"]),
        (lambda: Json({"a": pl.Date}, times=["%H:%M"]), ["times of day", "pl.Time", "leave times"]),
        (lambda: Json(N, times=["%Y-%m-%d %H:%M"]), ["has times,", 'pl.Datetime("us")']),
        (lambda: Json(N, time_form="%Y-%m-%d"), ["time_form=", "leave time_form out"]),
        (lambda: Csv({"a": pl.Time}, times=["%Y-%m-%d"]), ["has dates,", "pl.Date"]),
    ],
)  # fmt: skip
def test_what_was_meant_is_said(make, words):
    with pytest.raises(TopologyError) as refused:
        make()
    for word in words:
        assert word in str(refused.value)
    assert "test_wrong_arguments.py:" in refused.value.message


def test_an_option_that_is_replaced_is_told_at_the_line_that_replaces_it():
    form = Json({"at": pl.Date})
    with pytest.raises(TopologyError, match=r"test_wrong_arguments\.py:\d+: Json: times="):
        dataclasses.replace(form, times=["%H:%M"])


def test_forms_of_which_one_is_used_may_be_shared():
    forms = ["%Y-%m-%d %H:%M", "%H:%M", "%d.%m.%Y"]
    assert Json({"a": pl.Date}, times=forms).decode([b'{"a":"01.05.2026"}']).bad == {}
    assert Json({"a": pl.List(pl.Time)}, times=forms).decode([b'{"a":["09:10"]}']).bad == {}
    # Of a map's values, too, and of what is only written.
    tags = pl.List(pl.Struct({"key": pl.String, "value": pl.Int64}))
    form = Json({"a": pl.Date, "t": tags}, times=forms, maps={"t"})
    assert form.decode([b'{"a":"01.05.2026","t":{"x":1}}']).bad == {}
    assert Json(times=["%H:%M"]).encode(pl.DataFrame({"n": [1]})) == [b'{"n":1}']
    clock = Json({"t": pl.Time}, times=["%H:%M"])
    assert clock.encode(clock.decode([b'{"t":"09:10"}']).frame) == [b'{"t":"09:10"}']


@pytest.mark.parametrize("units", [{"c": "ms"}])
@pytest.mark.parametrize("kind", [pl.Time, pl.Datetime("ms"), pl.List(pl.Datetime), pl.Struct(
    {"n": pl.Int64, "t": pl.Time})])  # fmt: skip
def test_a_unit_of_times_anywhere_in_a_column_is_taken(kind, units):
    assert Debezium({"c": kind}, units=units).units == units
