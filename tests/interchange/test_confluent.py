"""Confluent's serializers for Python read what is written, and are read, over a broker."""

from __future__ import annotations

import contextlib
import json
import os

import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import (
    dual_schema_id_deserializer,
    header_schema_id_serializer,
    topic_subject_name_strategy,
)
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from processor.connectors.registry.client import Client
from tests.integration.running import bench
from tests.interchange.benched import run
from tests.unit.formats.test_interchange import ORDER, RIDE, RIDES, ROWS, orders

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]

GIVEN = os.environ.get("PROCESSOR_TEST_SCHEMA_REGISTRY_URL")
STRATEGY = {"subject.name.strategy": topic_subject_name_strategy}
COPY = """
    from tests.unit.formats.test_interchange import ORDER, RIDE, orders

    topology = Topology("copy-{id}")
    given = dict(registry=Registry("{url}"), id_in="{id_in}")
    rows = topology.read.kafka(
        "{trips}", format=Registered({form}, **given), dead_letters="{dead}"
    )
    rows.write.kafka("{enriched}", format=Registered({form}, **given, auto_register=True))
"""
CLASS, MESSAGES = orders()
FORMS = {"avro": "Avro(RIDE)", "json": "JsonSchema(ORDER)", "protobuf": "Protobuf(orders()[0])"}


REGISTRIES = ["own", *(["given"] if GIVEN else [])]
# Not every registry gives schemas the guid that a header has.
CASES = [*((where, kind, "value") for where in REGISTRIES for kind in FORMS),
         ("own", "avro", "header")]  # fmt: skip


@pytest.fixture
def client(request, registry):
    url = registry.url if request.param == "own" else GIVEN
    with contextlib.closing(Client(url, {})) as made:
        made.url = url
        yield made


def serializer(kind, client, conf):
    conf = STRATEGY | conf
    if kind == "avro":
        return AvroSerializer(client, json.dumps(RIDE), conf=conf)
    if kind == "json":
        return JSONSerializer(json.dumps(ORDER), client, conf=conf)
    return ProtobufSerializer(CLASS, client, conf=conf)


def deserializer(kind, client, conf):
    conf = STRATEGY | conf
    if kind == "avro":
        return AvroDeserializer(client, conf=conf)
    if kind == "json":
        return JSONDeserializer(None, schema_registry_client=client, conf=conf)
    return ProtobufDeserializer(CLASS, conf, client)


@pytest.mark.parametrize(("client", "kind", "id_in"), CASES, indirect=["client"])
def test_rows_of_confluents_serializers_come_back_to_them_as_they_were(bench, client, kind, id_in):
    bench.create(partitions=1)
    rows = {"avro": RIDES, "json": ROWS, "protobuf": MESSAGES}[kind]
    conf = {"schema.id.serializer": header_schema_id_serializer} if id_in == "header" else {}
    write = serializer(kind, client.client, conf)
    producer = Producer({"bootstrap.servers": bench.servers})
    for row in rows:
        headers = []
        value = write(row, SerializationContext(bench.trips, MessageField.VALUE, headers))
        producer.produce(bench.trips, value, headers=headers)
    assert producer.flush(30) == 0

    names = {"id": bench.id, "trips": bench.trips, "enriched": bench.enriched, "dead": bench.dead}
    code = COPY.format(**names, url=client.url, id_in=id_in, form=FORMS[kind])
    run(bench, "copy", code)
    assert [letter.headers() for letter in bench.topics.read(bench.dead)] == []
    found = bench.topics.read(bench.enriched)
    assert [bool(message.headers()) for message in found] == [id_in == "header"] * len(rows)
    read = deserializer(
        kind, client.client, {"schema.id.deserializer": dual_schema_id_deserializer}
    )
    assert [
        read(
            message.value(),
            SerializationContext(bench.enriched, MessageField.VALUE, message.headers() or []),
        )
        for message in found
    ] == rows
