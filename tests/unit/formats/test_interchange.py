"""What Confluent's own serializers write is read, and ours is read by its deserializers."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import polars as pl
import pytest
from confluent_kafka.schema_registry import (
    dual_schema_id_deserializer,
    header_schema_id_serializer,
    topic_subject_name_strategy,
)
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from processor import Avro, JsonSchema, Protobuf, Registered
from processor.connectors.registry.client import Client
from tests.shop import class_of, shop

STRATEGY = {"subject.name.strategy": topic_subject_name_strategy}
ORDER = {
    "$schema": "http://json-schema.org/draft-07/schema#", "title": "Order", "type": "object",
    "required": ["id"],
    "properties": {"id": {"type": "integer"}, "note": {"type": "string"},
                   "tags": {"type": "array", "items": {"type": "string"}}},
}  # fmt: skip
ROWS = [{"id": 1, "note": "a", "tags": ["x"]}, {"id": 2}]


@pytest.fixture(params=["http", "memory"])
def client(request, registry):
    made = Client(registry.url if request.param == "http" else "mock://swap", {})
    yield made
    made.close()


@pytest.fixture(params=["value", "header"])
def id_in(request):
    return request.param


def registered(client, form, **kwargs):
    made = Registered(form, **kwargs).of("orders")
    made.connect(client)
    return made


def context(headers=None):
    return SerializationContext("orders", MessageField.VALUE, headers)


def written(serializer, records):
    """Values and headers, as Confluent's serializer makes them."""
    values, headers = [], []
    for each in records:
        own = []
        values.append(serializer(each, context(own)))
        headers.append(own)
    return values, headers


def read(deserializer, form, values):
    told = form.header()
    return [deserializer(value, context([told] if told else [])) for value in values]


def theirs(id_in):
    return STRATEGY | (
        {"schema.id.serializer": header_schema_id_serializer} if id_in == "header" else {}
    )


def ours():
    return {"schema.id.deserializer": dual_schema_id_deserializer} | STRATEGY


def test_json_that_confluent_writes_is_read(client, id_in):
    serializer = JSONSerializer(json.dumps(ORDER), client.client, conf=theirs(id_in))
    values, headers = written(serializer, ROWS)
    decoded = registered(client, JsonSchema(ORDER), id_in=id_in).decode_with(
        values, lambda: headers
    )
    assert decoded.bad == {}
    assert decoded.frame.rows() == [(1, "a", ["x"]), (2, None, None)]


def test_json_that_is_written_is_read_by_confluent(client, id_in):
    form = registered(client, JsonSchema(ORDER), auto_register=True, id_in=id_in)
    frame = pl.DataFrame(ROWS, schema=form.columns)
    deserializer = JSONDeserializer(None, schema_registry_client=client.client, conf=ours())
    assert read(deserializer, form, form.encode(frame)) == ROWS


def orders():
    made = class_of(shop(), "shop.Order")
    first = made(id=5, state=1, lines=[{"sku": "a", "count": 2**64 - 1}], note=0, tags=["x"])
    first.at.FromJsonString("2014-08-01T00:03:00.25Z")
    first.attrs["k"].sku = "v"
    return made, [first, made()]


def test_messages_that_confluent_writes_are_read(client, id_in):
    made, messages = orders()
    values, headers = written(ProtobufSerializer(made, client.client, conf=theirs(id_in)), messages)
    form = registered(client, Protobuf(made), id_in=id_in)
    decoded = form.decode_with(values, lambda: headers)
    assert decoded.bad == {}
    plain = Protobuf(made).decode([message.SerializeToString() for message in messages])
    assert decoded.frame.equals(plain.frame)


def test_messages_that_are_written_are_read_by_confluent(client, id_in):
    made, messages = orders()
    form = registered(client, Protobuf(made), auto_register=True, id_in=id_in)
    frame = Protobuf(made).decode([message.SerializeToString() for message in messages]).frame
    deserializer = ProtobufDeserializer(made, ours(), client.client)
    found = read(deserializer, form, form.encode(frame))
    assert [each.SerializeToString(deterministic=True) for each in found] == [
        each.SerializeToString(deterministic=True) for each in messages
    ]


def test_what_both_register_is_one_schema(client):
    made, messages = orders()
    written(ProtobufSerializer(made, client.client, conf=theirs("value")), messages)
    assert registered(client, Protobuf(made)).known().version == 1


RIDE = {
    "type": "record", "name": "Ride", "namespace": "shop",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
    ],
}  # fmt: skip
RIDES = [
    {"id": 1, "at": datetime(2014, 8, 1, 0, 3, tzinfo=UTC), "note": "a", "tags": ["x", ""]},
    {"id": -(2**63), "at": datetime(1970, 1, 1, tzinfo=UTC), "note": None, "tags": []},
]


def test_avro_that_confluent_writes_is_read(client, id_in):
    serializer = AvroSerializer(client.client, json.dumps(RIDE), conf=theirs(id_in))
    values, headers = written(serializer, RIDES)
    decoded = registered(client, Avro(RIDE), id_in=id_in).decode_with(values, lambda: headers)
    assert decoded.bad == {}
    assert decoded.frame.rows(named=True) == RIDES


def test_avro_that_is_written_is_read_by_confluent(client, id_in):
    form = registered(client, Avro(RIDE), auto_register=True, id_in=id_in)
    frame = pl.DataFrame(RIDES, schema=form.columns)
    deserializer = AvroDeserializer(client.client, conf=ours())
    assert read(deserializer, form, form.encode(frame)) == RIDES


def test_keys_that_confluent_writes_are_read_and_ours_are_theirs_to_the_byte(client, id_in):
    told = SerializationContext("orders", MessageField.KEY, [])
    serializer = AvroSerializer(client.client, json.dumps(RIDE), conf=theirs(id_in))
    key = serializer(RIDES[0], told)
    form = Registered(Avro(RIDE), id_in=id_in).of("orders", "key")
    form.connect(client)
    decoded = form.decode_with([key], lambda: [told.headers])
    assert decoded.bad == {}
    assert form.encode(decoded.frame) == [key]
    header = form.header()
    assert told.headers == ([] if header is None else [header])
    assert AvroDeserializer(client.client, conf=ours())(key, told) == RIDES[0]
