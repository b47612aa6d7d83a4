"""Random Avro schemas, cells that fit them, and how another implementation has such cells."""

from __future__ import annotations

import io
import struct
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
import polars as pl
from hypothesis import strategies as st

from processor.formats.avro.codec import columns_of
from processor.formats.avro.kinds import branch_names
from processor.formats.avro.schema import Type, parse

PLAIN = ("boolean", "int", "long", "float", "double", "bytes", "string")
LOGICAL = (
    {"type": "int", "logicalType": "date"},
    {"type": "int", "logicalType": "time-millis"},
    {"type": "long", "logicalType": "time-micros"},
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "long", "logicalType": "timestamp-micros"},
    {"type": "long", "logicalType": "local-timestamp-millis"},
    {"type": "long", "logicalType": "local-timestamp-micros"},
    {"type": "string", "logicalType": "uuid"},
    {"type": "int", "logicalType": "nobody knows this one"},
)
WHOLE = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}


class _Names:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        return f"T{self.count}"


@st.composite
def records(draw: st.DrawFn, depth: int = 2, fields: int = 4) -> dict[str, Any]:
    """A record's schema."""
    return draw(_record(_Names(), depth, fields))


@st.composite
def _record(draw: st.DrawFn, name: _Names, depth: int, most: int) -> dict[str, Any]:
    count = draw(st.integers(1, most))
    return {
        "type": "record",
        "name": name(),
        "fields": [{"name": f"f{i}", "type": draw(_types(name, depth))} for i in range(count)],
    }


@st.composite
def _types(draw: st.DrawFn, name: _Names, depth: int, *, union: bool = True) -> Any:
    sorts = ["plain", "plain", "logical", "fixed", "enum", "decimal"]
    sorts += ["record", "array", "map"] * (depth > 0) + ["null", "union"] * union
    sort = draw(st.sampled_from(sorts))
    if sort == "plain":
        return draw(st.sampled_from(PLAIN))
    if sort == "logical":
        return draw(st.sampled_from(LOGICAL))
    if sort == "fixed":
        which = draw(st.integers(0, 2))
        size = (draw(st.integers(1, 9)), 16, 12)[which]
        made = {"type": "fixed", "name": name(), "size": size}
        return made | ({}, {"logicalType": "uuid"}, {"logicalType": "duration"})[which]
    if sort == "enum":
        return {
            "type": "enum",
            "name": name(),
            "symbols": ["A", "B", "C"][: draw(st.integers(1, 3))],
        }
    if sort == "decimal":
        precision = draw(st.integers(1, 38))
        made = {"logicalType": "decimal", "precision": precision}
        made["scale"] = draw(st.integers(0, precision))
        if draw(st.booleans()):
            return made | {"type": "bytes"}
        return made | {"type": "fixed", "name": name(), "size": draw(st.integers(17, 20))}
    if sort == "record":
        return draw(_record(name, depth - 1, 3))
    if sort in ("array", "map"):
        part = "items" if sort == "array" else "values"
        return {"type": sort, part: draw(_types(name, depth - 1))}
    if sort == "null":
        part = draw(_types(name, depth, union=False))
        return draw(st.permutations(["null", part]))
    parts = draw(st.lists(_types(name, depth - 1, union=False), min_size=1, max_size=3))
    unique = {sort_of(part): part for part in ["null", *parts][draw(st.integers(0, 1)) :]}
    return draw(st.permutations(list(unique.values())))


def sort_of(schema: Any) -> str:
    return schema if isinstance(schema, str) else schema.get("name", schema["type"])


def cells(kind: Type) -> st.SearchStrategy[Any]:
    """What a column of a type may hold."""
    if kind.sort == "record":
        return st.fixed_dictionaries({f.name: cells(f.type) for f in kind.fields})
    if kind.sort == "array":
        return st.lists(cells(kind.parts[0]), max_size=4)
    if kind.sort == "map":
        pair = st.fixed_dictionaries({"key": texts, "value": cells(kind.parts[0])})
        return st.lists(pair, max_size=3, unique_by=lambda pair: pair["key"])
    if kind.sort == "union":
        return st.sampled_from(kind.parts).flatmap(lambda part: _branch(kind, part))
    if kind.logical:
        return _logical(kind)
    if kind.sort in WHOLE:
        low, high = WHOLE[kind.sort]
        return st.integers(low, high) | st.integers(-200, 200)
    if kind.sort == "fixed":
        return st.binary(min_size=kind.size, max_size=kind.size)
    return {
        "null": st.none(), "boolean": st.booleans(), "float": st.floats(width=32),
        "double": st.floats(), "bytes": st.binary(max_size=9), "string": texts,
        "enum": st.sampled_from(kind.symbols or ("",)),
    }[kind.sort]  # fmt: skip


texts = st.text(st.characters(codec="utf-8"), max_size=20)


def _branch(union: Type, part: Type) -> st.SearchStrategy[Any]:
    found = [each for each in union.parts if each.sort != "null"]
    if part.sort == "null" or len(found) == 1:
        return cells(part)
    names = branch_names(union)
    mine = names[next(i for i, each in enumerate(found) if each is part)]
    return cells(part).map(lambda cell: {n: cell if n == mine else None for n in names})


def _logical(kind: Type) -> st.SearchStrategy[Any]:
    def millis(at: Any) -> Any:
        return at.replace(microsecond=at.microsecond // 1000 * 1000)

    if kind.logical == "decimal":
        most = 10**kind.precision - 1
        whole = st.integers(-most, most) | st.integers(-min(most, 300), min(most, 300))
        return whole.map(lambda n: Decimal(n).scaleb(-kind.scale, _context))
    if kind.logical == "duration":
        part = st.integers(0, 2**32 - 1)
        return st.fixed_dictionaries({"months": part, "days": part, "milliseconds": part})
    exact = (lambda at: at) if kind.logical.endswith("micros") else millis
    if kind.logical.startswith("time-"):
        return st.times().map(lambda at: exact(at).replace(fold=0))
    if "timestamp" in kind.logical:
        zone = None if kind.logical.startswith("local") else UTC
        return st.datetimes().map(lambda at: exact(at).replace(tzinfo=zone, fold=0))
    return {"date": st.dates(), "uuid": st.uuids().map(str)}[kind.logical]


_context = __import__("decimal").Context(prec=80)


def theirs(kind: Type, cell: Any) -> Any:
    """A cell as fastavro takes it, with the branches of unions by name."""
    if kind.sort == "record":
        return {f.name: theirs(f.type, cell[f.name]) for f in kind.fields}
    if kind.sort == "array":
        return [theirs(kind.parts[0], item) for item in cell]
    if kind.sort == "map":
        return {pair["key"]: theirs(kind.parts[0], pair["value"]) for pair in cell}
    if kind.sort == "union":
        if cell is None:
            return ("null", None)
        found = [part for part in kind.parts if part.sort != "null"]
        if len(found) == 1:
            return (found[0].name or found[0].sort, theirs(found[0], cell))
        ((at, inner),) = ((i, c) for i, c in enumerate(cell.values()) if c is not None)
        return (found[at].name or found[at].sort, theirs(found[at], inner))
    if kind.logical == "duration":
        return struct.pack("<3I", cell["months"], cell["days"], cell["milliseconds"])
    if kind.logical == "uuid":
        return UUID(cell).bytes if kind.sort == "fixed" else cell
    return cell


def written(schema: Any, kind: Type, cell: Any) -> bytes:
    """A record as fastavro writes it."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, theirs(kind, cell))
    return out.getvalue()


def frame(kind: Type, rows: list[Any]) -> pl.DataFrame:
    """Cells as columns."""
    return pl.DataFrame(
        [
            pl.Series(name, [row[name] for row in rows], dtype=of)
            for name, of in columns_of(kind).items()
        ]
    )


def of_any_text(schema: Any) -> Any:
    """The schema with UUIDs as text: fastavro refuses what is none, we leave it as it is."""
    if isinstance(schema, list):
        return [of_any_text(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {n: of_any_text(p) for n, p in schema.items() if not n.startswith("__")}
    if kept.get("logicalType") == "uuid" and kept["type"] == "string":
        del kept["logicalType"]
    return kept


@st.composite
def batches(draw: st.DrawFn, rows: int = 5) -> tuple[Any, Type, list[Any]]:
    """A schema, parsed by fastavro and by us, and rows that fit it."""
    schema = draw(records())
    kind = parse(schema)
    return (
        fastavro.parse_schema(schema),
        kind,
        draw(st.lists(cells(kind), min_size=1, max_size=rows)),
    )


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same, to the last bit that is shown."""
    return repr(_plain(one)) == repr(_plain(other))


def _plain(cell: Any) -> Any:
    if isinstance(cell, dict):
        return {name: _plain(cell[name]) for name in sorted(cell)}
    if isinstance(cell, list):
        return [_plain(inner) for inner in cell]
    if isinstance(cell, datetime | time) and cell.tzinfo is not None:
        return cell.replace(tzinfo=None), "UTC"
    return str(cell) if isinstance(cell, Decimal) and not cell else cell
