"""Addresses and properties of a schema registry's client."""

from __future__ import annotations

import pytest

from processor.refusals.registry import KNOWN, NUMBERS, broken, secret, url_fault


@pytest.mark.parametrize(
    "url",
    ["http://registry:8081", "https://me:pa%40ss@registry", "mock://", "mock://a",
     "http://a:1,https://b:2", "http://[::1]:8081/apis/ccompat/v7", " http://a:1 , http://b:1"],
)  # fmt: skip
def test_addresses_of_a_registry(url):
    assert url_fault(url) is None


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "begins with no http://"),
        ("registry:8081", "begins with no http://"),
        ("redis://registry", "mock:// but redis://; write"),
        ("ftp://registry:8081", "begins with no http://, https:// or mock:// but ftp://"),
        ("htp://registry", "where http:// may be meant"),
        ("me:secret://registry", "https:// or mock://; write"),
        ("http://registry:port", "port is no number"),
        ("http://registry:99999", "port is no number"),
        ("http://:hunter22@", "names no host"),
        ("http://registry:0", "names no host"),
        ("http://a:1,registry", "begins with no http://"),
    ],
)
def test_what_is_no_address_is_told_without_any_of_it(url, why):
    told = url_fault(url)
    assert why in told
    assert "hunter22" not in told
    assert "mock://name" in told


def test_properties_are_known_by_the_client_itself():
    from confluent_kafka.schema_registry import SchemaRegistryClient

    bearer = {name: "x" for name in KNOWN if name.startswith("bearer.")}
    token = bearer.pop("bearer.auth.token")
    shared = ("bearer.auth.logical.cluster", "bearer.auth.identity.pool.id")
    static = {name: bearer[name] for name in shared} | {"bearer.auth.token": token}
    numbers = dict.fromkeys(NUMBERS, 1.0)
    more = {"url": "http://127.0.0.1:9", "basic.auth.user.info": "a:b", "proxy": "http://a:1"}
    seen = set()
    for source, given in (("STATIC_TOKEN", static), ("OAUTHBEARER", bearer)):
        every = {**numbers, **more, **given, "bearer.auth.credentials.source": source}
        SchemaRegistryClient(every).close()  # it refuses what it does not know
        seen |= set(every)
    assert {name for name in KNOWN if not name.startswith("ssl.")} == seen - {"url"}


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("timeout", "5", None),
        ("timeout", "0.5", None),
        ("timeout", "nan", "it is no number from 0 on"),
        ("max.retries", "-1", "it is no number from 0 on"),
        ("max.retries", "", "a number is needed"),
        ("basic.auth.user.info", "me:hunter22", None),
        ("basic.auth.user.info", "hunter22", "write user:password"),
        ("url", "http://a", "where the registry is, is for --schema-registry-url to say"),
        ("no.such.thing.at.all", "1", "there is no such property"),
        ("ssl.ca.loction", "a", "there is no such property; did you mean ssl.ca.location?"),
    ],
)
def test_properties_that_cannot_be_meant_are_told(name, value, why):
    assert broken(name, value) == why


def test_what_is_secret():
    secrets = {name for name in KNOWN if secret(name)}
    assert secrets >= {
        "basic.auth.user.info", "bearer.auth.token", "bearer.auth.client.secret",
        "ssl.key.password", "proxy",
    }  # fmt: skip
    assert not secret("timeout")
