"""One dead letter in words, or as JSON: cut, without secrets, and without what moves a cursor."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from processor import masking
from processor.model import moment
from processor.model.letters import Letter
from processor.model.log import TopicPartition

SHOWN: Final = 500
_SECRET: Final = re.compile(r"auth|cookie|session", re.IGNORECASE)
masked = masking.masked


def plain(text: str) -> str:
    r"""A text on one line of a terminal, whatever is in it, without secrets.

    >>> plain("a\nb\x1b[2J"), plain("password=x")
    ('a\\nb\\x1b[2J', 'password=***')
    """
    shown = masked(text)
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def as_text(partition: TopicPartition, letter: Letter) -> str:
    """Some lines on a letter, and an empty one."""
    message = letter.message
    lines = [f"{partition} offset {message.offset()}, written {_when(message.timestamp()[1])}"]
    if letter.kind == "foreign":
        lines.append("  no dead letter of the processor's: others wrote it")
    else:
        written = "" if letter.timestamp_ms is None else f", written {_when(letter.timestamp_ms)}"
        at = f"{letter.offset}{written}"
        what = "up to " if letter.kind == "group" else ""
        lines += [
            f"  of      {what}{plain(letter.topic)}[{letter.partition}] offset {at}",
            f"  step    {plain(f'{letter.app}/{letter.step}')}",
            f"  error   {plain(letter.error)}",
        ]
    if letter.attempts:
        lines.append(f"  sent    again before, {letter.attempts} times")
    lines.append(f"  key     {_shown(message.key())}")
    lines += [f"  header  {plain(name)}: {_header(name, value)}" for name, value in letter.headers]
    lines.append(f"  value   {_shown(message.value())}")
    return "\n".join([*lines, ""])


def as_json(partition: TopicPartition, letter: Letter) -> str:
    """A letter as a JSON object on one line."""
    message = letter.message
    told: dict[str, Any] = {
        "letter": {
            "topic": partition.topic, "partition": partition.partition,
            "offset": message.offset(), "timestamp": _when(message.timestamp()[1]),
        },
        "kind": letter.kind,
    }  # fmt: skip
    if letter.kind != "foreign":
        at = letter.timestamp_ms
        told |= {
            "topic": letter.topic, "partition": letter.partition, "offset": letter.offset,
            "timestamp": None if at is None else _when(at), "app": letter.app,
            "step": masked(letter.step), "error": masked(letter.error), "attempts": letter.attempts,
        }  # fmt: skip
    told |= {
        "key": _told(message.key()),
        "headers": [
            {"name": masked(name), **(_told(value, secret=_hidden(name)) or {"text": None})}
            for name, value in letter.headers
        ],
        "value": _told(message.value()),
    }
    return orjson.dumps(told).decode()


def _when(ms: int) -> str:
    return moment.text(ms * 1_000) if ms >= 0 else "-"


def _hidden(name: str) -> bool:
    return masking.secret_name(name) or _SECRET.search(name) is not None


def _header(name: str, value: bytes | None) -> str:
    return masking.MASK if _hidden(name) else _shown(value)


def _shown(data: bytes | None) -> str:
    if data is None:
        return "-"
    told = _told(data) or {}
    text = plain(told["text"]) if "text" in told else f"hex {told['hex']}"
    return f"{text}… ({len(data):,} bytes)" if told["bytes"] > SHOWN else text


def _told(data: bytes | None, *, secret: bool = False) -> dict[str, Any] | None:
    """The beginning of some bytes as text, or in hexadecimal numbers; and how many they are."""
    if data is None:
        return None
    if secret:
        return {"text": masking.MASK, "bytes": len(data)}
    text = data.decode(errors="backslashreplace")
    hidden = masked(text)
    try:
        data.decode()
    except UnicodeDecodeError:
        if hidden == text:
            return {"hex": data[:SHOWN].hex(), "bytes": len(data)}
    return {"text": hidden[:SHOWN], "bytes": len(data)}
