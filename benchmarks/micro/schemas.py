"""Records of a JSON Schema, of Protobuf and of a registry, one step each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import polars as pl
from google.protobuf.api_pb2 import Method, Mixin

from processor import Json, JsonSchema, Protobuf, Registered
from processor.connectors.registry.client import Client

OBJECT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["id", "user"],
    "properties": {
        "id": {"type": "integer"},
        "user": {"type": "string"},
        "price": {"type": "number"},
        "note": {"type": "string"},
    },
}


def _registered(schema: dict[str, Any], client: Client) -> Registered:
    form = Registered(JsonSchema(schema), auto_register=True).of("bench")
    form.connect(client)
    form.known()
    return form


def schema_steps(records: int) -> dict[str, Callable[[int], object]]:
    """Each as a function of a batch's number."""
    lines = [b'{"id":%d,"user":"user-%d","price":%d.5}' % (i, i % 100, i) for i in range(records)]
    kinds = {"id": pl.Int64, "user": pl.String, "price": pl.Float64, "note": pl.String}
    plain = Json(kinds, optional=frozenset({"price", "note"}))
    form, alone = JsonSchema(OBJECT), JsonSchema({**OBJECT, "additionalProperties": False})
    strict = JsonSchema({**OBJECT, "minProperties": 1})
    frame, client = form.decode(lines).frame, Client("mock://bench", {})
    first, second = (_registered({**OBJECT, "title": title}, client) for title in "ab")
    values = first.encode(frame)
    others = second.encode(frame)
    turns = [values[i] if i % 2 else others[i] for i in range(records)]
    mixins, methods = Protobuf(Mixin), Protobuf(Method, fields=["name", "syntax", "edition"])
    short = [Mixin(name=f"name{i}", root="r").SerializeToString() for i in range(records)]
    long = [Method(name=f"m{i}", edition="e").SerializeToString() for i in range(records)]
    columns = mixins.decode(short).frame
    return {
        "JSON to columns, four members": lambda _: plain.decode(lines),
        "JSON Schema to columns": lambda _: form.decode(lines),
        "JSON Schema to columns, no other members": lambda _: alone.decode(lines),
        "JSON Schema to columns, minProperties": lambda _: strict.decode(lines),
        "columns to JSON Schema": lambda _: form.encode(frame),
        "JSON Schema of a registry to columns": lambda _: first.decode(values),
        "JSON Schema of a registry to columns, two in turns": lambda _: first.decode(turns),
        "columns to JSON Schema of a registry": lambda _: first.encode(frame),
        "Protobuf to columns, two texts": lambda _: mixins.decode(short),
        "Protobuf to columns, three of seven fields": lambda _: methods.decode(long),
        "columns to Protobuf, two texts": lambda _: mixins.encode(columns),
    }
