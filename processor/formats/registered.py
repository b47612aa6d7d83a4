r"""Records of schemas that a registry keeps: each begins with the number of its writer's.

::

    00 00 00 00 07 │ 06 61 62 63 …      Avro, JSON
    00 00 00 00 07 │ 00 │ 0a 03 61 …    Protobuf: which message of the schema's file
     0  the number │    the record

Or the header ``__value_schema_id`` has it, and the value is bare. Rows of one writer's schema are
decoded together, and all are put back into their order. What the registry does not know is a bad
record; a registry that does not answer is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import polars as pl

from processor.errors import RegistryError, SchemaChangeError, TopologyError
from processor.formats import declared, framing
from processor.formats.arguments import check_options
from processor.formats.base import DataType, Decoded, SchemaFormat, Values
from processor.formats.fitting import Decode, UnfitError, Writers
from processor.formats.framing import HEADERS, Headers
from processor.formats.registry import Known, Part, Registry, Schema, Schemas, subject_of

OnSchemaChange: TypeAlias = Literal["dead_letter", "stop", "continue"]
IdIn: TypeAlias = Literal["value", "header"]
Subjects: TypeAlias = Literal["topic", "record", "topic_record"]


_OF_SETTINGS: Final = Registry()


class _Link:
    """What a format has come to know of its registry."""

    def __init__(self) -> None:
        self.schemas: Schemas | None = None
        self.known: Known | None = None
        self.readings: dict[int | str, Decode | str] = {}


@dataclass(frozen=True)
class Registered(SchemaFormat):
    """`Avro`, `JsonSchema` or `Protobuf`, with the schemas of a registry (Confluent's wire format).

    A source reads whatever schema a record was written with as the columns of ``format``. A sink
    writes the schema of ``format``, which is looked up when a run starts.

    Args:
        format: what the columns are made by.
        registry: where the schemas are; left out, the settings say (``--schema-registry-url``).
        subjects: what the subject is called after: ``topic`` (``orders-value``), ``record`` (the
            record's full name) or ``topic_record``.
        auto_register: whether a sink registers its schema where it is not there.
        id_in: ``value``: before the record; ``header``: a sink writes it as a header, and a source
            takes it from there, and from the value where there is no such header.
        on_schema_change: what becomes of records whose writer's schema cannot be read as the
            columns: ``dead_letter``; ``stop`` ends the run there; ``continue`` reads what is
            left as null, in columns that may be null, and else is ``dead_letter``.

    Raises `TopologyError`, with the line that declares it, for what cannot be meant.

    >>> from processor.formats.json_schema import JsonSchema
    >>> form = JsonSchema({"type": "object", "properties": {"id": {"type": "integer"}}})
    >>> Registered(form, Registry("mock://docs")).describe()
    'registered(json-schema(id Int64))'
    """

    format: SchemaFormat
    registry: Registry = field(default=_OF_SETTINGS)
    subjects: Subjects = "topic"
    auto_register: bool = False
    id_in: IdIn = "value"
    on_schema_change: OnSchemaChange = "dead_letter"
    topic: str = field(init=False, repr=False, default="")
    part: Part = field(init=False, repr=False, default="value")
    _writers: Writers = field(init=False, repr=False, compare=False)
    _link: _Link = field(init=False, repr=False, compare=False, default_factory=_Link)

    def __post_init__(self) -> None:
        # It loads every format that there is, and most topologies have none of these.
        from processor.formats.writers import writers_of

        at = declared.told_at()
        check_options(self, at)
        found = writers_of(self.format)
        if found is None:
            given: Any = self.format
            is_class = isinstance(given, type)
            what = f"the class {given.__name__}" if is_class else type(given).__name__
            raise TopologyError(
                f"{at}: Registered: {what} has no schema that a registry keeps",
                remedy=_meant(given),
            )
        if not isinstance(self.registry, Registry):
            raise TopologyError(
                f"{at}: Registered: {type(self.registry).__name__} is no Registry",
                remedy='say Registry("https://registry:8081"), or leave it out',
            )
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise TopologyError(
                    f"{at}: Registered: {name}={getattr(self, name)!r}",
                    remedy=f"say one of: {', '.join(choices)}",
                )
        if self.subjects != "topic" and not found.record:
            raise TopologyError(
                f"{at}: Registered: subjects={self.subjects!r}, and the schema names no record",
                remedy='give it a "title", or leave subjects out',
            )
        object.__setattr__(self, "_writers", found)

    @property
    def columns(self) -> Mapping[str, DataType]:
        """Those of the format."""
        return self.format.columns

    @property
    def optional(self) -> frozenset[str]:
        """The columns that may be null."""
        return self.format.optional

    @property
    def bare(self) -> SchemaFormat:
        """What reads the bytes that a sink has written, whatever their record's headers."""
        return self if self.id_in == "value" else self.format

    @property
    def subject(self) -> str:
        """The subject of the topic's values, or of its keys."""
        return subject_of(self.subjects, self.topic, self._writers.record, self.part)

    @property
    def what(self) -> str:
        """What has the schemas, for messages: the topic, or its key."""
        return f"{self.topic!r}" if self.part == "value" else f"the key of {self.topic!r}"

    @property
    def header_name(self) -> str:
        """The header that a schema may be told by."""
        return HEADERS[self.part]

    @property
    def numbered(self) -> bool:
        """Whether the bytes that are written begin with the schema's number."""
        return self.id_in == "value"

    @property
    def read_with(self) -> list[int]:
        """The numbers of the schemas that records were read by so far."""
        readings = dict(self._link.readings)
        return sorted(n for n, how in readings.items() if isinstance(n, int) and callable(how))

    @property
    def writers(self) -> Writers:
        """The format as the registry's schemas are read by it."""
        return self._writers

    @property
    def connected(self) -> Schemas | None:
        """The registry that is asked; ``None`` before there is one."""
        return self._link.schemas

    @property
    def schemas(self) -> Schemas:
        """The registry; raises `RegistryError` where it was not connected to."""
        if self._link.schemas is None:
            raise RegistryError(
                f"{self.what} has schemas in a registry, and there is none",
                remedy="say where it is: --schema-registry-url",
            )
        return self._link.schemas

    def of(self, topic: str, part: Part = "value") -> Registered:
        """The format of a topic's values, or of its keys: a subject may be called after both."""
        made = replace(self)
        object.__setattr__(made, "topic", topic)
        object.__setattr__(made, "part", part)
        return made

    def connect(self, schemas: Schemas) -> None:
        """Ask this registry from now on."""
        if self._link.schemas is not schemas:
            self._link.known = None
            self._link.readings.clear()
            self._link.schemas = schemas

    def decode(self, values: Values) -> Decoded:
        """Records to columns: a row per value, in order; bad values are named, not raised.

        Raises `RegistryAwayError` where a schema is asked for and no answer comes, and
        `SchemaChangeError` where that is to stop the run.
        """
        return self.decode_with(values, None)

    def decode_with(
        self, values: Values, headers: Callable[[], Sequence[Headers]] | None
    ) -> Decoded:
        """The same, with what gives the records' headers where these are to be looked at."""
        told = headers() if headers is not None and self.id_in == "header" else None
        framed = framing.apart(values, told, self.header_name)
        bad = dict(framed.bad)
        wanted = [one for one in framed.rows if one not in self._link.readings]
        found = self.schemas.read(wanted, self._writers.kind) if wanted else {}
        parts: list[tuple[framing.Rows, pl.DataFrame]] = []
        for one, rows in framed.rows.items():
            try:
                reading = self._reading(one, found.get(one))
            except SchemaChangeError as error:
                error.row = int(rows[0])
                raise
            if isinstance(reading, str):
                bad |= dict.fromkeys(rows.tolist(), reading)
                continue
            decoded = reading(framed.payloads(one))
            bad |= {int(rows[row]): reason for row, reason in decoded.bad.items()}
            parts.append((rows, decoded.frame))
        return Decoded(framing.together(parts, self.columns, len(values)), bad)

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """Rows to records of the format's own schema.

        Raises `RegistryAwayError` where its number is asked for and no answer comes.
        """
        values = self.format.encode(frame)
        return values if self.id_in == "header" else self._numbered(values)

    def records(self, rows: Sequence[Mapping[str, Any]]) -> list[bytes]:
        """Rows as records of the format's own schema, which is registered where it is not."""
        return self.fed(self.format.records(rows))

    def fed(self, values: Sequence[bytes]) -> list[bytes]:
        """The format's own records, as a producer of the topic writes them: its schema is known."""
        if values:
            self._known(register=True)
        return self._numbered(values)

    def _numbered(self, values: Sequence[bytes]) -> list[bytes]:
        """With the schema's number before each; nobody is asked for no records."""
        if not values:
            return []
        before = b"\0" + self.known().number.to_bytes(4, "big") + self._writers.index
        return [before + value for value in values]

    def header(self) -> tuple[str, bytes] | None:
        """The header that each record of a sink has; ``None`` where the value has the number."""
        if self.id_in == "value":
            return None
        return self.header_name, b"\1" + bytes.fromhex(self.known().guid) + self._writers.index

    def known(self) -> Known:
        """What the registry calls the format's own schema; registers it where that was asked for.

        Raises `RegistryError` where it is not there, and where another one is that keys were
        written with: its number is a part of their bytes, by which partitions are picked.
        """
        return self._known(register=self.auto_register, moves=False)

    def moved_from(self) -> list[int]:
        """The other schemas of the subject, where keys of each lie in partitions of their own."""
        if self.part == "value" or not self.numbered:
            return []
        versions = self.schemas.versions(self.subject, self._writers.kind)
        mine = self.schemas.find(self.subject, self._writers.wanted)
        return sorted({known.number for known, _ in versions} - {mine.number if mine else -1})

    def _known(self, *, register: bool, moves: bool = True) -> Known:
        if self._link.known is None:
            schemas, wanted = self.schemas, self._writers.wanted
            known = schemas.find(self.subject, wanted)
            if known is None and register:
                if not moves and (former := self.moved_from()):
                    raise RegistryError(
                        f"the schema of {self.what} is another one than schema "
                        f"{', '.join(map(str, former))} of the subject {self.subject!r}: a key's "
                        "bytes begin with the number, so that keys would go to other partitions",
                        remedy="write the keys to a new topic; or register the schema yourself, if "
                        "that is meant",
                    )
                known = schemas.register(self.subject, wanted)
            if known is None:
                raise RegistryError(
                    f"{schemas.name} has not the schema of {self.what} under the subject "
                    f"{self.subject!r}",
                    remedy="register it there, or say Registered(..., auto_register=True)",
                )
            if self.id_in == "header" and not known.guid:
                raise RegistryError(
                    f"{schemas.name} gives schemas no guid, which a header would have",
                    remedy='leave id_in="header" out, or take a newer registry',
                )
            self._link.known = known
        return self._link.known

    def told(self) -> Any:
        """The schemas of its format."""
        return self.format.told()

    def describe(self) -> str:
        """``registered(avro(name type, …))``."""
        return f"registered({self.format.describe()})"

    def _reading(self, one: int | str, schema: Schema | None) -> Decode | str:
        """What reads the records of a schema, or why nothing does."""
        known = self._link.readings.get(one)
        if known is not None:
            return known
        what = f"schema {one}"
        if schema is None:
            # Not kept: the registry may come to know it.
            return f"{self.schemas.name} has no {what}"
        if schema.kind != self._writers.kind:
            made: Decode | str = f"{what} is of {schema.kind}, not {self._writers.kind}"
        else:
            try:
                made = self._writers.reading(schema, lenient=self.on_schema_change == "continue")
            except UnfitError as error:
                made = f"{what} does not fit: {error}"
                if self.on_schema_change == "stop":
                    raise SchemaChangeError(
                        f"{'keys' if self.part == 'key' else 'records'} are written with a schema "
                        f"that cannot be read as the columns: {made}",
                        remedy="change the topology's schema, or say on_schema_change="
                        '"dead_letter"; nothing of the batch was committed',
                    ) from error
        self._link.readings[one] = made
        return made


def _meant(given: Any) -> str:
    """What was meant where no format of a schema was given.

    >>> _meant({"type": "record"})
    'say Registered(Avro({...})) or Registered(JsonSchema({...}))'
    """
    name = getattr(given, "__name__", "")
    if isinstance(given, type) and issubclass(given, SchemaFormat):
        return f"give it what it is made of: Registered({name}(...))"
    if isinstance(given, type) and hasattr(given, "DESCRIPTOR"):
        return f"say Registered(Protobuf({name}))"
    if isinstance(given, Mapping):
        return "say Registered(Avro({...})) or Registered(JsonSchema({...}))"
    if isinstance(given, Path) or (isinstance(given, str) and given):
        return f"say Registered(Avro(Path({str(given)!r}))), or JsonSchema or Protobuf of it"
    return "give Avro(schema), JsonSchema(schema) or Protobuf(message)"


_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "subjects": ("topic", "record", "topic_record"),
    "id_in": ("value", "header"),
    "on_schema_change": ("dead_letter", "stop", "continue"),
}
