from __future__ import annotations

import polars as pl
import pytest

from processor import Bytes, Csv, Json, Text
from processor.feeds.listing import Found
from processor.feeds.opened import cut, opened
from processor.feeds.values import records

CSV = Csv({"a": pl.String, "b": pl.String})
TEXTS = (
    b"a,b\nc,d", b'a,"b\nc"\nd,e\n', b'"a\r\n\n""",b\r\nc,d\r\n', b'a,"never closed\nc,d\ne,f\n',
    b"\n\na,b\n\n", b'"', b"", b'a"b,c\nd,e', b"a,b\rc,d\re,f", b'x,"y"z\nq,r\n',
)  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("form", [CSV, Text()], ids=["csv", "text"])
def test_where_the_data_was_cut_makes_no_difference(text, form):
    whole = list(records(text, form))
    for first in range(len(text) + 1):
        for most in (1, 2, 99):
            found, at, size = [], 0, first
            while at < len(text):
                data = text[at : at + size]
                end = at + size >= len(text)
                values, used = cut(data, form, most, end=end)
                found += values
                at += used
                size = size if used else size + 1
            assert found == whole, (first, most)


@pytest.mark.parametrize("text", TEXTS)
def test_a_file_gives_the_same_records_in_pieces_of_any_size(tmp_path, text):
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbf" + text)
    found = Found("a", len(text) + 3, 0)
    for size in (1, 3, 100):
        for again in (False, True):
            file = opened(path, found, CSV)
            values, at, end = [], 0, False
            while not end:
                if again:
                    file.close()
                    file = opened(path, found, CSV)
                part = file.read(at, 2, size)
                values += part.values
                at, end = part.at, part.end
            file.close()
            assert values == [value for value in records(text, CSV) if value]


@pytest.mark.parametrize(
    ("form", "kept"),
    [
        (CSV, [b" ", b"a,b", b"c,d"]),
        (Json({"a": pl.String}), [b" ", b"a,b", b"c,d"]),
        (Bytes("a"), [b"", b" ", b"a,b", b"", b"c,d", b""]),
        (Csv({"a": pl.String, "b": pl.String}, header=True), [b"c,d"]),
        (Csv({"a": pl.String}, separator=";", optional={"a"}), [b" ", b"a,b", b"c,d"]),
        (Text(empty=True), [b"", b" ", b"a,b", b"", b"c,d", b""]),
    ],
    ids=["csv", "json", "bytes", "header", "one column", "text"],
)
@pytest.mark.parametrize("most", [1, 2, 9])
def test_an_empty_line_is_passed_over_in_csv_and_json_alone(tmp_path, form, kept, most):
    path = tmp_path / "a"
    path.write_bytes(b"\n \na,b\r\n\r\nc,d\n\n")
    if getattr(form, "header", False):
        path.write_bytes(b"\n\r\na,b\r\n\r\nc,d\n\n")
    file = opened(path, Found("a", path.stat().st_size, 0), form)
    values, at, end = [], 0, False
    while not end:
        part = file.read(at, most, 3)
        values += part.values
        at, end = part.at, part.end
    file.close()
    assert values == kept


@pytest.mark.parametrize("size", [1_000, 150_000, 999_900, 1_200_000])
def test_a_field_in_quotes_is_one_however_long(tmp_path, size):
    field = b"y" * (size // 2) + b"\nghost,6\n" + b"y" * (size // 2)
    path = tmp_path / "a"
    path.write_bytes(b'a,b\n"' + field + b'",1\nc,d\n')
    file = opened(path, Found("a", path.stat().st_size, 0), CSV)
    values, at, end = [], 0, False
    while not end:
        part = file.read(at, 2, 10_000)
        values += part.values
        at, end = part.at, part.end
    file.close()
    assert values == [b"a,b", b'"' + field + b'",1', b"c,d"]
    assert CSV.decode(values[1:2]).frame["a"].to_list() == [field.decode()] or size > 1_000_000


def test_quotes_that_do_not_close_within_what_is_looked_after_hold_nothing_together(monkeypatch):
    monkeypatch.setattr("processor.feeds.opened.QUOTED_BYTES_MAX", 1_000)
    text = b'"a\n' + b"b\n" * 600 + b'c"\nd,e\n'
    values, _ = cut(text, CSV, 10**9, end=True)
    assert values[0] == b'"a'
    assert values[-1] == b"d,e"
    for size in range(900, 1_100):
        assert cut(text[:size], CSV, 1, end=False) in (([], 0), ([b'"a'], 3))
