"""Records of schemas that a registry keeps: taken apart by schema, and put back in order."""

from __future__ import annotations

import json
import struct

import polars as pl
import pytest

from processor import Avro, JsonSchema, Protobuf, Registered, Registry, Text, TopologyError
from processor.connectors.registry.client import Client
from processor.errors import RegistryAwayError, RegistryError, SchemaChangeError
from processor.formats import framing
from processor.formats.registry import Schema, Wanted
from tests.shop import class_of, field, file_of, shop

V1 = {"type": "object", "title": "Order", "required": ["id"],
      "properties": {"id": {"type": "integer"}, "note": {"type": "string"}}}  # fmt: skip
V2 = {**V1, "properties": {**V1["properties"], "more": {"type": "string"}}}
TEXT_ID = {**V1, "properties": {"id": {"type": "string"}, "note": {"type": "string"}}}
WITHOUT_NOTE = {**V1, "properties": {"id": {"type": "integer"}}}


@pytest.fixture
def client():
    return Client("mock://unit", {})


def registered(client, *args, topic="orders", **kwargs):
    form = Registered(*args, **kwargs).of(topic)
    form.connect(client)
    return form


def put(client, schema, subject="orders-value", kind="JSON"):
    text = schema if isinstance(schema, str) else json.dumps(schema)
    return client.register(subject, Wanted(Schema(kind, text))).number


def framed(number, value):
    return b"\0" + struct.pack(">I", number) + value


def test_records_of_several_schemas_in_one_batch_stay_in_order(client):
    numbers = [put(client, V1), put(client, V2)]
    form = registered(client, JsonSchema(V1))
    values = [framed(numbers[n % 3 == 1], b'{"id":%d}' % n) for n in range(1000)]
    decoded = form.decode(values)
    assert decoded.bad == {}
    assert decoded.frame["id"].to_list() == list(range(1000))


def test_each_bad_record_has_its_reason_and_touches_no_neighbour(client):
    number, other = put(client, V1), put(client, '"int"', "a", "AVRO")
    form = registered(client, JsonSchema(V1))
    good = framed(number, b'{"id":1}')
    values = [
        good, None, b"", b'{"id":1}', b"\0\0\0", framed(77, b"{}"), framed(other, b"\2"),
        framed(number, b"{"), framed(number, b""), good, b"\1" + good[1:],
    ]  # fmt: skip
    decoded = form.decode(values)
    bad = dict(decoded.bad)
    assert "no JSON" in bad.pop(7)
    assert bad == {
        1: "the record has no value",
        2: "the record is empty",
        3: "it begins with '{', as JSON does, and not with 0 and a schema's number",
        4: "it ends within the schema's number, after 3 bytes",
        5: "the schema registry at mock://unit has no schema 77",
        6: f"schema {other} is of AVRO, not JSON",
        8: "the record is empty",
        10: "it begins with the byte 1, and not with 0 and a schema's number",
    }
    assert decoded.frame["id"].gather([0, 9]).to_list() == [1, 1]
    assert decoded.frame.schema == form.columns


def test_a_number_that_no_registry_can_be_asked_for_makes_its_record_bad_and_no_other(client):
    number = put(client, V1)
    form = registered(client, JsonSchema(V1))
    good = framed(number, b'{"id":1}')
    far = [b"\0\xff\xff\xff\xff", b"\0\x80\0\0\0{}", b"\0\x7f\xff\xff\xff{}"]
    decoded = form.decode([good, *far, good])
    assert set(decoded.bad) == {1, 2, 3}
    assert "4294967295, and 2147483647 is the largest there is" in decoded.bad[1]
    assert set(form.decode(far[:2]).bad) == {0, 1}


def test_no_records_and_only_bad_ones_have_the_columns(client):
    form = registered(client, JsonSchema(V1))
    assert form.decode([]).frame.schema == form.columns
    decoded = form.decode([b"x", None])
    assert (decoded.frame.height, decoded.frame.schema) == (2, form.columns)
    assert sorted(decoded.bad) == [0, 1]


def test_a_schema_that_fits_is_read_on_whatever_is_said_of_changes(client):
    number = put(client, V2)
    for choice in ("dead_letter", "stop", "continue"):
        form = registered(client, JsonSchema(V1), on_schema_change=choice)
        assert form.decode([framed(number, b'{"id":1,"more":"x"}')]).bad == {}


def test_a_schema_that_does_not_fit_makes_dead_letters_or_stops_or_goes_on(client):
    values = [framed(put(client, V1), b'{"id":1}'), framed(put(client, TEXT_ID), b'{"id":"1"}')]
    reason = "schema 2 does not fit: 'id' is String now, not Int64"
    assert registered(client, JsonSchema(V1)).decode(values).bad == {1: reason}
    with pytest.raises(SchemaChangeError, match="'id' is String now") as error:
        registered(client, JsonSchema(V1), on_schema_change="stop").decode(values)
    assert error.value.row == 1
    assert "nothing of the batch was committed" in error.value.remedy
    # A column that must not be null is never filled up.
    going_on = registered(client, JsonSchema(V1), on_schema_change="continue")
    assert going_on.decode(values).bad == {1: "column 'id': '1' is no Int64"}


def test_a_column_that_may_be_null_may_vanish(client):
    number = put(client, WITHOUT_NOTE)
    decoded = registered(client, JsonSchema(V1)).decode([framed(number, b'{"id":1}')])
    assert decoded.bad == {}
    assert decoded.frame.row(0) == (1, None)


def test_what_is_written_has_the_number_and_is_read_back(client):
    number = put(client, V1)
    form = registered(client, JsonSchema(V1))
    frame = pl.DataFrame({"id": [1, 2], "note": ["a", None]})
    values = form.encode(frame)
    assert values == [framed(number, b'{"id":1,"note":"a"}'), framed(number, b'{"id":2}')]
    assert form.decode(values).frame.equals(frame)
    assert form.header() is None
    assert form.encode(frame.clear()) == []


def test_a_schema_is_registered_by_choice_alone(client):
    form = registered(client, JsonSchema(V1))
    with pytest.raises(RegistryError, match="has not the schema of 'orders' under") as error:
        form.known()
    assert "auto_register=True" in error.value.remedy
    willing = registered(client, JsonSchema(V1), auto_register=True)
    assert willing.known() == form.known() == client.find("orders-value", form.writers.wanted)


@pytest.mark.parametrize(
    ("how", "subject"),
    [("topic", "orders-value"), ("record", "Order"), ("topic_record", "orders-Order")],
)
def test_subjects_are_called_after_topic_or_record(client, how, subject):
    form = registered(client, JsonSchema(V1), subjects=how, auto_register=True)
    form.known()
    assert client.client.get_subjects() == [subject]


def test_one_format_may_be_of_several_topics(client):
    form = Registered(JsonSchema(V1), auto_register=True)
    first, second = form.of("a"), form.of("b")
    for each in (first, second):
        each.connect(client)
        each.known()
    assert sorted(client.client.get_subjects()) == ["a-value", "b-value"]


def test_numbers_in_headers_are_read_and_written(client):
    form = registered(client, JsonSchema(V1), id_in="header", auto_register=True)
    frame = pl.DataFrame({"id": [1], "note": ["a"]})
    (value,) = form.encode(frame)
    name, told = form.header()
    assert (value, name, len(told)) == (b'{"id":1,"note":"a"}', framing.HEADER, 17)
    number = form.known().number
    headers = [
        [("x", b"y"), (name, told)], [], [(name, b"\0" + struct.pack(">I", number))],
        [(name, b"\7")], [(name, told[:9])], [(name, None)], [(name, b"\1" + b"\5" * 16)],
    ]  # fmt: skip
    values = [value, framed(number, value), value, value, value, value, value]
    decoded = form.decode_with(values, lambda: headers)
    assert sorted(decoded.bad) == [3, 4, 5, 6]
    assert decoded.bad[3] == f"its header {name} holds no number and no guid of a schema"
    assert decoded.bad[6].endswith(f"has no schema {'05' * 16}")
    assert decoded.frame["id"].head(3).to_list() == [1, 1, 1]


def test_headers_are_not_looked_at_where_the_value_tells(client):
    form = registered(client, JsonSchema(V1), auto_register=True)
    values = form.encode(pl.DataFrame({"id": [1], "note": ["a"]}))
    assert form.decode_with(values, lambda: pytest.fail("it looked")).bad == {}


def test_a_registry_that_does_not_answer_makes_no_record_a_bad_one(registry):
    client = Client(registry.url, {"timeout": "0.3", "max.retries": "0"})
    form = registered(client, JsonSchema(V1))
    number = registry.register("orders-value", json.dumps(V1), "JSON")
    registry.stop()
    with pytest.raises(RegistryAwayError):
        form.decode([b"x", framed(number, b'{"id":1}')])
    with pytest.raises(RegistryAwayError):
        form.encode(pl.DataFrame({"id": [1], "note": ["a"]}))
    # What asks nothing needs no answer.
    assert list(form.decode([b"x"]).bad) == [0]
    registry.start()
    assert form.decode([framed(number, b'{"id":1}')]).bad == {}


def test_a_schema_that_was_deleted_is_read_by_who_knows_it_and_by_nobody_else(registry):
    quick = {"timeout": "1", "max.retries": "0"}
    form = registered(Client(registry.url, quick), JsonSchema(V1))
    value = framed(registry.register("orders-value", json.dumps(V1), "JSON"), b'{"id":1}')
    assert form.decode([value]).bad == {}
    registry.delete("orders-value")
    assert form.decode([value]).bad == {}
    later = registered(Client(registry.url, quick), JsonSchema(V1))
    assert later.decode([value]).bad[0].endswith("has no schema 1")


def test_a_registry_that_nobody_named_is_told(client):
    form = Registered(JsonSchema(V1)).of("orders")
    with pytest.raises(RegistryError, match="'orders' has schemas in a registry") as error:
        form.decode([framed(1, b"{}")])
    assert "--schema-registry-url" in error.value.remedy


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: Registered(Text()), "Text has no schema"),
        (lambda: Registered(Avro), "the class Avro has no schema"),
        (lambda: Registered(JsonSchema(V1), "http://a"), "str is no Registry"),
        (lambda: Registered(JsonSchema(V1), subjects="name"), "subjects='name'"),
        (lambda: Registered(JsonSchema(V1), id_in="key"), "id_in='key'"),
        (lambda: Registered(JsonSchema(V1), on_schema_change="ignore"), "on_schema_change="),
        (
            lambda: Registered(JsonSchema({**V1, "title": ""}), subjects="record"),
            "the schema names no record",
        ),
        (lambda: Registry("registry:8081"), "the address is none"),
        (lambda: Registry("http://a:0"), "the address is none"),
        (lambda: Registry(5), "the address is none"),
        (lambda: Registry(client="timeout"), "gives no properties"),
        (lambda: Registry(client={"basic.auth.user.info": "me"}), "write user:password"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused_with_its_line(make, what):
    with pytest.raises(TopologyError) as error:
        make()
    assert what in error.value.message
    assert "test_registered.py" in error.value.message
    assert error.value.remedy


# Protobuf.


@pytest.fixture
def line():
    return class_of(shop(), "shop.Line")


def test_a_message_tells_which_of_its_file_it_is(client, line):
    form = registered(client, Protobuf(line), auto_register=True)
    frame = pl.DataFrame(
        {"sku": ["a", ""], "count": [1, 0]}, {"sku": pl.String, "count": pl.UInt64}
    )
    values = form.encode(frame)
    number = form.known().number
    assert values == [framed(number, b"\0\x0a\x01a\x10\x01"), framed(number, b"\0")]
    assert form.decode(values).frame.equals(frame)
    # The first of a file may be told at length; the second is another message.
    longer = framed(number, b"\2\0\x0a\x01a\x10\x01")
    other, lost, cut = (framed(number, each) for each in (b"\2\2", b"\2\x40", b"\2"))
    decoded = form.decode([values[1], longer, other, lost, cut])
    assert decoded.frame.row(1) == ("a", 1)
    assert decoded.bad == {
        2: "it is shop.Order, another message",
        3: "it is number 32 of its file, another message",
        4: "it does not tell which message it is",
    }


def _changed(kind, number, name="count", how=""):
    file = file_of()
    message = file.message_type.add(name="Line")
    field(message, 1, "string", "sku")
    field(message, number, kind, name, how)
    return class_of(file, "shop.Line")


@pytest.mark.parametrize(
    ("theirs", "reason"),
    [
        (("string", 2), "field 'count' (2) is string now, not uint64"),
        (("sint64", 2), "field 'count' (2) is sint64 now, not uint64"),
        (("uint64", 2, "count", "repeated"), "field 'count' (2) is a list now"),
        (("uint32", 2), None),
        (("bool", 2), None),
        (("string", 9, "new"), None),
    ],
)
def test_a_field_that_changes_its_type_does_not_fit(client, line, theirs, reason):
    other = registered(client, Protobuf(_changed(*theirs)), auto_register=True)
    number = other.known().number
    decoded = registered(client, Protobuf(line)).decode([framed(number, b"\0\x0a\x01a")])
    wanted = {} if reason is None else {0: f"schema {number} does not fit: {reason}"}
    assert decoded.bad == wanted


def test_a_field_that_may_be_absent_is_null_where_it_changed_and_that_is_to_go_on(client):
    mine = _changed("int64", 2, "count", "optional")
    theirs = registered(client, Protobuf(_changed("string", 2)), auto_register=True)
    value = framed(theirs.known().number, b"\0\x0a\x01a\x12\x01b")
    form = registered(client, Protobuf(mine), on_schema_change="continue")
    decoded = form.decode([value])
    assert decoded.bad == {}
    assert decoded.frame.row(0, named=True) == {"sku": "a", "count": None}
    assert "does not fit" in registered(client, Protobuf(mine)).decode([value]).bad[0]


def test_a_schema_of_another_file_does_not_fit(client, line):
    other = registered(client, Protobuf(class_of(shop(), "shop.Order")), auto_register=True)
    file = file_of("b.proto")
    field(file.message_type.add(name="Other"), 1, "int32", "n")
    number = put(client, registered_text(file), "b", "PROTOBUF")
    form = registered(client, Protobuf(line))
    values = [framed(other.known().number, b"\2\2"), framed(number, b"\0")]
    assert form.decode(values).bad == {
        0: "it is shop.Order, another message",
        1: f"schema {number} does not fit: it has no message shop.Line",
    }
    number = put(client, "message {}", "c", "PROTOBUF")
    assert "is no .proto file" in form.decode([framed(number, b"\0")]).bad[0]


def registered_text(file):
    from processor.formats.proto_schema import serialized

    return serialized(class_of(file, f"shop.{file.message_type[0].name}").DESCRIPTOR.file)


def test_messages_of_several_files_bring_their_imports(registry):
    first, second = file_of("a.proto", imports=["b.proto"]), file_of("b.proto")
    field(second.message_type.add(name="B"), 1, "int32", "n")
    field(first.message_type.add(name="A"), 1, "shop.B", "b")
    client = Client(registry.url, {})
    form = registered(client, Protobuf(class_of(first, "shop.A", second)), auto_register=True)
    values = form.encode(pl.DataFrame({"b": [{"n": 5}]}, {"b": pl.Struct({"n": pl.Int32})}))
    assert list(registry.subjects) == ["b.proto", "orders-value"]
    later = registered(Client(registry.url, {}), Protobuf(class_of(first, "shop.A", second)))
    assert later.decode(values).frame["b"].to_list() == [{"n": 5}]
    assert later.known() == form.known()


# Avro.

RIDE = {"type": "record", "name": "Ride", "namespace": "shop", "fields": [
    {"name": "id", "type": "long"}, {"name": "note", "type": ["null", "string"]},
]}  # fmt: skip


def avro_changed(*fields):
    return {**RIDE, "fields": [{"name": name, "type": kind} for name, kind in fields]}


def ride_of(client, *fields, **kwargs):
    return registered(client, Avro(avro_changed(*fields)), auto_register=True, **kwargs)


def test_avro_of_several_writers_is_read_as_the_readers_columns(client):
    writers = [
        ride_of(client, ("id", "long"), ("note", ["null", "string"])),
        ride_of(client, ("note", "string"), ("more", "bytes"), ("id", "int")),
    ]
    values = [
        *writers[0].records([{"id": 2**40, "note": None}, {"id": 1, "note": "a"}]),
        *writers[1].records([{"id": 5, "note": "b", "more": b"x"}]),
    ]
    decoded = registered(client, Avro(RIDE)).decode([values[0], values[2], values[1]])
    assert decoded.bad == {}
    assert decoded.frame.rows() == [(2**40, None), (5, "b"), (1, "a")]


@pytest.mark.parametrize(
    ("fields", "choice", "row"),
    [
        ([("id", "long")], "dead_letter", None),
        ([("id", "long")], "continue", (7, None)),
        ([("id", "long"), ("note", "long")], "dead_letter", None),
        ([("id", "long"), ("note", "long")], "continue", (7, None)),
        # What must not be null is never made null.
        ([("note", "string")], "continue", None),
        ([("id", "string"), ("note", "string")], "continue", None),
    ],
)
def test_avro_fields_that_vanish_or_change_go_on_only_where_null_may_be(
    client, fields, choice, row
):
    sample = {"long": 7, "string": "7"}
    writer = ride_of(client, *fields)
    (value,) = writer.records([{name: sample[kind] for name, kind in fields}])
    decoded = registered(client, Avro(RIDE), on_schema_change=choice).decode([value])
    if row is None:
        assert "does not fit" in decoded.bad[0]
    else:
        assert decoded.bad == {}
        assert decoded.frame.row(0) == row
    with pytest.raises(SchemaChangeError):
        registered(client, Avro(RIDE), on_schema_change="stop").decode([value])


@pytest.mark.parametrize("choice", ["dead_letter", "continue"])
def test_a_schema_that_is_none_makes_its_records_bad_and_stops_nobody(client, choice):
    class Broken:
        name = "a registry"

        def read(self, ids, kind):
            return dict.fromkeys(ids, Schema(kind, '{"type":"record","name":"R","fields":[{}]}'))

    form = Registered(Avro(RIDE), on_schema_change=choice).of("orders")
    form.connect(Broken())
    assert "schema 3 does not fit" in form.decode([framed(3, b"a")]).bad[0]


def test_an_avro_schema_may_refer_to_others(registry):
    line = {"type": "record", "name": "Line", "namespace": "shop",
            "fields": [{"name": "sku", "type": "string"}]}  # fmt: skip
    outer = {"type": "record", "name": "Order", "namespace": "shop",
             "fields": [{"name": "line", "type": "shop.Line"}]}  # fmt: skip
    registry.register("lines", json.dumps(line))
    number = registry.register(
        "orders-value", json.dumps(outer),
        references=[{"name": "shop.Line", "subject": "lines", "version": 1}],
    )  # fmt: skip
    whole = {**outer, "fields": [{"name": "line", "type": line}]}
    form = registered(Client(registry.url, {}), Avro(whole))
    assert form.decode([framed(number, b"\2a")]).frame["line"].to_list() == [{"sku": "a"}]


def test_a_writers_schema_that_is_none_does_not_fit(client):
    number = put(client, '{"type": "recrod"}', "a", "AVRO")
    decoded = registered(client, Avro(RIDE)).decode([framed(number, b"\2")])
    assert decoded.bad[0].startswith(f"schema {number} does not fit: ")


def test_a_schemas_file_is_read_when_it_is_declared(client, tmp_path):
    path = tmp_path / "ride.avsc"
    path.write_text(json.dumps(RIDE))
    form = registered(client, Avro(path), auto_register=True, subjects="record")
    (value,) = form.records([{"id": 1, "note": "a"}])
    later = registered(client, Avro(path), subjects="record")
    path.unlink()
    assert later.decode([value]).frame.rows() == [(1, "a")]
    assert later.known() == form.known()
    assert client.client.get_subjects() == ["shop.Ride"]


def test_some_fields_of_avro_can_be_read_alone(client):
    values = ride_of(client, ("id", "long"), ("note", "string")).records([{"id": 1, "note": "a"}])
    form = registered(client, Avro(RIDE, select=["note"]))
    assert form.decode(values).frame.rows(named=True) == [{"note": "a"}]
