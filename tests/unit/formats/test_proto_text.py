"""The text of a .proto file comes to what its compiler makes of it."""

from __future__ import annotations

import random

import polars as pl
import pytest
from google.protobuf import descriptor_pb2

from processor import Protobuf, Registered
from processor.connectors.registry.client import Client
from processor.errors import RegistryError
from processor.formats.proto_schema import parsed
from processor.formats.proto_text import file_of
from tests.shop import class_of, shop

# What `shop()` is, as somebody may have written it.
SHOP = """\ufeff// Orders of a shop; "quotes" and { braces } in comments are none.
syntax = 'proto3';
package shop;
import "google/protobuf/timestamp.proto"; import public "google/protobuf/duration.proto";
import weak "google/protobuf/wrappers.proto";
option java_package = "org.example"; option (own).deep = { a: "}" b { c: 1 } d: [1, 2] };
/* A note
   of two lines */
enum State {
  option allow_alias = false; reserved 2, 7 to max; reserved "GONE";
  NEW = 0; PAID = 0x1 [deprecated = true]; SENT = 05;
}
message Line { string sku = 1; uint64 count = 2; };
extend google.protobuf.FieldOptions { optional string note = 50000; }
message Order {
  int64 id = 1 [(own) = { text: "];" }, json_name = 'i"d'];
  State state = 2;
  repeated .shop.Line lines = 3 [packed = false];
  google.protobuf.Timestamp at = 4; google.protobuf.Duration took = 5;
  google.protobuf.UInt64Value limit = 6;
  bytes raw = 8; repeated string tags = 9;
  oneof pay { option (own) = -1.5e-3; string card = 10; int64 cash = 11; }
  optional int32 note = 7;
  reserved 20 to 30; reserved "was", 'gone'; option deprecated = false;
  map<string, Line> attrs = 12;
  shop.Line first = 13;;
  float weight = 14;
}
service Orders { rpc Get(Line) returns (stream Order) { option (http) = { get: "/v1/{id}" }; } }
"""
OLDER = """
message A {
  optional B.C c = 1 [default = TWO];
  required group.Outer message = 2;
  extensions 100 to 199;
  message B { enum C { option allow_alias = true; MINUS = -1; ONE = 1; UN = 1; TWO = 2; } }
  map < int32 , B > some_things = 3;
}
message Outer { optional bool optional = 1; repeated sint64 map = 2; message B {} }
"""


def whole(file):
    found = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(found)
    return found


def by_name(messages):
    return {each.name: each for each in messages}


def test_a_file_is_the_descriptor_that_its_compiler_makes():
    found, wanted = whole(parsed(SHOP, (), "shop.proto")), whole(shop_file())
    assert found.dependency == wanted.dependency
    assert list(found.public_dependency) == [1]
    assert (found.package, found.syntax, found.enum_type) == (
        wanted.package, wanted.syntax, wanted.enum_type,
    )  # fmt: skip
    messages, theirs = by_name(found.message_type), by_name(wanted.message_type)
    assert messages["Line"] == theirs["Line"]
    for one in (messages["Order"], theirs["Order"]):
        # The order in which fields are written is nobody's concern.
        one.field.sort(key=lambda field: field.number)
        for field in one.field:
            field.ClearField("json_name")
    assert messages["Order"] == theirs["Order"]


def shop_file():
    return class_of(shop(), "shop.Order").DESCRIPTOR.file


def test_names_are_found_from_the_inside_out_and_words_of_the_language_are_names_too():
    text = OLDER.replace("group.Outer", "Outer")
    outer = parsed(text, (), "a.proto").message_types_by_name["A"]
    assert outer.fields_by_name["c"].enum_type.full_name == "A.B.C"
    assert [(v.name, v.number) for v in outer.fields_by_name["c"].enum_type.values] == [
        ("MINUS", -1), ("ONE", 1), ("UN", 1), ("TWO", 2),
    ]  # fmt: skip
    assert outer.fields_by_name["message"].message_type.full_name == "Outer"
    entry = outer.fields_by_name["some_things"].message_type
    assert (entry.name, entry.GetOptions().map_entry) == ("SomeThingsEntry", True)
    assert entry.fields_by_name["value"].message_type.full_name == "A.B"


def test_an_imported_text_is_found_by_its_name():
    text = 'import "other/b.proto"; message A { optional far.B b = 1; }'
    other = "package far; message B { required int32 n = 1; }"
    file = parsed(text, [("other/b.proto", other)], "a.proto")
    assert file.message_types_by_name["A"].fields_by_name["b"].message_type.full_name == "far.B"
    with pytest.raises(ValueError, match="its schema is not whole"):
        parsed(text, (), "a.proto")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("message A {", "it ends too early"),
        ("message A { string = 1; }", "in line 1 a name is missing before '='"),
        ("\n\nmessage A { string a = b; }", "in line 3 a number is missing before 'b'"),
        ("message A { string a = 0; }", "the number 0, which cannot be there"),
        ("message A { string a 1; }", "'=' is missing before '1'"),
        ("message A { 1 a = 1; }", "there is '1', which is no type"),
        ("message A { optional group B = 1 { } }", "there is 'group', which is no type"),
        ("message A { string a = 1 }", "';' is missing before '}'"),
        ("enum A { 1 = 1; }", "there is '1', which is no name"),
        ("table A;", "there is 'table', which has no meaning there"),
        ('edition = "2023";', "there is an edition"),
        ('syntax = "proto4";', "there is 'proto4'"),
        ("import a;", "a text is missing before 'a'"),
        ('import "a', "there is '\"'"),
        ("{}", "there is '{', which has no meaning there"),
        ("message A { /* }", "there is '*'"),
        ('import "google/protobuf/no_such.proto"; message A {}', "its schema is not whole"),
        ('import "google/protobuf/../x.proto"; message A {}', "its schema is not whole"),
        ("message A { " * 40 + "}" * 40, "a message too deep within others"),
        ("message A { string a = 1; int32 a = 2; }", "its schema is not whole"),
        ("message A { B b = 1; }", "its schema is not whole"),
        ("", "it has no message"),
    ],
)
def test_what_is_no_file_says_where_and_why(registry, text, reason):
    number = registry.register("lines-value", text, "PROTOBUF")
    form = Registered(Protobuf(class_of(shop(), "shop.Line"))).of("lines")
    client = Client(registry.url, {})
    form.connect(client)
    told = form.decode([b"\0" + number.to_bytes(4, "big") + b"\0"]).bad[0]
    client.close()
    assert reason in told


def test_a_text_that_was_broken_anywhere_is_read_or_refused_and_nothing_else():
    chance = random.Random(3)
    refused = 0
    for _ in range(600):
        at, size = chance.randrange(len(SHOP)), chance.randrange(4)
        put = chance.choice(["", "{", "}", ";", '"', "[", "]", "=", "map<", "9" * 20, "é", "\0"])
        try:
            parsed(SHOP[:at] + put + SHOP[at + size :], (), "shop.proto")
        except ValueError:
            refused += 1
    assert 100 < refused < 600


def test_records_of_a_schema_that_was_registered_as_text_are_read(registry):
    """As clients in Java register it, at a registry that gives it back as it came."""
    number = registry.register("orders-value", SHOP, "PROTOBUF")
    made = class_of(shop(), "shop.Order")
    sent = [made(id=5, state=1, lines=[{"sku": "a", "count": 7}], note=0, cash=1), made()]
    form = Registered(Protobuf(made)).of("orders")
    client = Client(registry.url, {})
    form.connect(client)
    before = b"\0" + number.to_bytes(4, "big") + b"\2\2"
    decoded = form.decode([before + each.SerializeToString() for each in sent])
    client.close()
    assert decoded.bad == {}
    plain = Protobuf(made).decode([each.SerializeToString() for each in sent])
    assert decoded.frame.equals(plain.frame)
    assert decoded.frame.schema == pl.Schema(plain.frame.schema)


def test_files_have_no_name_of_their_own():
    assert file_of("").name == ""


@pytest.mark.parametrize(
    ("old", "new", "there"),
    [
        ("", "", True),
        ("string sku = 1; uint64 count = 2;", "uint64 count = 2; string sku = 1;", True),
        ("optional int32 note = 7;", "int32 note = 7;", False),
        ("uint64 count = 2;", "uint32 count = 2;", False),
        ("string sku = 1;", "string name = 1;", False),
        ("PAID = 0x1", "PAID = 0x3", False),
        # Records tell a message by its place in the file.
        ("message Line {", "message Other {} message Line {", False),
        ("'proto3'", "'proto4'", False),
    ],
)
def test_a_sink_knows_its_schema_again_where_it_was_registered_as_text(registry, old, new, there):
    assert old in SHOP
    number = registry.register("orders-value", SHOP.replace(old, new, 1), "PROTOBUF")
    form = Registered(Protobuf(class_of(shop(), "shop.Order"))).of("orders")
    client = Client(registry.url, {})
    form.connect(client)
    if there:
        assert form.known()[::2] == (number, 1)
        assert registry.subjects["orders-value"] == {1: number}
    else:
        with pytest.raises(RegistryError, match="has not the schema"):
            form.known()
    client.close()


@pytest.mark.parametrize("own", ["x", ""])
def test_a_text_is_not_known_as_a_schema_with_other_defaults(registry, own):
    """What is absent has its default: another one would be another value to who reads it."""
    plain = "package shop; message Line { optional string sku = 1; }"
    told = plain if own else plain.replace("= 1;", '= 1 [default = "x"];')
    registry.register("lines-value", told, "PROTOBUF")
    file = file_of(plain)
    file.name = "line.proto"
    if own:
        file.message_type[0].field[0].default_value = own
    form = Registered(Protobuf(class_of(file, "shop.Line"))).of("lines")
    client = Client(registry.url, {})
    form.connect(client)
    with pytest.raises(RegistryError, match="has not the schema"):
        form.known()
    client.close()
