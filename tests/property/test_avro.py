"""Avro against fastavro: random schemas, random rows, and records that are broken."""

from __future__ import annotations

import io
from typing import Any

import fastavro
from hypothesis import given
from hypothesis import strategies as st

from processor.formats.avro.batch import Bytes
from processor.formats.avro.codec import AvroReader, AvroWriter
from processor.formats.avro.schema import Type, parse
from tests.property.avro import batches, frame, of_any_text, same, written
from tests.property.profile import QUICK

Batch = tuple[Any, Type, list[Any]]


@QUICK
@given(batches())
def test_rows_are_written_byte_for_byte_as_fastavro_writes_them(batch: Batch) -> None:
    schema, kind, rows = batch
    assert AvroWriter(kind).encode(frame(kind, rows)) == [written(schema, kind, r) for r in rows]


@QUICK
@given(batches())
def test_records_that_fastavro_wrote_are_read_as_the_rows_that_they_were(batch: Batch) -> None:
    schema, kind, rows = batch
    decoded = AvroReader(kind).decode([written(schema, kind, row) for row in rows])
    assert decoded.bad == {}
    assert same(decoded.frame.to_dicts(), rows)


@QUICK
@given(batches())
def test_one_by_one_and_all_at_once_are_the_same(batch: Batch) -> None:
    schema, kind, rows = batch
    values = [written(schema, kind, row) for row in rows]
    reader = AvroReader(kind)
    fast = reader.decode(values)
    slow = reader._again(fast.frame.clear(len(values)), Bytes(values), range(len(values)))
    assert slow.bad == {}
    assert slow.frame.equals(fast.frame, null_equal=True)
    assert slow.frame.schema == fast.frame.schema


@st.composite
def broken(draw: st.DrawFn) -> tuple[Any, Type, list[bytes], list[bytes]]:
    """A batch's records, and the same with some of them cut, extended, altered or garbage."""
    schema, kind, rows = draw(batches())
    values = [written(schema, kind, row) for row in rows]
    return schema, kind, values, [draw(_broken(value)) for value in values]


@st.composite
def _broken(draw: st.DrawFn, value: bytes) -> bytes:
    how = draw(st.sampled_from(["whole", "cut", "extended", "altered", "garbage"]))
    if how == "cut" and value:
        return value[: draw(st.integers(0, len(value) - 1))]
    if how == "extended":
        return value + draw(st.binary(min_size=1, max_size=4))
    if how == "altered" and value:
        at = draw(st.integers(0, len(value) - 1))
        return value[:at] + bytes([value[at] ^ 1 << draw(st.integers(0, 7))]) + value[at + 1 :]
    return draw(st.binary(max_size=30)) if how == "garbage" else value


@QUICK
@given(broken())
def test_a_broken_record_never_changes_its_neighbours(
    batch: tuple[Any, Type, list[bytes], list[bytes]],
) -> None:
    _, kind, whole, values = batch
    reader = AvroReader(kind)
    expected, decoded = reader.decode(whole), reader.decode(values)
    assert decoded.frame.height == len(values)
    for row, value in enumerate(values):
        if value == whole[row]:
            assert row not in decoded.bad
            assert decoded.frame[row].equals(expected.frame[row], null_equal=True)


@QUICK
@given(broken())
def test_what_is_bad_all_at_once_is_bad_one_by_one_and_for_the_same_reason(
    batch: tuple[Any, Type, list[bytes], list[bytes]],
) -> None:
    _, kind, _, values = batch
    reader = AvroReader(kind)
    fast = reader.decode(values)
    slow = reader._again(fast.frame.clear(len(values)), Bytes(values), range(len(values)))
    assert slow.bad == fast.bad
    good = [row for row in range(len(values)) if row not in fast.bad]
    assert slow.frame[good].equals(fast.frame[good], null_equal=True)


@QUICK
@given(broken())
def test_a_record_is_read_as_fastavro_reads_it_or_is_bad(
    batch: tuple[Any, Type, list[bytes], list[bytes]],
) -> None:
    schema, kind, _, values = batch
    schema = fastavro.parse_schema(of_any_text(schema))
    decoded = AvroReader(kind).decode(values)
    for row, value in enumerate(values):
        alone = AvroReader(kind).decode([value])
        assert alone.bad.get(0) == decoded.bad.get(row)
        if row not in decoded.bad:
            source = io.BytesIO(value)
            read = fastavro.schemaless_reader(source, schema, None)
            assert source.tell() == len(value)
            again = AvroWriter(kind).encode(decoded.frame[row])[0]
            assert same(fastavro.schemaless_reader(io.BytesIO(again), schema, None), read)


@QUICK
@given(batches(), st.data())
def test_a_writers_schema_is_resolved_as_fastavro_resolves_it(
    batch: Batch, data: st.DataObject
) -> None:
    schema, kind, rows = batch
    reader = data.draw(readers(schema))
    values = [written(schema, kind, row) for row in rows]
    decoded = AvroReader(parse(reader), kind).decode(values)
    of = fastavro.parse_schema(reader)
    assert decoded.bad == {}
    assert set(decoded.frame.columns) == {each["name"] for each in reader["fields"]}
    again = AvroWriter(parse(reader)).encode(decoded.frame)
    for value, mine in zip(values, again, strict=True):
        theirs = fastavro.schemaless_reader(io.BytesIO(value), schema, of)
        assert same(fastavro.schemaless_reader(io.BytesIO(mine), of, None), theirs)


WIDER = {"int": ["long", "double"], "long": ["double"], "float": ["double"], "boolean": []}
MORE = [
    {"name": "more", "type": "string", "default": "é"},
    {"name": "more", "type": ["null", "int"], "default": None},
    {"name": "more", "type": {"type": "array", "items": "int"}, "default": [1, -70]},
    {"name": "more", "type": {"type": "map", "values": "string"}, "default": {}},
    {"name": "more", "type": "double", "default": 1.5},
]


@st.composite
def readers(draw: st.DrawFn, schema: Any) -> Any:
    """A reader's schema that a writer's records can be read by."""
    if isinstance(schema, str):
        return draw(st.sampled_from([schema, *WIDER.get(schema, [])]))
    if isinstance(schema, list):
        return schema
    if schema["type"] == "array":
        return {"type": "array", "items": draw(readers(schema["items"]))}
    if schema["type"] == "map":
        return {"type": "map", "values": draw(readers(schema["values"]))}
    if schema["type"] != "record":
        return {name: schema[name] for name in schema if not name.startswith("__")}
    fields = []
    for each in draw(st.permutations(schema["fields"])):
        if draw(st.integers(0, 4)):
            renamed = {"name": "new", "aliases": [each["name"]]} if draw(st.booleans()) else {}
            made = draw(readers(each["type"]))
            used = any(field["name"] == "new" for field in fields)
            fields.append({"name": each["name"], "type": made} | ({} if used else renamed))
    if not fields or draw(st.booleans()):
        fields.append(draw(st.sampled_from(MORE)))
    return {"type": "record", "name": schema["name"], "fields": fields}
