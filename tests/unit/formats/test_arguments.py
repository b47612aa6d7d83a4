"""Options of another kind than is due: refused where they are given."""

import polars as pl
import pytest

from processor import (
    Arrow,
    Avro,
    Bytes,
    CloudEvents,
    Csv,
    Debezium,
    Json,
    JsonSchema,
    Registered,
    Text,
    Topology,
    TopologyError,
)
from processor.testing import TestDriver

SCHEMA = {"type": "record", "name": "R", "fields": [{"name": "n", "type": "long"}]}
N = {"n": pl.Int64}


@pytest.mark.parametrize(
    "make",
    [
        lambda: Csv(N, header="false"), lambda: Bytes(empty="no"), lambda: Text(tombstones="no"),
        lambda: Bytes(tombstones="yes"), lambda: Registered(Avro(SCHEMA), auto_register="no"),
        lambda: Debezium(N, schema="no"), lambda: Debezium(N, unwrap="yes"),
        lambda: Csv(N, header=1), lambda: Csv(N, header=None),
    ],
)  # fmt: skip
def test_a_text_is_no_truth_value(make):
    with pytest.raises(TopologyError) as refused:
        make()
    assert "test_arguments.py:" in refused.value.message
    assert refused.value.remedy.startswith(("say True or False", "leave it out"))


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda: Arrow(N, rows_max=True), "leave it out"),
        (lambda: Json(N, times=None), "leave it out"),
        (lambda: Csv(N, separator=None), "leave it out"),
        (lambda: Csv(N, quote=True), "leave it out"),
        (lambda: Json(N, rest=True), "leave it out"),
        (lambda: Avro(SCHEMA, references=None), "leave it out"),
        (lambda: Avro(SCHEMA, references=SCHEMA), "references=[...]"),
        (lambda: Avro(SCHEMA, references="line.avsc"), "references=[...]"),
        (lambda: JsonSchema({"properties": {"a": {"$ref": "line.json"}}}),
         "references={'line.json': ...}"),
        (lambda: JsonSchema({"properties": {"a": {"type": "integer"}}}, references=[{}]),
         'references={"name": ...}'),
        (lambda: Debezium(N, units="ms"), "say units={'ts': 'ms'}"),
        (lambda: Debezium(Registered(Avro(SCHEMA))), "Registered(Avro(...)) alone"),
        (lambda: Json({"a": pl.Datetime("us")}, times=["yyyy-MM-dd"]), "Java's letters"),
        (lambda: Avro({**SCHEMA, "fields": [{"name": "a", "type": "Line"}]}), "references=[...]"),
        (lambda: JsonSchema({"properties": {"a": {"type": "integer"}}, "required": ["b"]}),
         "describe it in properties"),
        (lambda: JsonSchema({"properties": {"a": {"type": "integer"}}, "required": "a"}), "['a']"),
        (lambda: JsonSchema({"properties": {"o": {
            "type": "object", "properties": {"a": {"type": "integer"}}, "required": ["b"]}}}),
         "leave it out of required"),
        (lambda: CloudEvents(Json(), constants={"time": "now"}, attributes={"id": "id"}),
         "2026-05-01T09:10:00Z"),
        (lambda: CloudEvents(Json(), constants={"source": "/s", "type": "t"}),
         "attributes={'id': 'id', 'time': 'time'}"),
    ],
)  # fmt: skip
def test_what_is_right_is_said(make, remedy):
    with pytest.raises(TopologyError) as refused:
        make()
    assert remedy in refused.value.remedy


def test_what_may_be_left_out_may_be_nothing():
    assert Csv(N, quote=None).quote is None
    assert Debezium(N, schema=None).schema is None
    assert Avro(SCHEMA, select=None).columns == N


def test_what_schemas_beside_a_schema_require_is_described_there():
    described = {"a": {"type": "integer"}, "b": {"type": "integer"}}
    beside = {"properties": {"a": {"const": 1}}, "required": ["b"]}
    form = JsonSchema({"type": "object", "properties": described, "if": {}, "then": beside})
    assert form.columns.keys() == {"a", "b"}


@pytest.mark.parametrize("form", [Json, Debezium])
@pytest.mark.parametrize(
    "kind", [pl.Struct({"b": pl.List}), pl.List(pl.Enum), pl.Decimal(50, 2), pl.List, pl.Struct]
)
def test_types_that_do_not_say_what_is_in_them_are_refused_at_their_line(form, kind):
    with pytest.raises(TopologyError, match=r"test_arguments\.py:\d+: \w+: column 'c'") as refused:
        form({"c": kind})
    assert refused.value.remedy


def test_types_of_times_may_leave_their_unit_out_wherever_they_stand():
    topology = Topology("times")
    form = Json({"at": pl.Datetime, "took": pl.Duration, "all": pl.List(pl.Datetime)})
    topology.read.kafka("in", format=form).select("at", "took", "all").write.kafka("out")
    driver = TestDriver(topology)
    row = {"at": "2026-01-01T00:00:00", "took": "PT1S", "all": ["2026-01-01T00:00:00"]}
    driver.feed([row])
    driver.run()
    assert driver.json("out") == [row]
