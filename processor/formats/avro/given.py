"""Values as Python has them, to what a column of an Avro schema holds: maps as lists of entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def as_cell(schema: Any, value: Any, named: dict[str, Any] | None = None) -> Any:
    """A value for a column of this schema, in which each map is a list of ``key`` and ``value``.

    Raises `ValueError` for a value of a union of several types, which has a member for each.

    >>> as_cell({"type": "map", "values": "int"}, {"a": 1})
    [{'key': 'a', 'value': 1}]
    """
    named = {} if named is None else named
    if isinstance(schema, str):
        known = named.get(schema)
        return value if known is None or value is None else as_cell(known, value, named)
    if isinstance(schema, list):
        return _of_union([one for one in schema if one != "null"], value, named)
    if "name" in schema:
        named[schema["name"]] = schema
    return None if value is None else _of(schema, value, named)


def _of_union(others: list[Any], value: Any, named: dict[str, Any]) -> Any:
    if len(others) == 1 and value is not None:
        return as_cell(others[0], value, named)
    if len(others) > 1 and value is not None and not isinstance(value, Mapping):
        raise ValueError(f"{value!r} is of a union of several types: name its member")
    return value


def _of(schema: Mapping[str, Any], value: Any, named: dict[str, Any]) -> Any:
    kind = schema.get("type")
    if kind == "map" and isinstance(value, Mapping):
        of = schema["values"]
        return [{"key": k, "value": as_cell(of, v, named)} for k, v in value.items()]
    if kind == "array" and isinstance(value, list | tuple):
        return [as_cell(schema["items"], one, named) for one in value]
    if kind == "record" and isinstance(value, Mapping):
        fields = {field["name"]: field["type"] for field in schema["fields"]}
        return {k: as_cell(fields[k], v, named) if k in fields else v for k, v in value.items()}
    return as_cell(kind, value, named) if isinstance(kind, dict | list) else value
