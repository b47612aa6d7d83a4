"""Confluent's client behind the port: against a registry over HTTP, and the one in memory."""

from __future__ import annotations

import json
import time

import pytest

from processor.connectors.registry import client as client_module
from processor.connectors.registry.client import Client
from processor.errors import RegistryAwayError, RegistryError
from processor.formats.registry import Import, Schema, Wanted
from tests.services.registry import SchemaRegistry

TEXT = '{"type": "object", "properties": {"id": {"type": "integer"}}}'
WANTED = Wanted(Schema("JSON", TEXT))
QUICK = {"timeout": "1", "max.retries": "0"}


@pytest.fixture(params=["http", "memory"])
def client(request, registry):
    made = Client(registry.url if request.param == "http" else "mock://unit", QUICK)
    yield made
    made.close()


def test_what_is_registered_is_found_and_read_by_number_and_guid(client):
    assert client.find("orders-value", WANTED) is None
    known = client.register("orders-value", WANTED)
    assert client.register("orders-value", WANTED) == known
    assert client.find("orders-value", WANTED) == known
    found = client.read([known.number, known.guid], "JSON")
    assert found == {known.number: WANTED.schema, known.guid: WANTED.schema}


def test_what_the_registry_does_not_know_is_none_and_no_error(client):
    known = client.register("orders-value", WANTED)
    found = client.read([known.number, 4711, "ab" * 16], "JSON")
    assert found == {known.number: WANTED.schema, 4711: None, "ab" * 16: None}
    assert client.versions("nothing-value", "JSON") == []
    assert client.find("nothing-value", WANTED) is None


def test_versions_come_oldest_first(client):
    second = Wanted(Schema("JSON", json.dumps({"title": "second"})))
    numbers = [client.register("orders-value", one).number for one in (WANTED, second)]
    versions = client.versions("orders-value", "JSON")
    assert [known.number for known, _ in versions] == numbers
    assert [known.version for known, _ in versions] == [1, 2]
    assert versions[1][1].text == second.schema.text


def test_a_schema_is_asked_for_once(registry):
    client = Client(registry.url, QUICK)
    number = registry.register("orders-value", TEXT, "JSON")
    for _ in range(3):
        assert client.read([number], "JSON")[number] == WANTED.schema
    assert registry.asked.count(f"GET /schemas/ids/{number}") == 1


def test_an_unknown_number_is_asked_for_twice_and_then_not_for_a_while(registry):
    client = Client(registry.url, QUICK)
    for _ in range(3):
        assert client.read([9], "JSON") == {9: None}
    assert registry.asked.count("GET /schemas/ids/9") == 2


def test_a_number_that_the_registry_learns_of_meanwhile_is_known(registry, monkeypatch):
    client = Client(registry.url, QUICK)
    # What a follower of the registry hears a moment later.
    monkeypatch.setattr(
        client_module.time, "sleep", lambda _: registry.register("orders-value", TEXT, "JSON")
    )
    assert client.read([1], "JSON") == {1: WANTED.schema}


def test_garbage_is_not_waited_for(registry, monkeypatch):
    client = Client(registry.url, QUICK)
    monkeypatch.setattr(client_module.time, "sleep", lambda _: pytest.fail("it waited"))
    many = list(range(client_module.AGAIN_MOST + 1))
    assert set(client.read(many, "JSON").values()) == {None}


def test_references_come_with_a_schema_each_before_who_needs_it(registry):
    def reference(name, subject):
        return {"name": name, "subject": subject, "version": 1}

    registry.register("c", '"int"')
    registry.register("b", '"long"', references=[reference("C", "c")])
    number = registry.register(
        "a", '"string"', references=[reference("B", "b"), reference("C", "c")]
    )
    found = Client(registry.url, QUICK).read([number], "AVRO")[number]
    assert [(named.name, named.text) for named in found.references] == [
        ("C", '"int"'), ("B", '"long"'),
    ]  # fmt: skip


def test_what_a_schema_imports_is_registered_before_it(registry):
    client = Client(registry.url, QUICK)
    wanted = Wanted(Schema("PROTOBUF", "Yg=="), (Import("a.proto", "YQ=="),), ("a.proto",))
    assert client.find("orders-value", wanted) is None
    known = client.register("orders-value", wanted)
    assert client.find("orders-value", wanted) == known
    assert list(registry.subjects) == ["a.proto", "orders-value"]
    found = client.read([known.number], "PROTOBUF")[known.number]
    assert [(named.name, named.text) for named in found.references] == [("a.proto", "YQ==")]


def test_whether_a_schema_may_be_the_next_is_the_registrys_to_say(registry):
    client = Client(registry.url, QUICK)
    assert client.allows("orders-value", WANTED) is None
    client.register("orders-value", WANTED)
    assert client.allows("orders-value", WANTED) is True
    registry.compatible = False
    other = Wanted(Schema("JSON", "{}"))
    assert client.allows("orders-value", other) is False
    with pytest.raises(RegistryError, match="incompatible") as error:
        client.register("orders-value", other)
    assert not isinstance(error.value, RegistryAwayError)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 418, 404])
def test_a_registry_that_answers_something_else_is_away(registry, status):
    registry.failing = status
    client = Client(registry.url, QUICK)
    for ask in (
        lambda: client.read([1], "JSON"),
        lambda: client.find("s", WANTED),
        lambda: client.versions("s", "JSON"),
    ):
        with pytest.raises(RegistryAwayError) as away:
            ask()
        assert ("path in its address" in away.value.remedy) == (status == 404)


def test_a_registry_that_is_down_or_silent_is_away_and_comes_back(registry):
    number = registry.register("orders-value", TEXT, "JSON")
    client = Client(registry.url, QUICK)
    registry.stop()
    with pytest.raises(RegistryAwayError, match="does not answer"):
        client.read([number], "JSON")
    registry.start()
    began_s = time.monotonic()
    with registry.silent(), pytest.raises(RegistryAwayError):
        client.read([number], "JSON")
    assert time.monotonic() - began_s < 5
    assert client.read([number], "JSON") == {number: WANTED.schema}


def test_what_was_read_is_known_while_the_registry_is_down(registry):
    number = registry.register("orders-value", TEXT, "JSON")
    client = Client(registry.url, QUICK)
    client.read([number], "JSON")
    registry.stop()
    assert client.read([number], "JSON") == {number: WANTED.schema}


@pytest.mark.parametrize(
    ("credentials", "properties"),
    [
        ("me:hunter22", {"basic.auth.user.info": "me:hunter22"}),
        ("Bearer abcdefgh", {"bearer.auth.token": "abcdefgh", "bearer.auth.logical.cluster": "l"}),
    ],
)
def test_credentials_are_given_and_without_them_the_run_is_refused(credentials, properties):
    registry = SchemaRegistry(credentials)
    try:
        number = registry.register("orders-value", TEXT, "JSON")
        given = Client(registry.url, QUICK | properties)
        assert given.read([number], "JSON") == {number: WANTED.schema}
        with pytest.raises(RegistryError, match="refuses: Unauthorized") as error:
            Client(registry.url, QUICK).read([number], "JSON")
        assert not isinstance(error.value, RegistryAwayError)
        assert error.value.remedy
    finally:
        registry.stop()


def test_no_message_shows_a_secret():
    client = Client("http://me:hunter22@127.0.0.1:9", QUICK)
    with pytest.raises(RegistryAwayError) as error:
        client.read([1], "JSON")
    assert "hunter22" not in str(error.value) + client.name
    assert "***@127.0.0.1:9" in str(error.value)
