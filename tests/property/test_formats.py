from __future__ import annotations

import csv
import io
import json
import math

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from processor import Csv, Json, Text
from tests.property.profile import QUICK

FORMAT = Json(
    {"i": pl.Int64, "f": pl.Float64, "s": pl.String, "b": pl.Boolean, "u": pl.UInt8},
    optional=frozenset({"s"}),
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**65), 2**65), st.floats(allow_nan=False),
    st.text(max_size=5), st.just([]), st.just({"a": 1}), st.integers(0, 255), st.just(1.0),
)  # fmt: skip
whole = st.fixed_dictionaries(
    {"i": st.integers(-(2**63), 2**63 - 1), "f": st.floats(allow_nan=False, allow_infinity=False),
     "s": st.text(max_size=8), "b": st.booleans(), "u": st.integers(0, 255)}
)  # fmt: skip
loose = st.fixed_dictionaries({}, optional=dict.fromkeys("ifsbu", scalars))
objects = st.builds(
    lambda o, indent, ascii_: json.dumps(o, indent=indent, ensure_ascii=ascii_).encode(
        errors="surrogatepass"
    ),
    st.one_of(whole, whole, loose),
    st.sampled_from([None, None, 1]),
    st.booleans(),
)
values = st.lists(
    st.one_of(objects, objects, st.none(), st.binary(max_size=6), objects.map(lambda v: v[:-1])),
    max_size=12,
)


def fits(value: bytes | None) -> dict | None:
    try:
        got = json.loads((value or b"").decode(), parse_constant=lambda _: 1 / 0)
    except (ValueError, ZeroDivisionError):
        return None
    if not isinstance(got, dict):
        return None
    i, f, b, u = (got.get(name) for name in "ifbu")
    ok = (
        type(i) is int
        and -(2**63) <= i < 2**63
        and type(f) in (int, float)
        and math.isfinite(f)
        and type(b) is bool
        and type(u) is int
        and 0 <= u <= 255
        and not any(0xD800 <= ord(c) < 0xE000 for c in str(got))
    )
    return got if ok else None


@QUICK
@given(values)
def test_json_reads_each_record_as_if_it_were_alone(batch: list[bytes | None]) -> None:
    decoded = FORMAT.decode(batch)
    assert decoded.frame.height == len(batch)
    for row, value in enumerate(batch):
        alone = FORMAT.decode([value])
        assert (row in decoded.bad) == (0 in alone.bad)
        want = fits(value)
        assert (want is None) == (row in decoded.bad), (value, decoded.bad.get(row))
        if want is not None:
            got = decoded.frame.row(row, named=True)
            assert (got["i"], got["b"], got["u"]) == (want["i"], want["b"], want["u"])
            assert got["f"] == float(want["f"])
            if isinstance(want.get("s"), str):
                assert got["s"] == want["s"]


@QUICK
@given(st.lists(whole, max_size=8))
def test_json_reads_what_it_has_written(rows: list[dict]) -> None:
    frame = pl.DataFrame(rows, schema=dict(FORMAT.columns or {}))
    decoded = FORMAT.decode(FORMAT.encode(frame))
    assert decoded.bad == {}
    assert decoded.frame.equals(frame)


cells = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6).filter(
    lambda t: "\0" not in t
)


@QUICK
@given(st.lists(st.tuples(cells, st.integers(-(2**63), 2**63 - 1)), max_size=8))
def test_csv_reads_what_it_has_written(rows: list[tuple[str, int]]) -> None:
    form = Csv({"s": pl.String, "n": pl.Int64})
    frame = pl.DataFrame(rows, schema={"s": pl.String, "n": pl.Int64}, orient="row")
    decoded = form.decode(form.encode(frame))
    assert decoded.bad == {}
    assert decoded.frame.equals(frame)


lines = st.one_of(
    st.text(st.sampled_from('ab1,"\r\n é'), max_size=8),
    st.lists(cells, min_size=1, max_size=4).map(
        lambda c: (w := io.StringIO(), csv.writer(w).writerow(c), w.getvalue())[2]
    ),
)


@QUICK
@given(st.lists(lines, max_size=10))
def test_csv_splits_each_line_as_the_standard_library_does(batch: list[str]) -> None:
    form = Csv({"a": pl.String, "b": pl.String})
    decoded = form.decode([line.encode() for line in batch])
    for row, line in enumerate(batch):
        plain = line.rstrip("\r\n")
        try:
            fields = next(csv.reader([plain], strict=True), [])
        except csv.Error:
            fields = []
        want = tuple(fields) if len(fields) == 2 and all(fields) and "\0" not in plain else None
        assert (row not in decoded.bad) == (want is not None), (line, decoded.bad)
        if want is not None:
            assert decoded.frame.row(row) == want


@QUICK
@given(st.lists(st.one_of(st.none(), st.binary(max_size=6)), max_size=10))
def test_text_is_bad_exactly_when_it_is_empty_or_not_utf8(batch: list[bytes | None]) -> None:
    decoded = Text().decode(batch)
    for row, value in enumerate(batch):
        try:
            want = value.decode() if value else None
        except UnicodeDecodeError:
            want = None
        assert decoded.frame["value"][row] == want
        assert (row in decoded.bad) == (want is None)
