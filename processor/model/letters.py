"""Dead letters: records set aside, as their headers tell of them.

A dead letter has the record's own headers first, and behind them those of whoever set it aside::

    its own …  topic  partition  offset  timestamp  stage  error           of a record
               topic  partition  offset             stage  error           of a group
               topic  partition  offset  timestamp  stage  event-time …    of a late record

Who reads dead letters takes the last header of each name: a record that was one before may have
such headers among its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from processor.model.headers import headers_of
from processor.model.log import Headers, Message
from processor.model.watermark import HEADER as WATERMARK

REDRIVEN: Final = "processor.redriven"
"""The header that counts how often a record was sent to its input again."""

Kind: TypeAlias = Literal["record", "group", "late", "foreign"]
Reason: TypeAlias = Literal["decode", "watermark", "step", "write", "group"]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)

_RECORD: Final = tuple(
    f"processor.{name}" for name in ("topic", "partition", "offset", "timestamp", "stage", "error")
)
_LATE: Final = (*_RECORD[:5], "processor.event-time", "processor.behind")
_GROUP: Final = tuple(name for name in _RECORD if name != "processor.timestamp")
_FORMS: Final[Sequence[tuple[Kind, tuple[str, ...]]]] = (
    ("record", _RECORD),
    ("late", _LATE),
    ("group", _GROUP),
)
PLACED: Final = (REDRIVEN, WATERMARK)
"""Headers that hold where they were written: a record does not take them elsewhere."""

_DIGITS_MAX: Final = 19
_TEXT_MAX: Final = 160
_QUOTED: Final = re.compile(
    r"""(column |header )?('(?:[^'\\]|\\.)*(?:'|$)|"(?:[^"\\]|\\.)*(?:"|$))"""
)
_NUMBER: Final = re.compile(r"(?<![\w.])[-+]?\d[\w.:+-]*")


class Letter(NamedTuple):
    """What a message of a dead-letter topic is.

    ``topic``, ``partition``, ``offset`` and ``timestamp_ms`` are the record's in the input, or the
    group's last; ``None`` for a timestamp that it has not. ``app`` and ``step`` set it aside, for
    the reason ``error``. ``headers`` are the record's own, ``attempts`` is how often it was sent
    again before. A ``foreign`` one, which the processor has not written, has nothing of these.
    """

    message: Message
    kind: Kind
    topic: str = ""
    partition: int = -1
    offset: int = -1
    timestamp_ms: int | None = None
    app: str = ""
    step: str = ""
    error: str = ""
    headers: Headers = ()
    attempts: int = 0

    @property
    def reason(self) -> Reason:
        """Which sort of step set it aside."""
        return "group" if self.kind == "group" else reason_of(self.step)


def letter_of(message: Message) -> Letter:
    """A message taken apart; never raises for what a record holds.

    >>> class Dead:
    ...     def headers(self):
    ...         told = {"topic": b"in", "partition": b"0", "offset": b"7", "timestamp": b"5",
    ...                 "stage": b"rides/decode", "error": b"no"}
    ...         return [("trace", b"t"), *((f"processor.{k}", v) for k, v in told.items())]
    >>> letter = letter_of(Dead())
    >>> letter.kind, letter.topic, letter.offset, letter.app, letter.step, letter.headers
    ('record', 'in', 7, 'rides', 'decode', [('trace', b't')])
    """
    headers = headers_of(message)
    names = [name for name, _ in headers]
    if tuple(names[-len(_RECORD) :]) == _RECORD:  # as it was written, which is nearly always so
        kind: Kind = "record"
        own = headers[: -len(_RECORD)]
        topic, partition, offset, timestamp, stage, error = [v for _, v in headers[-len(_RECORD) :]]
    else:
        kind, form = _form(names)
        if kind == "foreign":
            return Letter(message, kind)
        last = {name: place for place, name in enumerate(names)}
        told = {name: headers[last[name]][1] for name in form}
        own = [h for place, h in enumerate(headers) if last[h[0]] != place or h[0] not in told]
        topic, partition, offset, timestamp, stage, error = [told.get(name) for name in _RECORD]
    where, at = _number(partition), _number(offset)
    app, step = _stage(stage or b"")
    if where is None or at is None or not app:
        return Letter(message, "foreign")
    attempts = 0
    if any(name in PLACED for name, _ in own):
        counts = [_number(value) for name, value in own if name == REDRIVEN]
        attempts = (counts[-1] if counts else None) or 0
        own = [header for header in own if header[0] not in PLACED]
    why = "late" if kind == "late" else (error or b"").decode(errors="backslashreplace")
    return Letter(
        message, kind, (topic or b"").decode(errors="backslashreplace"), where, at,
        _number(timestamp), app, step, why, own, attempts,
    )  # fmt: skip


@lru_cache(1_000)
def _stage(told: bytes) -> tuple[str, str]:
    """The application and the step; no application where there is none."""
    app, slash, step = told.decode(errors="backslashreplace").partition("/")
    return (app, step) if slash else ("", "")


def _form(names: Sequence[str]) -> tuple[Kind, tuple[str, ...]]:
    """What a message is by the names of its headers: as it was written, or with more behind."""
    for kind, form in _FORMS:
        if tuple(names[-len(form) :]) == form:
            return kind, form
    for kind, form in _FORMS:
        if all(name in names for name in form):
            return kind, form
    return "foreign", ()


def reason_of(step: str) -> Reason:
    """Which sort of step it is that sets records aside.

    >>> reason_of("decode"), reason_of("write at rides.py:7"), reason_of("filter at rides.py:5")
    ('decode', 'write', 'step')
    """
    if step in ("decode", "watermark"):
        return "decode" if step == "decode" else "watermark"
    return "write" if step.startswith("write ") else "step"


def sort_of(error: str) -> str:
    """An error without what is different for each record, so that those of one sort are the same.

    >>> sort_of("column 'fare': 'n/a' is no Float64"), sort_of("Expected 3 columns, found 17")
    ("column 'fare': … is no Float64", 'Expected … columns, found …')
    """
    return _NUMBER.sub("…", _QUOTED.sub(_hidden, error[:_TEXT_MAX]))


def _hidden(found: re.Match[str]) -> str:
    return found[0] if found[1] else "…"


def _number(told: bytes | None) -> int | None:
    """A number of these headers; ``None`` for what is none, and for -1, which stands for none."""
    return int(told) if told and told.isdigit() and len(told) <= _DIGITS_MAX else None
