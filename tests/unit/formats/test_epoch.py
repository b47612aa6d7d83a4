from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
import pytest

from processor.formats.base import WriteError
from processor.formats.epoch import read_epoch, why_not, write_epoch
from processor.formats.times import in_unit

THEN = dt.datetime(2014, 8, 1, 0, 3)
SECONDS = 1_406_851_380


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1_000), ("us", 1_000_000)])
def test_a_number_is_a_time_in_the_unit_that_was_declared(unit: str, factor: int) -> None:
    numbers = [SECONDS * factor, 0, -factor, None]
    found = read_epoch(pl.Series(numbers, dtype=pl.Float64 if unit == "s" else pl.Int64), unit)
    before = dt.datetime(1969, 12, 31, 23, 59, 59)
    assert found.to_list() == [THEN, dt.datetime(1970, 1, 1), before, None]
    back = write_epoch(found, unit)
    assert back.dtype == pl.Int64
    assert back.to_list() == numbers


@pytest.mark.parametrize(
    ("unit", "number", "why"),
    [
        ("ms", SECONDS, "1406851380 is 1970-01-17 in milliseconds, but 2014-08-01 in seconds"),
        ("ms", SECONDS, "in seconds: declare epoch={'ts': 's'}"),
        ("us", SECONDS, "but 2014-08-01 in seconds"),
        ("us", SECONDS * 1_000, "but 2014-08-01 in milliseconds: declare epoch={'ts': 'ms'}"),
        ("s", SECONDS * 1_000, "but 2014-08-01 in milliseconds"),
        ("s", SECONDS * 1_000_000, "but 2014-08-01 in microseconds"),
        ("ms", SECONDS * 1_000_000, "but 2014-08-01 in microseconds"),
        ("ms", 2**62, "is no date in whole milliseconds since 1970"),
        ("s", -(2**40), "is no date in seconds since 1970"),
        ("ns", SECONDS * 1_000, "1970-01-01 in nanoseconds, but 2014-08-01 in milliseconds"),
        ("us", SECONDS * 10**9, "in nanoseconds: declare epoch={'ts': 'ns'}"),
    ],
)  # fmt: skip
def test_a_number_that_cannot_be_meant_is_no_time_and_says_which_unit_would_be(
    unit: str, number: int, why: str
) -> None:
    kind = pl.Float64 if unit == "s" else pl.Int64
    assert read_epoch(pl.Series([number, 0], dtype=kind), unit).to_list()[0] is None
    assert why in why_not(number, unit, "ts")
    assert why in why_not(str(number), unit, "ts")


def test_the_first_hours_of_1970_can_be_meant() -> None:
    found = read_epoch(pl.Series([0, 1_500, 86_400_000]), "ms")
    assert found.null_count() == 0


def test_seconds_may_have_a_fraction() -> None:
    times = pl.Series(
        [THEN, THEN.replace(microsecond=123_456), dt.datetime(1969, 1, 1, 0, 0, 0, 1)]
    )
    numbers = write_epoch(times, "s")
    assert numbers.to_list()[:2] == [1406851380.0, 1406851380.123456]
    assert read_epoch(numbers, "s").to_list() == times.to_list()


def test_a_year_that_has_not_four_digits_is_not_written() -> None:
    for number in (2**60, -(2**60)):
        times = pl.Series("t", [number]).cast(pl.Datetime("ms"))
        with pytest.raises(WriteError, match="a year has four digits"):
            write_epoch(times, "ms")


@pytest.mark.parametrize(
    ("unit", "time", "told"),
    [
        ("ms", THEN.replace(microsecond=1), "cannot be told in whole milliseconds"),
        ("s", dt.datetime(2500, 1, 1, 0, 0, 0, 1), "cannot be told in seconds"),
        ("ms", dt.datetime(1970, 1, 17), "cannot be told from another time in another unit"),
        ("ms", dt.datetime(1, 1, 1) - dt.timedelta(0), None),
    ],
)
def test_a_time_that_would_come_back_as_another_is_not_written(
    unit: str, time: dt.datetime, told: str | None
) -> None:
    times = pl.Series("t", [THEN, None, time])
    if told is None:
        assert read_epoch(write_epoch(times, unit), unit).to_list() == times.to_list()
        return
    with pytest.raises(WriteError, match="column 't': ") as raised:
        write_epoch(times, unit)
    assert told in str(raised.value)


LEAST, MOST = -(2**63), 2**63 - 1


@pytest.mark.parametrize("own", ["ms", "us", "ns"])
def test_nanoseconds_are_numbers_too(own: Any) -> None:
    times = pl.Series("t", [THEN, None]).cast(pl.Datetime(own))
    numbers = write_epoch(times, "ns")
    assert numbers.to_list() == [SECONDS * 10**9, None]
    assert in_unit(read_epoch(numbers, "ns"), pl.Datetime(own)).equals(times)


def test_the_ends_of_the_nanoseconds_are_read_back() -> None:
    ends = pl.Series("t", [LEAST, MOST, -1, 0], dtype=pl.Int64).cast(pl.Datetime("ns"))
    assert read_epoch(write_epoch(ends, "ns"), "ns").equals(ends)


@pytest.mark.parametrize("year", [1500, 2300])
def test_a_year_that_nanoseconds_have_no_room_for_is_neither_read_nor_written(year: int) -> None:
    times = pl.Series("t", [THEN, dt.datetime(year, 1, 1)])
    assert in_unit(times, pl.Datetime("ns")).is_null().to_list() == [False, True]
    with pytest.raises(WriteError, match="whole nanoseconds: these end in 1677 and 2262"):
        write_epoch(times, "ns")


@pytest.mark.parametrize(
    ("unit", "number"),
    [("us", SECONDS * 10**9 + 1), ("ms", SECONDS * 10**9 + 1_000), ("s", SECONDS * 10**9 + 1)],
)
def test_what_is_finer_than_the_unit_is_not_written(unit: str, number: int) -> None:
    times = pl.Series("t", [number]).cast(pl.Datetime("ns"))
    with pytest.raises(WriteError, match=r'cannot be told in .*: declare epoch=.*"ns"'):
        write_epoch(times, unit)


def test_seconds_tell_microseconds_of_nanoseconds() -> None:
    times = pl.Series("t", [SECONDS * 10**9 + 250_000]).cast(pl.Datetime("ns"))
    numbers = write_epoch(times, "s")
    assert in_unit(read_epoch(numbers, "s"), pl.Datetime("ns")).equals(times)
