"""A JSON Schema as it is given: loaded, refused where it is none, and asked about records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import orjson

from processor.errors import TopologyError
from processor.formats import json_refs
from processor.formats.base import shown
from processor.formats.needs import needed
from processor.model.location import Location

_DEPTH: Final = 150
"""So deep the library goes, and the column engine."""


def loaded(schema: object, at: Location) -> Mapping[str, Any]:
    """A schema from a mapping, text or a file; raises `TopologyError`."""
    where = "the schema"
    if isinstance(schema, str) and not schema.lstrip().startswith("{"):
        schema = Path(schema)
    try:
        if isinstance(schema, Path):
            where = str(schema)
            schema = schema.read_bytes()
        found = orjson.loads(schema) if isinstance(schema, str | bytes) else schema
    except OSError as error:
        raise TopologyError(
            f"{at}: JsonSchema: {where} cannot be read: {error.strerror}",
            remedy="give the path of a file that is there, or the schema itself",
        ) from error
    except orjson.JSONDecodeError as error:
        raise TopologyError(
            f"{at}: JsonSchema: {where} is no JSON: {error}", remedy="correct it"
        ) from error
    if not isinstance(found, Mapping):
        raise TopologyError(
            f"{at}: JsonSchema: {shown(found)} is no schema",
            remedy='give an object: {"type": "object", "properties": {...}}',
        )
    made: Mapping[str, Any] = _as_json(found, at, 0)
    return made


def too_deep(at: Location) -> TopologyError:
    """What is told of a schema that is nested so deep that no columns can be made of it."""
    return TopologyError(
        f"{at}: JsonSchema: the schema is nested more than {_DEPTH} objects and lists deep",
        remedy="say {} for what is inside at some depth: it is text as it stands then",
    )


def _as_json(part: Any, at: Location, depth: int) -> Any:
    """A schema that was written in Python as JSON has it: a tuple is a list."""
    if depth > _DEPTH:
        raise too_deep(at)
    if isinstance(part, Mapping):
        return {name: _as_json(one, at, depth + 1) for name, one in part.items()}
    if isinstance(part, list | tuple):
        return [_as_json(one, at, depth + 1) for one in part]
    return part


def check_schema(schema: Mapping[str, Any], at: Location) -> None:
    """Refuse what is no schema by its own rules, where the library that has them is installed."""
    if not isinstance(draft := schema.get("$schema", ""), str):
        raise TopologyError(
            f"{at}: JsonSchema: $schema is {shown(draft)}, and no address",
            remedy='say "https://json-schema.org/draft/2020-12/schema", or leave it out',
        )
    try:
        library = needed("jsonschema", "JsonSchema", at)
    except TopologyError:
        return  # what cannot be done without it says so
    kind = library.validators.validator_for(schema, default=library.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except library.SchemaError as error:
        place = _place(error.absolute_path)
        raise TopologyError(
            f"{at}: JsonSchema: this is no schema: {f'{place}: ' if place else ''}{error.message}",
            remedy="correct it",
        ) from error


def checker(
    root: Mapping[str, Any], others: Mapping[str, Any], at: Location
) -> Callable[[Any], str | None]:
    """What is wrong with a value, by the library; raises `TopologyError` for what is no schema."""
    library = needed("jsonschema", "JsonSchema", at)
    referencing = needed("referencing", "JsonSchema", at)
    drafts = needed("referencing.jsonschema", "JsonSchema", at)
    kind = library.validators.validator_for(root, default=library.Draft202012Validator)
    said = {name.partition("#")[0] for name in json_refs.references([root, *others.values()])}
    for document in sorted(said - {"", root.get("$id")}):
        if json_refs.named(document, root, others) is None:
            raise TopologyError(
                f"{at}: JsonSchema: there is no {document!r} that the schema refers to",
                remedy="give it in references; nothing is loaded from elsewhere",
            )
    known = referencing.Registry().with_resources(
        (place, referencing.Resource.from_contents(other, default_specification=drafts.DRAFT202012))
        for name, other in others.items()
        for place in {name, urljoin(str(root.get("$id", "")), name)}
    )
    check = kind(root, registry=known.crawl())

    def wrong(value: Any) -> str | None:
        found = library.exceptions.best_match(check.iter_errors(value))
        if found is None:
            return None
        place = _place(found.absolute_path)
        what = found.message if len(found.message) <= 200 else f"{found.message[:200]}…"
        return f"column {place!r}: {what}" if place else what

    return wrong


def _place(path: Iterable[str | int]) -> str:
    """Where something is, in the words of the columns' own reasons.

    >>> _place(["to", "straße", 1, "a b"])
    'to.straße[1].a b'
    """
    told = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return told.removeprefix(".")


def _names(required: object) -> list[object]:
    some = isinstance(required, set | frozenset)
    return sorted(required, key=str) if some else [required]  # type: ignore[call-overload]


def check_required(schema: object, at: Location, place: str = "") -> None:
    """Refuse required members that no property describes: nothing would look for them."""
    if isinstance(schema, list):
        for part in schema:
            check_required(part, at, place)
        return
    if not isinstance(schema, Mapping):
        return
    required, properties = schema.get("required"), schema.get("properties")
    if isinstance(properties, Mapping) and required is not None:
        where = f" of {place!r}" if place else ""
        if not isinstance(required, list):
            raise TopologyError(
                f"{at}: JsonSchema: required{where} is {required!r}",
                remedy=f"it is a list of names: {_names(required)!r}",
            )
        lost = next((name for name in required if name not in properties), None)
        if lost is not None and "patternProperties" not in schema:
            raise TopologyError(
                f"{at}: JsonSchema: {lost!r} is required{where}, and no property",
                remedy="describe it in properties, or leave it out of required",
            )
    for name, part in schema.items():
        if name not in _NO_OBJECTS:
            check_required(part, at, name if name != "properties" else place)


# Values, and schemas beside the one that describes what they require.
_NO_OBJECTS: Final = (
    "enum", "const", "default", "examples", "allOf", "anyOf", "oneOf", "not", "if", "then", "else",
    "dependentSchemas", "dependencies",
)  # fmt: skip
