"""A schema of Avro that uses names which other schemas define.

::

    Order { line: shop.Line }       whole: Order { line: Line { sku: string } }
    shop.Line { sku: string }       uses:  shop.Line

A registry keeps them apart; what reads and writes takes the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from processor.formats.avro.schema import NAMED, Schema, SchemaError, parsed

_NAMED = frozenset({*NAMED, "error"})


class Family:
    """A schema with those that it refers to, each after those that it uses itself.

    Raises `SchemaError` for what is no schema, and a name that none of them defines.

    >>> kind = {"type": "enum", "name": "shop.Kind", "symbols": ["A"]}
    >>> order = {"type": "record", "name": "O", "fields": [{"name": "kind", "type": "shop.Kind"}]}
    >>> family = Family(order, [kind])
    >>> family.whole["fields"][0]["type"]["symbols"], family.uses
    (['A'], ('shop.Kind',))
    """

    def __init__(self, schema: Schema, references: Sequence[Schema]) -> None:
        self._known: dict[str, Any] = {}
        owners: dict[str, str] = {}
        self.imports: dict[str, tuple[str, ...]] = {}
        for reference in references:
            made = parsed(reference, self._known)
            if not isinstance(made, Mapping) or made.get("type") not in _NAMED:
                raise SchemaError(
                    "a schema that others refer to has no name",
                    remedy="give records, enumerations and fixed ones as references",
                )
            self.imports[made["name"]] = _used(made, owners)
            owners.update(dict.fromkeys(_defined(made, owners), str(made["name"])))
        root = parsed(schema, self._known)
        _defined(root, owners)
        self.uses = _used(root, owners)
        self._put: set[str] = set()
        self.whole = self._with_definitions(root)

    def _with_definitions(self, node: Any) -> Any:
        """A type in which each name is defined where it is first used."""
        if isinstance(node, list):
            return [self._with_definitions(part) for part in node]
        if isinstance(node, str):
            if node in self._put or node not in self._known:
                return node
            return self._with_definitions(self._known[node])
        if node["type"] in _NAMED:
            if node["name"] in self._put:
                return node["name"]
            self._put.add(node["name"])
        made = {key: value for key, value in node.items() if not key.startswith("__")}
        for key in ("items", "values"):
            if key in made:
                made[key] = self._with_definitions(made[key])
        if "fields" in made:
            made["fields"] = [
                {**field, "type": self._with_definitions(field["type"])} for field in made["fields"]
            ]
        return made


def _inside(node: Any) -> Iterator[Any]:
    """A type and all types in it, names as they stand."""
    yield node
    if isinstance(node, list):
        for part in node:
            yield from _inside(part)
    elif isinstance(node, Mapping):
        for key in ("items", "values"):
            if key in node:
                yield from _inside(node[key])
        for field in node.get("fields", ()):
            yield from _inside(field["type"])


def _defined(root: Any, before: Mapping[str, str]) -> set[str]:
    """The names that a schema defines; raises `SchemaError` for one that was defined before."""
    found = {
        str(node["name"])
        for node in _inside(root)
        if isinstance(node, Mapping) and node.get("type") in _NAMED
    }
    for name in sorted(found & before.keys()):
        raise SchemaError(
            f"{name} is defined twice, in {before[name]} too",
            remedy="define each name once, and give the schema that does",
        )
    return found


def _used(root: Any, owners: Mapping[str, str]) -> tuple[str, ...]:
    """The schemas that define what one uses and does not define itself, as they come."""
    names = (node for node in _inside(root) if isinstance(node, str))
    return tuple(dict.fromkeys(owners[name] for name in names if name in owners))
