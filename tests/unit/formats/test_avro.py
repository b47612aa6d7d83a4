"""Avro records to columns and back: what is bad, what is refused, and what stays in its place."""

from __future__ import annotations

import datetime as dt
import io
import math
import struct
from decimal import Decimal
from typing import Any

import fastavro
import polars as pl
import pytest

from processor import Avro
from processor.formats.avro.defaults import long_bytes
from processor.formats.base import WriteError

UTC = dt.UTC


def record(*fields: Any, name: str = "R") -> dict[str, Any]:
    """A record of fields, or of types, which are called f0, f1, ..."""
    made = [f if _named(f) else {"name": f"f{i}", "type": f} for i, f in enumerate(fields)]
    return {"type": "record", "name": name, "fields": made}


def _named(field: Any) -> bool:
    types = ("enum", "fixed", "record")
    return isinstance(field, dict) and "name" in field and field["type"] not in types


def one(kind: Any, **more: Any) -> Avro:
    return Avro(record({"name": "v", "type": kind, **more}))


def cell(kind: Any, value: bytes) -> Any:
    decoded = one(kind).decode([value])
    assert decoded.bad == {}
    return decoded.frame.item()


def reason(kind: Any, value: bytes) -> str:
    """Why a record is bad; its neighbours are not, wherever it stands."""
    form = one(kind)
    good = {"int": b"\x02", "string": b"\x02a"}.get(kind if isinstance(kind, str) else "")
    alone = form.decode([value])
    if good is not None:
        between = form.decode([good, value, good])
        assert between.bad == {1: alone.bad[0]}
        assert between.frame.height == 3
        assert between.frame["v"][0] == between.frame["v"][2] == form.decode([good]).frame.item()
    return alone.bad[0]


def size(data: bytes) -> bytes:
    return long_bytes(len(data)) + data


TRIP = Avro(record("long", "double", "string", {"name": "n", "type": ["null", "int"]}))
GOOD = long_bytes(7) + struct.pack("<d", 1.5) + size(b"B02598") + b"\x02\x0c"
ROW = (7, 1.5, "B02598", 6)


def test_an_empty_batch_has_the_columns_and_no_rows() -> None:
    decoded = TRIP.decode([])
    assert dict(decoded.frame.schema) == dict(TRIP.columns)
    assert decoded.frame.height == 0
    assert decoded.bad == {}
    assert TRIP.encode(decoded.frame) == []


def test_a_record_is_a_row() -> None:
    assert TRIP.decode([GOOD]).frame.rows() == [ROW]
    assert TRIP.encode(TRIP.decode([GOOD]).frame) == [GOOD]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "the record has no value"),
        (b"", "column 'f0': the record ends in it, after 0 bytes"),
        (b"x" * 1_000_001, "the record has 1000001 bytes, more than 1000000"),
        (GOOD[:1], "column 'f1': the record ends in it: 8 bytes are due at byte 1, and 0 are"),
        (GOOD[:5], "column 'f1': the record ends in it: 8 bytes are due at byte 1, and 4 are"),
        (GOOD[:9], "column 'f2': the record ends in it, after 9 bytes"),
        (GOOD[:12], "column 'f2': the record ends in it: 6 bytes are due at byte 10, and 2 are"),
        (GOOD[:-2], "column 'n': the record ends in it, after 16 bytes"),
        (GOOD[:-1], "column 'n': the record ends in it, after 17 bytes"),
        (GOOD + b"\0", "1 bytes are left behind the last field, at byte 18"),
        (GOOD + GOOD, "18 bytes are left behind the last field, at byte 18"),
        (b"\xff" * 30, "column 'f0': a number of more than 64 bits at byte 0"),
        (b"\x80" * 10 + b"\x01", "column 'f0': a number of more than 64 bits at byte 0"),
        (b"\xff" * 9 + b"\x02" + GOOD[1:], "column 'f0': a number of more than 64 bits"),
        (GOOD[:9] + b"\x01" + GOOD[10:], "column 'f2': its size is -1, at byte 10"),
        (GOOD[:9] + long_bytes(2**62) + GOOD[10:], "4611686018427387904 bytes are due at byte 19"),
        (GOOD[:10] + b"\xff" + GOOD[11:], "column 'f2': not UTF-8: invalid start byte at its byte"),
        (GOOD[:-2] + b"\x04\x0c", "column 'n': the union has 2 branches, and none 2, at byte 16"),
        (GOOD[:-2] + b"\x01\x0c", "column 'n': the union has 2 branches, and none -1, at byte 16"),
        (GOOD[:-1] + long_bytes(2**31), "column 'n': 2147483648 is no int of 32 bits"),
        (GOOD[:-1] + long_bytes(-(2**31) - 1), "column 'n': -2147483649 is no int of 32 bits"),
        (b'{"dt":"2014-08-01 00:00:00","cluster":6}', "column 'f2': "),
    ],
    ids=range(22),
)
def test_a_bad_record_is_named_and_its_neighbours_stay_in_place(
    value: bytes | None, why: str
) -> None:
    others = [long_bytes(i * 1_000) + GOOD[1:] for i in range(4)]
    decoded = TRIP.decode([*others[:2], value, *others[2:]])
    assert list(decoded.bad) == [2]
    assert why in decoded.bad[2]
    rows = decoded.frame.rows()
    assert [row for i, row in enumerate(rows) if i != 2] == [
        (i * 1_000, *ROW[1:]) for i in range(4)
    ]


def test_a_batch_of_nothing_but_garbage_is_bad_row_by_row() -> None:
    values: list[bytes | None] = [b"", None, b"\xff" * 40, b"\0", GOOD[:-1]]
    assert list(TRIP.decode(values).bad) == [0, 1, 2, 3, 4]


def test_the_largest_value_is_read_and_no_larger_one() -> None:
    form = Avro(record("bytes"), value_bytes_max=20_000_000)
    assert cell("bytes", size(b"x" * 999_000)) == b"x" * 999_000
    big = size(b"x" * 10_000_000)
    assert form.decode([big, size(b"a")]).frame["f0"].bin.size().to_list() == [10_000_000, 1]
    assert "more than 1000000" in one("bytes").decode([big]).bad[0]


@pytest.mark.parametrize("number", [0, 1, 63, 64, 65, 2**31, 2**54, 2**55, 2**56, 2**62])
def test_numbers_of_every_length_are_read(number: int) -> None:
    for each in (number, -number, 2**63 - 1 - number, -(2**63) + number):
        assert cell("long", long_bytes(each)) == each


def test_a_number_that_takes_more_bytes_than_it_needs_is_read() -> None:
    assert cell("long", b"\x82\x00") == 1
    assert cell("int", b"\x82\x80\x80\x80\x80\x80\x80\x80\x00") == 1
    assert cell("string", b"\x82\x00a") == "a"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7e308])
def test_a_double_may_be_any(number: float) -> None:
    read = cell("double", struct.pack("<d", number))
    assert struct.pack("<d", read) == struct.pack("<d", number)
    frame = pl.DataFrame({"v": [number]})
    assert one("double").encode(frame) == [struct.pack("<d", number)]


DECIMAL = {"type": "bytes", "logicalType": "decimal"}


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        ("boolean", b"\x02", "the byte 2 at byte 0 is no boolean"),
        ("int", long_bytes(2**31), "2147483648 is no int of 32 bits"),
        ({"type": "int", "logicalType": "date"}, long_bytes(2_932_897), "2932897 is no date"),
        ({"type": "int", "logicalType": "date"}, long_bytes(-719_163), "-719163 is no date"),
        ({"type": "int", "logicalType": "time-millis"}, long_bytes(86_400_000), "is no time"),
        ({"type": "int", "logicalType": "time-millis"}, b"\x01", "-1 is no time of day in millis"),
        ({"type": "long", "logicalType": "time-micros"}, long_bytes(2**60), "is no time of day"),
        ({"type": "long", "logicalType": "timestamp-millis"}, long_bytes(2**60), "is no time in"),
        ({"type": "long", "logicalType": "timestamp-micros"}, long_bytes(-(2**63)), "is no time"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, b"\x02", "it has 1 words, and none 1"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, b"\x01", "it has 1 words, and none -1"),
        (DECIMAL | {"precision": 3}, size(b"\x03\xe8"), "3 digits"),
        (DECIMAL | {"precision": 3}, size(b"\xfc\x18"), "3 digits"),
        (DECIMAL | {"precision": 38}, size(b"\1" + b"\0" * 16), ""),
        (DECIMAL | {"precision": 38}, size(b"\0" * 99), "38 digits"),
        ({"type": "array", "items": "int"}, long_bytes(2**40), "1099511627776 items are due at"),
        ({"type": "array", "items": "int"}, long_bytes(-(2**63)) + b"\0\0", "775808 items"),
        ({"type": "array", "items": "null"}, long_bytes(2**40) + b"\0", "items without a byte"),
        ({"type": "array", "items": "null"}, long_bytes(2**62) + b"\0", "items without a byte"),
        ({"type": "array", "items": "int"}, b"\x02\x02", "the record ends in it"),
        ({"type": "array", "items": "int"}, b"\x04\x02\x00", "the record ends in it"),
        ({"type": "map", "values": "int"}, b"\x02\x01a\x02\x00", "its size is -1"),
        ({"type": "map", "values": "int"}, b"\x02\x02\xff\x02\x00", "not UTF-8"),
        ({"type": "fixed", "name": "F", "size": 4}, b"abc", "4 bytes are due at byte 0"),
        (["null"], b"\x02", "the union has 1 branches"),
    ],
    ids=range(25),
)  # fmt: skip
def test_a_value_that_its_type_has_not_is_bad_with_the_reason(
    kind: Any, value: bytes, why: str
) -> None:
    told = reason(kind, value)
    assert told.startswith("column 'v")
    assert why in told


def test_the_reason_names_the_place_inside_a_record() -> None:
    kind = record(
        {"name": "items", "type": {"type": "array", "items": record("string", name="I")}}, name="N"
    )
    decoded = one(kind).decode([b"\x02\x04\xc3\x28\x00"])
    assert "column 'v.items[].f0': not UTF-8" in decoded.bad[0]


def test_arrays_come_in_blocks_with_and_without_their_size() -> None:
    kind = {"type": "array", "items": "int"}
    value = b"\x04\x02\x04" + b"\x03\x04\x06\x08" + b"\x02\x0a" + b"\x00"
    assert cell(kind, value).to_list() == [1, 2, 3, 4, 5]
    form = one(kind)
    both = form.decode([value, b"\x00", b"\x02\x02\x00", b"\x02\x02", value])
    assert list(both.bad) == [3]
    kept = both.frame.filter(pl.Series([True, True, True, False, True]))["v"].to_list()
    assert kept == [[1, 2, 3, 4, 5], [], [1], [1, 2, 3, 4, 5]]


def test_a_record_of_many_items_beside_small_ones_is_read() -> None:
    kind = {"type": "array", "items": ["null", "string"]}
    many = [None if i % 3 == 0 else f"é{i}" for i in range(50_000)]
    rows = [["a"], many, [], [None], many[:700]]
    form = one(kind)
    values = form.encode(pl.DataFrame({"v": rows}, schema=dict(form.columns)))
    decoded = form.decode([*values, values[1][:-1], values[0]])
    assert list(decoded.bad) == [5]
    assert decoded.frame["v"][:5].to_list() == rows
    assert decoded.frame["v"][6].to_list() == ["a"]


@pytest.mark.parametrize(
    ("kind", "of"),
    [
        ("int", lambda i: i * 97 - 4_000_000),
        ("long", lambda i: i * 2**45 - 2**60),
        ("boolean", lambda i: i % 3 == 0),
        ("float", lambda i: i / 4),
        ("double", lambda i: i / 3),
        ({"type": "fixed", "name": "F", "size": 3}, lambda i: b"%03d" % (i % 999)),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, lambda i: "AB"[i % 2]),
        ({"type": "long", "logicalType": "timestamp-millis"},
         lambda i: dt.datetime(2014, 8, 1, tzinfo=UTC) + dt.timedelta(hours=i)),
    ],
    ids=range(8),
)  # fmt: skip
def test_arrays_of_numbers_are_read_however_long_they_are(kind: Any, of: Any) -> None:
    rows = [[of(i) for i in range(n)] for n in (3, 0, 40_000, 1, 2)]
    form = one({"type": "array", "items": kind})
    values = form.encode(pl.DataFrame({"v": rows}, schema=dict(form.columns)))
    # Two blocks, the second with its size: what is left of the first row's block follows.
    parts = form.encode(pl.DataFrame({"v": [rows[0][:1], rows[0][1:]]}, schema=dict(form.columns)))
    second = long_bytes(-2) + long_bytes(len(parts[1]) - 2) + parts[1][1:]
    assert form.decode([parts[0][:-1] + second]).frame["v"].to_list() == rows[:1]
    decoded = form.decode([*values, values[2][:-2], values[0]])
    assert list(decoded.bad) == [5]
    assert decoded.frame["v"].gather([0, 1, 2, 3, 4, 6]).to_list() == [*rows, rows[0]]


def test_what_lies_deep_is_read() -> None:
    kind: Any = "int"
    value = b"\x02"
    for _ in range(40):
        kind, value = {"type": "array", "items": kind}, b"\x02" + value + b"\x00"
    found = cell(kind, value).to_list()
    for _ in range(39):
        (found,) = found
    assert found == [1]


def test_maps_are_lists_of_pairs_in_the_order_of_the_record() -> None:
    kind = {"type": "map", "values": "long"}
    assert cell(kind, b"\x04\x02b\x02\x02a\x04\x00").to_list() == [
        {"key": "b", "value": 1}, {"key": "a", "value": 2}
    ]  # fmt: skip


def test_a_union_of_several_types_is_an_object_with_a_member_for_each() -> None:
    form = one(["null", "int", "string", {"type": "array", "items": "int"}])
    names = ["int", "string", "array"]
    assert [field.name for field in form.columns["v"].fields] == names
    values = [b"\x00", b"\x02\x06", b"\x04\x02a", b"\x06\x02\x02\x00"]
    decoded = form.decode(values)
    assert decoded.frame["v"].to_list() == [
        None,
        {"int": 3, "string": None, "array": None},
        {"int": None, "string": "a", "array": None},
        {"int": None, "string": None, "array": [1]},
    ]
    assert form.encode(decoded.frame) == values
    assert "v" in form.optional


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ({"int": 1, "string": "a"}, "of a union one member is there"),
        ({"int": None, "string": None}, "of a union one member is there"),
        (None, "the schema has no null there"),
    ],
)
def test_an_object_that_is_no_branch_of_its_union_is_not_written(cells: Any, why: str) -> None:
    form = one(["int", "string"])
    with pytest.raises(WriteError, match=why):
        form.encode(pl.DataFrame({"v": [cells]}, schema=dict(form.columns)))
    if cells is not None:
        form = one(["int", "null", "string"])
        with pytest.raises(WriteError, match=why):
            form.encode(pl.DataFrame({"v": [None, cells]}, schema=dict(form.columns)))


def test_nanoseconds_are_kept() -> None:
    for local, zone in (("", "UTC"), ("local-", None)):
        form = one({"type": "long", "logicalType": f"{local}timestamp-nanos"})
        assert form.columns["v"] == pl.Datetime("ns", zone)
        values = [long_bytes(each) for each in (1_406_851_380_123_456_789, -(2**63), 2**63 - 1)]
        decoded = form.decode(values)
        assert decoded.bad == {}
        assert decoded.frame["v"].to_physical()[0] == 1_406_851_380_123_456_789
        assert form.encode(decoded.frame) == values


def test_a_decimal_with_more_bytes_than_it_needs_is_read() -> None:
    kind = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 2}
    assert cell(kind, size(b"")) == Decimal(0)
    assert cell(kind, size(b"\xff" * 20)) == Decimal("-0.01")
    assert cell(kind, size(b"\0" * 40 + b"\x01\x00")) == Decimal("2.56")
    assert cell(kind, size((-(10**37)).to_bytes(17, "big", signed=True))) == Decimal(-(10**35))


def test_durations_are_months_days_and_milliseconds() -> None:
    kind = {"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"}
    assert cell(kind, struct.pack("<3I", 1, 2, 2**32 - 1)) == {
        "months": 1, "days": 2, "milliseconds": 2**32 - 1
    }  # fmt: skip


def test_three_hundred_fields_are_read_and_written() -> None:
    form = Avro(record(*(["null", "long"] if i % 2 else "string" for i in range(300))))
    frame = pl.DataFrame(
        {f"f{i}": [None, i] if i % 2 else [f"{i}", ""] for i in range(300)},
        schema=dict(form.columns),
    )
    values = form.encode(frame)
    decoded = form.decode([values[0], b"", values[1]])
    assert list(decoded.bad) == [1]
    assert decoded.frame[[0, 2]].equals(frame, null_equal=True)


@pytest.mark.parametrize(
    ("kind", "column", "why"),
    [
        ("int", pl.Series([1, None], dtype=pl.Int32), "is null, and the schema has no null there"),
        ({"type": "array", "items": "int"}, pl.Series([[1, None]], dtype=pl.List(pl.Int32)),
         r"column 'v\[\]' is null"),
        ({"type": "map", "values": "int"},
         pl.Series([[{"key": None, "value": 1}]],
                   dtype=pl.List(pl.Struct({"key": pl.String, "value": pl.Int32}))),
         r"column 'v\[\].key' is null"),
        ({"type": "fixed", "name": "F", "size": 2}, pl.Series([b"ab", b"abc"]), "not of 2 bytes"),
        ({"type": "fixed", "name": "F", "size": 16, "logicalType": "uuid"}, pl.Series(["x"]),
         "'x' is no UUID in small letters"),
        ({"type": "long", "logicalType": "time-micros"},
         pl.Series([1], dtype=pl.Int64).cast(pl.Time), "1 is finer than micros"),
        ({"type": "int", "logicalType": "date"},
         pl.Series([3_000_000], dtype=pl.Int32).cast(pl.Date), "is not of the years 1 to 9999"),
        ({"type": "long", "logicalType": "timestamp-millis"},
         pl.Series([2**60], dtype=pl.Int64).cast(pl.Datetime("ms", "UTC")), "not of the years"),
        ({"type": "array", "items": "null"}, pl.Series([[None] * 1_001], dtype=pl.List(pl.Null)),
         "1001 items that take no bytes"),
        ({"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"},
         pl.Series([{"months": 1, "days": None, "milliseconds": 1}],
                   dtype=pl.Struct({"months": pl.UInt32, "days": pl.UInt32,
                                    "milliseconds": pl.UInt32})), "has no days"),
    ],
    ids=range(10),
)  # fmt: skip
def test_a_row_that_would_not_be_read_back_is_not_written(
    kind: Any, column: pl.Series, why: str
) -> None:
    with pytest.raises(WriteError, match=why):
        one(kind).encode(column.alias("v").to_frame())


def test_other_columns_than_those_of_the_schema_are_not_written() -> None:
    with pytest.raises(ValueError, match="the columns are x, not v"):
        one("int").encode(pl.DataFrame({"x": [1]}))
    with pytest.raises(ValueError, match="column 'v' is Int64, not Int32"):
        one("int").encode(pl.DataFrame({"v": [1]}))


def test_columns_in_another_order_are_written_in_the_schemas() -> None:
    frame = TRIP.decode([GOOD]).frame
    assert TRIP.encode(frame.select("n", "f2", "f1", "f0")) == [GOOD]


def test_rows_in_chunks_are_written_as_one() -> None:
    frame = TRIP.decode([GOOD] * 3).frame
    parts = pl.concat([frame[:1], frame[:0], frame[1:]], rechunk=False)
    assert TRIP.encode(parts) == [GOOD] * 3


def test_selected_fields_alone_are_columns_and_the_others_are_passed_over() -> None:
    node = {"name": "next", "type": ["null", "Node"], "default": None}
    schema = record({"name": "id", "type": "long"}, node, {"name": "tail", "type": "string"},
                    name="Node")  # fmt: skip
    form = Avro(schema, select=("tail", "id"))
    assert list(form.columns) == ["id", "tail"]
    inner = long_bytes(2) + b"\x00" + size(b"in")
    outer = long_bytes(1) + b"\x02" + inner + size(b"out")
    decoded = form.decode([outer, inner, outer[:-1], outer])
    assert list(decoded.bad) == [2]
    assert decoded.frame[[0, 1, 3]].rows() == [(1, "out"), (2, "in"), (1, "out")]
    assert form.encode(pl.DataFrame({"id": [2], "tail": ["in"]})) == [inner]


def test_what_is_passed_over_is_passed_over_to_a_bounded_depth() -> None:
    node = {"name": "next", "type": ["null", "Node"]}
    form = Avro(record(node, {"name": "id", "type": "int"}, name="Node"), select=("id",))

    def nested(levels: int) -> bytes:
        return b"\x02" * levels + b"\x00" + b"\x0c" * (levels + 1)

    decoded = form.decode([nested(0), nested(90), nested(100_000), nested(3)])
    assert decoded.bad == {2: "field 'next.next': it is nested deeper than 100"}
    assert decoded.frame["id"].gather([0, 1, 3]).to_list() == [6, 6, 6]


WRITER = record(
    {"name": "a", "type": "int"}, {"name": "gone", "type": {"type": "map", "values": "bytes"}},
    {"name": "old", "type": ["null", "float"]}, {"name": "e", "type": {"type": "enum", "name": "E",
     "symbols": ["X", "Y"]}},
)  # fmt: skip
READER = record(
    {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["Y", "Z"], "default": "Z"}},
    {"name": "a", "type": ["string", "double"]},
    {"name": "b", "type": ["null", "double"], "aliases": ["old"]},
    {"name": "c", "type": {"type": "array", "items": "int"}, "default": [1, 2]},
)


def test_a_writers_schema_is_resolved_to_the_readers() -> None:
    value = b"\x0e" + b"\x02\x02k\x02v\x00" + b"\x02" + struct.pack("<f", 0.5) + b"\x00"
    other = b"\x01" + b"\x00" + b"\x00" + b"\x02"
    decoded = Avro(READER, writer=WRITER).decode([value, b"\x0e", other])
    assert list(decoded.bad) == [1]
    assert decoded.frame[[0, 2]].to_dicts() == [
        {"e": "Z", "a": {"string": None, "double": 7.0}, "b": 0.5, "c": [1, 2]},
        {"e": "Y", "a": {"string": None, "double": -1.0}, "b": None, "c": [1, 2]},
    ]


def test_a_branch_that_the_reader_has_not_is_bad_where_it_comes() -> None:
    form = Avro(record("long"), writer=record(["null", "int", "string"]))
    decoded = form.decode([b"\x02\x02", b"\x00", b"\x04\x02a", b"\x02\x04"])
    assert decoded.bad == {
        1: "column 'f0': it is null, which the reader has not",
        2: "column 'f0': it is string, which the reader has not",
    }
    assert decoded.frame["f0"].gather([0, 3]).to_list() == [1, 2]


def test_a_word_that_the_reader_has_not_is_bad_without_a_default() -> None:
    def words(*symbols: str) -> dict[str, Any]:
        return record({"type": "enum", "name": "E", "symbols": list(symbols)})

    form = Avro(words("B"), writer=words("A", "B"))
    decoded = form.decode([b"\x02", b"\x00"])
    assert decoded.bad == {1: "column 'f0': the reader has no word 'A'"}
    assert decoded.frame["f0"][0] == "B"


def test_times_of_a_coarser_unit_are_the_same_moments() -> None:
    def at(unit: str) -> dict[str, Any]:
        return record({"type": "long", "logicalType": f"timestamp-{unit}"})

    form = Avro(at("micros"), writer=at("millis"))
    decoded = form.decode([long_bytes(1_406_851_380_250)])
    assert decoded.frame.item() == dt.datetime(2014, 8, 1, 0, 3, 0, 250_000, tzinfo=UTC)
    beyond = Avro(at("nanos"), writer=at("millis")).decode([long_bytes(2**53)])
    assert "is no time in millis that a column can hold" in beyond.bad[0]


def test_dicts_become_records_of_the_writers_schema() -> None:
    form = Avro(READER, writer=WRITER)
    (value,) = form.records([{"a": 7, "gone": [], "old": None, "e": "Y"}])
    assert value == b"\x0e\x00\x00\x02"
    with pytest.raises(ValueError, match="the schema has no field 'b'"):
        form.records([{"b": 1.0}])
    filled = Avro(record({"name": "a", "type": "int"}, {"name": "b", "type": "int", "default": 3}))
    assert filled.records([{"a": 1}, {"a": 2}]) == [b"\x02\x06", b"\x04\x06"]


def test_fastavro_reads_what_is_written() -> None:
    schema = record("string", ["null", {"type": "long", "logicalType": "timestamp-micros"}])
    form = Avro(schema)
    at = dt.datetime(2014, 8, 1, tzinfo=UTC)
    frame = pl.DataFrame({"f0": ["é"], "f1": [at]}, schema=dict(form.columns))
    (value,) = form.encode(frame)
    read = fastavro.schemaless_reader(io.BytesIO(value), fastavro.parse_schema(schema), None)
    assert read == {"f0": "é", "f1": at}


@pytest.mark.parametrize("sizes", [[3_000_000], [1, 0, 5], [700_000] * 4, [0, 2_000_000, 1, 9] * 2])
def test_pieces_of_any_length_are_written_where_they_belong(sizes: list[int]) -> None:
    rows = [bytes([65 + i]) * n for i, n in enumerate(sizes)]
    form = Avro(record("bytes", "int"), value_bytes_max=4_000_000)
    frame = pl.DataFrame({"f0": rows, "f1": [1] * len(rows)}, schema=dict(form.columns))
    values = form.encode(frame)
    assert values == [size(row) + b"\x02" for row in rows]
    assert form.decode(values).frame.equals(frame)


def test_deep_data_is_read_as_deep_as_a_schema_may_be() -> None:
    kind: Any = "int"
    for level in range(31):
        kind = {"type": "array", "items": record(kind, name=f"R{level}")}
    form = one(kind)
    value = b"\x02" * 32 + b"\x00" * 31
    decoded = form.decode([value, value[:-1], value])
    assert list(decoded.bad) == [1]
    assert form.encode(decoded.frame[[0, 2]]) == [value, value]
