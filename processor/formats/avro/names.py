"""Names that a schema gives: to records, fields, enumerations and their words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from processor.formats.avro.schema import NAMED, PRIMITIVES, SchemaError, Type
from processor.formats.base import shown

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WHAT: Final = {sort: f"the name of a{'n' * (sort == 'enum')} {sort}" for sort in NAMED}
_RULE: Final = "a name begins with a letter of A to Z or _, and goes on with these and digits"


def check_names(schema: Type) -> None:
    """Raise `SchemaError` for a name that Avro does not know for one.

    Aliases may be anything: by them names are read that somebody else has written all the same.

    >>> from processor.formats.avro.schema import parse
    >>> check_names(parse({"type": "record", "name": "my ride", "fields": []}))
    Traceback (most recent call last):
    processor.formats.avro.schema.SchemaError: 'my ride' cannot be the name of a record
    """
    for kind in _named(schema, set()):
        parts = kind.name.split(".")
        # By an empty namespace a name begins with a point.
        proper = all(map(_NAME.fullmatch, parts[parts[0] == "" :])) and parts != [""]
        if not proper or kind.name in PRIMITIVES:
            raise _error(kind.name, _WHAT[kind.sort])
        for each in kind.fields:
            if not _NAME.fullmatch(each.name):
                raise _error(each.name, f"the name of a field of {kind.name!r}", alias=True)


def _named(kind: Type, seen: set[int]) -> Iterator[Type]:
    if id(kind) in seen:
        return
    seen.add(id(kind))
    if kind.sort in NAMED:
        yield kind
    for part in (*kind.parts, *(each.type for each in kind.fields)):
        yield from _named(part, seen)


def _error(name: str, what: str, *, alias: bool = False) -> SchemaError:
    way = "; to read what others call so, name it in the field's aliases" if alias else ""
    return SchemaError(f"{shown(name)} cannot be {what}", remedy=f"{_RULE}{way}")
