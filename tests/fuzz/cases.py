"""The decoders that are fuzzed, each with rows that it can write: a new one joins this list."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import polars as pl

from processor import (
    Arrow,
    Avro,
    Bytes,
    CloudEvents,
    Csv,
    Debezium,
    Json,
    JsonSchema,
    Protobuf,
    Registered,
    Text,
)
from processor.connectors.registry.client import Client
from processor.formats.base import Decoded, Format, Values
from tests.shop import class_of, shop

LETTERS = "ab,;\"'\\/{}[]:0.5-\n\t é\u2028\U0001f600\ufeff"
EPOCH = datetime(2014, 8, 1)


@dataclass(frozen=True)
class Case:
    """A format, and a row of it at random."""

    form: Format
    row: Callable[[Random], dict[str, Any]]


def text(rng: Random) -> str:
    return "x" + "".join(rng.choice(LETTERS) for _ in range(rng.choice((0, 1, 3, 20))))


def whole(rng: Random, bits: int = 64) -> int:
    few = rng.choice((3, 8, 15, 31, bits - 1))
    return rng.randrange(-(2 ** min(few, bits - 1)), 2 ** min(few, bits - 1))


def fraction(rng: Random) -> float:
    return rng.choice((0.0, 1.5, -0.25, rng.random() * 10 ** rng.randrange(-9, 9)))


def moment(rng: Random) -> datetime:
    return EPOCH + timedelta(milliseconds=rng.randrange(10**11))


def perhaps(rng: Random, make: Callable[[Random], Any]) -> Any:
    return make(rng) if rng.randrange(3) else None


def several(rng: Random, make: Callable[[Random], Any]) -> list[Any]:
    return [make(rng) for _ in range(rng.choice((0, 1, 2, 2, 5, 70)))]


FLAT = {"dt": pl.Datetime("us"), "n": pl.Int32, "x": pl.Float64, "s": pl.String, "b": pl.Boolean}


def flat(rng: Random) -> dict[str, Any]:
    return {
        "dt": moment(rng), "n": whole(rng, 32), "x": fraction(rng), "s": text(rng),
        "b": rng.random() < 0.5,
    }  # fmt: skip


ITEM = pl.Struct({"sku": pl.String, "price": pl.Decimal(12, 2), "n": pl.Int64})


def item(rng: Random) -> dict[str, Any]:
    price = Decimal(whole(rng, 32)).scaleb(-2)
    return {"sku": perhaps(rng, text), "price": perhaps(rng, lambda _: price), "n": whole(rng)}


def order(rng: Random) -> dict[str, Any]:
    return {"id": whole(rng), "items": several(rng, item), "note": perhaps(rng, text)}


def field(name: str, kind: Any) -> dict[str, Any]:
    return {"name": name, "type": kind}


def record(name: str, *fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields)}


PRICE = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
LINE = record(
    "Line", field("sku", ["null", "string"]), field("price", ["null", PRICE]), field("n", "long")
)
AVRO_FLAT = record(
    "Flat", field("dt", {"type": "long", "logicalType": "local-timestamp-micros"}),
    field("n", "int"), field("x", "double"), field("s", "string"), field("b", "boolean"),
)  # fmt: skip
AVRO_ORDER = record(
    "Order", field("id", "long"), field("items", {"type": "array", "items": LINE}),
    field("note", ["null", "string"]),
)  # fmt: skip
AVRO_ODD = record(
    "Odd", field("u", ["null", "int", "string", {"type": "fixed", "name": "F", "size": 3}]),
    field("e", {"type": "enum", "name": "E", "symbols": ["A", "B", "C"]}),
    field("m", {"type": "map", "values": {"type": "array", "items": "long"}}),
    field("at", {"type": "long", "logicalType": "timestamp-millis"}), field("raw", "bytes"),
    field("nothing", {"type": "array", "items": "null"}),
)  # fmt: skip


def odd(rng: Random) -> dict[str, Any]:
    branches = {"int": whole(rng, 32), "string": text(rng), "F": rng.randbytes(3)}
    branch = rng.choice(list(branches))
    one = {name: cell if name == branch else None for name, cell in branches.items()}
    return {
        "u": perhaps(rng, lambda _: one), "e": rng.choice("ABC"),
        "m": [{"key": f"{i}", "value": several(rng, whole)} for i in range(rng.randrange(3))],
        "at": moment(rng).replace(tzinfo=UTC), "raw": rng.randbytes(rng.randrange(9)),
        "nothing": [None] * rng.randrange(5),
    }  # fmt: skip


DEFAULTS = {"id": 0, "items": [], "note": None}
READER = AVRO_ORDER | {
    "fields": [each | {"default": DEFAULTS[each["name"]]} for each in AVRO_ORDER["fields"]]
}

OBJECT = {
    "type": "object", "required": ["id", "first"], "additionalProperties": True,
    "properties": {
        "id": {"type": "integer"}, "at": {"type": ["string", "null"], "format": "date-time"},
        "state": {"enum": ["A", "B"]}, "first": {"type": "string"}, "price": {"type": "number"},
        "items": {"type": "array", "items": {
            "type": "object", "required": ["sku"],
            "properties": {"sku": {"type": "string"}, "n": {"type": "integer"}},
        }},
    },
}  # fmt: skip


def objects(rng: Random) -> dict[str, Any]:
    def one(rng: Random) -> dict[str, Any]:
        return {"sku": text(rng), "n": perhaps(rng, whole)}

    return {
        "id": whole(rng), "at": perhaps(rng, lambda rng: moment(rng).replace(tzinfo=UTC)),
        "state": perhaps(rng, lambda rng: rng.choice("AB")), "first": text(rng),
        "price": perhaps(rng, fraction), "items": several(rng, one),
    }  # fmt: skip


def message(rng: Random) -> dict[str, Any]:
    def one(rng: Random) -> dict[str, Any]:
        return {"sku": text(rng), "count": abs(whole(rng))}

    return {
        "id": whole(rng), "state": rng.choice(("NEW", "PAID", "SENT")), "lines": several(rng, one),
        "at": perhaps(rng, lambda rng: moment(rng).replace(tzinfo=UTC)),
        "took": perhaps(rng, lambda rng: timedelta(microseconds=whole(rng, 50))),
        "limit": perhaps(rng, lambda rng: abs(whole(rng))), "raw": rng.randbytes(rng.randrange(9)),
        "tags": several(rng, text), "card": perhaps(rng, text), "cash": None,
        "note": perhaps(rng, lambda rng: whole(rng, 32)),
        "attrs": [{"key": f"{i}", "value": one(rng)} for i in range(rng.randrange(3))],
        "first": perhaps(rng, one), "weight": float(whole(rng, 20)) / 4,
    }  # fmt: skip


def registered(form: Any) -> Registered:
    """With a registry in memory, which knows the format's schema and no other."""
    made = Registered(form, auto_register=True).of("fuzzed")
    made.connect(Client("mock://fuzz", {}))
    made.known()
    return made


MAP = pl.List(pl.Struct({"key": pl.String, "value": pl.Int64}))
WIDE = Json(
    {"id": pl.Int64, "tags": MAP, "took": pl.Duration("us"), "raw": pl.Binary, "other": pl.String},
    optional={"took"}, maps={"tags"}, rest="other", duplicates="refuse",
)  # fmt: skip
EVENT = CloudEvents(Json({"n": pl.Int64, "s": pl.String}, optional={"s"}))


def wide(rng: Random) -> dict[str, Any]:
    return {
        "id": whole(rng), "tags": [{"key": f"{i}", "value": whole(rng)} for i in range(3)],
        "took": perhaps(rng, lambda rng: timedelta(microseconds=whole(rng, 50))),
        "raw": rng.randbytes(rng.randrange(9)), "other": rng.choice(("{}", '{"x":[1.10,null]}')),
    }  # fmt: skip


def event(rng: Random) -> dict[str, Any]:
    return {
        "id": text(rng), "source": text(rng), "type": text(rng),
        "time": moment(rng).replace(tzinfo=UTC), "n": whole(rng), "s": perhaps(rng, text),
    }  # fmt: skip


def quoted(rng: Random) -> dict[str, Any]:
    return flat(rng) | {"s": perhaps(rng, text)}


class OneRow:
    """A format with many rows in a record, as one with a row in each: another number is bad."""

    def __init__(self, form: Any) -> None:
        self.form, self.columns, self.encode = form, form.columns, form.encode

    def decode(self, values: Values) -> Decoded:
        found = self.form.decode(values)
        rows: dict[int, list[int]] = {n: [] for n in range(len(values))}
        for row, record in enumerate(found.records.tolist()):
            rows[record].append(row)
        bad = {n: "no row" if not of else f"{len(of)} rows" for n, of in rows.items()
               if len(of) != 1}  # fmt: skip
        bad |= {n: found.bad[of[0]] for n, of in rows.items() if of and of[0] in found.bad}
        nothing = pl.DataFrame({n: [None] for n in self.columns}, schema=found.frame.schema)
        frames = [found.frame[of[:1]] if of else nothing for of in rows.values()]
        return Decoded(pl.concat(frames), bad)


class Changes:
    """Change events, written as their connector does: the format only reads them."""

    def __init__(self, form: Debezium) -> None:
        self.form, self.columns, self.decode = form, form.columns, form.decode

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        told = frame.with_columns(pl.col("ts_ms", "source_ts_ms").dt.epoch("ms"))
        return [
            json.dumps(
                {"op": row["op"], "before": row["before"], "after": row["after"],
                 "source": {"ts_ms": row["source_ts_ms"]}, "ts_ms": row["ts_ms"]}
            ).encode()
            for row in told.to_dicts()
        ]  # fmt: skip


def change(rng: Random) -> dict[str, Any]:
    def row(rng: Random) -> dict[str, Any]:
        return {"id": whole(rng), "name": text(rng)}

    op = rng.choice("cudr")
    before = row(rng) if op in "ud" else None
    after = None if op == "d" else row(rng)
    times = {"ts_ms": moment(rng), "source_ts_ms": moment(rng)}
    return {"op": op, "before": before, "after": after, **times}


TYPED = {**FLAT, "items": pl.List(ITEM), "e": pl.Enum("AB"), "raw": pl.Binary}
ARROW = {"raw": lambda rng: rng.randbytes(rng.randrange(9)), "e": lambda rng: rng.choice("AB")}


def typed(rng: Random) -> dict[str, Any]:
    made = {name: make(rng) for name, make in ARROW.items()}
    return flat(rng) | {"items": perhaps(rng, lambda rng: several(rng, item))} | made


CASES: dict[str, Case] = {
    **{
        f"arrow, {how}": Case(OneRow(Arrow(TYPED, optional={"items"}, compression=how)), typed)
        for how in ("uncompressed", "lz4", "zstd")
    },
    "arrow, flat": Case(OneRow(Arrow(FLAT)), flat),
    "debezium": Case(Changes(Debezium({"id": pl.Int64, "name": pl.String})), change),
    "json, wide": Case(WIDE, wide),
    "csv, nulls": Case(Csv(FLAT, optional={"s"}, nulls=("NA",), separator=";"), quoted),
    "events": Case(EVENT, event),
    "bytes": Case(Bytes("raw"), lambda rng: {"raw": rng.randbytes(rng.randrange(1, 9))}),
    "json": Case(Json(FLAT), flat),
    "json, nested": Case(
        Json({"id": pl.Int64, "items": pl.List(ITEM), "note": pl.String}, optional={"note"}), order
    ),
    "csv": Case(Csv(FLAT), flat),
    "text": Case(Text(), lambda rng: {"value": text(rng)}),
    "avro": Case(Avro(AVRO_FLAT), flat),
    "avro, nested": Case(Avro(AVRO_ORDER), order),
    "avro, odd": Case(Avro(AVRO_ODD), odd),
    "avro, selected": Case(
        Avro(READER, writer=AVRO_ORDER, select=("id", "note")),
        lambda rng: {"id": whole(rng), "note": perhaps(rng, text)},
    ),
    "json schema": Case(JsonSchema(OBJECT), objects),
    "protobuf": Case(Protobuf(class_of(shop(), "shop.Order")), message),
    "registered avro": Case(registered(Avro(AVRO_ORDER)), order),
    "registered protobuf": Case(registered(Protobuf(class_of(shop(), "shop.Order"))), message),
}  # fmt: skip
