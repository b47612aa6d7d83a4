"""Protobuf: one message per record, read by the library and then made into columns.

The library takes each record by itself, so that a bad one cannot touch its neighbours. What it does
not tell is a field of another type than its number's: that one counts as unknown to it, and the
known one as absent. A message that is longer than what is known of it is looked at for such fields.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from processor.errors import TopologyError
from processor.formats import declared, proto_schema
from processor.formats.arguments import check_options
from processor.formats.base import (
    VALUE_BYTES_MAX,
    DataType,
    Decoded,
    SchemaFormat,
    Values,
    WriteError,
    describe_columns,
    in_order,
)
from processor.formats.needs import needed
from processor.formats.proto_kinds import Record
from processor.model.location import Location

_CLASS = "give the class of a message that protoc has made, or its file of descriptors"


@dataclass(frozen=True)
class Protobuf(SchemaFormat):
    """A Protobuf message per record, bare: without the id of a schema before it.

    Enumerations are `pl.Enum`, messages `pl.Struct`, repeated fields `pl.List`, maps lists of
    ``{key, value}`` sorted by key; ``Timestamp`` is a Datetime in microseconds in UTC, ``Duration``
    a Duration, and a wrapper (``Int64Value``) its value or null. Null is what has a presence of
    its own and is absent: a message, a field that is ``optional``, one of a ``oneof``. Any other
    field that is absent has its default, as the language says, and cannot be null.

    Args:
        source: the class of a message, or a file of descriptors
            (``protoc --include_imports --descriptor_set_out=shop.desc shop.proto``).
        message: the message's full name (``shop.Order``), where a file is given.
        fields: the names of those to read, if not all: others may be of a type that no column has.
        value_bytes_max: a longer value is bad without being looked at.

    Raises `TopologyError`, with the line that declares it, for what cannot be columns: messages
    that hold themselves, and those without fields.

    >>> from google.protobuf.api_pb2 import Mixin
    >>> form = Protobuf(Mixin)
    >>> form.decode([b"", bytes([10, 1, 65]), bytes([10, 9])]).bad
    {2: 'no google.protobuf.Mixin: Error parsing message'}
    >>> form.decode(form.encode(pl.DataFrame({"name": ["A"], "root": [""]}))).frame.row(0)
    ('A', '')
    """

    source: type[Any] | str | Path
    message: str | None = None
    fields: Sequence[str] | None = None
    value_bytes_max: int = VALUE_BYTES_MAX
    made: Any = field(init=False, repr=False, compare=False)
    _record: Record = field(init=False, repr=False, compare=False)
    _error: type[Exception] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        at = declared.told_at()
        check_options(self, at)
        declared.check_bytes("Protobuf", self.value_bytes_max, at)
        made = self._made(at)
        if self.fields is not None and not list(self.fields):
            raise TopologyError(
                f"{at}: Protobuf: fields names none",
                remedy="name those to read, or leave it out: all are read then",
            )
        if self.fields is not None:
            declared.check_names("Protobuf", self.fields, list(made.DESCRIPTOR.fields_by_name), at)
            object.__setattr__(self, "fields", tuple(dict.fromkeys(self.fields)))
        record = proto_schema.record_of(made, self.fields, at)
        if not record.parts:
            raise TopologyError(
                f"{at}: Protobuf: {made.DESCRIPTOR.full_name} has no fields to make columns of",
                remedy="name one that has",
            )
        errors = needed("google.protobuf.message", "Protobuf", at)
        object.__setattr__(self, "made", made)
        object.__setattr__(self, "_record", record)
        object.__setattr__(self, "_error", errors.DecodeError)

    def _made(self, at: Location) -> Any:
        if isinstance(self.source, str | Path):
            return proto_schema.of_file(Path(self.source), self.message, at)
        descriptor: Any = getattr(self.source, "DESCRIPTOR", None)
        made: object = self.source
        if not isinstance(made, type) and hasattr(descriptor, "fields_by_number"):
            name = type(made).__name__
            raise TopologyError(
                f"{at}: Protobuf: this is a message, and its class is due",
                remedy=f"leave the brackets out: Protobuf({name}), not Protobuf({name}(...))",
            )
        if not isinstance(made, type) or not hasattr(descriptor, "fields_by_number"):
            raise TopologyError(
                f"{at}: Protobuf: {self.source!r} is no message",
                remedy=f"{_CLASS}: Protobuf(Order)",
            )
        if self.message not in (None, descriptor.full_name):
            raise TopologyError(
                f"{at}: Protobuf: the class is of {descriptor.full_name!r}, not {self.message!r}",
                remedy="leave the name out, or give the other class",
            )
        return self.source

    @property
    def columns(self) -> Mapping[str, DataType]:
        """A column for each field."""
        return {part.name: part.kind.column for part in self._record.parts}

    @property
    def optional(self) -> frozenset[str]:
        """The columns that may be null."""
        return frozenset(part.name for part in self._record.parts if part.absent)

    def decode(self, values: Values) -> Decoded:
        """Messages to columns: a row per value, in order; bad values are named, not raised."""
        bad: dict[int, str] = {}
        messages = self._parsed(values, bad)
        rows = np.arange(len(messages))
        self._look_for_strangers(messages, values, bad)
        columns = self._record.columns(messages, rows, "", bad)
        return Decoded(pl.DataFrame(columns), bad)

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """Rows to messages. Raises `WriteError` for what would be read back as something else."""
        rows = in_order(frame, self.columns).iter_rows(named=True)
        try:
            return [
                self._record.write(row, "").SerializeToString(deterministic=True) for row in rows
            ]
        except (OverflowError, TypeError) as error:
            raise WriteError(f"no {self.made.DESCRIPTOR.full_name}: {error}") from error

    def records(self, rows: Sequence[Mapping[str, Any]]) -> list[bytes]:
        """Rows as messages; a field that a row has not is absent, and others may be named too."""
        try:
            return [self.made(**row).SerializeToString(deterministic=True) for row in rows]
        except (OverflowError, TypeError) as error:
            raise ValueError(f"no {self.made.DESCRIPTOR.full_name}: {error}") from error

    def told(self) -> Any:
        """The file of the message, and those that it imports."""
        return sorted(_files(self.made.DESCRIPTOR.file))

    def describe(self) -> str:
        """``protobuf(shop.Order: name type, …)``."""
        return f"protobuf({self.made.DESCRIPTOR.full_name}: {describe_columns(self.columns)})"

    def _parsed(self, values: Values, bad: dict[int, str]) -> list[Any]:
        parse, most = self.made.FromString, self.value_bytes_max
        if None not in values and max(map(len, values), default=0) <= most:  # type: ignore[arg-type]
            try:
                return list(map(parse, values))
            except self._error:
                pass
        messages = []
        name = self.made.DESCRIPTOR.full_name
        for row, value in enumerate(values):
            message = None
            if value is None:
                bad[row] = "the record has no value"
            elif len(value) > most:
                bad[row] = f"the record has {len(value)} bytes, more than {most}"
            else:
                try:
                    message = parse(value)
                except self._error as error:
                    bad[row] = f"no {name}: {_plain(error)}"
            messages.append(self.made() if message is None else message)
        return messages

    def _look_for_strangers(
        self, messages: Sequence[Any], values: Values, bad: dict[int, str]
    ) -> None:
        """Note the messages in which a field is of another type, or one that must be is missing."""
        for row, (message, value) in enumerate(zip(messages, values, strict=True)):
            if row in bad or value is None:
                continue
            if not message.IsInitialized():
                missing = ", ".join(message.FindInitializationErrors())
                bad[row] = f"no {self.made.DESCRIPTOR.full_name}: {missing} is missing"
                continue
            message.DiscardUnknownFields()
            if message.ByteSize() != len(value):
                strange = _stranger(self.made.FromString(value), "", self.columns)
                if strange:
                    bad.setdefault(row, strange)


def _stranger(message: Any, place: str, names: Collection[str] | None = None) -> str:
    """The first field that the library does not know by its type, though by its number."""
    unknown = needed("google.protobuf.unknown_fields", "Protobuf", "")
    fields = message.DESCRIPTOR.fields
    known = {each.number: each for each in fields if names is None or each.name in names}
    for other in unknown.UnknownFieldSet(message):
        if other.field_number in known:
            field = known[other.field_number]
            return (
                f"column {place + field.name!r}: what stands there is no "
                f"{proto_schema.type_name(field)}"
            )
    for field, value in message.ListFields():
        if field.message_type is None or field.number not in known:
            continue
        inner = place + field.name
        if not proto_schema.repeated(field):
            found = _stranger(value, f"{inner}.")
        elif not field.message_type.GetOptions().map_entry:
            found = next(filter(None, (_stranger(e, f"{inner}[].") for e in value)), "")
        elif field.message_type.fields_by_name["value"].message_type is None:
            continue
        else:
            found = next(filter(None, (_stranger(e, f"{inner}[].") for e in value.values())), "")
        if found:
            return found
    return ""


def _plain(error: Exception) -> str:
    """What the library says, without the name of the message, in one line."""
    return str(error).partition(" with type ")[0].strip()


def _files(file: Any) -> set[str]:
    found = {file.serialized_pb.hex()}
    for other in file.dependencies:
        found |= _files(other)
    return found
