"""The members of JSON records as they stand in their text: a row for each, for a batch at a time.

::

    {"id": 7, "to": {"city": "Bonn"}}        row  name  raw     text
    {"id": 8}                          ──►     0  id    "id"    7
                                               0  to    "to"    {"city": "Bonn"}
                                               1  id    "id"    8

A pattern finds the members where values are nested three deep at most; other records are walked
through one by one. Records are JSON objects, as the parser has found before.
"""

from __future__ import annotations

import json
from typing import Final

import numpy as np
import polars as pl

from processor.formats.members import name_of, pairs

_TEXT: Final = r'"(?:[^"\\]|\\.)*"'
_DEPTH: Final = 3
SCHEMA: Final = {"row": pl.UInt32, "name": pl.String, "raw": pl.String, "text": pl.String}


def _value() -> str:
    """A pattern for a value: a text, another scalar, or brackets around such."""
    within = rf'[^"{{}}\[\]]|{_TEXT}'
    body = within
    for _ in range(_DEPTH - 1):
        body = rf"{within}|[\[{{](?:{body})*[\]}}]"
    return rf'{_TEXT}|[^\s,:"\[\]{{}}]+|[\[{{](?:{body})*[\]}}]'


_MEMBER: Final = rf"(?s){_TEXT}\s*:\s*(?:{_value()})"
_NAME: Final = rf"(?s)^({_TEXT})"
_BEFORE: Final = rf"(?s)^{_TEXT}\s*:\s*"
# What is left of a record without its members, if all were found.
_LEFT: Final = r"^\s*\{[\s,]*\}\s*$"


def pieces(records: pl.Series) -> tuple[pl.DataFrame, dict[int, str]]:
    r"""The members of each object by the number of its row, and the rows that cannot be walked.

    A null has none. Of members with one name all are there, in their order.

    >>> pieces(pl.Series(['{"a": 1.10, "b":[{}]}', "{}", None]))[0].rows()
    [(0, 'a', '"a"', '1.10'), (0, 'b', '"b"', '[{}]')]
    """
    found = records.str.extract_all(_MEMBER)
    plain = records.str.replace_all(_MEMBER, "").str.contains(_LEFT)
    alone = plain.not_().arg_true()
    counts = found.list.len().fill_null(0)
    if len(alone):
        counts = counts.scatter(alone, 0)
        found = pl.select(pl.when(plain).then(found)).to_series()
    members = found.explode().drop_nulls()
    raw = members.str.extract(_NAME)
    table = pl.DataFrame({
        "row": np.repeat(np.arange(len(records), dtype=np.uint32), counts.to_numpy()),
        "name": _names(raw),
        "raw": raw,
        "text": members.str.replace(_BEFORE, ""),
    }, schema=SCHEMA)  # fmt: skip
    if not len(alone):
        return table, {}
    rows, bad = _alone(records, alone)
    return pl.concat([table, rows]).sort("row", maintain_order=True), bad


def _alone(records: pl.Series, rows: pl.Series) -> tuple[pl.DataFrame, dict[int, str]]:
    found: list[tuple[int, str, str, str]] = []
    bad: dict[int, str] = {}
    for row, record in zip(rows.to_list(), records.gather(rows).to_list(), strict=True):
        try:
            found += [(row, name_of(raw), raw, text) for raw, text in pairs(record)]
        except (ValueError, LookupError, RecursionError) as error:
            bad[row] = f"its members cannot be told apart: {error}"
    return pl.DataFrame(found, schema=SCHEMA, orient="row"), bad


def _names(raw: pl.Series) -> pl.Series:
    """What names in quotes say."""
    names = raw.str.slice(1).str.head(-1)
    escaped = names.str.contains("\\", literal=True).arg_true()
    if escaped.is_empty():
        return names
    said = [json.loads(name, strict=False) for name in raw.gather(escaped)]
    return names.scatter(escaped, pl.Series(said, dtype=pl.String))


def first(table: pl.DataFrame, name: str) -> pl.DataFrame:
    """The member of a name, of each row that has one: the first of it.

    >>> table = pieces(pl.Series(['{"a":1,"a":2}', '{"b":3}']))[0]
    >>> first(table, "a").rows()
    [(0, 'a', '"a"', '1')]
    """
    members = table.filter(pl.col("name") == name)
    return members.unique("row", keep="first", maintain_order=True)


def twice(table: pl.DataFrame) -> dict[int, str]:
    """The rows with two members of one name, and that name.

    >>> twice(pieces(pl.Series(['{"a":1,"b":2,"a":3}', '{"a":1}']))[0])
    {0: 'a'}
    """
    again = table.filter(~pl.struct("row", "name").is_first_distinct())
    named = again.unique("row", keep="first", maintain_order=True)
    return dict(named.select("row", "name").iter_rows())


def twice_inside(table: pl.DataFrame) -> dict[int, str]:
    """The same for objects inside of members, to any depth.

    >>> twice_inside(pieces(pl.Series(['{"a":[{"b":1,"b":2}]}', '{"a":{"b":1}}']))[0])
    {0: 'b'}
    """
    found: dict[int, str] = {}

    def once(members: list[tuple[str, object]]) -> None:
        names = [name for name, _ in members]
        if len(set(names)) < len(names):
            raise _TwiceError(next(name for name in names if names.count(name) > 1))

    objects = table.filter(pl.col("text").str.contains(r"(?s)^[\[{].*:.*:"))
    for row, text in objects.select("row", "text").iter_rows():
        try:
            json.loads(text, strict=False, object_pairs_hook=once)
        except _TwiceError as error:
            found.setdefault(row, str(error))
    return found


class _TwiceError(Exception):
    """Says a name that two members have."""
