"""A word on records that a schema registry's client has written, where a bare format reads them.

They begin with a zero and the number of a schema, which to such a format is garbage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from processor.formats.base import Format
from processor.formats.framing import number_of
from processor.formats.registered import Registered
from processor.model.batch import Slice
from processor.model.log import Message
from processor.operators.aside import messages_at

_ID_MAX: Final = 10_000_000
_KEY: Final = "key: "
_SAID: Final = (
    "it begins as a schema registry's clients write it, with the schema's number {}, which "
    "Registered(...) reads"
)


def explained(
    reasons: Mapping[int, str], slices: Sequence[Slice], value: Format, key: Format | None
) -> Mapping[int, str]:
    """Why rows cannot be read, with that word; ``value`` and ``key`` are the formats that read.

    >>> from processor import Text
    >>> explained({}, [], Text(), None)
    {}
    """
    if not reasons:
        return reasons
    rows = sorted(reasons)
    told = _told(rows, messages_at(slices, rows), reasons, {_KEY: key, "": value})
    return {**reasons, **dict(told)}


def _told(
    rows: Sequence[int],
    messages: Sequence[Message],
    reasons: Mapping[int, str],
    forms: Mapping[str, Format | None],
) -> Iterable[tuple[int, str]]:
    for row, message in zip(rows, messages, strict=True):
        of_key = reasons[row].startswith(_KEY)
        text = message.key() if of_key else message.value()
        form = forms[_KEY if of_key else ""]
        number = number_of(text or b"")
        if form is None or number is None or number > _ID_MAX:
            continue
        if Registered in {type(form), type(_inside(form))}:
            continue
        yield row, f"{reasons[row]}; {_SAID.format(number)}"


def _inside(form: Format) -> object:
    """The format of the data, where one stands in another."""
    return getattr(form, "data", None)
