"""Messages of Protobuf for the tests, made without a compiler: a shop's orders."""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, message_factory

from processor.formats.proto_schema import pool_of

FIELD = descriptor_pb2.FieldDescriptorProto
OPTIONAL, REQUIRED, REPEATED = FIELD.LABEL_OPTIONAL, FIELD.LABEL_REQUIRED, FIELD.LABEL_REPEATED
SCALARS = {
    "double": FIELD.TYPE_DOUBLE, "float": FIELD.TYPE_FLOAT, "int64": FIELD.TYPE_INT64,
    "uint64": FIELD.TYPE_UINT64, "int32": FIELD.TYPE_INT32, "fixed64": FIELD.TYPE_FIXED64,
    "fixed32": FIELD.TYPE_FIXED32, "bool": FIELD.TYPE_BOOL, "string": FIELD.TYPE_STRING,
    "bytes": FIELD.TYPE_BYTES, "uint32": FIELD.TYPE_UINT32, "sfixed32": FIELD.TYPE_SFIXED32,
    "sfixed64": FIELD.TYPE_SFIXED64, "sint32": FIELD.TYPE_SINT32, "sint64": FIELD.TYPE_SINT64,
}  # fmt: skip


def field(message: Any, number: int, kind: str, name: str, how: str = "") -> None:
    """A field: ``how`` is empty, ``optional``, ``repeated``, ``required`` or a choice's name."""
    made = message.field.add(name=name, number=number, label=OPTIONAL)
    if kind in SCALARS:
        made.type = SCALARS[kind]
    else:
        made.type = FIELD.TYPE_ENUM if kind.startswith("enum ") else FIELD.TYPE_MESSAGE
        made.type_name = f".{kind.removeprefix('enum ')}"
    if how == "repeated":
        made.label = REPEATED
    elif how == "required":
        made.label = REQUIRED
    elif how == "optional":
        made.proto3_optional = True
        made.oneof_index = len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")
    elif how:
        names = [choice.name for choice in message.oneof_decl]
        if how not in names:
            message.oneof_decl.add(name=how)
            names.append(how)
        made.oneof_index = names.index(how)


def file_of(name: str = "shop.proto", syntax: str = "proto3", imports: Any = ()) -> Any:
    """An empty file of the package ``shop``."""
    return descriptor_pb2.FileDescriptorProto(
        name=name, package="shop", syntax=syntax, dependency=list(imports)
    )


def class_of(file: Any, message: str, *others: Any) -> Any:
    """The class of a message of a file, which may import the others."""
    pool = pool_of([file, *others], "Protobuf", "here")
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(message))


@cache
def shop() -> Any:
    """The whole file: each sort of field that there is."""
    known = [f"google/protobuf/{name}.proto" for name in ("timestamp", "duration", "wrappers")]
    file = file_of(imports=known)
    state = file.enum_type.add(name="State")
    for number, word in ((0, "NEW"), (1, "PAID"), (5, "SENT")):
        state.value.add(name=word, number=number)
    line = file.message_type.add(name="Line")
    field(line, 1, "string", "sku")
    field(line, 2, "uint64", "count")
    order = file.message_type.add(name="Order")
    field(order, 1, "int64", "id")
    field(order, 2, "enum shop.State", "state")
    field(order, 3, "shop.Line", "lines", "repeated")
    field(order, 4, "google.protobuf.Timestamp", "at")
    field(order, 5, "google.protobuf.Duration", "took")
    field(order, 6, "google.protobuf.UInt64Value", "limit")
    field(order, 8, "bytes", "raw")
    field(order, 9, "string", "tags", "repeated")
    field(order, 10, "string", "card", "pay")
    field(order, 11, "int64", "cash", "pay")
    entry = order.nested_type.add(name="AttrsEntry")
    entry.options.map_entry = True
    field(entry, 1, "string", "key")
    field(entry, 2, "shop.Line", "value")
    field(order, 7, "int32", "note", "optional")
    field(order, 12, "shop.Order.AttrsEntry", "attrs", "repeated")
    field(order, 13, "shop.Line", "first")
    field(order, 14, "float", "weight")
    return file
