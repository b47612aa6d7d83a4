"""A schema registry that is down at the start, goes down and comes back, under a real run."""

from __future__ import annotations

import json
import re
import struct
import urllib.error
import urllib.request

import pytest

from processor.connectors.partitioner import partition as murmur2
from tests.integration.running import bench, until
from tests.services import free_port

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]

RIDE = {"type": "record", "name": "Ride", "fields": [
    {"name": "id", "type": "long"}, {"name": "note", "type": ["null", "string"], "default": None},
]}  # fmt: skip
NEWER = {"type": "record", "name": "Ride", "fields": [
    {"name": "note", "type": "string"}, {"name": "id", "type": "int"},
]}  # fmt: skip
TOPOLOGY = f"""
from processor import Avro, Json, Registered, Topology

topology = Topology("APP")
rows = topology.read.kafka("SOURCE", format=Registered(Avro({RIDE!r})))
rows.write.kafka("OUTPUT", format=Json())
rows.write.kafka("AVRO", format=Registered(Avro({RIDE!r}), auto_register=True))
"""


def ride(number, id_):
    """A record of the first schema, or of the newer one."""
    long = bytes([2 * id_])
    body = long + b"\0" if number == 1 else b"\2a" + long
    return b"\0" + struct.pack(">I", number) + body


def ids(messages):
    return [json.loads(message.value())["id"] for message in messages]


def ready(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def failures(port):
    """How often the registry has not answered, as the metrics have it."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
        text = answer.read().decode()
    (line,) = re.findall(r"^processor_registry_failures_total\{.*\} (.*)$", text, re.MULTILINE)
    return float(line)


def test_a_run_waits_for_its_registry_and_loses_nothing(bench, registry):
    source, output, avro = (f"{name}-{bench.id}" for name in ("rides", "json", "avro"))
    text = TOPOLOGY.replace("SOURCE", source).replace("OUTPUT", output).replace("AVRO", avro)
    (bench.directory / "waits.py").write_text(text.replace("APP", f"waits-{bench.id}"))
    bench.topics.create(source, output, avro, f"waits-{bench.id}-dead-letters", partitions=1)
    registry.register(f"{source}-value", json.dumps(RIDE))
    bench.topics.fill(source, [ride(1, 1), ride(1, 2)])
    registry.stop()
    port = free_port()
    run = bench.start(
        f"{bench.directory}/waits.py", "--bootstrap-servers", bench.servers, "--redis-url",
        bench.redis_url, "--schema-registry-url", registry.url, "--metrics-port", port,
        "--schema-registry", "timeout=1", "--schema-registry", "max.retries=0",
        "--log-format", "json",
    )  # fmt: skip
    run.until(lambda run: len(run.events("waiting")) >= 2, "it says that it waits")
    assert "the schema registry at" in run.events("waiting")[0]["reason"]
    assert not ready(port)
    registry.start()
    with bench.topics.reader(output) as reader:
        reader.until(lambda found: len(found) == 2, "the first records", runs=[run])
        until(lambda: ready(port), "it is ready")

        # What is known goes on, what is new waits, and what is behind it waits too.
        registry.register(f"{source}-value", json.dumps(NEWER))
        registry.stop()
        bench.topics.fill(source, [ride(1, 3)])
        reader.until(lambda found: len(found) == 3, "records of a known schema", runs=[run])
        before = len(run.events("waiting"))
        assert failures(port) == 0
        bench.topics.fill(source, [ride(2, 4), ride(1, 5), b"none", ride(2, 6)])
        run.until(lambda run: len(run.events("waiting")) > before + 2, "it waits again")
        assert not ready(port)
        assert failures(port) >= 2
        reader.more(0.2)
        assert ids(reader.messages) == [1, 2, 3]
        registry.start()
        reader.until(lambda found: len(found) == 6, "all of them", runs=[run])
        assert ids(reader.messages) == [1, 2, 3, 4, 5, 6]
        until(lambda: ready(port), "it is ready again")
    assert [m.value() for m in bench.topics.read(f"waits-{bench.id}-dead-letters")] == [b"none"]
    number = registry.look_up(f"{avro}-value", {"schema": json.dumps(RIDE)})["id"]
    written = [message.value() for message in bench.topics.read(avro)]
    assert [value[:6] for value in written] == [
        b"\0" + struct.pack(">I", number) + bytes([2 * id_]) for id_ in (1, 2, 3, 4, 5, 6)
    ]
    assert run.terminate().exit_code() == 0


def test_two_workers_read_several_schemas_to_the_end_of_the_input(bench, registry):
    source, output, avro = (f"{name}-{bench.id}" for name in ("rides", "json", "avro"))
    text = TOPOLOGY.replace("SOURCE", source).replace("OUTPUT", output).replace("AVRO", avro)
    (bench.directory / "both.py").write_text(text.replace("APP", f"both-{bench.id}"))
    bench.topics.create(source, partitions=2)
    for schema in (RIDE, NEWER):
        registry.register(f"{source}-value", json.dumps(schema))
    sent = [ride(1 + i % 2, i % 64) for i in range(2_000)]
    bench.topics.fill(source, sent)
    bench.start(
        f"{bench.directory}/both.py", "--bootstrap-servers", bench.servers, "--redis-url",
        bench.redis_url, "--schema-registry-url", registry.url, "--create-topics", 2,
        "--workers", 2, "--until-caught-up",
    ).succeeds(120)  # fmt: skip
    assert sorted(ids(bench.topics.read(output))) == sorted(i % 64 for i in range(2_000))
    assert len(bench.topics.read(avro)) == len(sent)
    assert bench.topics.read(f"both-{bench.id}-dead-letters") == []


KEYED = f"""
import polars as pl
from processor import Avro, Json, Registered, Topology, functions as F

topology = Topology("APP")
rows = topology.read.kafka(
    "SOURCE", format=Json({{"n": pl.Int64}}), key_format=Registered(Avro({RIDE!r})),
    partitioned_by=["id", "note"],
)
totals = rows.group_by("id", "note").agg(n=F.sum("n"))
totals.write.kafka(
    "OUTPUT", key=["id", "note"], mode="update", format=Json(),
    key_format=Registered(Avro({RIDE!r}), auto_register=True),
)
"""


def test_keys_of_a_registry_wait_for_it_and_lie_where_murmur2_of_their_bytes_says(bench, registry):
    source, output = (f"{name}-{bench.id}" for name in ("keyed", "totals"))
    text = KEYED.replace("SOURCE", source).replace("OUTPUT", output)
    (bench.directory / "keyed.py").write_text(text.replace("APP", f"keyed-{bench.id}"))
    bench.topics.create(source, output, f"keyed-{bench.id}-dead-letters", partitions=4)
    registry.register("another", json.dumps(NEWER))
    registry.register(f"{source}-key", json.dumps(RIDE))
    keys = [b"\0\0\0\0\2" + bytes([2 * i]) + b"\0" for i in range(20)]
    bench.topics.fill(source, [b'{"n":1}'] * 60, keys=keys * 3)
    bench.topics.fill(source, [b'{"n":1}'], keys=[keys[0][:-1]])
    registry.stop()
    run = bench.start(
        f"{bench.directory}/keyed.py", "--bootstrap-servers", bench.servers, "--redis-url",
        bench.redis_url, "--schema-registry-url", registry.url, "--schema-registry", "timeout=1",
        "--schema-registry", "max.retries=0", "--log-format", "json", "--workers", 2,
        "--until-caught-up",
    )  # fmt: skip
    run.until(lambda run: run.events("waiting"), "it says that it waits")
    registry.start()
    run.succeeds(120)
    found = bench.topics.read(output)
    # The very schema has the number that it has under the other subject.
    assert registry.subjects[f"{output}-key"] == {1: 2}
    last = {message.key(): json.loads(message.value()) for message in found}
    assert last == {key: {"id": i, "note": None, "n": 3} for i, key in enumerate(keys)}
    assert all(message.partition() == murmur2(message.key(), 4) for message in found)
    assert run.events("see whether this is right") == []
    (letter,) = bench.topics.read(f"keyed-{bench.id}-dead-letters")
    assert letter.key() == keys[0][:-1]
