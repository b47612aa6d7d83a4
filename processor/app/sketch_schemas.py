"""The format of records that a schema registry's clients have written: the newest schema's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

from processor.errors import SettingsError, TopologyError
from processor.formats.avro.declared import Avro
from processor.formats.avro.resolve import ALONE
from processor.formats.base import SchemaFormat
from processor.formats.framing import number_of
from processor.formats.json_schema import JsonSchema
from processor.formats.registered import Registered
from processor.formats.registry import Part, Schema, Schemas, texts_of
from processor.formats.spelling import quoted

NAMES: Final = {"value": "SCHEMA", "key": "KEY_SCHEMA"}
"""What the schemas of values and of keys are called in the code."""


def ids(values: Sequence[bytes]) -> list[int]:
    """The schemas that values say they are written with; none where not all say one.

    >>> ids([bytes([0, 0, 0, 0, 7, 2]), bytes([0, 0, 0, 0, 7, 4])]), ids([b"{}"])
    ([7], [])
    """
    found = {number_of(value) for value in values}
    return sorted(number for number in found if number is not None and None not in found)


def registered(
    topic: str, values: Sequence[bytes], schemas: Schemas, part: Part = "value"
) -> Registered:
    """The format that reads framed values by the newest of their schemas.

    Raises `SettingsError` where the registry has none of them, or one that no columns can be made
    of from here.
    """
    numbers = ids(values)
    found = schemas.read(numbers, "AVRO")
    known = {number: schema for number in numbers if (schema := found[number]) is not None}
    what = "records" if part == "value" else "keys"
    if not known:
        raise SettingsError(
            f"the {what} of {topic!r} name the schemas {', '.join(map(str, numbers[:5]))}, and "
            f"{schemas.name} has none of these",
            remedy="see that it is the registry of their producer",
        )
    newest = max(known)
    try:
        form = _format(known[newest])
    except TopologyError as error:
        raise SettingsError(
            f"no columns can be made of schema {newest}, by which {what} of {topic!r} are "
            f"written: {error.message.partition(': ')[2]}",
            remedy=error.remedy,
        ) from error
    if form is None:
        raise SettingsError(
            f"the {what} of {topic!r} are written by schema {newest}, which is Protobuf's",
            remedy="say format=Registered(Protobuf(Order)), with the class that protoc made of it, "
            "or its file of descriptors",
        )
    made = Registered(form).of(topic, part)
    made.connect(schemas)
    return made


def constants(form: Registered) -> Iterator[str]:
    """The lines that define the schema of a format, and those that it refers to."""
    name, inner = NAMES[form.part], form.format
    if isinstance(inner, JsonSchema):
        for number, other in enumerate(inner.references.values()):
            yield from _constant(f"{name}_{number}", str(other))
        yield from _constant(name, str(inner.schema))
    elif isinstance(inner, Avro):
        for number, other in enumerate(inner.references):
            yield from _constant(f"{name}_{number}", str(other))
        yield from _constant(name, str(inner.schema))


def spelt_form(form: Registered) -> tuple[str, list[str]]:
    """The format as it is written, with the schemas by their names, and what has to be imported."""
    name, inner = NAMES[form.part], form.format
    more = ""
    if isinstance(inner, JsonSchema) and inner.references:
        others = (f"{quoted(key)}: {name}_{n}" for n, key in enumerate(inner.references))
        more = f", references={{{', '.join(others)}}}"
    elif isinstance(inner, Avro) and inner.references:
        more = f", references=[{', '.join(f'{name}_{n}' for n in range(len(inner.references)))}]"
    kind = type(inner).__name__
    return f"Registered({kind}({name}{more}))", ["Registered", kind]


def _format(schema: Schema) -> SchemaFormat | None:
    others = texts_of(schema.references)
    if schema.kind == "AVRO":
        return Avro(_as_record(schema.text), references=[text for _, text in others])
    return JsonSchema(schema.text, references=dict(others)) if schema.kind == "JSON" else None


def _as_record(text: str) -> str:
    """An Avro schema of a record; of values that are none, the one whose only field has them.

    >>> _as_record('"string"')
    '{"type": "record", "name": "Row", "fields": [{"name": "value", "type": "string"}]}'
    """
    kind = json.loads(text)
    if isinstance(kind, dict) and kind.get("type") in ("record", "error"):
        return text
    return json.dumps({"type": "record", "name": "Row", "fields": [{"name": ALONE, "type": kind}]})


def _constant(name: str, text: str) -> Iterator[str]:
    pretty = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    whole = quoted(text) if "'''" in pretty else f"r'''{pretty}'''"
    yield from f"{name} = {whole}".split("\n")
