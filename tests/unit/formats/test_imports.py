"""Schemas that refer to others: read and written whole, kept by a registry each by itself."""

from __future__ import annotations

import json

import pytest
from confluent_kafka.schema_registry import Schema as Theirs
from confluent_kafka.schema_registry import SchemaReference, topic_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from processor import Avro, JsonSchema, Protobuf, Registered, TopologyError
from processor.connectors.registry.client import Client
from processor.errors import RegistryError
from processor.formats.avro.whole import Family
from tests.shop import class_of, field, file_of

STRATEGY = {"subject.name.strategy": topic_subject_name_strategy}
CONTEXT = SerializationContext("orders", MessageField.VALUE)


def record(name, *fields):
    return {"type": "record", "name": name, "namespace": "shop",
            "fields": [{"name": n, "type": kind} for n, kind in fields]}  # fmt: skip


UNIT = {"type": "enum", "name": "Unit", "namespace": "shop", "symbols": ["KG", "M"]}
LINE = record("Line", ("sku", "string"), ("unit", "Unit"))
ORDER = record("Order", ("first", "Line"), ("lines", {"type": "array", "items": "shop.Line"}),
               ("unit", ["null", "Unit"]))  # fmt: skip
A_LINE = {"sku": "a", "unit": "KG"}
ROW = {"first": A_LINE, "lines": [A_LINE, {"sku": "b", "unit": "M"}], "unit": "M"}

J_UNIT = {"type": "object", "properties": {"name": {"$ref": "#/$defs/text"}},
          "$defs": {"text": {"type": "string"}}, "required": ["name"]}  # fmt: skip
J_LINE = {"type": "object", "required": ["sku", "unit"],
          "properties": {"sku": {"$ref": "#/$defs/text"}, "unit": {"$ref": "unit.json"}},
          "$defs": {"text": {"type": "string"}}}  # fmt: skip
J_ORDER = {"type": "object", "title": "Order", "required": ["first"],
           "properties": {"first": {"$ref": "line.json"}, "n": {"$ref": "#/$defs/text"}},
           "$defs": {"text": {"type": "integer"}}}  # fmt: skip
J_OTHERS = {"line.json": J_LINE, "unit.json": J_UNIT, "unused.json": J_UNIT}
J_ROW = {"first": {"sku": "a", "unit": {"name": "kg"}}, "n": 5}


@pytest.fixture(params=["http", "memory"])
def client(request, registry):
    made = Client(registry.url if request.param == "http" else "mock://imports", {})
    yield made
    made.close()


def registered(client, form, **kwargs):
    made = Registered(form, **kwargs).of("orders")
    made.connect(client)
    return made


def avro():
    return Avro(ORDER, references=[UNIT, json.dumps(LINE)])


FORMS = [(avro, ROW), (lambda: JsonSchema(J_ORDER, references=J_OTHERS), J_ROW)]


@pytest.mark.parametrize(("make", "row"), FORMS)
def test_a_schema_with_others_is_written_and_read_whole(make, row):
    form = make()
    decoded = form.decode(form.records([row]))
    assert decoded.bad == {}
    assert decoded.frame.rows(named=True) == [row]
    assert form.decode(form.encode(decoded.frame)).frame.equals(decoded.frame)


@pytest.mark.parametrize(("make", "row"), FORMS)
def test_it_is_registered_after_those_that_it_refers_to_and_read_by_any_other(client, make, row):
    writer = registered(client, make(), auto_register=True)
    values = writer.encode(make().decode(make().records([row])).frame)
    reader = registered(client, make())
    assert reader.known() == writer.known()
    assert reader.decode(values).frame.rows(named=True) == [row]
    ((_, schema),) = client.versions("orders-value", writer.writers.kind)
    names = [named.name for named in schema.references]
    assert names in (["shop.Unit", "shop.Line"], ["unit.json", "line.json"])


def test_each_names_those_alone_that_it_uses_itself(registry):
    registered(Client(registry.url, {}), avro(), auto_register=True).known()
    assert list(registry.subjects) == ["shop.Unit", "shop.Line", "orders-value"]

    def named(number):
        return [one["name"] for one in registry.schemas[number]["references"]]

    assert [named(n) for n in (1, 2, 3)] == [[], ["shop.Unit"], ["shop.Line", "shop.Unit"]]
    assert json.loads(registry.schemas[3]["schema"]) == ORDER


def test_a_schema_is_known_wherever_those_that_it_refers_to_are_registered(registry):
    def reference(name, subject):
        return {"name": name, "subject": subject, "version": 1}

    units = reference("shop.Unit", "units-value")
    lines = reference("shop.Line", "lines-value")
    registry.register("units-value", json.dumps(UNIT))
    registry.register("lines-value", json.dumps(LINE, indent=1), references=[units])
    number = registry.register("orders-value", json.dumps(ORDER), references=[units, lines])
    form = registered(Client(registry.url, {}), avro())
    assert form.known().number == number
    assert set(registry.subjects) == {"units-value", "lines-value", "orders-value"}
    other = Avro(ORDER, references=[{**UNIT, "symbols": ["KG", "M", "L"]}, LINE])
    with pytest.raises(RegistryError, match="has not the schema of 'orders'"):
        registered(Client(registry.url, {}), other).known()


def test_a_reader_of_one_schema_reads_what_refers_to_another_version_of_a_part(client):
    newer = record("Line", ("unit", "Unit"), ("more", "long"), ("sku", "string"))
    writer = registered(client, Avro(ORDER, references=[UNIT, newer]), auto_register=True)
    more = [{**line, "more": 7} for line in [ROW["first"], *ROW["lines"]]]
    values = writer.records([{**ROW, "first": more[0], "lines": more[1:]}])
    assert registered(client, avro()).decode(values).frame.rows(named=True) == [ROW]


def test_messages_name_those_files_alone_that_they_import_themselves(registry):
    first = file_of("a.proto", imports=["b.proto"])
    second, third = file_of("b.proto", imports=["c.proto"]), file_of("c.proto")
    field(third.message_type.add(name="C"), 1, "int32", "n")
    field(second.message_type.add(name="B"), 1, "shop.C", "c")
    field(first.message_type.add(name="A"), 1, "shop.B", "b")
    made = class_of(first, "shop.A", second, third)
    form = registered(Client(registry.url, {}), Protobuf(made), auto_register=True)
    row = {"b": {"c": {"n": 5}}}
    values = form.records([row])
    named = [[one["name"] for one in registry.schemas[n]["references"]] for n in (1, 2, 3)]
    assert named == [[], ["c.proto"], ["b.proto"]]
    later = registered(Client(registry.url, {}), Protobuf(made))
    assert later.decode(values).frame.rows(named=True) == [row]


# Confluent's own serializers.


def test_avro_with_references_goes_both_ways_to_confluents_own(client):
    theirs = client.client
    theirs.register_schema("units", Theirs(json.dumps(UNIT), "AVRO"))
    units = SchemaReference("shop.Unit", "units", 1)
    theirs.register_schema("lines", Theirs(json.dumps(LINE), "AVRO", [units]))
    whole = Theirs(json.dumps(ORDER), "AVRO", [units, SchemaReference("shop.Line", "lines", 1)])
    value = AvroSerializer(theirs, whole, conf=STRATEGY)(ROW, CONTEXT)
    form = registered(client, avro())
    decoded = form.decode([value])
    assert decoded.bad == {}
    assert decoded.frame.rows(named=True) == [ROW]
    assert form.encode(decoded.frame) == [value]
    (ours,) = registered(client, avro(), auto_register=True).fed(avro().records([ROW]))
    assert AvroDeserializer(theirs, conf=STRATEGY)(ours, CONTEXT) == ROW


def test_json_with_references_goes_both_ways_to_confluents_own(client):
    theirs = client.client
    theirs.register_schema("units", Theirs(json.dumps(J_UNIT), "JSON"))
    units = SchemaReference("unit.json", "units", 1)
    theirs.register_schema("lines", Theirs(json.dumps(J_LINE), "JSON", [units]))
    whole = Theirs(json.dumps(J_ORDER), "JSON", [SchemaReference("line.json", "lines", 1)])
    value = JSONSerializer(whole, theirs, conf=STRATEGY)(J_ROW, CONTEXT)
    form = registered(client, JsonSchema(J_ORDER, references=J_OTHERS))
    decoded = form.decode([value])
    assert decoded.bad == {}
    assert decoded.frame.rows(named=True) == [J_ROW]
    (ours,) = form.encode(decoded.frame)
    read = JSONDeserializer(whole, schema_registry_client=theirs, conf=STRATEGY)
    assert read(ours, CONTEXT) == J_ROW


# What cannot be meant, and what is meant by a name.


@pytest.mark.parametrize(
    ("references", "what"),
    [
        ([], "there is no type 'shop.Line'"),
        ([LINE, UNIT], "there is no type 'shop.Unit'"),
        ([UNIT, "{"], "is no JSON"),
        ([UNIT, {"type": "array", "items": "int"}], "has no name"),
        ([UNIT, LINE, LINE], "shop.Line is defined twice, in shop.Line too"),
    ],
)
def test_references_that_define_not_what_is_used_are_refused_at_the_line(references, what):
    with pytest.raises(TopologyError) as error:
        Avro(ORDER, references=references)
    assert what in error.value.message
    assert "test_imports.py" in error.value.message
    assert error.value.remedy


def test_a_name_is_defined_where_it_is_first_used_and_nowhere_else():
    inside = record("Box", ("unit", UNIT), ("again", ["null", "Box"]))
    outer = record("Outer", ("unit", "Unit"), ("box", {"type": "map", "values": "Box"}),
                   ("boxes", {"type": "array", "items": ["null", "Box"]}))  # fmt: skip
    family = Family(outer, [inside])
    assert family.uses == ("shop.Box",)
    text = json.dumps(family.whole)
    assert (text.count('"symbols"'), text.count('"name": "shop.Box"')) == (1, 1)
    Avro(record("Outer", ("unit", "Unit")), references=[inside])


def test_a_schema_without_others_is_the_same_format_as_ever():
    whole = record("Ride", ("id", "long"))
    assert Avro(whole, references=[]).describe() == Avro(whole).describe()
    assert Avro(whole).told() == [whole, None]


def test_a_json_schema_is_meant_by_its_id_or_its_place_beside_the_root():
    line = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 5}}}
    for root, others in (
        ({"$id": "https://shop/order.json"}, {"https://shop/line.json": line}),
        ({}, {"lines": {**line, "$id": "line.json"}}),
        ({"$id": "https://shop/order.json"}, {"line.json": line}),
        ({"$id": "https://shop/order.json"},
         {"line.json": {**line, "$id": "https://shop/line.json"}}),
    ):  # fmt: skip
        schema = {**root, "properties": {"line": {"$ref": "line.json"}}}
        form = JsonSchema(schema, references=others)
        decoded = form.decode([b'{"line":{"n":5}}', b'{"line":{"n":6}}'])
        assert list(decoded.bad) == [1]


def test_a_json_schema_that_refers_to_nothing_is_refused_before_a_record_comes():
    hidden = {"properties": {"a": {"type": "string", "not": {"$ref": "gone.json"}}}}
    with pytest.raises(TopologyError, match=r"there is no 'gone\.json' that the schema refers to"):
        JsonSchema(hidden)


def test_json_schemas_that_refer_to_each_other_are_read_and_no_registry_keeps_them(client):
    one = {"properties": {"n": {"$ref": "two.json#/$defs/n"}}, "$defs": {"t": {"type": "string"}}}
    two = {"properties": {"t": {"$ref": "one.json#/$defs/t"}}, "$defs": {"n": {"type": "integer"}}}
    root = {"properties": {"one": {"$ref": "one.json"}, "two": {"$ref": "two.json"}}}
    form = JsonSchema(root, references={"one.json": one, "two.json": two})
    row = {"one": {"n": 1}, "two": {"t": "a"}}
    assert form.decode(form.records([row])).frame.rows(named=True) == [row]
    with pytest.raises(RegistryError, match=r"'one\.json' refers to itself by way of 'two\.json'"):
        registered(client, form, auto_register=True).known()
