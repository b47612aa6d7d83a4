"""A sample of a topic, and the topology that is written down for it."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from google.protobuf.api_pb2 import Mixin

from processor import Avro, JsonSchema, Protobuf, Registered, Topology, app
from processor.app import sketch as sketching
from processor.app.sketch import sample, sketch
from processor.cli.main import cli
from processor.connectors.memory.log import MemoryLog
from processor.connectors.registry.client import Client
from processor.errors import SettingsError
from processor.formats.registry import Schema, Wanted
from processor.plan.nodes import Source
from processor.testing import TestDriver


def filled(partitions: int = 2, count: int = 10) -> MemoryLog:
    log = MemoryLog()
    log.create({"in": partitions})
    for number in range(count):
        value = b'{"id":%d,"at":"2026-05-01T09:10:00"}' % number
        log.feed("in", [value], [b"%d" % number], partition=number % partitions)
    return log


def source(code: str) -> Source:
    made = {}
    exec(code, made)  # noqa: S102 - our own text
    topology = made["topology"]
    assert isinstance(topology, Topology)
    return topology.plan().source()


def test_the_last_records_of_each_partition_are_looked_at():
    found = sample(filled(), "in", 4)
    assert sorted(key for key, _ in found) == [b"6", b"7", b"8", b"9"]
    assert len(sample(filled(), "in", 1_000)) == 10
    assert len(sample(filled(3, 2), "in", 1_000)) == 2
    assert len(sample(filled(), "in", 1)) == 1


def test_no_more_bytes_are_kept_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(sketching, "BYTES_MAX", 100)
    assert len(sample(filled(), "in", 1_000)) == 3


@pytest.mark.parametrize(
    ("topic", "told"), [("none", "there is no topic 'none'"), ("in", "holds no record")]
)
def test_a_topic_without_records_is_refused(topic, told):
    with pytest.raises(SettingsError, match=told) as refused:
        sample(filled(count=0), topic, 10)
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("values", "told"), [([b"\xff"], "1 are no text"), ([None, b""], "none has a value")]
)
def test_values_that_no_format_reads_are_refused(values, told):
    with pytest.raises(SettingsError, match=told) as refused:
        sketch("in", [(None, value) for value in values])
    assert "docs/guide.md" in refused.value.remedy


def test_the_column_that_is_the_key_is_what_the_topic_is_partitioned_by():
    found = source(sketch("in", [(b"7", b'{"n":1,"id":7}'), (b"8", b'{"n":8,"id":8}')]))
    assert found.partitioned_by == ("id",)


def test_keys_of_json_have_a_format_and_a_prefix_where_the_value_has_their_names():
    found = source(sketch("in", [(b'{"id":7}', b'{"id":1}'), (b'{"id":8}', b'{"id":1}')]))
    assert found.of_key() == {"key_id": pl.Int64()}
    assert found.partitioned_by == ("key_id",)
    found = source(sketch("in", [(b'{"k":7}', b'{"id":1}'), (None, b'{"id":1}')]))
    assert (found.of_key(), found.partitioned_by) == ({"k": pl.Int64()}, ())


@pytest.mark.parametrize(
    ("keys", "column", "told"),
    [
        ([b"ann", b"bob"], "record_key", "keys are text, as 'ann'"),
        ([b"ann", None], "record_key", "keys are text, as 'ann'"),
        ([None, None], None, "have no keys"),
        ([b"\xff\0", b"a"], None, r"are no text: the first is b'\xff\x00'"),
    ],
)
def test_other_keys_are_told(keys, column, told):
    code = sketch("in", [(key, b'{"key":1}') for key in keys])
    assert source(code).key == column
    assert told in code


def test_what_would_be_a_dead_letter_and_what_looks_like_an_envelope_is_told():
    code = sketch("in", [(None, None), (None, b'{"op":"c","before":null,"after":{"a":1}}')])
    assert "# 1 record has no value: they are passed over." in code
    assert source(code).tombstones == "pass"
    assert "see the format Debezium" in code
    code = sketch("in", [(None, b""), (None, b""), (None, b'{"a":1}')])
    assert "# 2 records have an empty value, and would be dead letters." in code
    assert source(code).tombstones == "bad"
    code = sketch("in", [(None, b'{"specversion":"1.0","id":"a","source":"s","type":"t"}')] * 2)
    assert "look like CloudEvents" in code
    assert "no value" not in code


def test_what_a_registry_or_arrow_has_written_is_told_by_the_format_that_takes_it():
    framed = [b"\0\0\0\0\x07\x02a", b"\0\0\0\0\x09\x02a"]
    with pytest.raises(SettingsError, match="id of a schema: 7, 9") as refused:
        sketch("in", [(None, value) for value in framed])
    assert "--schema-registry-url" in refused.value.remedy
    with pytest.raises(SettingsError, match="Arrow") as refused:
        sketch("in", [(None, b"\xff\xff\xff\xff\x78\0\0\0")])
    assert "Arrow({" in refused.value.remedy
    code = sketch("in", [(framed[0], b'{"a":1}')])
    assert "key_format=Registered(...)" in code
    assert source(code).key is None
    assert source(sketch("in", [(None, value) for value in (*framed, b"a")])).topic == "in"


RIDE = {
    "type": "record", "name": "Ride",
    "fields": [{"name": "id", "type": "long"}, {"name": "note", "type": ["null", "string"],
                                                "default": None, "doc": 'it\'s a "note" \\n'}],
}  # fmt: skip
OLD = {"type": "record", "name": "Ride", "fields": [{"name": "id", "type": "string"}]}
USER = {"type": "record", "name": "User", "fields": [{"name": "user", "type": "string"}]}


def written(schemas, form, part, *rows):
    """Records as a registry's client writes them."""
    registered = Registered(form, auto_register=True).of("in", part)
    registered.connect(schemas)
    return registered.records(rows)


def test_records_of_a_registry_are_read_by_the_newest_of_their_schemas():
    schemas = Client("mock://infer-avro", {})
    old = written(schemas, Avro(OLD), "value", {"id": "a"})
    new = written(schemas, Avro(RIDE), "value", {"id": 1, "note": None}, {"id": 2, "note": "x"})
    key = written(schemas, Avro(USER), "key", {"user": "ann"})[0]
    records = [(key, value) for value in (*old, *new)]
    code = sketch("in", records, schemas)
    assert "# 1 would be dead letters, the first by: schema 1 does not fit" in code
    found = source(code)
    assert dict(found.format.columns) == {"id": pl.Int64, "note": pl.String}
    assert (found.of_key(), found.partitioned_by) == ({"user": pl.String()}, ("user",))
    found.format.connect(schemas)
    assert found.format.decode(new).frame.rows() == [(1, None), (2, "x")]
    assert json.loads(found.format.format.schema) == RIDE


def test_records_of_a_json_schema_keep_what_it_refers_to():
    schemas = Client("mock://infer-json", {})
    line = {"type": "object", "properties": {"n": {"type": "integer"}}}
    form = JsonSchema(
        {"title": "Order", "type": "object", "properties": {"line": {"$ref": "line.json"}}},
        references={"line.json": line},
    )
    values = written(schemas, form, "value", {"line": {"n": 1}})
    code = sketch("in", [(None, value) for value in values], schemas)
    found = source(code).format
    found.connect(schemas)
    assert found.decode(values).frame.rows() == [({"n": 1},)]
    assert "from processor import JsonSchema, Registered, Topology" in code


def test_schemas_that_no_columns_are_like_and_those_of_another_registry_are_told():
    schemas = Client("mock://infer-none", {})
    nothing = '{"type": "record", "name": "Nothing", "fields": []}'
    number = schemas.register("in-value", Wanted(Schema("AVRO", nothing))).number
    framed = b"\0" + number.to_bytes(4, "big") + b"\2"
    with pytest.raises(SettingsError, match=f"of schema {number}, by which records") as refused:
        sketch("in", [(None, framed)], schemas)
    assert "test_sketch" not in refused.value.message
    with pytest.raises(SettingsError, match="has none of these") as refused:
        sketch("in", [(None, b"\0\0\0\0\x63\2")], schemas)
    assert "registry of their producer" in refused.value.remedy
    code = sketch("in", [(framed, b'{"a":1}')], schemas)
    assert "keys are as a registry's clients write them; no columns" in code
    source(code)


def test_records_of_protobuf_are_told_to_need_their_class():
    schemas = Client("mock://infer-proto", {})
    values = written(schemas, Protobuf(Mixin), "value", {"name": "A", "root": ""})
    with pytest.raises(SettingsError, match="which is Protobuf's") as refused:
        sketch("in", [(None, value) for value in values], schemas)
    assert "Registered(Protobuf(" in refused.value.remedy


def test_a_header_and_ever_new_names_are_written_down():
    code = sketch("in", [(None, line) for line in (b"id,fare", b"1,2.5")])
    assert "# The line 'id,fare' has the columns' names, and is passed over." in code
    found = source(code).format
    assert (found.header, dict(found.columns)) == (True, {"id": pl.Int64, "fare": pl.Float64})
    clicks = [(None, b'{"clicks":{"u%d":1,"u%d":2}}' % (n, n + 50)) for n in range(30)]
    assert source(sketch("in", clicks)).format.maps == {"clicks"}


def test_numbers_of_eight_bytes_are_no_schemas_and_lists_are_no_lines():
    numbers = [(5).to_bytes(8, "big"), (300).to_bytes(8, "big")]
    assert "Registered" not in sketch("in", [(key, b'{"a":1}') for key in numbers])
    with pytest.raises(SettingsError, match="are no text") as refused:
        sketch("in", [(None, b"\xff"), (None, b'{"a":1}')])
    assert "1 of the 2 are JSON objects" in refused.value.remedy
    assert "Bytes(" in refused.value.remedy
    assert "format=Text()" in sketch("in", [(None, b"[0, 1]"), (None, b"[2, 3]")])


def test_change_events_with_their_schema_beside_them_and_keys_of_kafka_connect_are_told():
    event = b'{"schema":{"type":"struct"},"payload":{"op":"c","before":null,"after":{"a":1}}}'
    key = b'{"schema":{"type":"struct"},"payload":{"id":7}}'
    code = sketch("in", [(key, event)])
    assert "see the format Debezium" in code
    assert source(code).of_key() == {"id": pl.Int64()}
    assert source(code).partitioned_by == ("id",)


def test_one_record_that_cannot_be_read_is_told_apart_from_the_rest():
    good = [(None, b'{"a":1}')] * 30
    for odd in (b'{"a":', b'{"a":NaN}', b'{"a":"\\ud800"}'):
        assert "30 of the 31 are JSON objects" in sketch("in", [*good, (None, odd)])
    with pytest.raises(SettingsError, match=r"of the 31 records .* 1 are no text"):
        sketch("in", [*good, (None, b"\xff")])


def test_small_partitions_leave_more_of_the_sample_to_large_ones():
    log = MemoryLog()
    log.create({"in": 3})
    for partition, count in enumerate((2, 60, 3)):
        log.feed("in", [b'{"a":1}'] * count, [None] * count, partition=partition)
    assert len(sample(log, "in", 40)) == 40


def test_where_some_are_no_json_the_rest_is_told():
    values = [b'{"a":1}', b' {"a":2}', b"oops", None]
    code = sketch("in", [(None, value) for value in values])
    assert "format=Text()" in code
    assert (
        '# 2 of the 4 are JSON objects: with Json({"a": pl.Int64}) the others would be dead letters'
    ) in code
    wide = b"{%s}" % b",".join(b'"member_%d":1' % number for number in range(50))
    assert "with Json({...}) the others" in sketch("in", [(None, wide), (None, b"oops")])
    assert "JSON objects" not in sketch("in", [(None, b"a"), (None, b"{b")])


@pytest.mark.parametrize(
    ("records", "written"),
    [
        ([(b"7", b'{"id":7}')], 'write.kafka("in-copy", key="id")'),
        ([(b"ann", b'{"id":7}')], 'write.kafka("in-copy", key="key")'),
        ([(b'{"u":1}', b'{"id":7}')], 'write.kafka("in-copy", key=["u"], key_format=Json())'),
        ([(b'{"id":1}', b'{"id":7}')], 'write.kafka("in-copy", key="record_key")'),
        (
            [(b'{"u":1}', b'{"id":7}'), (None, b'{"id":8}')],
            'write.kafka("in-copy", key="record_key")',
        ),
        ([(None, b'{"id":7}')], 'write.kafka("in-copy")'),
        ([(b"\xff", b'{"id":7}')], 'write.kafka("in-copy")'),
    ],
)
def test_the_copy_has_the_keys_that_there_were(records, written):
    code = sketch("in", records)
    assert code.splitlines()[-1] == f"rows.{written}"
    source(code)


@pytest.mark.parametrize(
    ("times", "kind"),
    [
        (["2026-05-01T09:10:00Z", "2026-05-01T09:10:00.5+02:00"], pl.Datetime("us", "UTC")),
        (["2026-05-01T09:10:00Z", "2026-05-01T09:10:00"], pl.Datetime("us")),
        (["2026-05-01 09:10:00"], pl.Datetime("us")),
    ],
)
def test_times_that_all_name_a_zone_keep_one(times, kind):
    found = source(sketch("in", [(None, b'{"at":"%s"}' % at.encode()) for at in times]))
    assert found.format.columns == {"at": kind}


def test_the_code_is_as_it_is_shown_in_the_guide():
    guide = (Path(__file__).parents[3] / "docs" / "guide.md").read_text()
    code = sketch(
        "rides",
        [
            (b"7", b'{"id":7,"ts":1777626600000,"fare":9.5,"tags":["x"]}'),
            (b"8", b'{"id":8,"ts":1777626660000,"fare":12,"note":null}'),
        ],
    )
    assert f"```python\n{code}\n```" in guide


def test_the_command_prints_the_code_and_refuses_in_words(monkeypatch):
    monkeypatch.setattr(app, "reading", lambda _: filled())
    done = CliRunner().invoke(cli, ["infer", "in", "--records", "4"])
    assert done.exit_code == 0
    assert source(done.stdout).topic == "in"
    assert "looking at 4 of its records" in done.stdout
    refused = CliRunner().invoke(cli, ["infer", "none"])
    assert refused.exit_code == 2
    assert "there is no topic 'none'" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_command_needs_a_kafka():
    refused = CliRunner().invoke(cli, ["infer", "in"])
    assert refused.exit_code == 2
    assert "--bootstrap-servers" in refused.stderr


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ([b'{"id":1, "n":2}', b'{"id":2, "n":2}'], "columns of the value have their names"),
        ([b'{"u": 1}', None], "some records have none"),
        ([b'{"schema":null,"payload":{"id":1}}', b'{"schema":null,"payload":{"id":2}}'],
         "columns of the value have their names"),
    ],
)  # fmt: skip
def test_the_copy_of_a_topic_has_the_keys_byte_by_byte(keys, told):
    values = [b'{"id":7}', b'{"id":8}']
    code = sketch("in", list(zip(keys, values, strict=True)))
    assert told in code
    made = {}
    exec(code, made)  # noqa: S102 - our own text
    driver = TestDriver(made["topology"])
    for key, value in zip(keys, values, strict=True):
        driver.feed([value], key=key)
    driver.run()
    assert driver.dead_letters() == []
    assert [record.key() for record in driver.read("in-copy")] == keys
    assert [row["id"] for row in driver.json("in-copy")] == [7, 8]


def test_the_column_of_a_keys_text_has_a_name_of_its_own():
    value = b'{"id":7,"record_key":1,"record_key_2":1}'
    found = source(sketch("in", [(b'{"id":1}', value)]))
    assert found.key == "record_key_3"


def test_a_registrys_key_that_cannot_be_written_is_told_with_the_way_out():
    schemas = Client("mock://infer-keys", {})
    key = written(schemas, Avro(USER), "key", {"user": "ann"})[0]
    code = sketch("in", [(key, b'{"user":"bob"}')], schemas)
    assert "The copy writes none: columns of the value have their names." in code
    assert 'say key=["key_user"], key_format=Json()' in code
    assert source(code).of_key() == {"key_user": pl.String()}
    code = sketch("in", [(key, b'{"id":1}'), (None, b'{"id":1}')], schemas)
    assert "some records have none. The copy writes none." in code
    assert "The copy writes them as JSON." in sketch("in", [(key, b'{"id":1}')], schemas)


def test_members_that_are_no_column_are_told():
    code = sketch("in", [(None, b'{"a":1,"":2,"x\\u0000y":3}')])
    assert "# Left out, as no column is like them: '', 'x\\\\x00y'." in code
    assert 'rest="others" keeps all that is no column' in code
    source(code)
    code = sketch("in", [(None, b'{"a":{"b":1,"":2}}')])
    assert "# without its member ''" in code
    many = b'{"a":1,%s}' % b",".join(b'"__%d":1' % number for number in range(12))
    assert "'__9' and 2 more. rest=" in sketch("in", [(None, many)])
    assert "Left out" not in sketch("in", [(None, b'{"a":1}')])


def test_flattened_change_events_are_told():
    code = sketch("in", [(None, b'{"id":1,"__op":"u","__deleted":"false"}')])
    assert "see the format Debezium, unwrap=True" in code
    assert "Left out, as no column is like them: '__op', '__deleted'." in code


@pytest.mark.parametrize(
    ("kind", "raw", "cell"),
    [("string", b"\x06abc", "abc"), ("long", b"\x06", 3), (["null", "string"], b"\0", None),
     ({"type": "array", "items": "int"}, b"\x02\x04\0", [2]), ({"type": "string"}, b"\x02a", "a")],
)  # fmt: skip
def test_avro_values_of_a_registry_that_are_no_records_are_the_column_value(kind, raw, cell):
    schemas = Client(f"mock://infer-{raw.hex()}", {})
    number = schemas.register("in-value", Wanted(Schema("AVRO", json.dumps(kind)))).number
    framed = b"\0" + number.to_bytes(4, "big") + raw
    code = sketch("in", [(None, framed)], schemas)
    assert "dead letters" not in code
    form = source(code).format
    form.connect(schemas)
    assert form.decode([framed]).frame.rows() == [(cell,)]


def test_text_with_control_characters_may_be_none():
    message = Mixin(name="A", root="b").SerializeToString()
    code = sketch("in", [(None, message), (None, b"plain\ttext")])
    assert "# 1 record has control characters: this may be no text but Protobuf" in code
    assert "Bytes()" in code
    assert "control" not in sketch("in", [(None, b"a\tb\r\n"), (None, b"c")])
