"""Schemas of JSON with all that Python programs and registries say in them, and values for them."""

from __future__ import annotations

from random import Random
from typing import Any

SCALARS = ["integer", "number", "boolean", "string", "null"]
CELLS: list[Any] = [
    None, 0, 5, -3, 1.5, "x", "y", "5", "null", "", True, False, [], {}, ["x"], [1], [None],
    {"a": 1}, {"a": None}, {"a": "x"}, {"b": 2}, {"a": 1, "b": "x"}, [[1]], [{"a": 1}],
]  # fmt: skip
PARTS = [{"type": "integer"}, {"type": ["string", "null"]}, {"enum": ["x", None]}]
ODD: list[Any] = [
    {}, True, False, {"type": "string", "minLength": 2}, {"type": "integer", "minimum": 1},
    {"not": {"type": "string"}}, {"type": "string", "pattern": "^x"}, {"description": "any"},
]  # fmt: skip


def whole(random: Random) -> dict[str, Any]:
    """A schema of an object, with parts that it refers to."""
    line = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    return {**_object(random, 2), "$defs": {"n": random.choice(PARTS), "o": line}}


def record(random: Random) -> Any:
    """An object, seldom something else."""
    if random.random() < 0.05:
        return value(random, 1)
    return {name: value(random, 2) for name in random.sample("abcz", random.randint(0, 4))}


def value(random: Random, depth: int) -> Any:
    """A value of any type."""
    roll = random.random()
    if not depth or roll < 0.6:
        return random.choice(CELLS)
    if roll < 0.9:
        names = random.sample("abcz", random.randint(0, 4))
        return {name: value(random, depth - 1) for name in names}
    return [value(random, depth - 1) for _ in range(random.randint(0, 2))]


def _schema(random: Random, depth: int) -> Any:
    makers = (_leaf, _leaf, _object, _array, _either, _both)
    return random.choice(makers)(random, depth - 1) if depth else _leaf(random, 0)


def _maybe(random: Random, chance: float, **words: Any) -> dict[str, Any]:
    return words if random.random() < chance else {}


def _leaf(random: Random, _: int) -> Any:
    kind = random.choice(["string", ["string", "null"], "integer", ["integer", "null"], "null"])
    listed = random.sample([None, "x", "y", 5, True, 1.5, "null", {"a": 1}, []], 2)
    return random.choice([
        {"type": random.choice(SCALARS)},
        {"type": random.sample([*SCALARS, "object", "array"], random.randint(1, 3))},
        {"enum": listed[: random.randint(0, 2)], **_maybe(random, 0.6, type=kind)},
        {"const": random.choice([None, "x", 5, True]), **_maybe(random, 0.5, type=kind)},
        random.choice(ODD),
        {"$ref": random.choice(["#/$defs/n", "#/$defs/o"]), **_maybe(random, 0.3, title="t"),
         **_maybe(random, 0.2, required=["b"]), **_maybe(random, 0.2, minimum=3)},
    ])  # fmt: skip


def _object(random: Random, depth: int) -> dict[str, Any]:
    names = random.sample("abc", random.randint(1, 3))
    return {
        "type": random.choice(["object"] * 4 + [["object", "null"]]) if depth < 2 else "object",
        "properties": {name: _schema(random, depth) for name in names},
        **_maybe(random, 0.7, required=random.sample(names, random.randint(0, len(names)))),
        **_maybe(random, 0.3, additionalProperties=random.choice([False, {"type": "integer"}])),
        **_maybe(random, 0.1, minProperties=1),
        **_maybe(random, 0.1, patternProperties={"^z": {"type": "integer"}}),
        **_maybe(random, 0.1, dependentRequired={names[0]: ["z"]}),
        **_maybe(random, 0.1, propertyNames={"pattern": "^[a-c]"}),
    }


def _array(random: Random, depth: int) -> dict[str, Any]:
    return {
        "type": random.choice(["array", "array", ["array", "null"]]),
        "items": _schema(random, depth),
        **_maybe(random, 0.15, minItems=1),
        **_maybe(random, 0.1, prefixItems=[_leaf(random, 0)]),
        **_maybe(random, 0.1, contains=_leaf(random, 0)),
    }


def _either(random: Random, depth: int) -> dict[str, Any]:
    branches = [_schema(random, depth) for _ in range(random.randint(1, 3))]
    kinds = ["string", "object", "integer", ["string", "null"], ["object", "null"]]
    return {
        random.choice(["anyOf", "oneOf"]): [
            *branches,
            *([{"type": "null"}] * random.randint(0, 1)),
        ],
        **_maybe(random, 0.3, type=random.choice(kinds)),
    }


def _both(random: Random, depth: int) -> dict[str, Any]:
    kinds = ["string", "object", "integer", ["string", "null"]]
    return {
        "allOf": [_schema(random, depth) for _ in range(random.randint(1, 2))],
        **_maybe(random, 0.4, type=random.choice(kinds)),
    }
