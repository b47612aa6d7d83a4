"""Maps inside of objects and lists: their text is made a list of entries, and back.

::

    {"id": 7, "tags": {"a": 1}}   ◄──►   {"id": 7, "tags": [{"key": "a", "value": 1}]}

The second is what a nested column of lists is read from and written as. One record is looked at
after the other, as nothing else finds maps at any depth.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from processor.formats.base import DataType, Format, WriteError, shown
from processor.formats.members import elements, name_of, pairs
from processor.formats.nested import made, named, parts


@dataclass(frozen=True, slots=True)
class Inner:
    """A column with maps inside of it.

    Args:
        kind: its type.
        form: what reads and writes it as lists, as the column ``value``.
        maps: the places of the maps, in ``value``.
    """

    kind: pl.DataType
    form: Format
    maps: frozenset[str]

    def read(self, name: str, members: pl.DataFrame, height: int, bad: dict[int, str]) -> pl.Series:
        """The column, of members by their rows; rows without one are null."""
        lines: list[bytes] = []
        rows = members["row"].to_list()
        for row, text in zip(rows, members["text"], strict=True):
            lines.append(b"{}")
            try:
                lines[-1] = f'{{"value":{listed(text, self.kind, "value", self.maps)}}}'.encode()
            except (ValueError, LookupError, RecursionError) as error:
                bad.setdefault(row, _renamed(str(error), name))
        decoded = self.form.decode(lines)
        for at, reason in decoded.bad.items():
            bad.setdefault(rows[at], _renamed(reason, name))
        nothing = pl.Series([None], dtype=self.kind).new_from_index(0, height)
        cells = pl.concat([decoded.frame["value"].cast(self.kind), nothing])
        places = pl.int_range(len(rows), len(rows) + height, dtype=pl.UInt32, eager=True)
        return cells.gather(places.scatter(rows, range(len(rows))) if rows else places)

    def write(self, cells: pl.Series) -> pl.Series:
        """Each cell as JSON; raises `WriteError` for one that would be read back as another."""
        try:
            lines = self.form.encode(cells.alias("value").to_frame())
            begin = len('{"value":')
            texts = [(line or b"").decode()[begin:-1] for line in lines]
            found = [unlisted(text, self.kind, "value", self.maps) for text in texts]
        except ValueError as error:
            raise WriteError(_renamed(str(error), cells.name)) from error
        return pl.Series(cells.name, found, dtype=pl.String)


def _renamed(reason: str, name: str) -> str:
    return reason.replace("column 'value", f"column '{name}", 1)


def listed(text: str, kind: DataType, place: str, maps: Collection[str]) -> str:
    """A value with its maps as lists; raises `ValueError` for one that is no map.

    ``maps`` has the places as they are told (`processor.formats.nested.named`).

    >>> kind = pl.Struct({"tags": pl.List(pl.Struct({"key": pl.String, "value": pl.Int64}))})
    >>> listed('{"tags": {"a":1}}', kind, "o", {"o.tags"})
    '{"tags":[{"key":"a","value":1}]}'
    """
    within = list(parts(kind, place))
    if text == "null" or not within:
        return text
    if named(place) in maps:
        return _listed_map(text, within[0], maps)
    if isinstance(kind, pl.Struct) and text[0] == "{":
        fields = {field.name: of for field, of in zip(kind.fields, within, strict=True)}
        kept: dict[str, str] = {}
        for raw, value in pairs(text):
            name = name_of(raw)
            if name in fields and name not in kept:
                at, part = fields[name]
                kept[name] = f"{raw}:{listed(value, part, at, maps)}"
        return f"{{{','.join(kept.values())}}}"
    if isinstance(kind, pl.List) and text[0] == "[":
        ((at, part),) = within
        return f"[{','.join(listed(element, part, at, maps) for element in elements(text))}]"
    return text


def _listed_map(text: str, entry: tuple[str, pl.DataType], maps: Collection[str]) -> str:
    at, struct = entry
    told = named(at).removesuffix("[]")
    if text[0] != "{":
        raise ValueError(f"column {told!r}: {shown(text)} is no object")
    (_, (place, kind)) = parts(struct, at)
    found = pairs(text)
    seen: set[str] = set()
    for raw, _ in found:
        key = name_of(raw)
        if key in seen:
            raise ValueError(f"column {told!r}: {key!r} stands in it twice")
        seen.add(key)
    entries = (
        f'{{"key":{raw},"value":{listed(value, kind, place, maps)}}}' for raw, value in found
    )
    return f"[{','.join(entries)}]"


def unlisted(text: str, kind: DataType, place: str, maps: Collection[str]) -> str:
    """A value with its lists as maps; raises `ValueError` for one that no map is read back as.

    >>> kind = pl.Struct({"tags": pl.List(pl.Struct({"key": pl.String, "value": pl.Int64}))})
    >>> unlisted('{"tags":[{"key":"a","value":1}]}', kind, "o", {"o.tags"})
    '{"tags":{"a":1}}'
    """
    within = list(parts(kind, place))
    if text == "null" or not within:
        return text
    if isinstance(kind, pl.Struct):
        members = (
            f"{raw}:{unlisted(value, part, at, maps)}"
            for (raw, value), (at, part) in zip(pairs(text), within, strict=True)
        )
        return f"{{{','.join(members)}}}"
    ((at, part),) = within
    inside = [unlisted(element, part, at, maps) for element in elements(text)]
    if named(place) not in maps:
        return f"[{','.join(inside)}]"
    entries: dict[str, str] = {}
    for element in inside:
        key, value = ("null", "") if element == "null" else [of for _, of in pairs(element)]
        if key == "null":
            raise ValueError(f"column {named(place)!r}: an entry of the map has no key")
        if key in entries:
            raise ValueError(f"column {named(place)!r}: {key} stands in the map twice")
        entries[key] = value
    return f"{{{','.join(f'{key}:{value}' for key, value in entries.items())}}}"


def lists_in(kind: DataType, place: str) -> dict[str, pl.DataType]:
    """The lists inside of a type, by their places as they are told.

    >>> list(lists_in(pl.Struct({"a": pl.List(pl.List(pl.Int64))}), "o"))
    ['o.a', 'o.a[]']
    """
    found: dict[str, pl.DataType] = {}
    for at, part in parts(kind, place):
        if isinstance(part, pl.List):
            found[named(at)] = made(part)
        found |= lists_in(part, at)
    return found
