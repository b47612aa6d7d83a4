"""Protobuf's descriptors: where they come from, what columns they make, how two of them differ.

A message class of generated code has its descriptor; a file of descriptors (``protoc
--include_imports --descriptor_set_out=shop.desc``) has any number of them. The library itself is
of the extra ``registry``, and is loaded when a format asks for it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import polars as pl

from processor.errors import TopologyError
from processor.formats import proto_text
from processor.formats.needs import needed
from processor.formats.proto_kinds import (
    Kind,
    Listed,
    Mapped,
    Part,
    Record,
    Scalar,
    Span,
    Stamp,
    Word,
    Wrapped,
)
from processor.model.location import Location

WELL_KNOWN: Final = "google/protobuf/"
_KNOWN_NAME: Final = re.compile(rf"{WELL_KNOWN}(?:\w+/)*\w+\.proto", re.ASCII)
# The numbers that the language itself gives to types of fields.
_DOUBLE, _FLOAT, _INT64, _UINT64, _INT32, _FIXED64, _FIXED32, _BOOL, _STRING = range(1, 10)
_, _, _BYTES, _UINT32, _ENUM, _SFIXED32, _SFIXED64, _SINT32, _SINT64 = range(10, 19)
SCALARS: Final[Mapping[int, type[pl.DataType]]] = {
    _DOUBLE: pl.Float64, _FLOAT: pl.Float32, _BOOL: pl.Boolean, _STRING: pl.String,
    _BYTES: pl.Binary,
    **dict.fromkeys((_INT64, _SFIXED64, _SINT64), pl.Int64),
    **dict.fromkeys((_UINT64, _FIXED64), pl.UInt64),
    **dict.fromkeys((_INT32, _SFIXED32, _SINT32), pl.Int32),
    **dict.fromkeys((_UINT32, _FIXED32), pl.UInt32),
}  # fmt: skip
# What was written as the first is read as any of the others without loss.
_WIDER: Final[Mapping[int, frozenset[int]]] = {
    _BOOL: frozenset({_INT32, _INT64, _UINT32, _UINT64}),
    _ENUM: frozenset({_INT32, _INT64}),
    _INT32: frozenset({_INT64, _ENUM}),
    _UINT32: frozenset({_INT64, _UINT64}),
    _SINT32: frozenset({_SINT64}),
    _STRING: frozenset({_BYTES}),
    # Whether it is text is seen when it is read.
    _BYTES: frozenset({_STRING}),
}
_WRAPPERS: Final = frozenset(
    f"google.protobuf.{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
_RECURSIVE: Final = frozenset(
    f"google.protobuf.{name}" for name in ("Struct", "Value", "ListValue")
)


def pool_of(files: Iterable[Any], who: str, at: Location | str) -> Any:
    """A pool of these file descriptors, given in any order; the well-known ones are there too.

    Raises `TypeError` where one cannot be added, and `KeyError` where an import is not among them.
    """
    pools = needed("google.protobuf.descriptor_pool", who, at)
    waiting = {file.name: file for file in files}
    pool = pools.DescriptorPool()

    def add(name: str) -> None:
        file = waiting.pop(name, None)
        if file is None:
            return
        for other in file.dependency:
            if other not in waiting and other.startswith(WELL_KNOWN):
                _add_known(pool, pools, other)
            add(other)
        pool.Add(file)

    while waiting:
        add(next(iter(waiting)))
    return pool


def _add_known(pool: Any, pools: Any, name: str) -> None:
    """A file that the library brings along, where nobody has given it."""
    try:
        pool.FindFileByName(name)
    except KeyError:
        if _KNOWN_NAME.fullmatch(name) is None:
            return
        try:
            # To load its module puts it into the pool of all that are known.
            import_module(f"{name.removesuffix('.proto').replace('/', '.')}_pb2")
        except ImportError:
            return  # so that the file which imports it is not whole
        known = pools.Default().FindFileByName(name)
        for other in known.dependencies:
            _add_known(pool, pools, other.name)
        pool.AddSerializedFile(known.serialized_pb)


def of_file(path: Path, message: str | None, at: Location) -> Any:
    """The message class of a file of descriptors; raises `TopologyError`."""
    descriptor_pb2 = needed("google.protobuf.descriptor_pb2", "Protobuf", at)
    factory = needed("google.protobuf.message_factory", "Protobuf", at)
    errors = needed("google.protobuf.message", "Protobuf", at)
    target = path.with_suffix(".desc").name if path.suffix == ".proto" else path.name
    how = f"protoc --include_imports --descriptor_set_out={target} {path.stem}.proto"
    try:
        found = descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())
    except OSError as error:
        looks = path.suffix in _SUFFIXES or len(path.parts) > 1 or not path.suffix
        what = "" if looks else (
            f"; if that is a message's name, the file of descriptors goes before it: "
            f'Protobuf("shop.desc", "{path}")'
        )  # fmt: skip
        if not looks:
            how = "protoc --include_imports --descriptor_set_out=shop.desc shop.proto"
        raise TopologyError(
            f"{at}: Protobuf: {path} cannot be read: {error.strerror}",
            remedy=f"make it: {how}{what}",
        ) from error
    except errors.DecodeError as error:
        raise TopologyError(
            f"{at}: Protobuf: {path} is no file of descriptors", remedy=f"make it: {how}"
        ) from error
    names = sorted(f"{f.package}.{m.name}".lstrip(".") for f in found.file for m in f.message_type)
    shown = f"the file has: {', '.join(names[:20]) or 'none'}"
    if message is None:
        raise TopologyError(
            f"{at}: Protobuf: which message of {path}?",
            remedy=f'name it: Protobuf("{path.name}", "{names[0] if names else "shop.Order"}"); '
            + shown,
        )
    try:
        descriptor = pool_of(found.file, "Protobuf", at).FindMessageTypeByName(message)
    except KeyError as error:
        raise TopologyError(
            f"{at}: Protobuf: {path} has no message {message!r}", remedy=shown
        ) from error
    except TypeError as error:
        raise TopologyError(
            f"{at}: Protobuf: {path} is not whole: {error}", remedy=f"make it anew: {how}"
        ) from error
    return factory.GetMessageClass(descriptor)


_SUFFIXES: Final = (".desc", ".proto", ".pb", ".bin", ".protoset", ".fds", ".dsc", ".binpb")
"""How files of descriptors mostly end."""


def repeated(field: Any) -> bool:
    """Whether a field is a list or a map."""
    return bool(field.is_repeated)


def record_of(made: Any, names: Sequence[str] | None, at: Location) -> Record:
    """What a message class is as columns: all its fields, or these; raises `TopologyError`."""
    return _record(made.DESCRIPTOR, made, names, (), at)


def _record(
    descriptor: Any, made: Any, names: Sequence[str] | None, way: tuple[str, ...], at: Location
) -> Record:
    fields = descriptor.fields if names is None else [descriptor.fields_by_name[n] for n in names]
    way = (*way, descriptor.full_name)
    return Record(tuple(_part(field, way, at) for field in fields), made)


def _part(field: Any, way: tuple[str, ...], at: Location) -> Part:
    entry = field.message_type
    if repeated(field) and entry is not None and entry.GetOptions().map_entry:
        key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
        return Part(field.name, Mapped(_kind(key, way, at), _kind(value, way, at)), absent=False)
    kind = _kind(field, way, at)
    if repeated(field):
        return Part(field.name, Listed(kind), absent=False)
    choice = field.containing_oneof
    # A field that is optional is the only one of a choice that the compiler has made.
    named = None if choice is None or len(choice.fields) == 1 else choice.name
    absent = field.has_presence and not field.is_required
    return Part(field.name, kind, absent, named)


def _kind(field: Any, way: tuple[str, ...], at: Location) -> Kind:
    if field.type in SCALARS:
        return Scalar(SCALARS[field.type]())
    if field.type == _ENUM:
        numbers: dict[str, int] = {value.name: value.number for value in field.enum_type.values}
        return Word(pl.Enum(list(numbers)), numbers)
    inner = field.message_type
    made = needed("google.protobuf.message_factory", "Protobuf", at).GetMessageClass(inner)
    if inner.full_name == "google.protobuf.Timestamp":
        return Stamp(made)
    if inner.full_name == "google.protobuf.Duration":
        return Span(made)
    if inner.full_name in _WRAPPERS:
        return Wrapped(_kind(inner.fields_by_name["value"], way, at), made)
    leave = f"name the fields to read: Protobuf(..., fields=[...]) without {field.name!r}"
    if inner.full_name in way or inner.full_name in _RECURSIVE:
        raise TopologyError(
            f"{at}: Protobuf: field {field.full_name!r} is a {inner.full_name}, which holds itself "
            "to any depth: no column is like that",
            remedy=leave,
        )
    if not inner.fields:
        raise TopologyError(
            f"{at}: Protobuf: field {field.full_name!r} is a {inner.full_name}, which has no "
            "fields: there is nothing to make a column of",
            remedy=leave,
        )
    return _record(inner, made, None, way, at)


def differences(writer: Any, reader: Any, names: Iterable[str] | None = None) -> Iterator[str]:
    """What of a reader's fields cannot be read as a writer's message has them, by its place.

    A field that the writer lacks is read as the language says: absent, or its default. A field that
    must be there is not.
    """
    for field in reader.fields if names is None else [reader.fields_by_name[n] for n in names]:
        theirs = writer.fields_by_number.get(field.number)
        if theirs is None:
            if field.is_required:
                yield f"field {field.name!r} ({field.number}) has to be there, and is not"
            continue
        what = f"field {field.name!r} ({field.number})"
        if repeated(theirs) and not repeated(field):
            yield f"{what} is a list now"
        elif theirs.type == field.type and field.message_type is not None:
            inside = differences(theirs.message_type, field.message_type)
            yield from (f"{field.name}: {problem}" for problem in inside)
        elif theirs.type != field.type and field.type not in _WIDER.get(theirs.type, ()):
            yield f"{what} is {type_name(theirs)} now, not {type_name(field)}"


def type_name(field: Any) -> str:
    """What the language calls the type of a field."""
    if field.message_type is not None:
        return str(field.message_type.full_name)
    return str(field.enum_type.full_name) if field.enum_type is not None else _WORDS[field.type]


_WORDS: Final[Mapping[int, str]] = {
    _DOUBLE: "double", _FLOAT: "float", _INT64: "int64", _UINT64: "uint64", _INT32: "int32",
    _FIXED64: "fixed64", _FIXED32: "fixed32", _BOOL: "bool", _STRING: "string", _BYTES: "bytes",
    _UINT32: "uint32", _SFIXED32: "sfixed32", _SFIXED64: "sfixed64", _SINT32: "sint32",
    _SINT64: "sint64",
}  # fmt: skip


def parsed(text: str, references: Iterable[tuple[str, str]], name: str) -> Any:
    """The file descriptor of a registry's schema, base64 or a text; raises `ValueError`.

    ``references`` are the files it imports, by name, each with its text.
    """
    files = [_file(name, text), *(_file(other, content) for other, content in references)]
    try:
        return pool_of(files, "Protobuf", "").FindFileByName(name)
    except (KeyError, TypeError) as error:
        raise ValueError(f"its schema is not whole: {error}") from error


def _file(name: str, text: str) -> Any:
    descriptor_pb2 = needed("google.protobuf.descriptor_pb2", "Protobuf", "")
    errors = needed("google.protobuf.message", "Protobuf", "")
    try:
        file = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, errors.DecodeError):
        # Not every registry makes a descriptor of what was registered as text.
        file = proto_text.file_of(text)
    file.name = name
    return file


def same(one: Any, other: Any) -> bool:
    """Whether two files say the same of every message, in the order that records tell them by."""
    return bool(_bare(one) == _bare(other))


def _bare(file: Any) -> Any:
    """A file without what says nothing of how a message lies in bytes, or what it means."""
    descriptor_pb2 = needed("google.protobuf.descriptor_pb2", "Protobuf", "")
    found = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(found)
    found.dependency.sort()
    for name in ("name", "options", "service", "extension", "public_dependency",
                 "weak_dependency", "source_code_info"):  # fmt: skip
        found.ClearField(name)
    found.syntax = found.syntax or "proto2"
    for enum in found.enum_type:
        _bare_enum(enum)
    for message in found.message_type:
        _bare_message(message)
    return found


def _bare_message(message: Any) -> None:
    entry = message.options.map_entry
    for name in ("options", "reserved_range", "reserved_name", "extension_range", "extension"):
        message.ClearField(name)
    if entry:
        message.options.map_entry = True
    message.field.sort(key=lambda field: field.number)
    for part in (*message.field, *message.oneof_decl):
        part.ClearField("options")
    for field in message.field:
        field.ClearField("json_name")
    for enum in message.enum_type:
        _bare_enum(enum)
    for nested in message.nested_type:
        _bare_message(nested)


def _bare_enum(enum: Any) -> None:
    for name in ("options", "reserved_range", "reserved_name"):
        enum.ClearField(name)
    for value in enum.value:
        value.ClearField("options")


def serialized(file: Any) -> str:
    """A file descriptor as a registry takes it."""
    return base64.b64encode(file.serialized_pb).decode()


def path_of(descriptor: Any) -> tuple[int, ...]:
    """Where a message stands in its file: the number of the outermost one first."""
    if descriptor.containing_type is not None:
        outer = descriptor.containing_type
        inside = [nested.full_name for nested in outer.nested_types]
        return (*path_of(outer), inside.index(descriptor.full_name))
    outermost = list(descriptor.file.message_types_by_name)
    return (outermost.index(descriptor.name),)
