"""What a registry keeps of a schema that refers to others: each by itself, under its own name.

::

    Avro        the full name of a record, an enumeration or a fixed: shop.Line
    JsonSchema  what $ref says: line.json
    Protobuf    the file's name: shop/line.proto
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from processor.errors import RegistryError
from processor.formats import proto_schema
from processor.formats.avro.whole import Family
from processor.formats.json_refs import used
from processor.formats.registry import Import, Kind, Schema, Wanted


def of_avro(text: str, references: Sequence[str]) -> Wanted:
    """A schema's text, and those that define names which it uses."""
    family = Family(text, references)
    texts = dict(zip(family.imports, references, strict=True))
    return _wanted("AVRO", text, family.uses, texts, family.imports)


def of_json(root: Mapping[str, Any], others: Mapping[str, Any]) -> Wanted:
    """A schema, and those that ``$ref`` names."""
    uses = {name: used(other, others, name) for name, other in others.items()}
    texts = {name: json.dumps(other) for name, other in others.items()}
    return _wanted("JSON", json.dumps(root), used(root, others), texts, uses)


def of_protobuf(file: Any) -> Wanted:
    """A file, and those that it imports."""
    texts: dict[str, str] = {}
    uses: dict[str, tuple[str, ...]] = {}

    def put(one: Any) -> tuple[str, ...]:
        own = [d for d in one.dependencies if not d.name.startswith(proto_schema.WELL_KNOWN)]
        for other in own:
            if other.name not in texts:
                texts[other.name] = proto_schema.serialized(other)
                uses[other.name] = put(other)
        return tuple(other.name for other in own)

    return _wanted("PROTOBUF", proto_schema.serialized(file), put(file), texts, uses)


def _wanted(
    kind: Kind,
    text: str,
    uses: tuple[str, ...],
    texts: Mapping[str, str],
    by_name: Mapping[str, tuple[str, ...]],
) -> Wanted:
    """Those that are used, at any depth, each before who needs it."""
    imports: dict[str, Import] = {}

    def put(names: Sequence[str], way: tuple[str, ...]) -> None:
        for name in names:
            if name in way:
                raise RegistryError(
                    f"{name!r} refers to itself by way of {way[-1]!r}: no registry keeps such "
                    "schemas",
                    remedy="put what both of them need into a schema of its own",
                )
            if name not in imports:
                put(by_name[name], (*way, name))
                imports[name] = Import(name, texts[name], by_name[name])

    put(uses, ())
    return Wanted(Schema(kind, text), tuple(imports.values()), uses)
