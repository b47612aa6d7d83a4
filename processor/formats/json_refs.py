"""What a JSON Schema refers to by ``$ref``: parts of its own, and other schemas by name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urljoin

REFS: Final = ("$ref", "$dynamicRef", "$recursiveRef")
DYNAMIC: Final = ("$dynamicAnchor",)
ANCHORS: Final = ("$anchor", *DYNAMIC)


def used(root: Any, others: Mapping[str, Any], name: str = "") -> tuple[str, ...]:
    """The others that a JSON Schema refers to, as they come; its own ``name`` is none.

    >>> used({"items": {"$ref": "line.json#/$defs/n"}, "$ref": "#/a"}, {"line.json": {}})
    ('line.json',)
    """
    found = (named(ref, root, others) for ref in references(root))
    return tuple(dict.fromkeys(one for one in found if one and one != name))


def named(reference: str, root: Any, others: Mapping[str, Any]) -> str | None:
    """Which of the others is meant: by its name, by its ``$id``, or by its place beside the root's.

    >>> root = {"$id": "https://shop/order.json"}
    >>> named("line.json", root, {"https://shop/line.json": {}})
    'https://shop/line.json'
    """
    document = reference.partition("#")[0]
    if document in others or not document:
        return document or None
    own = root.get("$id") if isinstance(root, Mapping) else None
    places = {document, urljoin(str(own or ""), document)}
    for name, other in others.items():
        if name in places or (isinstance(other, Mapping) and other.get("$id") in places):
            return name
    return None


def references(node: Any) -> Iterator[str]:
    """All that a JSON Schema refers to, as it says it."""
    if isinstance(node, Mapping):
        yield from (node[word] for word in REFS if isinstance(node.get(word), str))
        for part in node.values():
            yield from references(part)
    elif isinstance(node, list):
        for part in node:
            yield from references(part)


def within(node: Any, name: str) -> Any:
    """A part of another schema, with what it says of itself said by that one's name.

    >>> within({"$ref": "#/$defs/n"}, "line.json")
    {'$ref': 'line.json#/$defs/n'}
    """
    if isinstance(node, list):
        return [within(part, name) for part in node]
    if not isinstance(node, Mapping):
        return node
    made = {key: within(part, name) for key, part in node.items()}
    for word in REFS:
        if isinstance(ref := node.get(word), str) and ref.startswith("#"):
            made[word] = name + ref
    return made


def anchored(node: Any, name: str, words: Collection[str] = ANCHORS) -> list[Mapping[str, Any]]:
    """The parts of a schema that have a name of their own.

    >>> anchored({"$defs": {"n": {"$anchor": "number", "type": "integer"}}}, "number")
    [{'$anchor': 'number', 'type': 'integer'}]
    """
    if isinstance(node, list):
        return [found for part in node for found in anchored(part, name, words)]
    if not isinstance(node, Mapping):
        return []
    own = [node] if any(node.get(word) == name for word in words) else []
    return own + [found for part in node.values() for found in anchored(part, name, words)]
