from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import polars as pl
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from processor import Avro, CloudEvents, Csv, Json, JsonSchema, Protobuf, Topology
from processor import functions as F
from processor.operators.pipeline import Pipeline
from processor.plan.fingerprint import Description, describe, fingerprint, identity, layout
from processor.plan.nodes import Plan


def make(
    *,
    window: str | None = "1h",
    keys: tuple[str, ...] = ("user",),
    kind: Any = pl.Int64,
    delay: str = "1s",
    topic: str = "out",
    limit: int = 0,
    **aggregates: Any,
) -> Plan:
    app = Topology("a")
    form = Json({"dt": pl.Datetime("us"), "user": pl.String, "city": pl.String, "n": kind})
    rows = app.read.kafka("in", format=form, event_time="dt", partitioned_by="user")
    rows = rows.with_watermark(delay).filter(pl.col("n") > limit)
    group = [F.window("dt", window)] if window else []
    totals = rows.group_by(*group, *keys).agg(**aggregates or {"c": F.sum("n")})
    totals.write.kafka(topic, mode="update")
    return app.plan()


STEPS = [{"delay": "9s"}, {"topic": "other"}, {"limit": 5}]
STATE = [
    {"window": "2h"},
    {"window": None},
    {"keys": ("user", "city")},
    {"keys": ("city", "user")},
    {"kind": pl.Float64},
    {"c": F.max("n")},
    {"d": F.sum("n")},
    {"c": F.sum("n"), "d": F.count()},
    {"c": F.count("n")},
    {"c": F.count()},
]


def test_it_is_sixteen_hexadecimal_digits() -> None:
    assert len(fingerprint(make())) == 16
    assert int(fingerprint(make()), 16) >= 0


def test_one_plan_has_one_fingerprint_however_often_it_is_made() -> None:
    assert fingerprint(make()) == fingerprint(make())


@pytest.mark.parametrize("change", [*STEPS, *STATE])
def test_what_state_depends_on_changes_the_fingerprint(change: dict) -> None:
    assert fingerprint(make(**change)) != fingerprint(make())


@pytest.mark.parametrize("change", STEPS)
def test_the_layout_that_earlier_versions_wrote_is_of_the_state_alone(change: dict) -> None:
    assert layout(make(**change)) == layout(make())


@pytest.mark.parametrize("change", STATE)
def test_the_layout_changes_with_the_state(change: dict) -> None:
    assert layout(make(**change)) != layout(make())


def test_a_description_survives_being_written() -> None:
    for plan in (make(), make(window=None, a=F.mean("n"), b=F.count())):
        assert Description.parse(str(describe(plan))) == describe(plan)


def test_the_described_cells_are_those_that_the_operators_store() -> None:
    every = {
        "a": F.count(), "b": F.count("n"), "c": F.sum("n"), "d": F.min("n"), "e": F.max("n"),
        "f": F.mean("n"), "g": F.max("dt"),
    }  # fmt: skip
    for kind in (pl.Int32, pl.Float32, pl.Float64):
        plan = make(kind=kind, **every)
        (operator,) = describe(plan).operators
        rows = Pipeline(plan).new_state()[operator.name].changed()
        stored = {name: column.dtype.str for name, column in rows.cells.items()}
        assert {cell.name: cell.dtype for cell in operator.cells} == stored
        assert len(rows.layout.widths) == len(operator.keys) + 1


def test_where_a_function_of_the_users_lies_in_memory_does_not_matter() -> None:
    def plan() -> Plan:
        app = Topology("a")
        rows = app.read.kafka("in", format=Json({"user": pl.String}), partitioned_by="user")
        rows = rows.filter(pl.col("user").map_elements(str.isupper, pl.Boolean))
        rows.group_by("user").agg(n=F.count()).write.kafka("out", mode="update")
        return app.plan()

    assert fingerprint(plan()) == fingerprint(plan())


a = pl.col("a")
ANOTHER = [
    (a.str.to_datetime("%Y-%m-%d"), a.str.to_datetime("%Y-%d-%m")),
    (a.str.to_date("%d/%m/%Y").dt.month(), a.str.to_date("%m/%d/%Y").dt.month()),
    (a.str.to_datetime("%Y-%m-%d", strict=False), a.str.to_datetime("%Y-%m-%d")),
    (a.str.len_chars().cast(pl.Float64).round(1), a.str.len_chars().cast(pl.Float64).round(2)),
    (a.str.len_chars().is_between(1, 2), a.str.len_chars().is_between(1, 2, closed="left")),
    (a.str.contains("a.", literal=True), a.str.contains("a.")),
    (a.str.json_decode(pl.Int64), a.str.json_decode(pl.Int32)),
    (a.replace({str(i): "x" for i in range(50)}),
     a.replace({str(i): "xy"[i == 40] for i in range(50)})),
    (
        a.str.to_datetime("%F").dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Oslo"),
        a.str.to_datetime("%F").dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo"),
    ),
    (
        F.nearest("x", "y", [(0.0, 0.0), (1.0, 1.0)]),
        F.nearest("x", "y", [(0.0, 0.0), (1.0, 2.0)]),
    ),
    (
        a.str.to_date("%F").dt.day() + F.nearest("x", "y", [(0.0, 0.0)]),
        a.str.to_date("%D").dt.day() + F.nearest("x", "y", [(0.0, 0.0)]),
    ),
]  # fmt: skip


@pytest.mark.parametrize("pair", ANOTHER, ids=lambda pair: str(pair[0])[:50])
def test_what_an_expression_is_told_besides_is_seen(pair: tuple[pl.Expr, pl.Expr]) -> None:
    def plan(expression: pl.Expr) -> Plan:
        app = Topology("a")
        form = Json({"a": pl.String, "x": pl.Float64, "y": pl.Float64})
        rows = app.read.kafka("in", format=form, partitioned_by="a").with_columns(b=expression)
        rows.group_by("a").agg(c=F.max("x")).write.kafka("out", mode="update")
        return app.plan()

    one, other = map(plan, pair)
    assert fingerprint(one) == fingerprint(plan(pair[0]))
    assert fingerprint(one) != fingerprint(other)
    assert identity(one) != identity(other)


def record(*fields: dict) -> dict:
    return {"type": "record", "name": "R", "fields": [{"name": "n", "type": "long"}, *fields]}


def added(default: int, **more: Any) -> dict:
    return {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"},
            "default": default, **more}  # fmt: skip


def wanting(**more: Any) -> JsonSchema:
    at = {"type": "string", "format": "date-time"}
    properties = {"n": {"type": "integer"}, "at": at}
    return JsonSchema({"type": "object", "required": ["n"], "properties": properties, **more})


EVENT = {"n": pl.Int64, "at": pl.Datetime("us")}
FORMS = [
    Avro(record(added(1))),
    Avro(record(added(2))),
    Avro(record(added(1)), writer=record()),
    Avro(record(added(2)), writer=record()),
    Avro(record(added(1, aliases=["a"])), writer=record()),
    wanting(),
    wanting(required=["n", "at"]),
    wanting(additionalProperties=False),
    CloudEvents(Json(EVENT)),
    CloudEvents(Json(EVENT, duplicates="refuse")),
    CloudEvents(Json(EVENT), mode="binary"),
    Json({"at": pl.Datetime("us"), "n": pl.Int64}),
    Json({"at": pl.Datetime("us"), "n": pl.Int64}, epoch={"at": "s"}),
    Json({"at": pl.Datetime("us"), "n": pl.Int64}, epoch={"at": "ms"}),
    Json({"at": pl.Datetime("us"), "n": pl.Int64}, optional=frozenset({"n"})),
    Json({"at": pl.Datetime("us"), "n": pl.Int64}, times=["%d/%m/%Y %H:%M"]),
    Json({"at": pl.Datetime("us"), "n": pl.Int64}, times=["%m/%d/%Y %H:%M"]),
    Csv({"at": pl.Datetime("us"), "n": pl.Int64}),
    Csv({"at": pl.Datetime("us"), "n": pl.Int64}, separator=";"),
]


def test_what_a_format_is_told_besides_its_columns_is_seen() -> None:
    def plan(form: Any) -> Plan:
        app = Topology("a")
        rows = app.read.kafka("in", format=form, partitioned_by="n")
        rows.group_by("n").agg(c=F.max("at")).write.kafka("out", mode="update")
        return app.plan()

    assert len({fingerprint(plan(form)) for form in FORMS}) == len(FORMS)
    assert len({identity(plan(form)) for form in FORMS}) == len(FORMS)
    assert fingerprint(plan(Avro(record(added(1))))) == fingerprint(plan(FORMS[0]))
    assert fingerprint(plan(CloudEvents(Json(EVENT)))) == fingerprint(plan(FORMS[8]))


IN_ANY_ORDER = """
import polars as pl
from processor import Json, Topology
from processor.plan.fingerprint import identity

text, number = {"a", "b", "cc", "d", "e", "f"}, {"x", "yy", "z", "u", "v"}
app = Topology("a")
rows = app.read.kafka("in", format=Json({"s": pl.String}))
rows = rows.filter(pl.col("s").is_in(text) | pl.col("s").str.contains_any(list(number)))
same = pl.col("s").map_elements(str.lower, return_dtype=pl.String)
rows.filter(~same.is_in(number)).write.kafka("out")
print(identity(app.plan()))
"""


def test_a_set_of_values_is_the_same_in_each_process() -> None:
    def told(seed: int) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
        command = [sys.executable, "-W", "ignore", "-c", IN_ANY_ORDER]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    assert len({told(seed) for seed in (1, 2, 3)}) == 1


def test_other_values_in_the_middle_of_many_are_seen() -> None:
    def plan(*values: int) -> Plan:
        app = Topology("a")
        rows = app.read.kafka("in", format=Json({"n": pl.Int64}))
        rows.filter(pl.col("n").is_in(values)).write.kafka("out")
        return app.plan()

    assert identity(plan(0, 1, 2, 3, 4, 5)) != identity(plan(0, 1, 2, 30, 4, 5))
    assert identity(plan(0, 1, 2)) == identity(plan(2, 1, 0))


def message(*numbers: int) -> Protobuf:
    """A message of two numbers, ``n`` and ``at``, in these fields."""
    file = descriptor_pb2.FileDescriptorProto(name="m.proto", package="m", syntax="proto3")
    made = file.message_type.add(name="M")
    for name, number in zip(("n", "at"), numbers, strict=True):
        made.field.add(
            name=name, number=number, type="TYPE_INT64", label="LABEL_OPTIONAL", json_name=name
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName("m.M")
    return Protobuf(message_factory.GetMessageClass(found))


def test_fields_of_other_numbers_are_another_message() -> None:
    def told(form: Protobuf) -> str:
        app = Topology("a")
        rows = app.read.kafka("in", format=form, partitioned_by="n")
        rows.group_by("n").agg(c=F.max("at")).write.kafka("out", mode="update")
        return fingerprint(app.plan())

    assert told(message(1, 2)) == told(message(1, 2))
    assert told(message(1, 2)) != told(message(2, 1))
