"""Avro, JSON and Protobuf of a registry's schemas: written in Java and read here, and back.

The serializers and the registry are Apicurio's. Some 100 MB are fetched once, so this is not run
with the other tests: ``python -m tests.interchange`` does.
"""

from __future__ import annotations

import json
import os
import urllib.request

import pytest
from google.protobuf import descriptor_pb2, timestamp_pb2

from tests.integration.running import bench
from tests.interchange.benched import run
from tests.interchange.java import Java
from tests.services.jars import serdes
from tests.services.tools import tool
from tests.shop import field, file_of

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]

COPY = """
    topology = Topology("copy-{id}")
    registry = Registry("{url}")
    form = {form}
    rows = topology.read.kafka(
        "{trips}", format=Registered(form, registry), dead_letters="{dead}"
    )
    rows.write.kafka("{enriched}", format=Registered(form, registry, auto_register=True))
"""
RIDE = {"type": "record", "name": "Ride", "namespace": "shop", "fields": [
    {"name": "id", "type": "long"},
    {"name": "note", "type": ["null", "string"], "default": None},
    {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["NEW", "PAID"]}},
    {"name": "tags", "type": {"type": "array", "items": "string"}},
    {"name": "attrs", "type": {"type": "map", "values": "int"}},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal",
                               "precision": 10, "scale": 2}},
    {"name": "raw", "type": "bytes"},
    {"name": "inner", "type": {"type": "record", "name": "Inner", "fields": [
        {"name": "x", "type": "double"}, {"name": "y", "type": ["string", "int"]},
    ]}},
]}  # fmt: skip
RIDES = [
    {"id": -(2**63), "note": {"string": "ü日"}, "state": "PAID", "tags": ["a", ""],
     "attrs": {"k": -1, "l": 2}, "at": 1406851380250001, "price": "\x04\xd2", "raw": "\x00\xff",
     "inner": {"x": 1.5, "y": {"int": 3}}},
    {"id": 2**63 - 1, "note": None, "state": "NEW", "tags": [], "attrs": {}, "at": 0,
     "price": "\x00", "raw": "", "inner": {"x": -0.25, "y": {"string": ""}}},
]  # fmt: skip
ORDER = {
    "$schema": "http://json-schema.org/draft-07/schema#", "title": "Order", "type": "object",
    "required": ["id"], "properties": {
        "id": {"type": "integer"}, "note": {"type": "string"}, "fare": {"type": "number"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "inner": {"type": "object", "properties": {"x": {"type": "boolean"}}}},
}  # fmt: skip
ORDERS = [{"id": 2**62, "note": "ü", "fare": 0.1, "tags": ["x", ""], "inner": {"x": True}},
          {"id": -1}]  # fmt: skip
# As Protobuf's own form of JSON has them: 64 bits are text, what has its default is not there.
MESSAGES = [
    {"id": "-5", "state": "PAID", "lines": [{"sku": "ü", "count": "18446744073709551615"}, {}],
     "at": "2014-08-01T00:03:00.250Z", "note": 0, "attrs": {"k": {"sku": "v"}}, "tags": ["", "x"],
     "raw": "AP8=", "cash": "0"},
    {"card": "c", "weight": 1.5},
    {},
]  # fmt: skip


def shop():
    """A file whose first message has most sorts of fields."""
    file = file_of(imports=["google/protobuf/timestamp.proto"])
    order = file.message_type.add(name="Order")
    line = file.message_type.add(name="Line")
    field(line, 1, "string", "sku")
    field(line, 2, "uint64", "count")
    state = file.enum_type.add(name="State")
    for number, word in ((0, "NEW"), (1, "PAID")):
        state.value.add(name=word, number=number)
    entry = order.nested_type.add(name="AttrsEntry")
    entry.options.map_entry = True
    field(entry, 1, "string", "key")
    field(entry, 2, "shop.Line", "value")
    for number, (kind, name, how) in enumerate((
        ("sint64", "id", ""), ("enum shop.State", "state", ""), ("shop.Line", "lines", "repeated"),
        ("google.protobuf.Timestamp", "at", ""), ("string", "card", "pay"),
        ("int64", "cash", "pay"), ("shop.Order.AttrsEntry", "attrs", "repeated"),
        ("string", "tags", "repeated"), ("bytes", "raw", ""), ("float", "weight", ""),
        ("int32", "note", "optional"),
    ), 1):  # fmt: skip
        field(order, number, kind, name, how)
    known = descriptor_pb2.FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(known)
    return descriptor_pb2.FileDescriptorSet(file=[known, file])


@pytest.fixture
def url():
    return os.environ["PROCESSOR_TEST_SCHEMA_REGISTRY_URL"]


@pytest.fixture
def java(bench):
    return tool(lambda: Java(bench.servers, serdes(), "Serdes.java"))


def register(url, subject, kind, text):
    body = json.dumps({"schemaType": kind, "schema": text}).encode()
    asked = urllib.request.Request(  # noqa: S310 - our own
        f"{url}/subjects/{subject}/versions", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310 - our own
        return json.load(answer)["id"]


def given(bench, kind):
    """The file with a schema, and what makes our format of it."""
    path = bench.directory / f"schema.{kind}"
    if kind == "protobuf":
        path.write_bytes(shop().SerializeToString())
        return path, f"Protobuf({str(path)!r}, 'shop.Order')"
    path.write_text(json.dumps(RIDE if kind == "avro" else ORDER))
    made = {"avro": "Avro", "json": "JsonSchema"}[kind]
    return path, f"{made}(json.load(open({str(path)!r})))"


def copied(bench, url, form):
    names = {"id": bench.id, "trips": bench.trips, "enriched": bench.enriched, "dead": bench.dead}
    run(bench, "copy", COPY.format(**names, url=url, form=form))


@pytest.mark.parametrize(
    ("kind", "rows"), [("avro", RIDES), ("json", ORDERS), ("protobuf", MESSAGES)]
)
def test_rows_of_java_are_read_and_what_is_written_java_reads(bench, java, url, kind, rows):
    bench.create(partitions=1)
    path, form = given(bench, kind)
    if kind == "json":
        register(url, f"{bench.trips}-value", "JSON", json.dumps(ORDER))
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    java.run(f"write-{kind}", bench.trips, url, path, text=text)
    assert [message.value()[0] for message in bench.topics.read(bench.trips)] == [0] * len(rows)
    copied(bench, url, form)
    assert [letter.headers() for letter in bench.topics.read(bench.dead)] == []
    found = [json.loads(line) for line in java.run(f"read-{kind}", bench.enriched, url, path)]
    assert found == rows


def test_messages_of_apicurios_own_form_are_dead_letters_and_never_misread(bench, java, url):
    """It has the message's name in a header, where Confluent's has its place before the message."""
    bench.create(partitions=1)
    path, form = given(bench, "protobuf")
    text = "".join(f"{json.dumps(row)}\n" for row in MESSAGES)
    java.run("write-apicurio-protobuf", bench.trips, url, path, text=text)
    copied(bench, url, form)
    letters = bench.topics.read(bench.dead)
    assert len(letters) == len(MESSAGES)
    reasons = {dict(letter.headers())["processor.error"] for letter in letters}
    assert all(b"another message" in reason or b"which message" in reason for reason in reasons)
    assert bench.topics.read(bench.enriched) == []
