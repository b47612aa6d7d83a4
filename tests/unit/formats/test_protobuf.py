"""Protobuf messages to columns and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from google.protobuf import api_pb2, descriptor_pb2, empty_pb2, struct_pb2

from processor import Protobuf, TopologyError
from processor.formats.base import WriteError
from tests.shop import class_of, field, file_of, shop

LINE = pl.Struct({"sku": pl.String, "count": pl.UInt64})
COLUMNS = {
    "id": pl.Int64, "state": pl.Enum(["NEW", "PAID", "SENT"]), "lines": pl.List(LINE),
    "at": pl.Datetime("us", "UTC"), "took": pl.Duration("us"), "limit": pl.UInt64,
    "raw": pl.Binary, "tags": pl.List(pl.String), "card": pl.String, "cash": pl.Int64,
    "note": pl.Int32,
    "attrs": pl.List(pl.Struct({"key": pl.String, "value": LINE})), "first": LINE,
    "weight": pl.Float32,
}  # fmt: skip
EMPTY = {
    "id": 0, "state": "NEW", "lines": [], "at": None, "took": None, "limit": None, "note": None,
    "raw": b"", "tags": [], "card": None, "cash": None, "attrs": [], "first": None, "weight": 0.0,
}  # fmt: skip


@pytest.fixture
def order():
    return class_of(shop(), "shop.Order")


def whole(order):
    made = order(
        id=-(2**63), state=5, lines=[{"sku": "a", "count": 2**64 - 1}, {"sku": ""}], note=0,
        raw=b"\xff", tags=["x", ""], cash=0, weight=1.5,
    )  # fmt: skip
    made.at.FromJsonString("2014-08-01T00:03:00.250001Z")
    made.took.FromMicroseconds(-1_500_000)
    made.limit.value = 0
    made.attrs["z"].sku = "q"
    made.attrs["b"].count = 1
    made.first.SetInParent()
    return made


def test_each_sort_of_field_is_a_column(order):
    form = Protobuf(order)
    assert form.columns == COLUMNS
    assert form.optional == {"at", "took", "limit", "note", "card", "cash", "first"}


def test_what_is_there_and_what_is_absent_are_told_apart(order):
    decoded = Protobuf(order).decode([whole(order).SerializeToString(), b""])
    assert decoded.bad == {}
    assert decoded.frame.schema == COLUMNS
    first, second = decoded.frame.rows(named=True)
    assert second == EMPTY
    assert first == {
        "id": -(2**63), "state": "SENT",
        "lines": [{"sku": "a", "count": 2**64 - 1}, {"sku": "", "count": 0}],
        "at": datetime(2014, 8, 1, 0, 3, 0, 250001, tzinfo=UTC),
        "took": timedelta(seconds=-1.5), "limit": 0, "note": 0, "raw": b"\xff", "tags": ["x", ""],
        "card": None, "cash": 0,
        "attrs": [
            {"key": "b", "value": {"sku": "", "count": 1}},
            {"key": "z", "value": {"sku": "q", "count": 0}},
        ],
        "first": {"sku": "", "count": 0}, "weight": 1.5,
    }  # fmt: skip


def test_what_is_written_is_read_back(order):
    form = Protobuf(order)
    frame = form.decode([whole(order).SerializeToString(), b""]).frame
    values = form.encode(frame)
    assert order.FromString(values[0]) == whole(order)
    assert values[1] == b""
    assert form.decode(values).frame.equals(frame)


def test_no_records_are_an_empty_frame(order):
    form = Protobuf(order)
    assert form.decode([]).frame.equals(pl.DataFrame(schema=COLUMNS))
    assert form.encode(pl.DataFrame(schema=COLUMNS)) == []


def test_bad_records_are_named_and_touch_no_neighbour(order):
    good = whole(order).SerializeToString()
    values = [good, None, good[:-1], b"\xff" * 40, good, b"x" * 2_000_000, b"\x08"]
    decoded = Protobuf(order).decode(values)
    assert sorted(decoded.bad) == [1, 2, 3, 5, 6]
    assert decoded.bad[1] == "the record has no value"
    assert decoded.bad[2].startswith("no shop.Order: ")
    assert decoded.bad[5] == "the record has 2000000 bytes, more than 1000000"
    assert decoded.frame.row(0) == decoded.frame.row(4)


def test_text_that_is_not_utf_8_is_bad(order):
    decoded = Protobuf(order).decode([b"\x4a\x01\xff", b"\x4a\x01a"])
    assert list(decoded.bad) == [0]
    assert decoded.frame["tags"][1].to_list() == ["a"]


def test_text_of_an_older_file_that_is_not_utf_8_is_bad_too():
    file = file_of(syntax="proto2")
    field(file.message_type.add(name="Old"), 1, "string", "name")
    decoded = Protobuf(class_of(file, "shop.Old")).decode([b"\x0a\x01\xff", b"\x0a\x01a"])
    assert list(decoded.bad) == [0]
    assert decoded.frame["name"][1] == "a"


def test_a_key_of_an_older_files_map_that_is_not_utf_8_is_bad_too():
    file = file_of(syntax="proto2")
    made = file.message_type.add(name="Old")
    entry = made.nested_type.add(name="NamesEntry")
    entry.options.map_entry = True
    field(entry, 1, "string", "key")
    field(entry, 2, "string", "value")
    many = made.field.add(name="names", number=1, label=3, type=11)
    many.type_name = ".shop.Old.NamesEntry"
    form = Protobuf(class_of(file, "shop.Old"))
    good, wrong, other = (b"\x0a\x06\x0a\x01%s\x12\x01v" % key for key in (b"a", b"\xff", b"\xfe"))
    decoded = form.decode([good, wrong, good + wrong, wrong + other, good])
    assert set(decoded.bad) == {1, 2, 3}
    assert "names[].key" in decoded.bad[1]
    assert decoded.frame["names"][4].to_list() == [{"key": "a", "value": "v"}]


def test_a_number_that_the_enumeration_has_not_is_bad(order):
    decoded = Protobuf(order).decode([order(state=7).SerializeToString(), b""])
    assert decoded.bad == {0: "column 'state': 7 is no number of the enumeration"}


def test_a_field_of_another_type_is_bad_and_not_its_default(order):
    other = file_of()
    changed = other.message_type.add(name="Order")
    field(changed, 1, "string", "id")
    inner = other.message_type.add(name="Line")
    field(inner, 1, "double", "sku")
    field(changed, 3, "shop.Line", "lines", "repeated")
    theirs = class_of(other, "shop.Order")
    values = [
        theirs(id="7").SerializeToString(),
        theirs(lines=[{"sku": 1.5}]).SerializeToString(),
        b"",
    ]
    assert Protobuf(order).decode(values).bad == {
        0: "column 'id': what stands there is no int64",
        1: "column 'lines[].sku': what stands there is no string",
    }


def test_fields_that_nobody_here_knows_are_passed_over(order):
    newer = file_of()
    more = newer.message_type.add(name="Order")
    field(more, 1, "int64", "id")
    field(more, 99, "string", "new")
    value = class_of(newer, "shop.Order")(id=3, new="x").SerializeToString()
    decoded = Protobuf(order).decode([value])
    assert decoded.bad == {}
    assert decoded.frame["id"].to_list() == [3]


@pytest.mark.parametrize(
    ("seconds", "nanos", "bad"),
    [
        (253_402_300_799, 999_999_999, False),
        (253_402_300_800, 0, True),
        (-62_135_596_800, 0, False),
        (-62_135_596_801, 0, True),
        (0, 1_000_000_000, True),
        (0, -1, True),
        (2**63 - 1, 0, True),
    ],
)
def test_a_time_that_the_language_does_not_allow_is_bad(order, seconds, nanos, bad):
    made = order()
    made.at.seconds, made.at.nanos = seconds, nanos
    decoded = Protobuf(order).decode([made.SerializeToString()])
    assert bool(decoded.bad) is bad
    if not bad:
        assert decoded.frame["at"].to_physical()[0] == seconds * 1_000_000 + nanos // 1_000


@pytest.mark.parametrize(
    ("seconds", "nanos", "micros"),
    [
        (1, 999, 1_000_000),
        (-1, -999, -1_000_000),
        (-1, -500_000_000, -1_500_000),
        (315_576_000_000, 0, 315_576_000_000_000_000),
        (315_576_000_001, 0, None),
        (1, -1, None),
        (2**62, 0, None),
    ],
)
def test_durations_have_one_sign_and_an_end(order, seconds, nanos, micros):
    made = order()
    made.took.seconds, made.took.nanos = seconds, nanos
    decoded = Protobuf(order).decode([made.SerializeToString()])
    if micros is None:
        assert "no duration" in decoded.bad[0]
    else:
        assert decoded.frame["took"].to_physical()[0] == micros


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"id": None}, "column 'id' is null, and cannot be absent"),
        ({"tags": None}, "column 'tags' is null, and cannot be absent"),
        ({"tags": ["a", None]}, "column 'tags' has a null in it, and a list cannot hold one"),
        ({"lines": [{"sku": None, "count": 1}]}, "column 'lines[].sku' is null"),
        ({"card": "c", "cash": 1}, "columns 'card' and 'cash' are both there: of 'pay' one can be"),
        (
            {"attrs": [{"key": "k", "value": {"sku": "", "count": 0}}] * 2},
            "column 'attrs' has the key 'k' twice",
        ),
        ({"attrs": [{"key": "k", "value": None}]}, "a map cannot hold one"),
        ({"took": timedelta(seconds=315_576_000_001)}, "more than a duration can be"),
    ],
)
def test_a_row_that_would_be_read_back_as_another_is_refused(order, changed, reason):
    form = Protobuf(order)
    frame = pl.DataFrame([EMPTY | changed], schema=COLUMNS)
    with pytest.raises(WriteError, match=reason.replace("[", r"\[").replace("]", r"\]")):
        form.encode(frame)


def test_infinities_and_what_is_no_number_are_kept(order):
    form = Protobuf(order)
    rows = [EMPTY | {"weight": value} for value in (float("inf"), float("nan"), -0.0)]
    frame = pl.DataFrame(rows, schema=COLUMNS)
    assert form.decode(form.encode(frame)).frame.equals(frame)


def test_a_field_that_has_to_be_there_makes_a_record_without_it_bad():
    file = file_of(syntax="proto2")
    field(file.message_type.add(name="Old"), 1, "int32", "id", "required")
    form = Protobuf(class_of(file, "shop.Old"))
    assert form.optional == frozenset()
    assert form.decode([b"", b"\x08\x05"]).bad == {0: "no shop.Old: id is missing"}


def test_some_fields_can_be_read_alone(order):
    form = Protobuf(order, fields=["weight", "id"])
    assert list(form.columns) == ["weight", "id"]
    assert form.decode([whole(order).SerializeToString()]).frame.row(0) == (1.5, -(2**63))


def test_a_file_of_descriptors_has_the_message(tmp_path, order):
    path = tmp_path / "shop.desc"
    path.write_bytes(descriptor_pb2.FileDescriptorSet(file=[shop()]).SerializeToString())
    form = Protobuf(path, "shop.Order")
    value = whole(order).SerializeToString()
    assert form.decode([value]).frame.equals(Protobuf(order).decode([value]).frame)
    assert form.describe() == Protobuf(order).describe()


def test_imports_of_a_file_are_found_in_any_order(tmp_path):
    first, second = file_of("a.proto", imports=["b.proto"]), file_of("b.proto")
    field(second.message_type.add(name="B"), 1, "int32", "n")
    field(first.message_type.add(name="A"), 1, "shop.B", "b")
    path = tmp_path / "two.desc"
    path.write_bytes(descriptor_pb2.FileDescriptorSet(file=[first, second]).SerializeToString())
    assert Protobuf(path, "shop.A").columns == {"b": pl.Struct({"n": pl.Int32})}


def _told(*args, **kwargs):
    with pytest.raises(TopologyError) as error:
        Protobuf(*args, **kwargs)
    assert error.value.remedy
    assert "test_protobuf.py" in error.value.message
    return str(error.value)


def test_a_declaration_that_cannot_work_is_refused_with_its_line(tmp_path, order):
    path = tmp_path / "shop.desc"
    assert "cannot be read: No such file" in _told(path, "shop.Order")
    path.write_bytes(b"\xff\xff")
    assert "is no file of descriptors" in _told(path, "shop.Order")
    path.write_bytes(descriptor_pb2.FileDescriptorSet(file=[shop()]).SerializeToString())
    assert "has no message 'shop.Oder'" in _told(path, "shop.Oder")
    assert "which message" in _told(path)
    lonely = file_of("a.proto", imports=["gone.proto"])
    field(lonely.message_type.add(name="A"), 1, "int32", "n")
    path.write_bytes(descriptor_pb2.FileDescriptorSet(file=[lonely]).SerializeToString())
    assert "is not whole" in _told(path, "shop.A")
    assert "is no message" in _told(int)
    assert "leave the brackets out: Protobuf(Order)" in _told(order())
    assert "not 'shop.Line'" in _told(order, "shop.Line")
    assert "'nothing' is no column" in _told(order, fields=["nothing"])
    assert "no fields to make columns of" in _told(empty_pb2.Empty)
    assert "value_bytes_max" in _told(order, value_bytes_max=0)


def test_messages_that_hold_themselves_are_refused_unless_left_out():
    assert "which holds itself to any depth" in _told(struct_pb2.Struct)
    file = file_of()
    tree = file.message_type.add(name="Tree")
    field(tree, 1, "shop.Tree", "left")
    field(tree, 2, "int32", "n")
    made = class_of(file, "shop.Tree")
    assert "'shop.Tree.left' is a shop.Tree" in _told(made)
    assert Protobuf(made, fields=["n"]).columns == {"n": pl.Int32}


def test_a_generated_class_is_as_good_as_a_file():
    form = Protobuf(api_pb2.Mixin)
    frame = pl.DataFrame({"name": ["a"], "root": ["b"]})
    assert api_pb2.Mixin.FromString(form.encode(frame)[0]) == api_pb2.Mixin(name="a", root="b")
