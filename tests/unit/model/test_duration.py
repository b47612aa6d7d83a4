from datetime import timedelta

import pytest

from processor.model.duration import parse, text


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("2 s", timedelta(seconds=2)),
        ("90s", timedelta(seconds=90)),
        ("1 minute", timedelta(minutes=1)),
        ("10 minutes", timedelta(minutes=10)),
        (" 1 Hour ", timedelta(hours=1)),
        ("2 days", timedelta(days=2)),
        ("1 week", timedelta(weeks=1)),
        ("1.5h", timedelta(minutes=90)),
        ("1h 30m", timedelta(minutes=90)),
        ("1h30m", timedelta(minutes=90)),
        ("250us", timedelta(microseconds=250)),
        ("0s", timedelta(0)),
    ],
)
def test_durations_as_people_write_them(written, meant):
    assert parse(written) == meant
    assert parse(text(meant)) == meant


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("", "empty"),
        ("5", "a number and a unit"),
        ("-5s", "a number and a unit"),
        ("5 parsecs", "unknown unit"),
        ("1h x", "a number and a unit"),
        ("0.1us", "finer than one microsecond"),
        ("99999999999 weeks", "too long"),
    ],
)
def test_what_is_no_duration_is_refused_by_name(written, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse(written)
