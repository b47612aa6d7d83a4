"""Random messages, objects and numbers of schemas: what is written is read back."""

from __future__ import annotations

import json
import math
import struct

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from processor import JsonSchema, Protobuf, Registered
from processor.connectors.registry.client import Client
from processor.errors import TopologyError
from processor.formats.base import WriteError
from processor.formats.registry import Schema, Wanted
from tests.property import json_schemas
from tests.property.profile import QUICK
from tests.shop import SCALARS, class_of, field, file_of, shop

ORDER = class_of(shop(), "shop.Order")
ORDERS = Protobuf(ORDER)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
UINT64 = st.integers(0, 2**64 - 1)
LINE = st.fixed_dictionaries({"sku": TEXT, "count": UINT64})
MICROS = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)


def stamp(micros):
    return {"seconds": micros // 1_000_000, "nanos": micros % 1_000_000 * 1_000}


def span(micros):
    sign = -1 if micros < 0 else 1
    seconds, rest = divmod(abs(micros), 1_000_000)
    return {"seconds": sign * seconds, "nanos": sign * rest * 1_000}


MESSAGES = st.builds(
    lambda given, pay: ORDER(**given, **pay),
    st.fixed_dictionaries(
        {},
        optional={
            "id": st.integers(-(2**63), 2**63 - 1),
            "state": st.sampled_from([0, 1, 5]),
            "lines": st.lists(LINE, max_size=3),
            "at": MICROS.map(stamp),
            "took": st.integers(-(3 * 10**17), 3 * 10**17).map(span),
            "limit": UINT64.map(lambda value: {"value": value}),
            "note": st.integers(-(2**31), 2**31 - 1),
            "raw": st.binary(max_size=8),
            "tags": st.lists(TEXT, max_size=3),
            "attrs": st.dictionaries(TEXT, LINE, max_size=3),
            "first": LINE,
            "weight": st.floats(width=32),
        },
    ),
    st.one_of(
        st.just({}),
        st.fixed_dictionaries({"card": TEXT}),
        st.fixed_dictionaries({"cash": st.integers(-(2**63), 2**63 - 1)}),
    ),
)


def same_message(one, other):
    return one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


@QUICK
@given(st.lists(MESSAGES, max_size=6))
def test_messages_are_read_and_written_as_they_are(messages):
    values = [message.SerializeToString() for message in messages]
    decoded = ORDERS.decode(values)
    assert decoded.bad == {}
    written = [ORDER.FromString(value) for value in ORDERS.encode(decoded.frame)]
    assert len(written) == len(messages)
    assert all(map(same_message, written, messages))
    assert ORDERS.decode(ORDERS.encode(decoded.frame)).frame.equals(decoded.frame)


@QUICK
@given(MESSAGES, MESSAGES, st.integers(0, 1 << 30), st.integers(0, 7), st.booleans())
def test_a_broken_message_touches_no_neighbour(good, other, place, bit, cut):
    value = bytearray(other.SerializeToString())
    if cut:
        del value[place % (len(value) + 1) :]
    elif value:
        value[place % len(value)] ^= 1 << bit
    left = good.SerializeToString()
    decoded = ORDERS.decode([left, bytes(value), left])
    assert decoded.bad.keys() <= {1}
    alone = ORDERS.decode([left]).frame
    assert decoded.frame[[0]].equals(alone)
    assert decoded.frame[[2]].equals(alone)


KINDS = sorted(SCALARS)
VALUES = {
    "double": st.floats(), "float": st.floats(width=32), "bool": st.booleans(), "string": TEXT,
    "bytes": st.binary(max_size=6),
    **dict.fromkeys(("int64", "sfixed64", "sint64"), st.integers(-(2**63), 2**63 - 1)),
    **dict.fromkeys(("int32", "sfixed32", "sint32"), st.integers(-(2**31), 2**31 - 1)),
    **dict.fromkeys(("uint64", "fixed64"), UINT64),
    **dict.fromkeys(("uint32", "fixed32"), st.integers(0, 2**32 - 1)),
}  # fmt: skip


def one_field(kind):
    file = file_of()
    field(file.message_type.add(name="One"), 1, kind, "v")
    return class_of(file, "shop.One")


CLIENT = Client("mock://property", {})
FORMS = {kind: Registered(Protobuf(one_field(kind)), auto_register=True).of(kind) for kind in KINDS}
for each in FORMS.values():
    each.connect(CLIENT)


@QUICK
@given(st.data(), st.sampled_from(KINDS), st.sampled_from(KINDS))
def test_a_type_that_fits_another_is_read_as_the_same_value_and_no_other_is(data, theirs, ours):
    writer, reader = FORMS[theirs], FORMS[ours]
    value = data.draw(VALUES[theirs])
    decoded = reader.decode(writer.records([{"v": value}]))
    if decoded.bad:
        text = {theirs, ours} == {"bytes", "string"}
        assert "does not fit" in decoded.bad[0] or text
        return
    found = decoded.frame["v"][0]
    if isinstance(value, float):
        assert found == value or (math.isnan(found) and math.isnan(value))
    else:
        wanted = value.encode() if ours == "bytes" and theirs == "string" else value
        assert found == (wanted.decode() if theirs == "bytes" and ours == "string" else wanted)


# JSON by a schema, against the library that checks by the schema.

LEAVES = {
    "integer": st.integers(-(2**63), 2**63 - 1),
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
    "string": st.one_of(TEXT, st.sampled_from(["5", "true", "null", "{}", "[", "-1", "0.5", ""])),
}
NAMES = st.sampled_from(["a", "b", "c", "d e", "null"])


def schemas(depth=2):
    leaf = st.sampled_from(sorted(LEAVES)).map(lambda kind: {"type": kind})
    inner = leaf if not depth else st.one_of(leaf, lists(depth - 1), objects(depth - 1))
    return st.builds(_nullable, inner, st.booleans())


def _nullable(schema, null):
    return {"anyOf": [schema, {"type": "null"}]} if null else schema


def lists(depth):
    return schemas(depth).map(lambda schema: {"type": "array", "items": schema})


def objects(depth):
    def made(properties):
        return st.builds(
            lambda names, more: {
                "type": "object", "properties": properties, "required": sorted(names),
                "additionalProperties": more,
            },
            st.sets(st.sampled_from(sorted(properties))), st.booleans(),
        )  # fmt: skip

    return st.dictionaries(NAMES, schemas(depth), min_size=1, max_size=3).flatmap(made)


def cells(schema, *, wild):
    """Values of a schema; with ``wild`` now and then one of another."""
    if "anyOf" in schema:
        fitting = st.one_of(st.none(), cells(schema["anyOf"][0], wild=wild))
    elif schema["type"] == "array":
        fitting = st.lists(cells(schema["items"], wild=wild), max_size=3)
    elif schema["type"] == "object":
        members = {name: cells(part, wild=wild) for name, part in schema["properties"].items()}
        must = {name: members[name] for name in schema["required"] if not wild}
        members |= {"zz": st.just(5)} if wild else {}
        fitting = st.fixed_dictionaries(
            must, optional={name: m for name, m in members.items() if name not in must}
        )
    else:
        fitting = LEAVES[schema["type"]]
    strange = st.sampled_from([None, 5, -1.5, "x", "7", True, [], {}, [None], {"a": 1}])
    return st.one_of(fitting, fitting, fitting, strange) if wild else fitting


@QUICK
@given(st.data(), objects(2))
def test_objects_are_good_exactly_where_the_library_says_so(data, schema):
    import jsonschema

    records = [data.draw(cells(schema, wild=n > 0)) for n in range(4)]
    decoded = JsonSchema(schema).decode([json.dumps(record).encode() for record in records])
    check = jsonschema.Draft202012Validator(schema)
    for row, record in enumerate(records):
        good = isinstance(record, dict) and check.is_valid(record)
        # A whole number with a fraction of nothing is one to the library alone.
        assert (row not in decoded.bad) is good, (record, decoded.bad.get(row))


@QUICK
@given(st.randoms(use_true_random=False))
def test_whatever_a_schema_says_objects_are_good_exactly_where_the_library_says_so(random):
    import jsonschema

    schema = json_schemas.whole(random)
    records = [json_schemas.record(random) for _ in range(12)]
    form = JsonSchema(schema)
    decoded = form.decode([json.dumps(record).encode() for record in records])
    check = jsonschema.Draft202012Validator(schema)
    for row, record in enumerate(records):
        good = isinstance(record, dict) and check.is_valid(record)
        assert (row not in decoded.bad) is good, (schema, record, decoded.bad.get(row))
    rows = [row for row in range(len(records)) if row not in decoded.bad]
    try:
        values = form.encode(decoded.frame[rows])
    except (TopologyError, WriteError):
        return  # of several types; or such as columns cannot tell apart: these are set aside
    assert all(check.is_valid(json.loads(value)) for value in values), (schema, values)
    again = form.decode(values)
    assert (again.bad, again.frame.equals(decoded.frame[rows])) == ({}, True), schema


@QUICK
@given(st.data(), objects(2))
def test_objects_are_written_as_the_schema_allows_and_read_back(data, schema):
    import jsonschema

    form = JsonSchema(schema)
    records = [data.draw(cells(schema, wild=False)) for _ in range(3)]
    decoded = form.decode([json.dumps(record).encode() for record in records])
    assert decoded.bad == {}
    values = form.encode(decoded.frame)
    for value in values:
        jsonschema.validate(json.loads(value), schema)
    again = form.decode(values)
    assert again.bad == {}
    assert again.frame.equals(decoded.frame)


# Numbers of schemas.

PLAIN = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
NUMBERED = Client("mock://numbers", {})
for title in "ab":
    NUMBERED.register("t-value", Wanted(Schema("JSON", json.dumps({**PLAIN, "title": title}))))
RECORDS = st.one_of(
    st.none(),
    st.binary(max_size=8),
    st.tuples(st.integers(0, 3), st.integers(0, 9)).map(
        lambda pair: b"\0" + struct.pack(">I", pair[0]) + b'{"n":%d}' % pair[1]
    ),
)


@QUICK
@given(st.lists(RECORDS, max_size=20))
def test_a_batch_is_what_its_records_are_one_by_one(values):
    form = Registered(JsonSchema(PLAIN)).of("t")
    form.connect(NUMBERED)
    decoded = form.decode(values)
    assert decoded.frame.height == len(values)
    for row, value in enumerate(values):
        alone = form.decode([value])
        assert decoded.bad.get(row) == alone.bad.get(0)
        if row not in decoded.bad:
            assert decoded.frame[[row]].equals(alone.frame)
            assert value is not None
            assert json.loads(value[5:]) == decoded.frame.row(row, named=True)
    assert isinstance(decoded.frame, pl.DataFrame)
