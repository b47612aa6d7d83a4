"""What each format makes of the schema that records were written with.

::

    Avro        the writer's schema is resolved to the reader's: names, defaults, wider types
    Protobuf    fields by number; those of another type do not fit
    JsonSchema  a record tells its own names and types; what the schemas differ in is told before
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from processor.errors import TopologyError
from processor.formats import imports, json_shape, proto_schema
from processor.formats.avro.codec import AvroReader
from processor.formats.avro.declared import Avro
from processor.formats.avro.schema import Field, SchemaError, Type, parse
from processor.formats.base import Decoded
from processor.formats.fitting import Decode, UnfitError, Writers
from processor.formats.json_schema import JsonSchema
from processor.formats.proto_index import behind, index_of
from processor.formats.protobuf import Protobuf
from processor.formats.registry import Kind, Schema, Wanted, texts_of


def writers_of(form: object) -> Writers | None:
    """The format as a registry's schemas are read by it; ``None`` for one that has none."""
    if isinstance(form, Avro):
        return OfAvro(form, _text(form.schema), tuple(map(_text, form.references)))
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
class OfAvro:
    """`Avro`: a writer's schema is resolved to the reader's."""

    form: Avro
    text: str
    references: tuple[str, ...] = ()
    kind: Kind = "AVRO"
    index: bytes = b""

    @property
    def record(self) -> str:
        """The record's full name."""
        return self._reader().name

    @property
    def wanted(self) -> Wanted:
        """The schema as text, and those that it refers to."""
        return imports.of_avro(self.text, self.references)

    def reading(self, schema: Schema, *, lenient: bool) -> Decode:
        """The columns, of whatever the writer's schema gives for them."""
        reader, most = self._reader(), self.form.value_bytes_max
        try:
            writer = parse(schema.text, [text for _, text in texts_of(schema.references)])
        except SchemaError as error:
            raise UnfitError(str(error)) from error
        try:
            return partial(AvroReader(reader, writer).decode, bytes_max=most)
        except SchemaError as error:
            kept = [each for each in reader.fields if lenient and _gives(writer, reader, each)]
            rest = {each.name for each in reader.fields} - {each.name for each in kept}
            if not kept or not rest <= self.form.optional:
                raise UnfitError(str(error)) from error
            some = AvroReader(replace(reader, fields=kept), writer)
            return with_nulls(partial(some.decode, bytes_max=most), self.form.columns)

    def _reader(self) -> Type:
        whole = parse(self.text, self.references)
        fields = [each for each in whole.fields if each.name in self.form.columns]
        return replace(whole, fields=fields)


def _text(schema: Mapping[str, Any] | str | Path) -> str:
    if isinstance(schema, Path):
        return schema.read_text(encoding="utf-8")
    return schema if isinstance(schema, str) else json.dumps(schema)


def _gives(writer: Type, reader: Type, one: Field) -> bool:
    """Whether one field of a reader's can be made of a writer's schema."""
    try:
        AvroReader(replace(reader, fields=[one]), writer)
    except SchemaError:
        return False
    return True


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
        """The schema as text, and those that it refers to."""
        return imports.of_json(self.form.root, self.form.others)

    def reading(self, schema: Schema, *, lenient: bool) -> Decode:
        """Objects are read as they are, unless the schemas say that they cannot fit."""
        others = {name: _json(text) for name, text in texts_of(schema.references)}
        try:
            theirs = json_shape.Reader(_json(schema.text), others, "").shape()
        except RecursionError as error:
            raise UnfitError("it is nested too deep") from error
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
        return imports.of_protobuf(self.form.made.DESCRIPTOR.file)

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
            return behind(proto_schema.path_of(theirs), file, form.decode)
        kept = [
            name
            for name in form.columns
            if not list(proto_schema.differences(theirs, form.made.DESCRIPTOR, [name]))
        ]
        if not lenient or not kept or not form.columns.keys() - set(kept) <= form.optional:
            raise UnfitError("; ".join(found))
        some = Protobuf(form.made, fields=kept, value_bytes_max=form.value_bytes_max)
        decode = with_nulls(some.decode, form.columns)
        return behind(proto_schema.path_of(theirs), file, decode)
