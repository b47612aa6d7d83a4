"""Avro's files: blocks of records of a schema that the file itself has, as bare records."""

from __future__ import annotations

import io
from typing import Any

import fastavro

from processor.formats.avro.batch import Bytes
from processor.formats.avro.codec import AvroReader, AvroWriter
from processor.formats.avro.resolve import passing
from processor.formats.avro.schema import Type, canonical, parse
from processor.formats.avro.single import Single

MAGIC = b"Obj\x01"


def bare(data: bytes, schema: Any) -> list[bytes]:
    r"""The records of a file as those of a schema.

    Raises `ValueError` for what is no such file, or whose records cannot be read by the schema.

    >>> out = io.BytesIO()
    >>> schema = {"type": "record", "name": "R", "fields": [{"name": "n", "type": "int"}]}
    >>> fastavro.writer(out, schema, [{"n": 1}, {"n": -1}])
    >>> bare(out.getvalue(), schema)
    [b'\x02', b'\x01']
    """
    if not data.startswith(MAGIC):
        raise ValueError("it is no Avro file")
    try:
        file: Any = fastavro.block_reader(io.BytesIO(data))
        own = file.writer_schema
        kind = parse(own)
        found = [
            record
            for block in file
            for record in _cut(block.bytes_.getvalue(), block.num_records, kind)
        ]
    except Exception as error:
        raise ValueError(f"it cannot be read: {error}") from error
    if canonical(own) == canonical(schema):
        return found
    wanted = parse(schema)
    decoded = AvroReader(wanted, parse(own)).decode(found)
    if decoded.bad:
        row, reason = next(iter(decoded.bad.items()))
        raise ValueError(f"record {row + 1}: {reason}")
    return AvroWriter(wanted).encode(decoded.frame)


def _cut(block: bytes, count: int, kind: Type) -> list[bytes]:
    """A block's records, each by itself: where one ends is known by reading it."""
    node = passing(kind)
    single = Single(Bytes([block]))
    at = start = single.begin(0)
    ends = []
    for _ in range(count):
        at = node.one(single, at)
        ends.append(at - start)
    single.end(at)
    return [block[a:b] for a, b in zip([0, *ends], ends, strict=False)]
