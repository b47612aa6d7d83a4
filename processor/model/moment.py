"""Moments as people write them: ISO, in UTC where no zone is named: ``2026-08-01T12:00:00``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EXAMPLE: Final = "2026-08-01T12:00:00"


def parse(text: str) -> datetime:
    """Read a moment; raises ``ValueError`` for what is none.

    A mere number is none: it would be taken for an offset elsewhere.

    >>> parse("2026-08-01T12:00:00")
    datetime.datetime(2026, 8, 1, 12, 0, tzinfo=datetime.timezone.utc)
    >>> parse("1970-01-01T02:00:00.5+02:00") - parse("1970-01-01")
    datetime.timedelta(microseconds=500000)
    """
    try:
        if text.strip().isdecimal():
            raise ValueError
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no time; write it like {EXAMPLE}") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def micros(moment: datetime) -> int:
    """Microseconds since 1970.

    >>> micros(parse("1970-01-01T00:00:01"))
    1000000
    """
    return (moment - _EPOCH) // timedelta(microseconds=1)


def millis(moment: datetime) -> int:
    """The first whole millisecond since 1970 that is not before it, as timestamps of records are.

    >>> millis(parse("1970-01-01T00:00:00.000001"))
    1
    """
    return -(-micros(moment) // 1_000)


def text(us: int) -> str:
    """Microseconds since 1970 as ISO text in UTC; the number where no calendar has it.

    >>> text(1_000_000), text(10**18)
    ('1970-01-01T00:00:01', '1000000000000000000 us')
    """
    try:
        return (_EPOCH + timedelta(microseconds=us)).replace(tzinfo=None).isoformat()
    except OverflowError:
        return f"{us} us"
