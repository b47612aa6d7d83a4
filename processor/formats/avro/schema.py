"""The types of an Avro schema, parsed and checked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import fastavro.schema

from processor.formats.base import shown

PRIMITIVES: Final = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
NAMED: Final = ("record", "enum", "fixed")
DIGITS_MAX: Final = 38

_LOGICAL: Final[Mapping[str, tuple[str, ...]]] = {
    "date": ("int",),
    "time-millis": ("int",),
    "time-micros": ("long",),
    "timestamp-millis": ("long",),
    "timestamp-micros": ("long",),
    "timestamp-nanos": ("long",),
    "local-timestamp-millis": ("long",),
    "local-timestamp-micros": ("long",),
    "local-timestamp-nanos": ("long",),
    "uuid": ("string", "fixed"),
    "decimal": ("bytes", "fixed"),
    "duration": ("fixed",),
}
"""The logical types that are known, and what each may be made of; any other is its base type."""


class SchemaError(ValueError):
    """A schema that cannot be taken, with what would be right."""

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(slots=True, eq=False, repr=False)
class Type:
    """A type of a schema; a record that holds itself is one object, met again.

    Args:
        sort: ``record``, ``enum``, ``fixed``, ``array``, ``map``, ``union`` or a primitive one.
        logical: the logical type, where it is one that is known and fits; else empty.
        name: the full name of a record, an enum or a fixed.
        aliases: other names that it goes by.
        size: the bytes of a fixed.
        precision: the digits of a decimal.
        scale: how many of them are behind the point.
        symbols: the words of an enum.
        default: the word that an enum reads an unknown one as.
        parts: the type of an array's items or a map's values, or the branches of a union.
        fields: of a record.
    """

    sort: str
    logical: str = ""
    name: str = ""
    aliases: tuple[str, ...] = ()
    size: int = 0
    precision: int = 0
    scale: int = 0
    symbols: tuple[str, ...] = ()
    default: str | None = None
    parts: list[Type] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)

    @property
    def short(self) -> str:
        """The name without its namespace; of a type without a name its sort."""
        return self.name.rpartition(".")[2] or self.sort

    def __str__(self) -> str:
        if self.sort == "union":
            return f"[{', '.join(map(str, self.parts))}]"
        if self.sort in ("array", "map"):
            return f"{self.sort} of {self.parts[0]}"
        text = f"{self.sort} {self.name}".strip()
        return f"{text} ({self.logical})" if self.logical else text


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A record's field; ``default`` is JSON, and means something where ``filled`` says so."""

    name: str
    type: Type
    aliases: tuple[str, ...] = ()
    filled: bool = False
    default: Any = None


Schema = Mapping[str, Any] | Sequence[Any] | str
"""A schema as JSON has it: an object, a union's list, a name, or the JSON text of one."""


def parse(schema: Schema, references: Sequence[Schema] = ()) -> Type:
    """A schema's type; raises `SchemaError`.

    Args:
        schema: as an object of JSON, or its text.
        references: schemas that define names which it uses, each after those that it uses itself.

    >>> parse('{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}').short
    'R'
    """
    known: dict[str, Any] = {}
    types: dict[str, Type] = {}
    with _refusals():
        for reference in references:
            _typed(parsed(reference, known), types)
        return _typed(parsed(schema, known), types)


def parsed(schema: Schema, known: dict[str, Any]) -> Any:
    """A schema as fastavro has it, names in full; those that it defines are ``known`` then."""
    with _refusals():
        loaded = _loaded(schema)
        _check_shape(loaded)
        return fastavro.parse_schema(loaded, known)


def _check_shape(schema: Any) -> None:
    """Refuse what the library would take apart, or raise a word of Python's over."""
    if isinstance(schema, Mapping):
        for word in ("name", "namespace"):
            if schema.get(word) is not None and not isinstance(schema[word], str):
                raise _error(f"a {word} is {shown(schema[word])}, and no text")
        fields = schema.get("fields", [])
        if schema.get("type") in ("record", "error") and not (
            isinstance(fields, list | tuple) and all(isinstance(each, Mapping) for each in fields)
        ):
            raise _error(f"the fields of {schema.get('name', 'a record')!r} are {shown(fields)}")
        aliases = schema.get("aliases") or []
        if not isinstance(aliases, list | tuple):
            raise _error(f"the aliases of {schema.get('name', '')!r} are {shown(aliases)}, no list")
        inside = (schema.get(word) for word in ("type", "items", "values"))
        for part in (*inside, *(fields if isinstance(fields, list | tuple) else ())):
            _check_shape(part)
    elif isinstance(schema, list | tuple):
        for part in schema:
            _check_shape(part)


@contextmanager
def _refusals() -> Iterator[None]:
    """What is raised over a schema, as `SchemaError`."""
    try:
        yield
    except SchemaError:
        raise
    except KeyError as error:
        raise _error(f"{error} is missing") from error
    except fastavro.schema.UnknownType as error:
        raise SchemaError(
            f"no Avro schema: there is no type {shown(error.name)}",
            remedy="define it where it is used first, or give its schema: references=[...]",
        ) from error
    except RecursionError as error:
        raise _error("it is nested too deep") from error
    except Exception as error:
        raise _error(str(error)) from error


def canonical(schema: Schema, references: Sequence[Schema] = ()) -> str:
    """The fingerprint of a schema's canonical form, as Avro's implementations compute it.

    >>> canonical('"int"')
    '8f5c393f1ad57572'
    """
    known: dict[str, Any] = {}
    for reference in references:
        fastavro.parse_schema(_loaded(reference), known)
    parsed = fastavro.parse_schema(_loaded(schema), known)
    form = fastavro.schema.to_parsing_canonical_form(parsed)
    return fastavro.schema.fingerprint(form, "CRC-64-AVRO")


def _error(why: str) -> SchemaError:
    return SchemaError(
        f"no Avro schema: {why}",
        remedy='say {"type": "record", "name": "Ride", "fields": [{"name": "id", "type": "long"}]}',
    )


def _loaded(schema: Schema) -> Any:
    if isinstance(schema, Mapping | list) or schema in PRIMITIVES:
        return schema
    if not isinstance(schema, str):
        raise _error(f"it is {shown(schema)}")
    try:
        return json.loads(schema)
    except json.JSONDecodeError as error:
        raise _error(f"{shown(schema)} is no JSON: {error}") from error


def _typed(parsed: Any, types: dict[str, Type]) -> Type:
    """What fastavro has parsed, in which names are full, as a type."""
    if isinstance(parsed, list):
        return Type("union", parts=[_typed(part, types) for part in parsed])
    if isinstance(parsed, str):
        return types[parsed] if parsed in types else Type(parsed)
    sort = "record" if parsed["type"] == "error" else parsed["type"]
    made = Type(sort, _logical(parsed))
    if made.logical == "decimal":
        made.precision, made.scale = parsed["precision"], parsed.get("scale") or 0
    if sort in NAMED:
        made.name = parsed["name"]
        made.aliases = tuple(parsed.get("aliases") or ())
        types[made.name] = made
        _named(made, parsed, types)
    elif sort in ("array", "map"):
        made.parts = [_typed(parsed["items" if sort == "array" else "values"], types)]
    return made


def _named(made: Type, parsed: Mapping[str, Any], types: dict[str, Type]) -> None:
    """What a record, an enum or a fixed has; of a record the fields, which may hold itself."""
    if made.sort == "fixed":
        size = parsed["size"]
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise _error(f"the size of {made.name!r} is {shown(size)}")
        made.size = size
    elif made.sort == "enum":
        symbols = parsed["symbols"]
        if not isinstance(symbols, list):
            raise SchemaError(
                f"no Avro schema: the symbols of {made.name!r} are {shown(symbols)}, and no list",
                remedy='name each: "symbols": ["red", "green"]',
            )
        made.symbols = tuple(symbols)
        made.default = parsed.get("default")
    else:
        made.fields = [_field(each, types) for each in parsed["fields"]]
        names = [each.name for each in made.fields]
        for name in names:
            if names.count(name) > 1:
                raise _error(f"{made.name!r} has two fields called {name!r}")


def _field(parsed: Mapping[str, Any], types: dict[str, Type]) -> Field:
    return Field(
        parsed["name"],
        _typed(parsed["type"], types),
        tuple(parsed.get("aliases") or ()),
        "default" in parsed,
        parsed.get("default"),
    )


def _logical(parsed: Mapping[str, Any]) -> str:
    """A logical type that is not known, or does not fit its base, is passed over, as Avro says."""
    logical, sort = parsed.get("logicalType"), parsed["type"]
    if not isinstance(logical, str) or sort not in _LOGICAL.get(logical, ()):
        return ""
    if logical == "decimal":
        precision, scale = parsed.get("precision"), parsed.get("scale") or 0
        fits = isinstance(precision, int) and 0 <= scale <= precision
        return logical if fits else ""
    if sort == "fixed" and parsed["size"] != {"uuid": 16, "duration": 12}[logical]:
        return ""
    return logical
