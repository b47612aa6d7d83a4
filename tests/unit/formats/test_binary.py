"""Bytes in JSON and CSV are base64, and nothing else."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from processor import Csv, Json

JSON = Json({"b": pl.Binary, "n": pl.Int64})
NESTED = Json({"o": pl.Struct({"b": pl.List(pl.Binary), "s": pl.String})})


@pytest.mark.parametrize("company", [[], [b"junk"]], ids=["fast", "slow"])
@pytest.mark.parametrize(
    ("text", "cell"),
    [(b'""', b""), (b'"YQ=="', b"a"), (b'"1234"', b"\xd7m\xf8"), (b'"true"', b"\xb6\xbb\x9e"),
     (b'"\\u0059Q=="', b"a"), (b'"++//"', b"\xfb\xef\xff")],
)  # fmt: skip
def test_a_text_of_base64_is_its_bytes(text: bytes, cell: bytes, company: list[bytes]) -> None:
    decoded = JSON.decode([b'{"b":%s,"n":1}' % text, *company])
    assert 0 not in decoded.bad
    assert decoded.frame.row(0) == (cell, 1)


@pytest.mark.parametrize("company", [[], [b"junk"]], ids=["fast", "slow"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"1234", "column 'b': 1234 is no text"),
        (b"true", "column 'b': True is no text"),
        (b"12345678", "column 'b': 12345678 is no text"),
        (b'"YQ"', "column 'b': 'YQ' is no base64 with its padding"),
        (b'"YQ="', "is no base64"),
        (b'"YR=="', "is no base64"),
        (b'"YQ==\\n"', "is no base64"),
        (b'"Y Q=="', "is no base64"),
        (b'"-_8="', "is no base64"),
        (b'"YQ==YQ=="', "is no base64"),
        (b"{}", "is no base64"),
        (b"[]", "is no base64"),
        (b"null", "column 'b': null"),
    ],
)
def test_anything_else_is_bad_and_its_neighbours_stay_in_place(
    text: bytes, reason: str, company: list[bytes]
) -> None:
    good = b'{"b":"YQ==","n":1}'
    decoded = JSON.decode([good, b'{"b":%s,"n":2}' % text, good, *company])
    assert decoded.bad.keys() - {3} == {1}
    assert reason in decoded.bad[1]
    assert decoded.frame["b"].to_list()[:3:2] == [b"a", b"a"]


def test_the_first_of_members_with_one_name_counts() -> None:
    decoded = JSON.decode([b'{"b":"1234","b":1234,"n":1}', b'{"b":1234,"b":"1234","n":1}'])
    assert set(decoded.bad) == {1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [(b'{"b":["YQ==",1234]}', "column 'o.b[1]': 1234 is no text"),
     (b'{"b":[false,true]}', "column 'o.b[0]': False is no text"),
     (b'{"b":["YQ"],"s":1.10}', "column 'o.b[0]': 'YQ' is no base64")],
)  # fmt: skip
def test_inside_of_objects_and_lists_it_is_the_same(text: bytes, reason: str) -> None:
    good = b'{"o":{"b":["YQ==",null,"1234"],"s":12}}'
    decoded = NESTED.decode([good, b'{"o":%s}' % text, good])
    assert set(decoded.bad) == {1}
    assert reason in decoded.bad[1]
    row = {"b": [b"a", None, b"\xd7m\xf8"], "s": "12"}
    assert decoded.frame["o"].to_list()[::2] == [row, row]


@pytest.mark.parametrize("kind", [pl.Struct({"a": pl.Binary}), pl.Binary])
def test_bytes_are_written_without_columns_too(kind: Any) -> None:
    cell = {"a": b"\xff"} if kind == pl.Struct else b"\xff"
    written = Json().encode(pl.DataFrame({"x": [cell]}, schema={"x": kind}))
    assert written == [b'{"x":{"a":"/w=="}}' if kind == pl.Struct else b'{"x":"/w=="}']


def test_a_field_of_base64_is_its_bytes_and_an_empty_one_is_bad() -> None:
    decoded = Csv({"b": pl.Binary, "n": pl.Int64}).decode([b"YQ==,1", b",2", b"1234,3", b"x,4"])
    assert decoded.bad == {
        1: "column 'b': missing",
        3: "column 'b': 'x' is no base64 with its padding",
    }
    assert decoded.frame["b"].to_list()[::2] == [b"a", b"\xd7m\xf8"]
