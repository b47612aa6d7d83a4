import pytest

from processor.refusals.addresses import kafka_fault, redis_fault


@pytest.mark.parametrize(
    "url",
    ["redis://cache", "redis://cache:6379/", "redis://cache:6379/15", "rediss://me:p%40@cache/0",
     "redis://user:pa@ss@host", "redis://:pa ss@host:1", "unix:///run/redis.sock?db=0",
     "unix://me:x@/run/redis.sock", "redis://[::1]:6379/1", "redis://10.0.0.1",
     "redis://cache/0?socket_timeout=3", "redis://a_b.c-d:1"],
)  # fmt: skip
def test_addresses_of_a_redis(url):
    assert redis_fault(url) is None


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://cache/abc", "database is no number"),
        ("redis://cache/1/2", "database is no number"),
        ("redis://cache?db=x", "database is no number"),
        ("redis://cache:port", "port is no number"),
        ("redis://cache:0", "port is no number"),
        ("redis://cache:99999", "port is no number"),
        ("redis://:hunter2", "port is no number"),
        ("redis//:hunter2@host", "begins with no redis://"),
        ("redis:/cache", "begins with no redis://"),
        ("cache:6379", "begins with no redis://"),
        ("", "begins with no redis://"),
        ("http://cache", "something else than redis://"),
        ("redis://", "names no host"),
        ("redis://me:hunter2@", "names no host"),
        ("redis://:hun/ter2@host", "cannot be told apart"),
        ("redis://:hun#ter2@host", "cannot be told apart"),
        ("redis://user:12/hunter2@host/0", "cannot be told apart"),
        ("redis://host/0#hunter2", "a # stands in it"),
        ("redis://ca che", "its host is none"),
        ("unix://run/redis.sock", "names no socket"),
        ("redis://cache/0?decode_responses=true", "is not one of a connection"),
        ("redis://cache/0?protocol=3", "is not one of a connection"),
    ],
)
def test_what_is_no_address_of_a_redis_is_told_without_its_secrets(url, why):
    told = redis_fault(url)
    assert told is not None
    assert why in told
    assert "redis://host:6379/0, with user:password@" in told
    for part in ("hunter2", "hun/", "ter2", "12/"):
        assert part not in told


@pytest.mark.parametrize(
    "servers",
    ["broker", "broker:9092", "a:1,b:2", " a:1, b:2", "[::1]:9092", "[::1]", "SSL://broker:9092",
     "10.0.0.1:9092", "[fe80::1%eth0]:9092"],
)  # fmt: skip
def test_lists_of_brokers(servers):
    assert kafka_fault(servers) is None


@pytest.mark.parametrize(
    ("servers", "why"),
    [
        ("", "has no name"),
        ("a:1,,b:2", "has no name"),
        ("a:1,", "has no name"),
        ("broker:port", "the port of broker"),
        ("broker:0", "the port of broker"),
        ("broker:99999", "the port of broker"),
        ("broker:", "the port of broker"),
        ("::1:9092", "no brackets"),
        ("a:9092;b:9092", "a comma between them"),
        ("a:9092 b:9092", "a comma between them"),
        ("redis://cache:6379", "a URL"),
        ("http://broker:9092", "a URL"),
        ("me:hunter2@broker:9092", "a user or a password"),
        ("SASL_SSL://me:hunter2@broker:9092", "a user or a password"),
        ("bro$ker:9092", "name is none"),
    ],
)
def test_what_is_no_list_of_brokers_is_told_without_its_secrets(servers, why):
    told = kafka_fault(servers)
    assert told is not None
    assert why in told
    assert "hunter2" not in told
