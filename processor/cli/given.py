"""What is given to options as text: numbers and times."""

from __future__ import annotations

from datetime import datetime

from processor.errors import SettingsError
from processor.model import moment


def numbers(option: str, text: str | None) -> list[int] | None:
    """Partitions with commas between them; raises `SettingsError` for what is none.

    >>> numbers("--partitions", "3,0")
    [0, 3]
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise SettingsError(
            f"{option} {text!r} are no partitions",
            remedy="say their numbers, with commas between them: 0,3",
        )
    return sorted({int(part) for part in parts})


def time(option: str, text: str, amiss: str = "no time", others: str = "") -> datetime:
    """A moment; raises `SettingsError` for what is none."""
    try:
        return moment.parse(text)
    except ValueError:
        raise SettingsError(
            f"{option} {text!r} is {amiss}",
            remedy=f"say {others}{' or ' if others else ''}{moment.EXAMPLE}",
        ) from None
