"""A record's headers, whatever their bytes are.

The Kafka client (confluent-kafka 2.16) reads a header's name as UTF-8 and does not look whether
that went well: the call returns a list with the error still set, and keeps that list, in which a
name that could not be read is an empty slot. Three things follow, and `headers_of` minds them all:

- Where a call stands in code that has become hot, the interpreter does not look either, and the
  error comes up in some later statement, past every ``except``. `methodcaller` looks each time.
- A second call returns the same list without an error, and taking an empty slot ends the process.
  What a tuple refers to can be asked without taking anything out of it.
- So that nobody after us comes upon that list, the message is given one that is whole.
"""

from __future__ import annotations

from collections.abc import Callable
from gc import get_referents
from operator import methodcaller
from typing import Any, Final

from processor.model.log import Headers, Message

STAGE: Final = "processor.stage"
"""The header that says who set a record aside, or handed a block on."""

UNREADABLE: Final = "processor.headers-unreadable"
"""The header that says that others could not be read, and why."""

_read: Callable[[Message], Headers | None] = methodcaller("headers")
_NAME_SHOWN: Final = 60


def headers_of(message: Message) -> Headers:
    r"""All of a message's headers that can be read, in order; ``()`` where it has none.

    If some cannot, one more at the end, `UNREADABLE`, says how many and why. Never raises for what
    a record holds, and may be asked again.

    >>> class Broken:
    ...     def headers(self):
    ...         b"\xff".decode()
    >>> headers_of(Broken())
    [('processor.headers-unreadable', b"all headers left out: the name b'\\xff' is not UTF-8")]
    """
    found: Headers | None
    why = "a name or a value is missing"
    try:
        found = _read(message)
    except (SystemError, UnicodeError) as error:
        why = _reason(error)
        found = _kept(message)
        if found is None:
            return _replaced(message, [(UNREADABLE, f"all headers left out: {why}".encode())])
    if found is None:
        return ()
    whole = [header for header in found if _whole(header)]
    if len(whole) == len(found):
        return found
    left_out = f"{len(found) - len(whole)} of {len(found)} headers left out: {why}"
    return _replaced(message, [*whole, (UNREADABLE, left_out.encode())])


def _kept(message: Message) -> Headers | None:
    """What the client kept of a call that failed."""
    try:
        return _read(message)
    except (SystemError, UnicodeError):
        return None


def _whole(header: tuple[str, bytes | None]) -> bool:
    """Whether no slot of a header is empty; takes nothing out of it."""
    return type(header) is not tuple or len(get_referents(header)) == len(header)


def _replaced(message: Any, headers: Headers) -> Headers:
    if hasattr(message, "set_headers"):
        message.set_headers(headers)
    return headers


def _reason(error: BaseException) -> str:
    """Why the client failed: the first name that is not UTF-8, if that is what it was."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UnicodeDecodeError):
            return f"the name {bytes(cause.object[:_NAME_SHOWN])!r} is not UTF-8"
        cause = cause.__cause__
    return str(error)
