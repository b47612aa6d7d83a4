"""What a reader's schema makes of a writer's: fields by name, types that widen, defaults.

Promotions, names, aliases and defaults are those of Avro's specification. Beyond it, times of
different units are what they say: milliseconds are read as the same moment in microseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl

from processor.formats.avro.batch import Bytes
from processor.formats.avro.defaults import default_bytes
from processor.formats.avro.joints import Again, Branch, Chosen, Items, Record, Union, lowest
from processor.formats.avro.kinds import (
    KEY,
    VALUE,
    branch_names,
    check_depth,
    columns_of,
    kind_of,
    members,
)
from processor.formats.avro.leaves import (
    DAYS,
    INT,
    Number,
    Piece,
    binary,
    day_bounds,
    decimal,
    duration,
    identifier,
    text,
    time_bounds,
)
from processor.formats.avro.nodes import (
    UNSEEN,
    Constant,
    Node,
    Nothing,
    Numbers,
    Pieces,
    Symbols,
)
from processor.formats.avro.schema import Field, SchemaError, Type
from processor.formats.avro.single import Single
from processor.formats.nested import BETWEEN, named

_WIDER: Final = {
    "boolean": ("boolean",),
    "int": ("int", "long", "float", "double"),
    "long": ("long", "float", "double"),
    "float": ("float", "double"),
    "double": ("double",),
    "string": ("string", "bytes"),
    "bytes": ("bytes", "string"),
}
ALONE: Final = "value"
"""The field of a record that reads values which are none: texts, numbers, lists."""
_UNITS: Final = ("millis", "micros", "nanos")
_NS: Final = {"millis": 1_000_000, "micros": 1_000, "nanos": 1}


def resolve(writer: Type, reader: Type) -> tuple[Record, list[Pieces]]:
    """What reads a writer's records to a reader's columns, and what of it reads pieces of bytes.

    Raises `SchemaError` if nothing can.
    """
    if writer.sort != "record" and [each.name for each in reader.fields] == [ALONE]:
        # Bytes of a record of one field are those of the field.
        fields = [Field(ALONE, writer)]
        writer = Type("record", name=reader.name, fields=fields)
    for who, kind in (("writer", writer), ("reader", reader)):
        if kind.sort != "record":
            raise SchemaError(
                f"the {who}'s schema is {kind}, no record",
                remedy='put it into one: {"type": "record", "name": "Row", "fields": [{"name": '
                '"value", "type": ...}]}',
            )
    columns_of(reader)
    resolver = _Resolver()
    return resolver.record(writer, reader, ""), resolver.pieces


def passing(writer: Type) -> Node:
    """What passes over a type: it finds where a cell ends."""
    return _Resolver().skip(writer, "")


class _Resolver:
    def __init__(self) -> None:
        self._last = UNSEEN
        self.pieces: list[Pieces] = []
        self._skipped: dict[int, Record] = {}
        self._open: set[int] = set()

    def _number(self) -> int:
        self._last += 1
        return self._last

    def node(self, writer: Type, reader: Type, place: str) -> Node:
        """What reads the writer's type as the reader's."""
        if writer.sort == "union":
            return self._union(writer, reader, place)
        if reader.sort == "union":
            return self._chosen(writer, reader, place)
        if reader.sort not in _WIDER.get(writer.sort, (writer.sort,)):
            raise _mismatch(writer, reader, place)
        made: Callable[[Type, Type, str], Node] = {
            "null": self._nothing,
            "record": self.record,
            "array": self._items,
            "map": self._items,
            "enum": self._symbols,
            "fixed": self._pieces,
            "string": self._pieces,
            "bytes": self._pieces,
        }.get(writer.sort, self._numbers)
        return made(writer, reader, place)

    def _nothing(self, writer: Type, reader: Type, place: str) -> Node:
        del writer, reader, place
        return Nothing(self._number())

    def _pieces(self, writer: Type, reader: Type, place: str) -> Node:
        size = None
        if writer.sort == "fixed":
            _same_name(writer, reader, place)
            size = writer.size
            if size != reader.size:
                raise _mismatch(writer, reader, place, f"of {size} and {reader.size} bytes")
        return self._kept(
            Pieces(self._number(), _column(place), size, _piece(writer, reader, place))
        )

    def _kept(self, made: Pieces) -> Pieces:
        self.pieces.append(made)
        return made

    def _numbers(self, writer: Type, reader: Type, place: str) -> Node:
        to = _number(writer, reader, place)
        return Numbers(self._number(), _column(place), writer.sort, to)

    def record(self, writer: Type, reader: Type, place: str) -> Record:
        """What reads the writer's record as the reader's."""
        _same_name(writer, reader, place)
        by_name = {each.name: each for each in writer.fields}
        of: dict[str, Field] = {}
        for each in reader.fields:
            name = next((n for n in (each.name, *each.aliases) if n in by_name), None)
            if name is not None:
                of.setdefault(name, each)
        made: dict[str, Node] = {}
        fields: list[Node] = []
        for each in writer.fields:
            wanted = of.get(each.name)
            if wanted is None:
                fields.append(self.skip(each.type, _within(place, each.name)))
            else:
                at = _within(place, wanted.name)
                made[wanted.name] = self.node(each.type, wanted.type, at)
                fields.append(made[wanted.name])
        for each in reader.fields:
            if each.name not in made:
                made[each.name] = self._constant(each, writer, place)
                fields.append(made[each.name])
        columns = [(each.name, made[each.name]) for each in reader.fields]
        return Record(fields, columns, lowest(fields))

    def _constant(self, field: Field, writer: Type, place: str) -> Node:
        at = _within(place, field.name)
        if not field.filled:
            raise SchemaError(
                f"{named(at)!r} is no field of the writer's {writer.short!r}, and has no default",
                remedy='give it one in the reader\'s schema, as "default": null',
            )
        try:
            data = default_bytes(field.type, field.default)
        except ValueError as error:
            raise SchemaError(
                f"{named(at)!r}: the default {error}",
                remedy="give a default of the field's type, or of a union's branch",
            ) from error
        node = _Resolver().node(field.type, field.type, at)
        single = Single(Bytes([data]))
        single.keep = True
        node.one(single, single.begin(0))
        cell = node.build(single)
        if single.bad:
            raise SchemaError(
                f"{named(at)!r}: the default {single.bad[0].partition(': ')[2]}",
                remedy="give a default of the field's type",
            )
        return Constant(self._number(), cell)

    def _items(self, writer: Type, reader: Type, place: str) -> Node:
        at = f"{place}{BETWEEN}[]"
        number = self._number()
        item = self.node(writer.parts[0], reader.parts[0], at)
        if writer.sort == "map":
            key = self._kept(Pieces(self._number(), _column(_within(at, KEY)), None, text))
            fields = [key, item]
            item = Record(fields, [(KEY, key), (VALUE, item)], lowest(fields))
        return Items(number, _column(place), item, kind_of(reader, place))

    def _symbols(self, writer: Type, reader: Type, place: str) -> Node:
        _same_name(writer, reader, place)
        codes = [
            reader.symbols.index(word if word in reader.symbols else str(reader.default))
            if word in reader.symbols or reader.default is not None
            else -1
            for word in writer.symbols
        ]
        if max(codes) < 0:
            raise _mismatch(writer, reader, place, "without a word in common")
        kind = kind_of(reader, place)
        where = _column(place)
        return Symbols(self._number(), where, writer.symbols, np.array(codes, np.int64), kind)

    def _union(self, writer: Type, reader: Type, place: str) -> Node:
        """Each of the writer's branches as what of the reader's it is first."""
        branches = [self._branch(part, reader, place) for part in writer.parts]
        if all(branch.misfit for branch in branches):
            raise _mismatch(writer, reader, place)
        return Union(self._number(), _column(place), branches, _members(reader, place))

    def _branch(self, part: Type, reader: Type, place: str) -> Branch:
        choices = reader.parts if reader.sort == "union" else [reader]
        # Its own type comes before a wider one that stands first: text is not read as bytes.
        own = [each for each in choices if (each.sort, each.short) == (part.sort, part.short)]
        for choice in (*own, *choices):
            try:
                node = self.node(part, choice, place)
            except SchemaError:
                continue
            if choice.sort == "null":
                return Branch(node, None)
            found = members(reader) if reader.sort == "union" else [reader]
            return Branch(node, next(i for i, each in enumerate(found) if each is choice))
        return Branch(self.skip(part, place), None, str(part))

    def _chosen(self, writer: Type, reader: Type, place: str) -> Node:
        branch = self._branch(writer, reader, place)
        if branch.misfit:
            raise _mismatch(writer, reader, place)
        choices = _members(reader, place)
        if branch.member is None:
            return Constant(self._number(), pl.Series([None], dtype=kind_of(reader, place)))
        return branch.node if len(choices) == 1 else Chosen(branch.node, branch.member, choices)

    def skip(self, writer: Type, place: str) -> Node:
        """What passes over a type that is no column."""
        check_depth(place)
        where = f"field {named(place)!r}"
        if writer.sort == "record":
            return self._skipped_record(writer, place)
        if writer.sort == "union":
            branches = [Branch(self.skip(part, place), None) for part in writer.parts]
            return Union(UNSEEN, where, branches, ())
        if writer.sort in ("array", "map"):
            item = self.skip(writer.parts[0], f"{place}{BETWEEN}[]")
            if writer.sort == "map":
                fields = [Pieces(UNSEEN, where, None, binary), item]
                item = Record(fields, (), lowest(fields))
            return Items(UNSEEN, where, item, pl.Null())
        return _skipped_leaf(writer, where)

    def _skipped_record(self, writer: Type, place: str) -> Node:
        key = id(writer)
        if key in self._open:
            return Again(f"field {named(place)!r}", self._skipped[key])
        if key not in self._skipped:
            made = self._skipped[key] = Record()
            self._open.add(key)
            made.fields = [self.skip(f.type, _within(place, f.name)) for f in writer.fields]
            made.lowest = lowest(made.fields)
            self._open.remove(key)
        return self._skipped[key]


def _skipped_leaf(writer: Type, where: str) -> Node:
    if writer.sort == "enum":
        codes = np.zeros(len(writer.symbols), np.int64)
        return Symbols(UNSEEN, where, writer.symbols, codes, pl.Null())
    if writer.sort == "null":
        return Nothing(UNSEEN)
    if writer.sort in ("string", "bytes", "fixed"):
        return Pieces(UNSEEN, where, writer.size if writer.sort == "fixed" else None, binary)
    return Numbers(UNSEEN, where, writer.sort, Number(None, 1, pl.Null(), ""))


def _members(reader: Type, place: str) -> list[tuple[str, pl.DataType]]:
    if reader.sort != "union":
        return [("", kind_of(reader, place))]
    found = members(reader)
    names = branch_names(reader)
    return [(name, kind_of(part, place)) for name, part in zip(names, found, strict=True)]


def _within(place: str, name: str) -> str:
    return f"{place}{BETWEEN}{name}" if place else name


def _column(place: str) -> str:
    return f"column {named(place)!r}"


def _same_name(writer: Type, reader: Type, place: str) -> None:
    names = {reader.short, *reader.aliases}
    if writer.short not in names and writer.name not in names:
        what = f"{named(place)!r} is" if place else "the writer's schema is"
        raise SchemaError(
            f"{what} a {writer.sort} {writer.name!r}, and {reader.name!r} is read",
            remedy=f'call it so, or give the reader\'s an alias: "aliases": ["{writer.name}"]',
        )


def _mismatch(writer: Type, reader: Type, place: str, why: str = "") -> SchemaError:
    return SchemaError(
        f"{named(place)!r} is written as {writer}, which cannot be read as {reader}"
        + (f": they are {why}" if why else ""),
        remedy="give the reader the writer's type, a wider one, or a union of both",
    )


def _number(writer: Type, reader: Type, place: str) -> Number:
    """How the writer's number becomes the reader's."""
    kind = kind_of(reader, place)
    if not reader.logical:
        return Number(INT if writer.sort == reader.sort == "int" else None, 1, kind, "int")
    of = writer.logical or reader.logical
    if reader.logical == "date" and of == "date":
        return Number(DAYS, 1, kind, "date: it is not of the years 1 to 9999")
    sort, _, unit = of.rpartition("-")
    wanted, _, to = reader.logical.rpartition("-")
    if sort != wanted or _UNITS.index(to) < _UNITS.index(unit):
        raise _mismatch(writer, reader, place)
    if sort == "time":
        return Number(day_bounds(unit), _NS[unit], kind, f"time of day in {unit}")
    bounds = None if unit == "nanos" else time_bounds(unit, to)
    return Number(bounds, _NS[unit] // _NS[to], kind, f"time in {unit} that a column can hold")


def _piece(writer: Type, reader: Type, place: str) -> Piece:
    """How the writer's bytes become the reader's."""
    logical = reader.logical
    if logical == "decimal":
        narrow = writer.precision > reader.precision
        if writer.logical == "decimal" and (narrow or writer.scale != reader.scale):
            raise _mismatch(writer, reader, place, "of other digits")
        return decimal(reader.precision, reader.scale)
    if logical == "duration":
        return duration
    if logical == "uuid" and reader.sort == "fixed":
        return identifier
    plain: Callable[..., pl.Series] = text if reader.sort == "string" else binary
    return plain
