"""What a schema registry has to do: the one in memory, the tests' own, and one of others."""

from __future__ import annotations

import contextlib
import json
import os
from uuid import uuid4

import polars as pl
import pytest

from processor import Avro, JsonSchema, Protobuf, Registered
from processor.connectors.registry.client import Client
from processor.formats.registry import Schema, Wanted
from tests.shop import class_of, field, file_of, shop

OBJECT = {"type": "object", "title": "Order", "properties": {"id": {"type": "integer"}}}
RIDE = {"type": "record", "name": "Ride", "fields": [{"name": "id", "type": "long"}]}
WIDER = {"type": "record", "name": "Ride", "fields": [
    {"name": "id", "type": "long"}, {"name": "note", "type": "string", "default": ""},
]}  # fmt: skip


GIVEN = os.environ.get("PROCESSOR_TEST_SCHEMA_REGISTRY_URL")


@pytest.fixture(params=["memory", "http", *(["given"] if GIVEN else [])])
def make(request, registry):
    """Makes clients of one registry; those of the one in memory are the same."""
    with contextlib.ExitStack() as closing:
        yield _maker(request, registry, closing)


def _maker(request, registry, closing):
    if request.param == "memory":
        client = Client("mock://contract", {})
        return lambda: client
    url = GIVEN if request.param == "given" else registry.url
    return lambda: closing.enter_context(contextlib.closing(Client(url, {})))


@pytest.fixture
def topic():
    return f"t-{uuid4().hex[:8]}"


def registered(client, form, topic):
    made = Registered(form, auto_register=True).of(topic)
    made.connect(client)
    return made


def test_a_schema_is_found_read_and_numbered_once_it_is_registered(make, topic):
    client, wanted = make(), Wanted(Schema("JSON", json.dumps(OBJECT)))
    assert client.find(f"{topic}-value", wanted) is None
    assert client.versions(f"{topic}-value", "JSON") == []
    known = client.register(f"{topic}-value", wanted)
    assert client.register(f"{topic}-value", wanted) == known
    assert make().find(f"{topic}-value", wanted) == known
    ((version, schema),) = make().versions(f"{topic}-value", "JSON")
    assert (version.number, version.version) == (known.number, 1)
    assert json.loads(schema.text) == OBJECT
    found = make().read([known.number, 2**31 - 1], "JSON")
    assert json.loads(found[known.number].text) == OBJECT
    assert found[2**31 - 1] is None


def test_another_worker_reads_what_one_has_written(make, topic):
    forms = [
        (Avro(RIDE), {"id": 7}),
        (JsonSchema(OBJECT), {"id": 7}),
        (Protobuf(class_of(shop(), "shop.Line")), {"sku": "a", "count": 7}),
    ]
    for number, (form, row) in enumerate(forms):
        writer, reader = (registered(make(), form, f"{topic}-{number}") for _ in range(2))
        values = writer.encode(pl.DataFrame([row], schema=form.columns))
        decoded = reader.decode(values)
        assert decoded.bad == {}
        assert decoded.frame.row(0, named=True) == row
        assert reader.known().number == writer.known().number


def test_a_later_version_is_read_as_the_earlier_ones_columns(make, topic):
    first, second = (registered(make(), Avro(schema), topic) for schema in (RIDE, WIDER))
    values = [*first.records([{"id": 1}]), *second.records([{"id": 2, "note": "x"}])]
    assert registered(make(), Avro(RIDE), topic).decode(values).frame["id"].to_list() == [1, 2]
    assert registered(make(), Avro(WIDER), topic).decode(values).frame.rows() == [
        (1, ""), (2, "x"),
    ]  # fmt: skip
    assert [k.version for k, _ in make().versions(f"{topic}-value", "AVRO")] == [1, 2]


def test_a_message_of_several_files_is_read(make, topic):
    first, second = file_of("a.proto", imports=["b.proto"]), file_of("b.proto")
    field(second.message_type.add(name="B"), 1, "int32", "n")
    field(first.message_type.add(name="A"), 1, "shop.B", "b")
    form = Protobuf(class_of(first, "shop.A", second))
    values = registered(make(), form, topic).records([{"b": {"n": 5}}])
    assert registered(make(), form, topic).decode(values).frame["b"].to_list() == [{"n": 5}]
