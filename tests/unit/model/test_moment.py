"""Moments: ISO, UTC where no zone is named, and nothing that could be an offset."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.model import moment

ZONES = st.integers(-23 * 60, 23 * 60).map(lambda m: timezone(timedelta(minutes=m)))


@given(st.datetimes(timezones=ZONES))
def test_a_time_comes_back_as_it_was_written_in_any_zone(time: datetime) -> None:
    assert moment.parse(time.isoformat()) == time


@given(st.datetimes())
def test_without_a_zone_it_is_utc(time: datetime) -> None:
    assert moment.parse(time.isoformat()) == time.replace(tzinfo=UTC)
    assert moment.text(moment.micros(moment.parse(time.isoformat()))) == time.isoformat()


@given(st.datetimes(timezones=ZONES))
def test_a_millisecond_is_the_first_that_is_not_before(time: datetime) -> None:
    assert 0 <= moment.millis(time) * 1_000 - moment.micros(time) < 1_000


@pytest.mark.parametrize(
    "text",
    ["", " ", "now", "0", "1200", "20260801", "٢٠٢٦", "2026-13-01", "12:00", "2026-08-01T25"],
)
def test_what_is_no_time_is_told_with_one_that_is(text: str) -> None:
    with pytest.raises(ValueError, match="write it like 2026-08-01T12:00:00"):
        moment.parse(text)


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_number_that_a_manifest_may_hold_is_shown(us: int) -> None:
    assert moment.text(us)
