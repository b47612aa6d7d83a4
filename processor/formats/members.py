"""Members of a JSON object as they stand in its text, where the parser would rewrite them."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import polars as pl

from processor.formats.base import Values

_SPACE: Final = re.compile(r"[ \t\n\r:]*")
_DECODER: Final = json.JSONDecoder(strict=False)


def members(text: str) -> dict[str, str]:
    """Each member's own text, by name; of members with one name the first.

    ``text`` is an object, as another parser has found.

    >>> members('{"s": 1.10, "t": [1, 2.0], "s": 2}')
    {'s': '1.10', 't': '[1, 2.0]'}
    """
    found: dict[str, str] = {}
    for name, member in pairs(text):
        found.setdefault(name_of(name), member)
    return found


def first_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of which the first of members with one name counts, for the standard library.

    >>> json.loads('{"a": 1, "a": 2}', object_pairs_hook=first_of)
    {'a': 1}
    """
    return dict(reversed(pairs))


def name_of(quoted: str) -> str:
    r"""What a name in its quotes says.

    >>> name_of('"a"'), name_of(r'"\u0061"')
    ('a', 'a')
    """
    # A decoder is made anew by each call with an option.
    return str(json.loads(quoted, strict=False)) if "\\" in quoted else quoted[1:-1]


def pairs(text: str) -> list[tuple[str, str]]:
    """Each member's name in its quotes, and its own text, in their order.

    >>> pairs('{"s": 1.10, "s": 2}')
    [('"s"', '1.10'), ('"s"', '2')]
    """
    found: list[tuple[str, str]] = []
    at = _skip(text, text.index("{") + 1)
    while text[at] != "}":
        _, end = _DECODER.raw_decode(text, at)
        begin = _skip(text, end)
        _, after = _DECODER.raw_decode(text, begin)
        found.append((text[at:end], text[begin:after]))
        at = _skip(text, after)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def elements(text: str) -> list[str]:
    """Each element's own text.

    >>> elements('[1.10, "a", []]')
    ['1.10', '"a"', '[]']
    """
    found: list[str] = []
    at = _skip(text, text.index("[") + 1)
    while text[at] != "]":
        _, end = _DECODER.raw_decode(text, at)
        found.append(text[at:end])
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


def as_they_stand(column: pl.Series, values: Values, bad: dict[int, str]) -> pl.Series:
    """A column of text as its records have it: numbers and brackets come rewritten.

    ``values`` are the records, which the parser has taken; a row that cannot be looked at is bad.

    >>> as_they_stand(pl.Series("s", ["1.1", "b"]), [b'{"s":1.10}', b'{"s":"b"}'], {}).to_list()
    ['1.10', 'b']
    """
    if column.null_count() == len(column):
        return column
    if never_rewritten(str(column.min()), str(column.max())):
        return column
    rows = column.str.contains(REWRITTEN).arg_true()
    if rows.is_empty():
        return column
    texts = pl.Series([values[row] for row in rows], dtype=pl.Binary).cast(pl.String)
    looked = texts.str.contains(rewritten(column.name))
    rows, texts = rows.filter(looked), texts.filter(looked)
    if rows.is_empty():
        return column
    stand = _numbers(texts, column.name)
    left = stand.is_null().arg_true()
    cells: list[str | None] = []
    for row, text in zip(rows.gather(left), texts.gather(left), strict=True):
        cells.append(None)
        try:
            cells[-1] = as_text(members(text)[column.name])
        except (ValueError, LookupError, RecursionError) as error:
            bad[row] = f"column {column.name!r}: cannot be taken as it stands: {error}"
    stand = stand.scatter(left, pl.Series(cells, dtype=pl.String)) if cells else stand
    return column.scatter(rows, stand)


def _numbers(texts: pl.Series, name: str) -> pl.Series:
    """The number that is the member, where the record is so plain that a pattern cannot err.

    Without escapes a quote begins or ends a text, and of one brace no other object has the name.
    """
    if not name.isidentifier():
        return pl.repeat(None, len(texts), dtype=pl.String, eager=True)
    # The first of members with one name counts, and it may be text.
    found = texts.str.extract(rf"{_named(name)}(?:(-?[0-9][0-9.eE+-]*)|.)")
    plain = ~texts.str.contains(_BESIDES)
    return pl.select(pl.when(plain).then(found)).to_series()


def _named(name: str) -> str:
    return rf"{re.escape(json.dumps(name, ensure_ascii=False))}\s*:\s*"


def rewritten(name: str) -> str:
    """A pattern for records with a member of that name that the parser would rewrite, or more.

    It rewrites numbers with a fraction or an exponent, minus zero, and what is in brackets.

    >>> bool(re.search(rewritten("s"), '{"s": 1.10}')), bool(re.search(rewritten("s"), '{"s": 12}'))
    (True, False)
    """
    return rf"{_named(name)}(?:-?[0-9]+[.eE]|-0|[\[{{])|\\u"


# An escape, or a second object.
_BESIDES: Final = r"(?s)\\|\{.*\{"
# What such a member has become: a number, or what is in brackets.
REWRITTEN: Final = r"^(?:-?[0-9][0-9.eE+-]*$|[\[{])"


def never_rewritten(low: str, high: str) -> bool:
    """Whether texts from ``low`` to ``high`` can be told not to have been rewritten at a glance.

    >>> never_rewritten("u001", "u999"), never_rewritten("001", "999")
    (True, False)
    """
    return (low >= ":" and high < "[") or (low >= "\\" and high < "{")
