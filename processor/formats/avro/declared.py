"""`Avro`, as a topology says it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from processor.errors import TopologyError
from processor.formats import declared
from processor.formats.arguments import check_options
from processor.formats.avro.codec import AvroReader, AvroWriter
from processor.formats.avro.container import bare
from processor.formats.avro.given import as_cell
from processor.formats.avro.kinds import nullable
from processor.formats.avro.names import check_names
from processor.formats.avro.schema import Field, SchemaError, Type, canonical, parse
from processor.formats.avro.whole import Family
from processor.formats.base import (
    VALUE_BYTES_MAX,
    DataType,
    Decoded,
    SchemaFormat,
    Values,
    describe_columns,
    shown,
)
from processor.model.location import Location


@dataclass(frozen=True)
class Avro(SchemaFormat):
    r"""Records of one Avro schema, bare: no file's header, no id before them.

    The schema is a record, and its fields are the columns; a union with null is a column that may
    be null. A record is bad when it ends early or late, when a number does not fit its type or a
    time no column, when a union or an enumeration has no such branch or word, or text is not UTF-8.
    `docs/guide.md` has which column each type is.

    Args:
        schema: what is read and written: JSON as a mapping or as text, or the path of a file.
        writer: the schema that the records to read are written in, where it is another one: it is
            resolved as Avro says. Rows are always written in ``schema``.
        select: the fields that are columns; left out, all. Others are passed over, which costs
            little, and written as their defaults.
        value_bytes_max: a longer value is bad without being looked at.
        references: schemas that define names which ``schema`` and ``writer`` use, each after those
            that it uses itself.

    Raises `TopologyError`, with the line that declares it, for what is no schema, what no column
    can hold, and a writer's schema that cannot be read as this one.

    >>> ride = {"type": "record", "name": "Ride", "fields": [{"name": "cluster", "type": "int"}]}
    >>> Avro(ride).encode(pl.DataFrame({"cluster": [6]}, {"cluster": pl.Int32}))
    [b'\x0c']
    >>> Avro(ride).decode([b"\x0c", b""]).bad
    {1: "column 'cluster': the record ends in it, after 0 bytes"}
    """

    schema: Mapping[str, Any] | str | Path
    writer: Mapping[str, Any] | str | Path | None = None
    select: Sequence[str] | None = None
    value_bytes_max: int = VALUE_BYTES_MAX
    references: Sequence[Mapping[str, Any] | str | Path] = ()
    _reader: AvroReader = field(init=False, repr=False, compare=False)
    _optional: frozenset[str] = field(init=False, repr=False, compare=False)
    _told: str = field(init=False, repr=False, compare=False)
    _schemas: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        at = declared.told_at()
        check_options(self, at)
        declared.check_bytes("Avro", self.value_bytes_max, at)
        try:
            schema = self._whole(self.schema)
            whole = parse(schema)
            check_names(whole)
            wanted = self._wanted(whole, at)
            reader = AvroReader(wanted, whole if self.writer is None else self._writer())
            digits = canonical(schema)
        except SchemaError as error:
            raise TopologyError(f"{at}: Avro: {error}", remedy=error.remedy) from error
        optional = frozenset(each.name for each in wanted.fields if nullable(each.type))
        told = f"avro({whole.name} {digits}: {describe_columns(reader.columns)})"
        schemas = [schema, None if self.writer is None else self._whole(self.writer)]
        made = {"_reader": reader, "_optional": optional, "_told": told, "_schemas": schemas}
        for name, value in made.items():
            object.__setattr__(self, name, value)

    def _wanted(self, whole: Type, at: Location) -> Type:
        """The record with the selected fields alone."""
        if whole.sort == "record" and not whole.fields:
            raise TopologyError(
                f"{at}: Avro: {whole.name} has no fields to make columns of",
                remedy="give it some, or name a schema that has",
            )
        if self.select is None or whole.sort != "record":
            return whole
        names = [each.name for each in whole.fields]
        declared.check_names("Avro", self.select, names, at)
        if not self.select:
            raise TopologyError(
                f"{at}: Avro: select names no field",
                remedy=f"name some of {', '.join(names)}, or leave it out",
            )
        fields = [each for each in whole.fields if each.name in self.select]
        return Type("record", name=whole.name, aliases=whole.aliases, fields=fields)

    def _writer(self) -> Type | None:
        return None if self.writer is None else parse(self._whole(self.writer))

    def _whole(self, schema: object) -> Any:
        """A schema's JSON, with what it refers to in it."""
        loaded = _loaded(schema)
        others = [_loaded(other) for other in self.references]
        return Family(loaded, others).whole if others else loaded

    @property
    def columns(self) -> Mapping[str, DataType]:
        """The fields, in the schema's order, with their types."""
        return self._reader.columns

    @property
    def optional(self) -> frozenset[str]:
        """The fields that may be null."""
        return self._optional

    @property
    def written(self) -> Any:
        """The schema, as JSON, that the records to read are written in."""
        return self._schemas[0 if self.writer is None else 1]

    def decode(self, values: Values) -> Decoded:
        """Records to columns, each field of all of them at once."""
        return self._reader.decode(values, bytes_max=self.value_bytes_max)

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """Rows to records.

        Raises `WriteError` for a cell that the schema has no value for, and `TopologyError` where
        a field is no column and has no default.
        """
        return self._encoder.encode(frame)

    def records(self, rows: Sequence[Mapping[str, Any]]) -> list[bytes]:
        """Rows as records of the writer's schema.

        A field that no row has is written as its default; one that some have not is null there.
        """
        told = dict.fromkeys(name for row in rows for name in row)
        encoder = _encoder(self.written, lambda each: each.name in told or not each.filled)
        for name in told:
            if name not in encoder.columns:
                raise ValueError(f"the schema has no field {name!r}")
        schema, known = self.written, set(encoder.columns)
        cells = [as_cell(schema, {k: row[k] for k in row if k in known}) for row in rows]
        try:
            columns = [
                pl.Series(name, [row.get(name) for row in cells], dtype=kind)
                for name, kind in encoder.columns.items()
            ]
        except pl.exceptions.PolarsError as error:
            raise ValueError(str(error)) from error
        return encoder.encode(pl.DataFrame(columns))

    def of_file(self, data: bytes) -> list[bytes]:
        """The records of what Avro calls an object container file, in the writer's schema."""
        return bare(data, self.written)

    @cached_property
    def _encoder(self) -> AvroWriter:
        return _encoder(
            self._schemas[0], lambda each: self.select is None or each.name in self.select
        )

    def told(self) -> Any:
        """The schemas of the columns and of the records."""
        return self._schemas

    def describe(self) -> str:
        """``avro(name fingerprint: column type, …)``."""
        return self._told


def _encoder(schema: object, wanted: Callable[[Field], bool]) -> AvroWriter:
    """What writes the wanted fields, and of the others the defaults."""
    try:
        parsed = parse(_loaded(schema))
        return AvroWriter(parsed, [each.name for each in parsed.fields if wanted(each)])
    except SchemaError as error:
        raise TopologyError(f"Avro: {error}", remedy=error.remedy) from error


def _loaded(schema: object) -> Any:
    """A schema's JSON, from where it is."""
    if isinstance(schema, Path):
        try:
            return json.loads(schema.read_bytes())
        except OSError as error:
            raise SchemaError(
                f"{schema}: {error.strerror}", remedy="name a file that can be read"
            ) from error
        except (ValueError, RecursionError) as error:
            raise SchemaError(
                f"{schema} is no JSON: {error}", remedy="name a schema's file, as ride.avsc"
            ) from error
    if isinstance(schema, str) and not schema.lstrip().startswith("{"):
        raise SchemaError(
            f"{shown(schema)} is no schema of a record",
            remedy='give its JSON, or the path of a file: Path("ride.avsc")',
        )
    return schema
