"""What a setting may be given as: durations, places in the log, tables of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from processor.model import duration, moment


def _duration(value: object) -> object:
    """A duration as text, or a number of seconds."""
    if isinstance(value, bool):
        raise ValueError("a duration is needed, not a truth value")  # noqa: TRY004 - pydantic's way
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return duration.parse(str(value))
    if isinstance(value, int | float):
        try:
            return timedelta(seconds=value)
        except (OverflowError, ValueError):
            raise ValueError(f"{value} s is no duration") from None
    return value


def create(value: object) -> object:
    """``true``, ``false``, or a number of partitions; pydantic would take 1 for true."""
    if isinstance(value, str):
        word = value.strip().lower()
        if word in ("true", "yes", "on"):
            return True
        if word in ("false", "no", "off"):
            return False
        if not word.isdigit():
            raise ValueError("true, false or a number of partitions is needed")
        value = int(word)
    if isinstance(value, int) and not isinstance(value, bool) and value < 1:
        raise ValueError("a topic has at least 1 partition")
    return value


def _whole(value: object) -> object:
    """A number; pydantic would take true for 1."""
    if isinstance(value, bool):
        raise ValueError("a number is needed, not a truth value")  # noqa: TRY004 - pydantic's way
    return value


def _texts(value: object) -> object:
    """A table's values as text, nested tables joined by dots."""
    if not isinstance(value, Mapping):
        return value
    return dict(flat(value))


def flat(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """A table's entries with their names joined by dots, and truth values in small letters.

    >>> list(flat({"linger": {"ms": 1}, "on": True}))
    [('linger.ms', '1'), ('on', 'true')]
    """
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            yield prefix + name, text


def _names(value: object) -> object:
    """Names as a list, or as text with commas between them; at least one."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(n, str) for n in names):
        raise ValueError("names with commas between them are needed")
    found = tuple(name.strip() for name in names)
    if not all(found) or (isinstance(value, str) and not found):
        raise ValueError("a name is empty")
    return found


def _directory(value: object) -> object:
    """A path, in which ~ is the user's home; nothing is no path."""
    if isinstance(value, str) and not value.strip():
        raise ValueError("a directory is needed")
    try:
        return Path(value).expanduser() if isinstance(value, str | Path) else value
    except RuntimeError as error:
        raise ValueError(str(error)) from None


def _place(value: object) -> object:
    """An end of the log, or a time; TOML has times of its own."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    text = value.isoformat() if isinstance(value, date) else value
    if not isinstance(text, str):
        raise ValueError(f"earliest, latest or a time like {moment.EXAMPLE} is needed")  # noqa: TRY004 - pydantic's way
    if text in ("earliest", "latest"):
        return text
    try:
        return moment.parse(text)
    except ValueError:
        raise ValueError(f"neither earliest, latest nor a time like {moment.EXAMPLE}") from None


Place: TypeAlias = Annotated[Literal["earliest", "latest"] | datetime, BeforeValidator(_place)]
Duration: TypeAlias = Annotated[timedelta, BeforeValidator(_duration), Field(ge=timedelta(0))]
Wait: TypeAlias = Annotated[timedelta, BeforeValidator(_duration), Field(gt=timedelta(0))]
Directory: TypeAlias = Annotated[Path, BeforeValidator(_directory)]
Whole: TypeAlias = Annotated[int, BeforeValidator(_whole)]
Names: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_names)]
Texts: TypeAlias = Annotated[dict[str, str], BeforeValidator(_texts)]
