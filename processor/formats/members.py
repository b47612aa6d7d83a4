"""Members of a JSON object as they stand in its text, where the parser would rewrite them."""

from __future__ import annotations

import json
import re
from typing import Final

_SPACE: Final = re.compile(r"[ \t\n\r:]*")
_DECODER: Final = json.JSONDecoder(strict=False)


def members(text: str) -> dict[str, str]:
    """Each member's own text, by name; of members with one name the first.

    ``text`` is an object, as another parser has found.

    >>> members('{"s": 1.10, "t": [1, 2.0], "s": 2}')
    {'s': '1.10', 't': '[1, 2.0]'}
    """
    found: dict[str, str] = {}
    at = _skip(text, text.index("{") + 1)
    while text[at] != "}":
        name, at = _DECODER.raw_decode(text, at)
        begin = _skip(text, at)
        _, end = _DECODER.raw_decode(text, begin)
        found.setdefault(name, text[begin:end])
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def _skip(text: str, at: int) -> int:
    """Behind the white space and the colon that may be at a place."""
    found = _SPACE.match(text, at)
    return found.end() if found else at


def as_text(member: str) -> str | None:
    """What a column of text holds for a member: text for text, and the JSON of anything else.

    >>> as_text('"a"'), as_text("1.10"), as_text("null")
    ('a', '1.10', None)
    """
    if member == "null":
        return None
    return str(json.loads(member, strict=False)) if member[0] == '"' else member


def rewritten(name: str) -> str:
    """A pattern for records with a member of that name that the parser would rewrite, or more.

    It rewrites numbers with a fraction or an exponent, minus zero, and what is in brackets.

    >>> bool(re.search(rewritten("s"), '{"s": 1.10}')), bool(re.search(rewritten("s"), '{"s": 12}'))
    (True, False)
    """
    plain = re.escape(json.dumps(name, ensure_ascii=False))
    return rf"{plain}\s*:\s*(?:-?[0-9]+[.eE]|-0|[\[{{])|\\u"


# What such a member has become: a number, or what is in brackets.
REWRITTEN: Final = r"^(?:-?[0-9][0-9.eE+-]*$|[\[{])"


def never_rewritten(low: str, high: str) -> bool:
    """Whether texts from ``low`` to ``high`` can be told not to have been rewritten at a glance.

    >>> never_rewritten("u001", "u999"), never_rewritten("001", "999")
    (True, False)
    """
    return (low >= ":" and high < "[") or (low >= "\\" and high < "{")
