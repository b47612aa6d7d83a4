"""Change events against a writer of one value at a time, as Debezium encodes each."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from processor import Debezium
from tests.property.profile import QUICK

EPOCH = datetime(1970, 1, 1)
PRICE = pl.Decimal(20, 3)
ROW = {
    "id": pl.Int64, "name": pl.String, "on": pl.Date, "at": pl.Datetime("us"),
    "ms": pl.Datetime("ms"), "tod": pl.Time, "price": PRICE, "raw": pl.Binary,
    "prices": pl.List(PRICE), "inner": pl.Struct({"d": pl.Date, "n": pl.Int32}),
}  # fmt: skip
# Numbers of the first weeks of 1970 may be of another unit: they are bad in any format.
times = st.datetimes(datetime(1971, 1, 1))
decimals = st.integers(-(10**20) + 1, 10**20 - 1).map(lambda n: Decimal(n).scaleb(-3))
cells = {
    "id": st.integers(-(2**63), 2**63 - 1), "name": st.text(max_size=4), "on": st.dates(),
    "at": times, "ms": times.map(lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000)),
    "tod": st.times(), "price": decimals, "raw": st.binary(max_size=20),
    "prices": st.lists(st.none() | decimals, max_size=3),
    "inner": st.fixed_dictionaries({"d": st.none() | st.dates(), "n": st.integers(-9, 9)}),
}  # fmt: skip
rows = st.fixed_dictionaries({name: st.none() | cell for name, cell in cells.items()})


def encoded(cell: Any, kind: Any) -> Any:
    if isinstance(cell, list):
        return [encoded(element, kind.inner) for element in cell]
    if isinstance(cell, dict):
        inner = {field.name: field.dtype for field in kind.fields}
        return {name: encoded(part, inner[name]) for name, part in cell.items()}
    if isinstance(cell, Decimal):
        whole = int(cell.scaleb(kind.scale))
        size = (whole.bit_length() + 8) // 8
        return b64encode(whole.to_bytes(size, "big", signed=True)).decode()
    if isinstance(cell, bytes):
        return b64encode(cell).decode()
    if isinstance(cell, datetime):
        unit = timedelta(microseconds=1 if kind.time_unit == "us" else 1000)
        return (cell - EPOCH) // unit
    if isinstance(cell, date):
        return (cell - EPOCH.date()).days
    if isinstance(cell, time):
        return (datetime.combine(EPOCH, cell) - EPOCH) // timedelta(microseconds=1)
    return cell


@st.composite
def events(draw: st.DrawFn) -> tuple[bytes | None, Any]:
    """A record, and what it says: an operation with two rows, a tombstone, or nothing at all."""
    sort = draw(st.sampled_from(["event"] * 6 + ["tombstone", "garbage", "truncated"]))
    if sort == "tombstone":
        return None, "tombstone"
    if sort == "garbage":
        return draw(st.sampled_from([b"", b"{}", b"[1]", b"\xff", b"null", b"{" * 40])), "bad"
    op = draw(st.sampled_from("crudt"))
    before = draw(st.none() | rows) if op in "ud" else None
    after = draw(rows) if op in "cru" else None
    packed = {
        name: row and {column: encoded(cell, ROW[column]) for column, cell in row.items()}
        for name, row in {"before": before, "after": after}.items()
    }
    body = {**packed, "op": op, "ts_ms": 10**12, "source": {"ts_ms": 10**12}}
    if draw(st.booleans()):
        body = {"schema": {"optional": False}, "payload": body}
    text = json.dumps(body, ensure_ascii=draw(st.booleans())).encode()
    return (text[:-1], "bad") if sort == "truncated" else (text, (op, before, after))


@QUICK
@given(st.lists(events(), max_size=6))
def test_change_events_are_read_as_they_were_encoded_and_each_alone(batch: list[Any]) -> None:
    form = Debezium(ROW, optional=frozenset(ROW))
    values = [value for value, _ in batch]
    decoded = form.decode(values)
    for row, (value, meant) in enumerate(batch):
        assert (row in decoded.bad) == (meant == "bad"), (value, decoded.bad)
        assert (row in decoded.passed) == (meant == "tombstone")
        if isinstance(meant, tuple):
            assert decoded.frame.select("op", "before", "after").row(row) == meant
        if row in decoded.bad:
            assert form.decode([value]).bad == {0: decoded.bad[row]}
