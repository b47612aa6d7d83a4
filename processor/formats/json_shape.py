"""What a JSON Schema says of an object that columns can say too: names, types, what may be missing.

::

    {"type": "object", "required": ["id"],                Shape: id     Int64, required
     "properties": {"id":   {"type": "integer"},                 tags   List(String)
                    "tags": {"type": "array",                    at     Datetime, or null
                             "items": {"type": "string"}},
                    "at":   {"type": ["string", "null"],
                             "format": "date-time"}}}

What may be of several types, and an object of which no member is named, is text as it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import unquote

import polars as pl

from processor.errors import TopologyError
from processor.formats.json_refs import DYNAMIC, anchored, named, within
from processor.model.location import Location

_TIMES: Final[Mapping[str, pl.DataType]] = {
    "date-time": pl.Datetime("us", "UTC"),
    "date": pl.Date(),
    "time": pl.Time(),
}
_NUMBERS: Final[Mapping[str, pl.DataType]] = {
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
}
_DEEP: Final = 50
_TIMES_MOST: Final = 2
# What more there may be to keep; of other words columns say all, or there is nothing to keep.
_WORDS: Final = frozenset(
    {
        "additionalItems", "additionalProperties", "allOf", "anyOf", "const", "contains",
        "dependencies", "dependentRequired", "dependentSchemas", "else", "enum",
        "exclusiveMaximum", "exclusiveMinimum", "if", "maxContains", "maxItems", "maxLength",
        "maxProperties", "maximum", "minContains", "minItems", "minLength", "minProperties",
        "minimum", "multipleOf", "not", "oneOf", "pattern", "patternProperties", "prefixItems",
        "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties", "uniqueItems",
    }
)  # fmt: skip
# What says nothing of which values are right.
_NOTES: Final = frozenset(
    {
        "$comment", "$id", "$schema", "default", "deprecated", "description", "examples",
        "readOnly", "title", "writeOnly",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shape:
    """A part of an object.

    ``null`` says that it may be null, ``free`` that it may be of any type and is text as it stands,
    ``required`` that it has to be there. An object has ``members``, and no others if it is
    ``closed``; a list has its ``element``.
    """

    kind: pl.DataType
    null: bool = False
    free: bool = False
    required: bool = False
    closed: bool = False
    members: tuple[tuple[str, Shape], ...] = ()
    element: Shape | None = None


class Reader:
    """Makes shapes of a schema.

    Args:
        root: the schema, of which ``#/...`` are parts.
        others: schemas that it refers to by name.
        at: the line to tell.

    ``words`` are those that it has come upon and that no column says.
    """

    def __init__(
        self, root: Mapping[str, Any], others: Mapping[str, Any], at: Location | str
    ) -> None:
        self._root, self._at = root, at
        # What is within another schema by its own words is within that one, from here too.
        self._others = {name: within(other, name) for name, other in others.items()}
        self.words: set[str] = set()

    def shape(self) -> Shape:
        """The shape of the whole; raises `TopologyError` where it is no object with members."""
        found = self._shape(self._root, ())
        if not found.members:
            raise TopologyError(
                f"{self._at}: JsonSchema: the schema names no members of an object",
                remedy='it needs properties: {"type": "object", "properties": {"id": {"type": '
                '"integer"}}}',
            )
        return found

    def _shape(self, schema: Any, way: tuple[str, ...]) -> Shape:
        if sum(not step.startswith("$") for step in way) > _DEEP:
            raise TopologyError(
                f"{self._at}: JsonSchema: {'.'.join(way[:3])}… is more than {_DEEP} objects and "
                "lists deep",
                remedy="say {} for what is inside at some depth: it is text as it stands then",
            )
        if not isinstance(schema, Mapping):
            if schema is False:
                self.words.add("false")
            return _FREE
        schema, way = self._resolved(schema, way)
        self.words |= {word for word in schema.keys() & _WORDS if not _plain(word, schema)}
        for word in ("oneOf", "anyOf"):
            if word in schema:
                beside = {name: value for name, value in schema.items() if name != word}
                values = [branch for branch in schema[word] if not _is_null(branch)]
                if len(values) == 1 or not _kinds(beside):
                    return self._one_of(schema[word], values, beside, word, way)
                self.words.add(word)  # of what type it is, is said beside
                schema = beside
        kinds = _kinds(schema)
        null = "null" in kinds and _allows_null(schema)
        rest = [kind for kind in kinds if kind != "null"]
        if set(rest) == {"integer", "number"}:
            rest = ["number"]
        if len(rest) != 1:
            if kinds:  # null alone is a type too
                self.words.add("type")
            return replace(_FREE, null=null or not rest)
        return replace(self._of_type(rest[0], schema, way), null=null)

    def _of_type(self, kind: str, schema: Mapping[str, Any], way: tuple[str, ...]) -> Shape:
        if kind in _NUMBERS:
            return Shape(_NUMBERS[kind])
        if kind == "string":
            words = [word for word in schema.get("enum", ()) if isinstance(word, str)]
            if words:
                return Shape(pl.Enum(list(dict.fromkeys(words))))
            return Shape(_TIMES.get(schema.get("format", ""), pl.String()))
        if kind == "array":
            return self._list(schema, way)
        return self._object(schema, way) if kind == "object" else self._free()

    def _free(self) -> Shape:
        """Text as it stands; of what type it may be, no column says."""
        self.words.add("type")
        return _FREE

    def _list(self, schema: Mapping[str, Any], way: tuple[str, ...]) -> Shape:
        items = schema.get("items", True)
        if not isinstance(items, Mapping) or "prefixItems" in schema:
            return self._free()
        element = replace(self._shape(items, (*way, "[]")), required=True)
        return Shape(pl.List(element.kind), element=element)

    def _object(self, schema: Mapping[str, Any], way: tuple[str, ...]) -> Shape:
        properties = schema.get("properties")
        if not isinstance(properties, Mapping) or not properties:
            return self._free()
        required = schema.get("required", ())
        members = tuple(
            (name, replace(self._shape(part, (*way, name)), required=name in required))
            for name, part in properties.items()
        )
        kinds = {name: member.kind for name, member in members}
        closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
        return Shape(pl.Struct(kinds), closed=closed, members=members)

    def _one_of(
        self,
        branches: list[Any],
        values: list[Any],
        beside: Mapping[str, Any],
        word: str,
        way: tuple[str, ...],
    ) -> Shape:
        """One of several: a value or null, or several types that no column is of."""
        if len(values) != 1:
            self.words.add(word)
            return _FREE
        found = self._shape(self._both(beside, values[0]), way)
        nulls = len(branches) - 1
        if word == "oneOf" and nulls + found.null > 1:
            self.words.add(word)  # null is right by more than one
        kinds = _kinds(beside)
        return replace(found, null=found.null or (nulls > 0 and (not kinds or "null" in kinds)))

    def _resolved(
        self, schema: Mapping[str, Any], way: tuple[str, ...]
    ) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        """The schema with what it refers to in its place."""
        while True:
            schema = self._static(schema)
            if "$ref" in schema:
                name = str(schema["$ref"])
                mark = f"${name}"
                # Parts that hold at once may refer to one another's: that ends.
                if way.count(mark) > _TIMES_MOST or len(way) > _DEEP:
                    raise TopologyError(
                        f"{self._at}: JsonSchema: {name!r} holds itself to any depth: no column is "
                        "like that",
                        remedy="leave it out of the schema, or say {} for what is in it: it is "
                        "text as it stands then",
                    )
                way = (*way, mark)
                found = self._found(name)
            elif schema.get("allOf") and all(isinstance(one, Mapping) for one in schema["allOf"]):
                if len(schema["allOf"]) > 1:
                    self.words.add("allOf")
                found, marks = {}, way
                for one in schema["allOf"]:
                    part, inner = self._resolved(one, way)
                    found, marks = self._both(found, part), (*marks, *inner[len(way) :])
                way = marks
            else:
                return schema, way
            rest = {name: value for name, value in schema.items() if name not in ("$ref", "allOf")}
            schema = self._both(found, rest)

    def _static(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """The schema with ``$ref`` for all that it refers to; raises where that is not one thing.

        A ``$dynamicRef`` leads to the outermost ``$dynamicAnchor`` of its name that a record was
        come by through: where there is but one of that name, or none, it is a plain reference.
        """
        for word in ("$dynamicRef", "$recursiveRef"):
            if word not in schema:
                continue
            name = str(schema[word])
            anchor = name.partition("#")[2]
            whole = [self._root, *self._others.values()]
            if anchor and not anchor.startswith("/") and len(anchored(whole, anchor, DYNAMIC)) > 1:
                raise TopologyError(
                    f"{self._at}: JsonSchema: {word} {name!r} may lead to several "
                    f"$dynamicAnchor {anchor!r}: which one is told by the way to it, and a column "
                    "has one type",
                    remedy='say "$ref" with the place of the one that is meant, as '
                    f"#/$defs/{anchor}",
                )
            rest = {key: value for key, value in schema.items() if key not in (word, "$ref")}
            refs = [{"$ref": name}, *([{"$ref": schema["$ref"]}] if "$ref" in schema else [])]
            both = {**rest, "allOf": [*rest.get("allOf", []), *refs]}
            schema = both if len(refs) > 1 or "allOf" in rest else {**rest, "$ref": name}
        return schema

    def _both(self, one: Any, other: Any) -> Mapping[str, Any]:
        """Two schemas that hold at once; where both have a word, the whole has to be checked."""
        if not isinstance(one, Mapping) or not isinstance(other, Mapping):
            self.words.add("allOf")
            return other if isinstance(other, Mapping) else one if isinstance(one, Mapping) else {}
        merged = {**one, **other}
        for word in (one.keys() & other.keys()) - _NOTES:
            a, b = one[word], other[word]
            if a == b:
                continue
            self.words.add("allOf")
            if word == "properties" and isinstance(a, Mapping) and isinstance(b, Mapping):
                merged[word] = {**a, **b}
            elif word == "required":
                merged[word] = [*a, *b]
        return merged

    def _found(self, name: str) -> Mapping[str, Any]:
        document, _, pointer = name.partition("#")
        other = named(document, self._root, self._others)
        own = not document or document == self._root.get("$id")
        found: Any = self._root if own else self._others.get(other or "")
        pointer = unquote(pointer)
        if pointer and not pointer.startswith("/"):
            found, pointer = next(iter(anchored(found, pointer)), None), ""
        for step in pointer.strip("/").split("/") if pointer.strip("/") else ():
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and key.isdigit() and int(key) < len(found):
                found = found[int(key)]
            else:
                found = found.get(key) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            raise TopologyError(
                f"{self._at}: JsonSchema: there is no {name!r} that the schema refers to",
                remedy=f"give it: references={{{document!r}: ...}}; nothing is loaded from "
                "elsewhere"
                if document
                else "put it under $defs, and refer to it as #/$defs/name",
            )
        return found


_FREE: Final = Shape(pl.String(), null=True, free=True)


def _is_null(branch: Any) -> bool:
    return isinstance(branch, Mapping) and branch.get("type") in ("null", ["null"])


def _kinds(schema: Mapping[str, Any]) -> list[str]:
    """The types that a schema names, or those that its other words are about."""
    kind = schema.get("type")
    if isinstance(kind, str):
        return [kind]
    if isinstance(kind, list):
        return kind
    if "properties" in schema:
        return ["object"]
    words = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(words, list) and words and all(isinstance(w, str | None) for w in words):
        return ["string", *(["null"] if None in words else [])]
    return []


def _allows_null(schema: Mapping[str, Any]) -> bool:
    """Whether null is among the values that a schema lists, if it lists them."""
    listed = [schema.get("enum", [None]), [schema.get("const")]]
    return all(None in values for values in listed if isinstance(values, list))


def _plain(word: str, schema: Mapping[str, Any]) -> bool:
    """Whether a word that mostly says more says nothing more here."""
    value = schema[word]
    if word == "additionalProperties":
        others = "patternProperties" in schema or "properties" not in schema
        return value is True or value == {} or (value is False and not others)
    if word in ("oneOf", "anyOf"):
        return sum(not _is_null(branch) for branch in value) == 1
    texts = [one for one in value if isinstance(one, str)] if word == "enum" else []
    if not texts or not all(one is None for one in value if one not in texts):
        return False
    # A column says which words there are, and whether it may be null; nothing of other types.
    kinds = set(_kinds(schema))
    return kinds <= {"string", "null"} and (None in value) == ("null" in kinds)


def problems(writer: Shape, reader: Shape, names: Sequence[str] = ()) -> Iterator[str]:
    """What of a reader's members a writer's schema does not give, or gives as another type."""
    theirs = dict(writer.members)
    for name, member in reader.members:
        place = ".".join((*names, name))
        other = theirs.get(name)
        if other is None:
            if member.required:
                yield f"{place!r} is not there any more"
        elif member.free:
            continue
        elif member.members and other.members:
            yield from problems(other, member, (*names, name))
        elif _apart(other, member):
            yield f"{place!r} is {_told(other)} now, not {_told(member)}"


def _apart(writer: Shape, reader: Shape) -> bool:
    if writer.free:
        return True
    if reader.element is not None and writer.element is not None:
        return _apart(writer.element, reader.element)
    if isinstance(reader.kind, pl.Enum) and isinstance(writer.kind, pl.Enum):
        return not set(writer.kind.categories) <= set(reader.kind.categories)
    wider = {(pl.Int64, pl.Float64), (pl.Enum, pl.String)}
    same = type(writer.kind) is type(reader.kind)
    return not same and (type(writer.kind), type(reader.kind)) not in wider


def _told(shape: Shape) -> str:
    return "of several types" if shape.free else str(shape.kind)
