"""What each format makes of the schema that records were written with.

::

    Avro        the writer's schema is resolved to the reader's: names, defaults, wider types
    Protobuf    fields by number; those of another type do not fit
    JsonSchema  a record tells its own names and types; what the schemas differ in is told before
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import orjson
import polars as pl

from processor.errors import TopologyError
from processor.formats import json_shape, proto_schema
from processor.formats.base import Decoded, Format
from processor.formats.json_schema import JsonSchema
from processor.formats.protobuf import Protobuf
from processor.formats.registry import Kind, Schema, Wanted, texts_of

Decode = Callable[[list[bytes]], Decoded]


class UnfitError(ValueError):
    """Records of a writer's schema cannot be read as the reader's columns; the reason."""


class Writers(Protocol):
    """A format, as a registry's schemas are read by it."""

    kind: Kind
    record: str
    """The record's full name, which some subjects are called after."""

    @property
    def wanted(self) -> Wanted:
        """The format's own schema, as it is registered."""
        ...

    @property
    def index(self) -> bytes:
        """What a record has between the id and its own bytes."""
        ...

    def reading(self, schema: Schema, *, lenient: bool) -> Decode:
        """What reads the bytes behind an id of this schema; raises `UnfitError`.

        With ``lenient``, a column that may be null is null where the schema does not give it.
        """
        ...


def writers_of(form: Format) -> Writers | None:
    """The format as a registry's schemas are read by it; ``None`` for one that has none."""
    if isinstance(form, JsonSchema):
        return OfJson(form)
    if isinstance(form, Protobuf):
        return OfProtobuf(form)
    return None


def with_nulls(decode: Decode, columns: Mapping[str, Any]) -> Decode:
    """Decode, and add the columns that it does not make as nulls, in the order of all."""

    def decoded(values: list[bytes]) -> Decoded:
        found = decode(values)
        have = found.frame
        made = [
            have[name] if name in have else pl.Series(name, [None] * have.height, dtype=kind)
            for name, kind in columns.items()
        ]
        return Decoded(pl.DataFrame(made), found.bad)

    return decoded


@dataclass(frozen=True)
class OfJson:
    """`JsonSchema`."""

    form: JsonSchema
    kind: Kind = "JSON"
    index: bytes = b""

    @property
    def record(self) -> str:
        """The schema's title."""
        return str(self.form.root.get("title", ""))

    @property
    def wanted(self) -> Wanted:
        """The schema as text."""
        return Wanted(Schema("JSON", json.dumps(self.form.root)))

    def reading(self, schema: Schema, *, lenient: bool) -> Decode:
        """Objects are read as they are, unless the schemas say that they cannot fit."""
        others = {name: _json(text) for name, text in texts_of(schema.references)}
        try:
            theirs = json_shape.Reader(_json(schema.text), others, "").shape()
        except TopologyError as error:
            raise UnfitError(error.message.strip(": ").removeprefix("JsonSchema: ")) from error
        found = list(json_shape.problems(theirs, self.form.shape))
        if found and not lenient:
            raise UnfitError("; ".join(found))
        return self.form.decode


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UnfitError(f"it is no JSON: {error}") from error


@dataclass(frozen=True)
class OfProtobuf:
    """`Protobuf`: behind the id of a file's schema, which of its messages it is."""

    form: Protobuf
    kind: Kind = "PROTOBUF"

    @property
    def record(self) -> str:
        """The message's full name."""
        return str(self.form.made.DESCRIPTOR.full_name)

    @property
    def index(self) -> bytes:
        """Where the message stands in its file."""
        return index_of(proto_schema.path_of(self.form.made.DESCRIPTOR))

    @property
    def wanted(self) -> Wanted:
        """The message's file, and those that it imports, each before who needs it."""
        file = self.form.made.DESCRIPTOR.file
        imports: dict[str, str] = {}
        _imported(file, imports)
        return Wanted(Schema("PROTOBUF", proto_schema.serialized(file)), tuple(imports.items()))

    def reading(self, schema: Schema, *, lenient: bool) -> Decode:
        """The message of that name, if its fields are such as are known."""
        try:
            file = proto_schema.parsed(schema.text, texts_of(schema.references), "its.proto")
            theirs = file.pool.FindMessageTypeByName(self.record)
        except ValueError as error:
            raise UnfitError(str(error)) from error
        except KeyError as error:
            raise UnfitError(f"it has no message {self.record}") from error
        form = self.form
        found = list(proto_schema.differences(theirs, form.made.DESCRIPTOR, form.columns))
        if not found:
            return _behind(proto_schema.path_of(theirs), file, form.decode)
        kept = [
            name
            for name in form.columns
            if not list(proto_schema.differences(theirs, form.made.DESCRIPTOR, [name]))
        ]
        if not lenient or not kept or not form.columns.keys() - set(kept) <= form.optional:
            raise UnfitError("; ".join(found))
        some = replace(form, fields=kept)
        decode = with_nulls(some.decode, form.columns)
        return _behind(proto_schema.path_of(theirs), file, decode)


def _imported(file: Any, found: dict[str, str]) -> None:
    for other in file.dependencies:
        if not other.name.startswith(proto_schema.WELL_KNOWN) and other.name not in found:
            _imported(other, found)
            found[other.name] = proto_schema.serialized(other)


_FIRST: Final = b"\0"


def index_of(path: Sequence[int]) -> bytes:
    r"""Where a message stands in its file, as a record has it: a count, and the numbers.

    >>> index_of([0]), index_of([1, 0])
    (b'\x00', b'\x04\x02\x00')
    """
    if list(path) == [0]:
        return _FIRST
    return b"".join(_varint(2 * number) for number in (len(path), *path))


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    return bytes([*made, number])


def path_in(payload: bytes) -> tuple[tuple[int, ...], int]:
    """The numbers of a message at a payload's beginning, and how many bytes they take.

    Raises `ValueError` where there are none.

    >>> path_in(bytes([0, 8, 1])), path_in(bytes([2, 0, 8, 1]))
    (((0,), 1), ((0,), 2))
    """
    numbers: list[int] = []
    at, wanted = 0, 1
    while len(numbers) < wanted:
        value = shift = 0
        while True:
            if at >= len(payload) or shift > 28:
                raise ValueError("it does not tell which message it is")
            value |= (payload[at] & 127) << shift
            at, shift = at + 1, shift + 7
            if payload[at - 1] < 128:
                break
        if value & 1:
            raise ValueError("it does not tell which message it is")
        numbers.append(value >> 1)
        wanted = 1 + numbers[0]
    return tuple(numbers[1:]) or (0,), at


def _behind(path: tuple[int, ...], file: Any, decode: Decode) -> Decode:
    """Decode what is behind a message's numbers; other messages are bad."""
    index = index_of(path)

    def decoded(payloads: list[bytes]) -> Decoded:
        if all(payload.startswith(index) for payload in payloads):
            return decode([payload[len(index) :] for payload in payloads])
        bad: dict[int, str] = {}
        bare: list[bytes] = []
        for row, payload in enumerate(payloads):
            bare.append(b"")
            try:
                found, size = path_in(payload)
            except ValueError as error:
                bad[row] = str(error)
                continue
            if found == path:
                bare[-1] = payload[size:]
            else:
                bad[row] = f"it is {_message(file, found)}, another message"
        found_all = decode(bare)
        return Decoded(found_all.frame, {**found_all.bad, **bad})

    return decoded


def _message(file: Any, path: Sequence[int]) -> str:
    try:
        found = list(file.message_types_by_name.values())[path[0]]
        for number in path[1:]:
            found = found.nested_types[number]
    except IndexError:
        return f"number {'.'.join(map(str, path))} of its file"
    return str(found.full_name)
