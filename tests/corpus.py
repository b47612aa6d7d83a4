"""Records that no topic of the ride pipeline should have, each with what it is."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from pathlib import Path

import fastavro
import pyarrow as pa
import pyarrow.ipc

SCHEMA = Path(__file__).parents[1] / "topologies" / "uber" / "trip.avsc"
LONG = 1_000_100
"""More bytes than a format looks at, and fewer than a broker takes."""

CSV = {
    "nothing": b"",
    "a blank": b" ",
    "one field": b"2014-08-01 00:00:00",
    "a field too few": b"2014-08-01 00:00:00,40.7,-73.9",
    "a field too many": b"2014-08-01 00:00:00,40.7,-73.9,B02598,x",
    "a header": b"dt,lat,lon,base",
    "no such day": b"2014-02-30 00:00:00,40.7,-73.9,B02598",
    "no such hour": b"2014-08-01 25:00:00,40.7,-73.9,B02598",
    "another form of time": b"01/08/2014 00:00,40.7,-73.9,B02598",
    "a year of five digits": b"12014-08-01 00:00:00,40.7,-73.9,B02598",
    "text for a number": b"2014-08-01 00:00:00,north,-73.9,B02598",
    "an empty number": b"2014-08-01 00:00:00,,-73.9,B02598",
    "a comma for a point": b'2014-08-01 00:00:00,"40,7",-73.9,B02598',
    "not a number": b"2014-08-01 00:00:00,NaN,-73.9,B02598",
    "infinity": b"2014-08-01 00:00:00,inf,-73.9,B02598",
    "overflow": b"2014-08-01 00:00:00,1e999,-73.9,B02598",
    "another separator": b"2014-08-01 00:00:00;40.7;-73.9;B02598",
    "a quote that is not closed": b'2014-08-01 00:00:00,40.7,-73.9,"B02598',
    "text behind a quote": b'2014-08-01 00:00:00,40.7,-73.9,"B02598"x',
    "two lines": b"2014-08-01 00:00:00,40.7,-73.9,B02598\n2014-08-01 00:00:00,40.7,-73.9,B02598",
    "not UTF-8": b"2014-08-01 00:00:00,40.7,-73.9,B\xff\xfe",
    "UTF-16": "2014-08-01 00:00:00,40.7,-73.9,B02598".encode("utf-16"),
    "a NUL": b"2014-08-01 00:00:00,40.7,-73.9,B\x0002598",
    "zeros": bytes(64),
    "compressed": gzip.compress(b"2014-08-01 00:00:00,40.7,-73.9,B02598"),
    "JSON": b'{"dt":"2014-08-01 00:00:00","lat":40.7,"lon":-73.9,"base":"B02598"}',
    "very long": b"2014-08-01 00:00:00,40.7,-73.9," + b"B" * LONG,
    "many fields": b"," * 200_000,
}

_GOOD = {"dt": "2014-08-01 00:00:00", "lat": 40.7, "lon": -73.9, "base": "B02598", "cluster": 1}


def _but(**other: object) -> bytes:
    return json.dumps({**_GOOD, **other}).encode()


JSON = {
    "nothing": b"",
    "a blank": b"  ",
    "cut in the middle": _but()[:40],
    "cut at the end": _but()[:-1],
    "a trailing comma": _but()[:-1] + b",}",
    "two objects": _but() + _but(),
    "two lines of objects": _but() + b"\n" + _but(),
    "a list": b"[" + _but() + b"]",
    "a number": b"7",
    "null": b"null",
    "text": b'"trip"',
    "no quotes": b"{dt: 2014-08-01 00:00:00, cluster: 1}",
    "single quotes": _but().replace(b'"', b"'"),
    "a comment": b"/* trip */ " + _but(),
    "missing": b'{"dt":"2014-08-01 00:00:00"}',
    "a null": _but(cluster=None),
    "text for a number": _but(cluster="1"),
    "a fraction": _but(cluster=1.5),
    "overflow": _but().replace(b'"cluster": 1', b'"cluster": 99999999999999999999999'),
    "infinity": _but().replace(b'"cluster": 1', b'"cluster": Infinity'),
    "an object": _but(cluster={"id": 1}),
    "deep": _but(cluster=0).replace(b'"cluster": 0', b'"cluster": ' + b"[" * 5_000 + b"]" * 5_000),
    "deep and open": b"[" * 100_000,
    "another form of time": _but(dt="01/08/2014"),
    "no such day": _but(dt="2014-02-30 00:00:00"),
    "not UTF-8": _but().replace(b"2014", b"\xff\xfe"),
    "half a surrogate pair": _but(dt="X").replace(b"X", b"\\ud800"),
    "a NUL behind it": _but() + b"\0",
    "UTF-16": _but().decode().encode("utf-16"),
    "compressed": zlib.compress(_but()),
    "very long": _but(base="B" * LONG),
    "XML with entities": b'<!DOCTYPE t [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><t>&b;</t>',
}


def _trip() -> bytes:
    """A record as another implementation of Avro writes it."""
    from datetime import UTC, datetime

    schema = fastavro.parse_schema(json.loads(SCHEMA.read_text()))
    known = {**_GOOD, "dt": datetime(2014, 8, 1, tzinfo=UTC)}
    row = {field["name"]: known[field["name"]] for field in schema["fields"]}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, row)
    return out.getvalue()


TRIP = _trip()
AVRO = {
    "nothing": b"",
    "one byte": b"\x00",
    "cut in the first field": TRIP[:1],
    "cut in the middle": TRIP[: len(TRIP) // 2],
    "cut at the end": TRIP[:-1],
    "a byte too many": TRIP + b"\x00",
    "two records": TRIP + TRIP,
    "an open number": b"\x80" * 5,
    "a number of eleven bytes": b"\x80" * 10 + b"\x01" + TRIP[1:],
    "ones": b"\xff" * 40,
    "zeros": bytes(40),
    "the wire format of a registry": b"\x00\x00\x00\x00\x07" + TRIP,
    "an unknown magic byte": b"\x07\x00\x00\x00\x07" + TRIP,
    "a container file": b"Obj\x01" + bytes(16) + TRIP,
    "JSON": _but(),
    "CSV": CSV["a field too few"],
    "compressed": gzip.compress(TRIP),
    "backwards": TRIP[::-1],
    "very long": TRIP + b"B" * LONG,
}


def _arrow(**columns: object) -> bytes:
    out = io.BytesIO()
    table = pa.table(columns)
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def _bomb() -> bytes:
    """A short record that would become 40 MB."""
    out = io.BytesIO()
    table = pa.table({"n": [0] * 5_000_000})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(out, table.schema, options=options) as writer:
        writer.write_table(table)
    return out.getvalue()


ROWS = _arrow(user=["a", "b"], n=[1, 2])
ARROW = {
    "nothing": b"",
    "one byte": b"\x00",
    "text": b"user,n\na,1\n",
    "JSON": b'{"user":"a","n":1}',
    "cut in the schema": ROWS[:40],
    "cut in the middle": ROWS[: len(ROWS) // 2],
    "cut behind the batch": ROWS[:-8],
    "the end alone": ROWS[-8:],
    "backwards": ROWS[::-1],
    "a length that is none": b"\xff\xff\xff\xff\xff\xff\xff\x7f" + ROWS[8:],
    "a long length": b"\xff\xff\xff\xff\x00\x00\x00\x7f" + ROWS[8:],
    "offsets beyond the text": ROWS.replace(b"\1\0\0\0\2\0\0\0", b"\1\0\0\0\x7f\0\0\0"),
    "a column too few": _arrow(user=["a"]),
    "a null": _arrow(user=["a", None], n=[1, 2]),
    "text for a number": _arrow(user=["a"], n=["1"]),
    "a fraction": _arrow(user=["a"], n=[1.5]),
    "a list": _arrow(user=["a"], n=[[1]]),
    "not UTF-8": ROWS.replace(b"ab\x00", b"a\xff\x00"),
    "40 MB of zeros": _bomb(),
    "very long": _arrow(user=["B" * LONG], n=[1]),
}
