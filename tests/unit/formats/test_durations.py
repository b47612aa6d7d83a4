from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from processor import Csv, Json, TopologyError
from processor.formats.base import WriteError
from processor.formats.durations import read_durations, why_no_duration, write_durations

SECOND = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


@pytest.mark.parametrize("unit", SECOND)
@pytest.mark.parametrize(
    ("text", "millis"),
    [
        ("PT0S", 0), ("PT1S", 1_000), ("PT0.25S", 250), ("PT0,25S", 250),
        ("PT1.50000000000S", 1_500),
        ("-PT5M", -300_000), ("+PT5M", 300_000), ("PT1H30M", 5_400_000), ("P1D", 86_400_000),
        ("P2W", 1_209_600_000), ("P1W1DT1H1M1.001S", 694_861_001), ("PT90M", 5_400_000),
    ],
)  # fmt: skip
def test_a_text_is_the_duration_that_iso_8601_says(unit: Any, text: str, millis: int) -> None:
    found = read_durations(pl.Series([text, None]), pl.Duration(unit), None)
    assert found.dtype == pl.Duration(unit)
    assert found.cast(pl.Int64).to_list() == [millis * SECOND[unit] // 1_000, None]


@pytest.mark.parametrize(
    "text",
    ["", "P", "PT", "P1DT", "1S", "T1S", "PT1", "P1S", "PT1D", "PT1S1M", "P1Y", "P1M", "PT1.5M",
     "PT.5S", "PT1.S", "PT-1S", "P-1D", "--PT1S", "pt1s", " PT1S", "PT1S ", "PT1S\n", "PT1e3S",
     "P99999999999999999999D", "P9999999999999999W", "PT1.0000000001S", "1.5", "00:01:00"],
)  # fmt: skip
def test_what_is_no_such_text_or_has_no_room_is_no_duration(text: str) -> None:
    assert read_durations(pl.Series([text]), pl.Duration("ns"), None).to_list() == [None]


def test_a_duration_that_is_finer_than_its_type_is_none() -> None:
    text = pl.Series(["PT0.001S", "PT0.0001S", "PT0.0000001S"])
    found = [
        read_durations(text, pl.Duration(unit), None).null_count() for unit in ("ms", "us", "ns")
    ]
    assert found == [2, 1, 0]


@pytest.mark.parametrize(
    ("unit", "number", "nanos"),
    [("s", 1.5, 1_500_000_000), ("s", -2.0, -(2 * 10**9)), ("ms", 1_500, 1_500_000_000),
     ("us", -1, -1_000), ("ns", 7, 7), ("s", 1e300, None), ("s", 1e10, None),
     ("ms", 2**62, None), ("us", 2**62, None)],
)  # fmt: skip
def test_a_number_is_a_duration_in_the_unit_that_was_declared(
    unit: str, number: float, nanos: int | None
) -> None:
    numbers = pl.Series([number, None], dtype=pl.Float64 if unit == "s" else pl.Int64)
    found = read_durations(numbers, pl.Duration("ns"), unit)
    assert found.cast(pl.Int64).to_list() == [nanos, None]


@pytest.mark.parametrize("unit", SECOND)
def test_the_least_duration_of_all_has_no_text_and_the_next_one_has(unit: Any) -> None:
    least = pl.Series("d", [-(2**63) + 1, 2**63 - 1]).cast(pl.Duration(unit))
    text = write_durations(least, None)
    assert read_durations(text, pl.Duration(unit), None).equals(least)
    none = pl.Series("d", [0, -(2**63)]).cast(pl.Duration(unit))
    with pytest.raises(WriteError, match=f"column 'd': -9223372036854775808 {unit} cannot be told"):
        write_durations(none, None)


@pytest.mark.parametrize(
    ("number", "own", "unit"),
    [(1, "ns", "us"), (1_500, "us", "ms"), (2**62, "ms", "ns"), (2**62 + 1, "us", "s")],
)
def test_a_duration_that_would_come_back_as_another_is_not_written(
    number: int, own: Any, unit: str
) -> None:
    with pytest.raises(WriteError, match=f"column 'd': {number} {own} cannot be told in "):
        write_durations(pl.Series("d", [0, number]).cast(pl.Duration(own)), unit)


@pytest.mark.parametrize(
    ("cell", "unit", "why"),
    [
        ("x", None, "'x' is no duration as in 'P1DT2H30M', of weeks to seconds"),
        ("P1Y", None, "'P1Y' is no duration"),
        ("PT0.0001S", None, "'PT0.0001S' has no place in Duration(time_unit='ms')"),
        (1, "us", "1 microseconds have no place in Duration(time_unit='ms')"),
        ("1e400", "s", "inf seconds have no place in"),
        ("x", "ms", "'x' is no number"),
    ],
)
def test_the_reason_says_what_is_wrong(cell: object, unit: str | None, why: str) -> None:
    assert why in why_no_duration(cell, pl.Duration("ms"), unit)


def test_seconds_with_a_fraction_are_written_so_and_their_neighbours_are_not() -> None:
    form = Json({"d": pl.Duration("us")}, durations={"d": "s"})
    values = [b'{"d":2}', b'{"d":0.25}', b'{"d":-3}']
    assert form.encode(form.decode(values).frame) == values


def test_a_bad_duration_is_named_and_its_neighbours_stay_in_place() -> None:
    kinds = {"d": pl.Duration("ms"), "e": pl.Duration("us")}
    line = Csv(kinds, durations={"e": "ms"}).decode([b"PT1S,1", b"1,1", b"PT1S,x", b"PT1S,2"])
    assert line.bad == {
        1: "column 'd': '1' is no duration as in 'P1DT2H30M', of weeks to seconds",
        2: "column 'e': 'x' is no number",
    }
    assert line.frame["e"].cast(pl.Int64).to_list()[::3] == [1_000, 2_000]
    value = b'{"d":%s,"e":%s}'
    record = Json(kinds, durations={"e": "ms"}).decode(
        [value % (b'"PT1S"', b"1"), value % (b"1", b"1"), value % (b'"PT1S"', b"1.5")]
    )
    assert record.bad == {
        1: "column 'd': '1' is no duration as in 'P1DT2H30M', of weeks to seconds",
        2: "column 'e': 1.5 is no whole milliseconds",
    }


@pytest.mark.parametrize("form", [Json, Csv])
@pytest.mark.parametrize(
    ("durations", "message"),
    [({"t": "ms"}, "declared for 't', which is Datetime"), ({"x": "ms"}, "which is no column"),
     ({"d": "h"}, "is no unit"), ("d", "durations='d' gives no units")],
)  # fmt: skip
def test_what_is_wrong_about_durations_is_refused_at_the_line(
    form: Any, durations: Any, message: str
) -> None:
    with pytest.raises(TopologyError) as raised:
        form({"t": pl.Datetime("us"), "d": pl.Duration("us")}, durations=durations)
    assert message in raised.value.message
    assert raised.value.message.startswith(__file__)
    assert raised.value.remedy


@pytest.mark.parametrize("cell", ["1.0005", "1.9999", "0.0000004", "9007199254740993"])
def test_seconds_that_no_duration_of_the_type_stands_for_are_bad(cell):
    form = Json({"e": pl.Duration("ms")}, durations={"e": "s"})
    assert list(form.decode([b'{"e":1.5}', b'{"e":%s}' % cell.encode()]).bad) == [1]
