from __future__ import annotations

import polars as pl
import pytest

from processor import Text


def test_an_empty_batch_is_an_empty_column() -> None:
    decoded = Text().decode([])
    assert dict(decoded.frame.schema) == {"value": pl.String}
    assert (decoded.frame.height, decoded.bad) == (0, {})


@pytest.mark.parametrize("value", ["hello", "two\nlines", "nul\0", "ünïcödé", " "])
def test_text_comes_as_it_is_and_goes_as_it_came(value: str) -> None:
    decoded = Text().decode([value.encode()])
    assert decoded.frame["value"].to_list() == [value]
    assert Text().encode(decoded.frame) == [value.encode()]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no value"),
        (b"", "empty"),
        (b"\xff", "not UTF-8: invalid start byte at byte 0"),
        (b"x" * 2_000_000, "2000000 bytes, more than 1000000"),
    ],
    ids=range(4),
)
def test_a_bad_value_is_named_and_its_neighbours_stay(value: bytes | None, reason: str) -> None:
    decoded = Text().decode([b"a", value, b"b"])
    assert set(decoded.bad) == {1}
    assert reason in decoded.bad[1]
    assert decoded.frame["value"].to_list() == ["a", None, "b"]


def test_more_than_one_column_is_no_text() -> None:
    with pytest.raises(ValueError, match="text is one column, not 2: a, b"):
        Text().encode(pl.DataFrame({"a": ["x"], "b": ["y"]}))


def test_empty_text_is_a_row_where_that_is_said() -> None:
    form = Text(empty=True)
    decoded = form.decode([b"a", b"", b"\xff", b""])
    assert decoded.frame["value"].to_list() == ["a", "", None, ""]
    assert set(decoded.bad) == {2}
    assert set(form.decode([b"", None]).bad) == {1}
    both = Text(empty=True, tombstones=True)
    decoded = both.decode([b"", None, b"a"])
    assert (decoded.frame["value"].to_list(), decoded.bad) == (["", None, "a"], {})
    assert both.encode(decoded.frame) == [b"", None, b"a"]


def test_null_is_written_as_nothing() -> None:
    assert Text().encode(pl.DataFrame({"a": [None, "x"]})) == [b"", b"x"]


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    decoded = Text().decode(["\ufeffa".encode(), b"b", "\ufeff\ufeffc".encode()])
    assert decoded.frame["value"].to_list() == ["a", "b", "\ufeffc"]
    assert Text().decode(Text().encode(decoded.frame)).frame.equals(decoded.frame)
