"""Rows of a topic are taken apart as their format wrote them, and compared cell by cell."""

from __future__ import annotations

import math

import polars as pl
import pytest

from processor import Csv, Json, Text
from processor.engine.offline.rows import for_columns, row_reader, same


def test_rows_of_every_format_are_taken_apart() -> None:
    assert _read(Json(), b'{"n":1,"k":"a"}') == {"n": 1, "k": "a"}
    assert _read(Csv({"a": pl.String, "b": pl.Int64}, separator=";"), b'"x;y";2') == {
        "a": "x;y", "b": "2",
    }  # fmt: skip
    assert _read(Text(), "é,1".encode()) == {"v": "é,1"}
    two = {"a": pl.String, "b": pl.String}
    assert _read(Csv(two, quote="'"), b"'x,y',\"z") == {"a": "x,y", "b": '"z'}
    assert _read(Csv(two, quote=None), b"'x,\"z") == {"a": "'x", "b": '"z'}


def test_a_format_that_is_not_known_has_no_reader() -> None:
    assert row_reader(object(), ["v"]) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("form", "value"),
    [
        (Json(), b"{"), (Json(), b"[1]"), (Json(), b"null"), (Text(), b"\xff"),
        (Csv({"a": pl.String}), b"1,2"), (Csv({"a": pl.String}), b"1\r2"),
        (Csv({"a": pl.String}), b"\xff"),
    ],
)  # fmt: skip
def test_what_is_no_row_is_an_error(form: Json | Csv | Text, value: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        _read(form, value)


def test_a_line_that_csv_cannot_be_is_told_by_its_cause() -> None:
    with pytest.raises(ValueError, match="new-line character"):
        _read(Csv({"a": pl.String}), b"1\r2")


def test_a_format_for_other_columns_writes_them_as_it_writes_its_own() -> None:
    columns = {"t": pl.Datetime("us"), "u": pl.Datetime("us"), "n": pl.Int64()}
    times = {name: pl.Datetime("us") for name in ("t", "gone", "e")}
    millis, optional = frozenset({"t", "gone"}), frozenset({"e"})
    form = Json(times, millis=millis, epoch={"e": "s"}, optional=optional)
    assert for_columns(form, columns) == Json(millis=frozenset({"t"}))
    kept = for_columns(form, {"e": pl.Datetime("us")})
    assert isinstance(kept, Json)
    assert (dict(kept.epoch), kept.millis) == ({"e": "s"}, frozenset())
    csv = Csv({"a": pl.String, "e": pl.Datetime("us")}, separator=";", epoch={"e": "s"})
    assert for_columns(csv, {"n": pl.Int64()}) == Csv({"n": pl.Int64()}, separator=";")
    assert for_columns(Text(), {"v": pl.String()}) == Text()


def test_what_a_format_says_of_columns_that_are_not_there_is_left_out() -> None:
    kinds = {
        "d": pl.Duration("us"), "n": pl.Int64, "no_n": pl.Boolean, "r": pl.String,
        "m": pl.List(pl.Struct({"key": pl.String, "value": pl.Int64})),
    }  # fmt: skip
    form = Json(
        kinds, optional=frozenset({"n"}), durations={"d": "ms"}, maps=frozenset({"m"}), rest="r",
        missing={"n": "no_n"},
    )  # fmt: skip
    assert for_columns(form, {"n": pl.Int64()}) == Json()
    every = Json(durations={"d": "ms"}, maps=frozenset({"m"}), rest="r", missing={"n": "no_n"})
    assert for_columns(form, {name: pl.Null() for name in kinds}) == every
    csv = Csv(
        {"d": pl.Duration("us"), "n": pl.Int64}, durations={"d": "ms"}, optional=frozenset({"n"}),
        nulls=("NA",),
    )  # fmt: skip
    assert for_columns(csv, {"x": pl.Int64()}) == Csv({"x": pl.Int64()}, nulls=("NA",))
    assert for_columns(csv, {"n": pl.Int64()}) == Csv(
        {"n": pl.Int64()}, optional=frozenset({"n"}), nulls=("NA",)
    )


@pytest.mark.parametrize(
    ("one", "other", "exact", "slack", "expected"),
    [
        (1.0, 1.0 + 1e-10, (), {}, True),
        (1.0, 1.0 + 1e-8, (), {}, False),
        (1.0, 1.0 + 1e-10, {"x"}, {}, False),
        (1.0, 1.5, {"x"}, {}, False),
        ("1.0", "1.00", {"x"}, {}, True),
        (2**60, 2**60 + 1, (), {}, False),
        (1.0, 1.5, (), {"x": 0.5}, True),
        (1.0, 1.5, (), {"x": 0.4}, False),
        (math.inf, math.inf, (), {"x": 0.5}, True),
        ("inf", "Infinity", (), {"x": 0.5}, True),
        (1.0, "a", (), {"x": 0.5}, False),
        (1.0, "a", (), {"x": math.inf}, True),
        (True, 1, (), {"x": 0.5}, False),
        (None, None, {"x"}, {}, True),
        (None, 0.0, (), {"x": 0.5}, False),
    ],
)
def test_cells_are_the_same_within_what_is_granted(
    one: object, other: object, exact: set[str], slack: dict[str, float], expected: bool
) -> None:
    assert same({"x": one}, {"x": other}, exact=exact, slack=slack) is expected
    assert same({"x": other}, {"x": one}, exact=exact, slack=slack) is expected
    assert not same({"x": one}, {"x": one, "y": 1}, exact=exact, slack=slack)


def _read(form: Json | Csv | Text, value: bytes) -> object:
    reader = row_reader(form, ["v"])
    assert reader is not None
    return reader(value)
