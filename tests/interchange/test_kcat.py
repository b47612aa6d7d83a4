"""What kcat writes is read, and what is written kcat reads, on a real broker."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tests.integration.running import bench
from tests.interchange.benched import misplaced, run

__all__ = ["bench"]
pytestmark = [pytest.mark.kafka, pytest.mark.redis]

KEPT = """
    topology = Topology("kept-{id}")
    form = Json({{"id": pl.Int64, "name": pl.String}}, optional=frozenset({{"name"}}))
    rows = topology.read.kafka(
        "{trips}", format=form, key="k", headers="h", timestamp="at", dead_letters="{dead}",
    )
    rows.write.kafka("{enriched}", format=form, key="k", headers="h", timestamp="at")
"""
TOMBSTONES = """
    topology = Topology("latest-{id}")
    rows = topology.read.kafka("{trips}", format=Text(tombstones=True), key="k")
    rows.write.kafka("{enriched}", format=Text(tombstones=True), key="k")
"""
LINES = """
    topology = Topology("lines-{id}")
    form = Csv({{"at": pl.Datetime("us"), "fare": pl.Decimal(10, 2), "note": pl.String}})
    rows = topology.read.kafka("{trips}", format=form, dead_letters="{dead}")
    rows.write.kafka("{enriched}", format=form)
"""
COUNTED = """
    topology = Topology("counted-{id}")
    words = topology.read.kafka("{trips}", format=Text(), key="k", partitioned_by="k")
    counts = words.group_by("k").agg(n=F.count())
    counts.write.kafka("{enriched}", format=Json({{"n": pl.Int64}}), key="k", mode="update")
"""
NUMBERED = """
    topology = Topology("numbered-{id}")
    schema = {{"type": "object", "title": "Word", "properties": {{"value": {{"type": "string"}}}}}}
    words = topology.read.kafka("{trips}", format=Text())
    words.write.kafka(
        "{enriched}", format=Registered(JsonSchema(schema), Registry("{url}"), auto_register=True)
    )
"""


def ran(bench, name, code, **more):
    names = {"id": bench.id, "trips": bench.trips, "enriched": bench.enriched, "dead": bench.dead}
    return run(bench, name, code.format(**names, **more))


def put(kcat, bench, text, *args):
    kcat.produce(bench.servers, bench.trips, text, *args)


def test_keys_headers_and_values_of_kcat_come_back_to_kcat_as_they_were(bench, kcat):
    bench.create()
    put(kcat, bench, '{"id":1}\n{"id":2,"name":"\\u00fc"}\n')
    put(kcat, bench, 'a\t{"id":3,"name":"x:y"}\n\t{"id":4}\nc\t\n', "-K", "\t",
        "-H", "trace=1", "-H", "größe=ü", "-H", "twice=a", "-H", "twice=b", "-H", "none",
        "-z", "snappy")  # fmt: skip
    put(kcat, bench, 'd\t{"id":5}\ne\t\n', "-K", "\t", "-Z")
    ran(bench, "kept", KEPT)

    came = kcat.envelopes(bench.servers, bench.trips)
    assert len(came) == 7
    found = {json.loads(each["payload"])["id"]: each for each in
             kcat.envelopes(bench.servers, bench.enriched)}  # fmt: skip
    headers = ["trace", "1", "größe", "ü", "twice", "a", "twice", "b", "none", None]
    assert {number: (each["key"], each.get("headers", [])) for number, each in found.items()} == {
        1: (None, []), 2: (None, []), 3: ("a", headers), 4: ("", headers), 5: ("d", []),
    }  # fmt: skip
    assert json.loads(found[3]["payload"]) == {"id": 3, "name": "x:y"}
    assert json.loads(found[2]["payload"]) == {"id": 2, "name": "ü"}
    times = {each["payload"]: each["ts"] for each in came}
    assert found[1]["ts"] == times['{"id":1}']

    letters = {each["key"]: each for each in kcat.envelopes(bench.servers, bench.dead)}
    assert letters.keys() == {"c", "e"}
    told = {key: dict(zip(*[iter(each["headers"])] * 2, strict=True))
            for key, each in letters.items()}  # fmt: skip
    assert letters["c"]["payload"] == ""
    assert told["c"]["größe"] == "ü"
    assert letters["e"]["payload"] is None
    assert told["e"]["processor.error"] == "the record has no value"


def test_records_without_a_value_are_so_for_kcat_too(bench, kcat):
    bench.create()
    put(kcat, bench, "a=1\nb=2\na=\n", "-K", "=", "-Z")
    ran(bench, "latest", TOMBSTONES)
    # The length of a value that is not there is -1.
    shown = kcat.consume(bench.servers, bench.enriched, "-f", "%k %S %s\n").splitlines()
    assert sorted(shown) == ["a -1 ", "a 1 1", "b 1 2"]


def test_lines_of_csv_that_kcat_sends_are_rows_and_come_back_as_lines(bench, kcat):
    bench.create()
    lines = [f'2014-08-01 00:{n:02}:00,{n}.50,"a, ""{n}"""' for n in range(40)]
    text = "\n".join([*lines, "2014-08-01 00:00:00,1.555,x"])
    path = bench.directory / "lines.csv"
    path.write_text(text)
    # The lines of a file, each a record.
    kcat.run("-b", bench.servers, "-P", "-t", bench.trips, "-l", path)
    ran(bench, "lines", LINES)
    assert sorted(kcat.consume(bench.servers, bench.enriched).splitlines()) == sorted(lines)
    (letter,) = kcat.consume(bench.servers, bench.dead, "-f", "%s|%h\n").splitlines()
    assert letter.startswith("2014-08-01 00:00:00,1.555,x|")
    assert f"processor.topic={bench.trips}," in letter


def test_kcat_shows_where_each_record_lies(bench, kcat):
    """Partition, offset, key and time, as its users print them."""
    bench.create()
    keys = [f"k{n}" for n in range(60)] + ["", "ü", "日本"]
    put(kcat, bench, "".join(f"{key}:x\n" for key in keys), "-K", ":",
        "-X", "topic.partitioner=murmur2_random")  # fmt: skip
    made = ran(bench, "counted", COUNTED)
    assert misplaced(made) == []
    form = "%k %p %o %T %t %h %s\n"
    came = [line.split(" ") for line in
            kcat.consume(bench.servers, bench.trips, "-f", form).splitlines()]  # fmt: skip
    went = [line.split(" ") for line in
            kcat.consume(bench.servers, bench.enriched, "-f", form).splitlines()]  # fmt: skip
    assert {line[0]: line[1] for line in went} == {line[0]: line[1] for line in came}
    assert {line[0] for line in went} == set(keys)
    offsets = {}
    for _, partition, offset, time, topic, headers, value in went:
        # Markers of transactions take offsets too: they rise, and leave some out.
        assert int(offset) > offsets.get(partition, -1)
        offsets[partition] = int(offset)
        age = datetime.now(UTC) - datetime.fromtimestamp(int(time) / 1000, UTC)
        assert 0 <= age.total_seconds() < 300
        assert (topic, headers, value) == (bench.enriched, "", '{"n":1}')


def test_kcat_takes_the_number_of_a_registrys_schema_off_a_record(bench, kcat, registry):
    bench.create()
    put(kcat, bench, "a\n")
    ran(bench, "numbered", NUMBERED, url=registry.url)
    number = registry.version(f"{bench.enriched}-value", "latest")["id"]
    # A byte, four of a number with the highest first, and the rest as text.
    shown = kcat.consume(bench.servers, bench.enriched, "-s", "value=>bIs", "-f", "%s\n")
    assert shown == f'0{number}{{"value":"a"}}\n'
