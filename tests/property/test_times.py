"""What a format writes of times, it reads back as the same value, or it says that it cannot."""

from __future__ import annotations

import datetime as dt
import warnings
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from processor import Csv, Json
from processor.formats.base import WriteError
from processor.formats.forms import form
from processor.formats.times import READ_FORMS, parse_times
from tests.property.profile import QUICK

ZONES = [
    None, "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu",
    "Europe/Amsterdam", "Pacific/Apia", "Australia/Lord_Howe",
]  # fmt: skip
# Around where a clock is set, ends of calendars, and either side of 1970.
EDGES = [
    dt.datetime(2014, 10, 26, 0, 30), dt.datetime(2014, 10, 26, 1, 30), dt.datetime(2014, 3, 30, 1),
    dt.datetime(2014, 11, 2, 5, 30), dt.datetime(2014, 11, 2, 6, 30), dt.datetime(2011, 12, 30, 10),
    dt.datetime(1970, 1, 1), dt.datetime(1969, 12, 31, 23, 59, 59, 999_999),
    dt.datetime(1, 1, 1), dt.datetime(999, 12, 31, 23, 59, 59, 1), dt.datetime(1000, 1, 1),
    dt.datetime(9999, 12, 31, 23, 59, 59, 999_999), dt.datetime(1880, 1, 1),
    dt.datetime(1937, 7, 1), dt.datetime(2014, 8, 1, 0, 0, 0, 250_000),
    dt.datetime(2014, 8, 1, 0, 0, 0, 250),
]  # fmt: skip
moments = st.one_of(
    st.sampled_from(EDGES),
    st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999_999)),
    st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2068, 12, 31)).map(
        lambda t: t.replace(microsecond=0)
    ),
)
DATES = [
    "%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%Y%m%d", "%Y %j", "%-d. %B %Y", "%a, %d %b %Y", "%F",
    "%d/%m/%y", "%D",
]  # fmt: skip
CLOCKS = [
    "%H:%M:%S", "%H:%M:%S%.f", "%H:%M:%S.%f", "%H:%M:%S,%f", "%H%M%S%f", "%H:%M:%S.%3f",
    "%I:%M:%S %p", "%I:%M:%S.%6f %p", "%T", "%H:%M", "%H",
]  # fmt: skip
EXACT = ["%H:%M:%S", "%H:%M:%S%.f", "%H:%M:%S.%f", "%H:%M:%S.%6f", "%H:%M:%S%.6f", "%T"]
OFFSETS = ["", "%z", "%:z", " %z", "Z", " UTC", " GMT"]
exact_forms = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%F", "%Y%m%d"]),
    st.sampled_from([" ", "T", ", "]),
    st.sampled_from(EXACT),
    st.sampled_from(OFFSETS),
)
any_forms = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(DATES),
    st.sampled_from([" ", "T"]),
    st.sampled_from(CLOCKS),
    st.sampled_from(OFFSETS),
)
kinds = st.builds(pl.Datetime, st.sampled_from(["us", "ms"]), st.sampled_from(ZONES))


def column(times: list[dt.datetime], kind: pl.Datetime) -> pl.Series:
    naive = pl.Series("t", times, dtype=pl.Datetime("us"))
    if kind.time_zone is not None:
        naive = naive.dt.replace_time_zone("UTC").dt.convert_time_zone(kind.time_zone)
    return naive.dt.cast_time_unit(kind.time_unit)


def formats(kind: pl.DataType, written: str) -> list[Csv | Json]:
    columns = {"n": pl.Int64, "t": kind}
    return [
        Csv(columns, times=(written,)),
        Csv(columns, times=(written, *READ_FORMS), separator=";"),
        Json(columns, times=(written,)),
        Json(columns, time_form=written),
    ]


def test_forms_and_kinds_are_read_back() -> None:
    """The cases that the properties below draw from, so that a failure has a short name."""
    frame = column(EDGES, pl.Datetime("us", "Europe/Berlin")).to_frame()
    frame = frame.with_columns(n=pl.int_range(frame.height, dtype=pl.Int64)).select("n", "t")
    for form_ in (Csv(dict(frame.schema)), Json(dict(frame.schema))):
        decoded = form_.decode(form_.encode(frame))
        assert decoded.bad == {}
        assert decoded.frame.equals(frame)


@QUICK
@given(st.lists(moments, min_size=1, max_size=5), kinds, exact_forms)
def test_a_form_that_tells_all_of_a_time_brings_every_time_back(
    times: list[dt.datetime], kind: pl.Datetime, written: str
) -> None:
    frame = column(times, kind).to_frame()
    frame = frame.with_columns(n=pl.int_range(frame.height, dtype=pl.Int64)).select("n", "t")
    for format_ in formats(kind, written):
        decoded = format_.decode(format_.encode(frame))
        assert decoded.bad == {}, (format_, format_.encode(frame))
        assert decoded.frame.equals(frame), (format_, format_.encode(frame))


@QUICK
@given(moments, kinds, any_forms)
def test_any_form_brings_a_time_back_or_says_that_it_cannot(
    time: dt.datetime, kind: pl.Datetime, written: str
) -> None:
    frame = column([time], kind).to_frame().with_columns(n=pl.lit(1, pl.Int64)).select("n", "t")
    for format_ in formats(kind, written):
        try:
            values = format_.encode(frame)
        except WriteError:
            continue
        decoded = format_.decode(values)
        assert decoded.bad == {}, (format_, values)
        assert decoded.frame.equals(frame), (format_, values)


@QUICK
@given(st.lists(moments, min_size=1, max_size=5), kinds, st.sampled_from(["s", "ms", "us"]))
def test_numbers_since_1970_bring_a_time_back_or_say_that_they_cannot(
    times: list[dt.datetime], kind: pl.Datetime, unit: str
) -> None:
    frame = column(times, kind).to_frame()
    for format_ in (Csv({"t": kind}, epoch={"t": unit}), Json({"t": kind}, epoch={"t": unit})):
        try:
            values = format_.encode(frame)
        except WriteError:
            assert unit in ("s", "ms") or any(t.year == 1970 for t in times)
            continue
        decoded = format_.decode(values)
        assert decoded.bad == {}
        assert decoded.frame.equals(frame)
        alone = [value for i in range(len(times)) for value in format_.encode(frame[i])]
        assert values == alone, "a record is not written otherwise for its neighbours' sake"


@QUICK
@given(
    st.lists(st.dates(), min_size=1, max_size=4),
    st.lists(st.times(), min_size=4, max_size=4),
    st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%Y%m%d", "%-d %B %Y"]),
    st.sampled_from(["%H:%M:%S", "%H:%M:%S%.f", "%I:%M:%S.%f %p"]),
)
def test_dates_and_times_of_day_come_back(
    dates: list[dt.date], times: list[dt.time], day: str, clock: str
) -> None:
    frame = pl.DataFrame({"d": dates, "t": times[: len(dates)]})
    kinds = dict(frame.schema)
    for format_ in (Csv(kinds), Json(kinds), Csv(kinds, times=(day, clock)),
                    Json(kinds, times=(clock, day))):  # fmt: skip
        decoded = format_.decode(format_.encode(frame))
        assert decoded.bad == {}
        assert decoded.frame.equals(frame)


@QUICK
@given(moments, any_forms, st.sampled_from(["+00:00", "-0330", "Z"]))
def test_text_that_python_writes_is_read_as_python_reads_it(
    time: dt.datetime, written: str, offset: str
) -> None:
    assume("%-" not in written and ".f" not in written and "3f" not in written)
    assume("6f" not in written and "%:z" not in written and time.year >= 1000)
    written = written.replace("%F", "%Y-%m-%d").replace("%T", "%H:%M:%S").replace("%D", "%m/%d/%y")
    text = time.strftime(written.replace("%z", "") + offset * ("%z" in written))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            want = dt.datetime.strptime(text, written)  # noqa: DTZ007
    except ValueError:
        want = None
    if want is not None and want.tzinfo is not None:
        try:
            want = want.astimezone(dt.UTC).replace(tzinfo=None)
        except OverflowError:
            want = None
    assert form(written).read(pl.Series([text])).to_list() == [want]


@QUICK
@given(moments, st.sampled_from([None, "+00:00", "+02:00", "-11:30"]), st.sampled_from([" ", "T"]))
def test_what_python_and_java_print_is_read_by_every_format(
    time: dt.datetime, offset: str | None, between: str
) -> None:
    zone = (
        None if offset is None else dt.datetime.fromisoformat(f"2014-01-01{'T'}00{offset}").tzinfo
    )
    text = time.replace(tzinfo=zone).isoformat(between)
    try:
        want = time if zone is None else time.replace(tzinfo=zone).astimezone(dt.UTC)
    except OverflowError:
        return
    for format_, value in (
        (Csv({"t": pl.Datetime("us")}), text),
        (Json({"t": pl.Datetime("us")}), f'{{"t":"{text}"}}'),
    ):
        decoded = format_.decode([value.encode()] * 2)
        assert decoded.bad == {}
        assert decoded.frame["t"].to_list() == [want.replace(tzinfo=None)] * 2


@pytest.mark.parametrize("zone", [z for z in ZONES if z])
def test_two_hours_that_a_clock_shows_alike_are_written_apart(zone: str) -> None:
    hours = [dt.datetime(2014, 10, 1) + dt.timedelta(minutes=30 * i) for i in range(48 * 60)]
    frame = column(hours, pl.Datetime("us", zone)).to_frame()
    for format_ in (Json({"t": pl.Datetime("us", zone)}), Csv({"t": pl.Datetime("us", zone)})):
        values = format_.encode(frame)
        assert len(set(values)) == len(hours)
        assert format_.decode(values).frame.equals(frame)
    clocks = [hour.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(zone)) for hour in hours]
    assert [v.decode() for v in Csv({"t": pl.Datetime("us", zone)}).encode(frame)] == [
        clock.isoformat(" ") for clock in clocks
    ]


@QUICK
@given(st.lists(st.tuples(moments, st.sampled_from(READ_FORMS)), min_size=1, max_size=12))
def test_any_mixture_of_forms_is_read_record_by_record(
    drawn: list[tuple[dt.datetime, str]],
) -> None:
    texts = [
        pl.Series([time]).dt.replace_time_zone("UTC").dt.to_string(written)[0]
        for time, written in drawn
    ]
    found = parse_times(pl.Series(texts))
    alone = [parse_times(pl.Series([text]))[0] for text in texts]
    assert found.to_list() == alone
    assert found.null_count() == 0
