"""Every format, of a flat row and of a nested one, there and back: one table that can be compared.

The rows are those of plain topics: a ride of five columns, and an order of an id, an address and
two items. What a format has no nested rows for (`Csv`, `Text`, `Bytes`) is measured flat alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import polars as pl
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

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

Step = Callable[[int], object]

START: Final = datetime(2014, 8, 1, tzinfo=UTC)
FLAT: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "id": pl.Int64, "user": pl.String, "fare": pl.Float64, "paid": pl.Boolean,
    "at": pl.Datetime("us", "UTC"),
}  # fmt: skip
ITEM: Final = pl.Struct({"sku": pl.String, "price": pl.Float64, "n": pl.Int64})
NESTED: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "id": pl.Int64,
    "to": pl.Struct({"city": pl.String, "zip": pl.String}),
    "items": pl.List(ITEM),
}
_AVRO: Final[dict[object, object]] = {
    pl.Int64: "long", pl.String: "string", pl.Float64: "double", pl.Boolean: "boolean",
    pl.Datetime("us", "UTC"): {"type": "long", "logicalType": "timestamp-micros"},
}  # fmt: skip
_JSON: Final[dict[object, dict[str, str]]] = {
    pl.Int64: {"type": "integer"}, pl.String: {"type": "string"}, pl.Float64: {"type": "number"},
    pl.Boolean: {"type": "boolean"},
    pl.Datetime("us", "UTC"): {"type": "string", "format": "date-time"},
}  # fmt: skip
_NUMBERS: Final[dict[object, int]] = {pl.Int64: 3, pl.String: 9, pl.Float64: 1, pl.Boolean: 8}
_TIMESTAMP: Final = ".google.protobuf.Timestamp"


def rows_of(kind: str, records: int) -> pl.DataFrame:
    """Flat rows, or nested ones, each a little different.

    >>> rows_of("flat", 2)["user"].to_list(), rows_of("nested", 1)["to"].to_list()
    (['user-0', 'user-1'], [{'city': 'city-0', 'zip': 'D-0'}])
    """
    if kind == "flat":
        cells = [
            {"id": i, "user": f"user-{i % 1_000}", "fare": i % 90 + 0.5, "paid": i % 3 == 0,
             "at": START + timedelta(seconds=i)}
            for i in range(records)
        ]  # fmt: skip
        return pl.DataFrame(cells, schema=FLAT)
    orders = [
        {"id": i, "to": {"city": f"city-{i % 50}", "zip": f"D-{i % 9_000}"},
         "items": [{"sku": f"s{i % 900}", "price": 1.25, "n": 1},
                   {"sku": "x", "price": i % 70 + 0.5, "n": 2}]}
        for i in range(records)
    ]  # fmt: skip
    return pl.DataFrame(orders, schema=NESTED)


def names() -> list[str]:
    """What the formats are called, in the order of the table.

    >>> names()[:3]
    ['Json', 'Csv', 'Text']
    """
    return [*_forms("flat")]


def format_steps(name: str, records: int) -> Iterator[tuple[str, Step]]:
    """A format's steps, each as a function of a batch's number; flat ones first."""
    for kind in ("flat", "nested"):
        make = _forms(kind).get(name)
        if make is None:
            continue
        form = make()
        frame = rows_of(kind, records)
        if isinstance(form, Debezium):
            events = [_change(row) for row in frame.with_columns(_text_of_times()).to_dicts()]
            yield f"{name}, {kind}: to columns", _call(form.decode, events)
            continue
        frame = _rows_for(form, frame)
        if isinstance(form, Arrow):
            values: list[Any] = [value for _, value in form.pack(frame)]
            write: Callable[[Any], object] = form.pack
        else:
            values, write = list(form.encode(frame)), form.encode
        yield f"{name}, {kind}: to columns", _call(form.decode, values)
        yield f"{name}, {kind}: from columns", _call(write, frame)


def _forms(kind: str) -> dict[str, Callable[[], Any]]:
    columns: Any = FLAT if kind == "flat" else NESTED
    made: dict[str, Callable[[], Any]] = {
        "Json": lambda: Json(columns),
        "Csv": lambda: Csv(columns),
        "Text": Text,
        "Bytes": Bytes,
        "Avro": lambda: Avro(_avro(columns)),
        "Protobuf": lambda: Protobuf(_message(columns)),
        "JsonSchema": lambda: JsonSchema(_object(columns)),
        "JsonSchema, a minimum": lambda: JsonSchema({**_object(columns), "minProperties": 1}),
        "Debezium": lambda: Debezium(columns),
        "CloudEvents": lambda: CloudEvents(Json(columns), attributes={"id": "event"},
                                           constants={"source": "/s", "type": "t"}),
        "Arrow": lambda: Arrow(columns),
        "Registered Avro": lambda: _registered(Avro(_avro(columns)), kind),
        "Registered JsonSchema": lambda: _registered(JsonSchema(_object(columns)), kind),
        "Registered Protobuf": lambda: _registered(Protobuf(_message(columns)), kind),
    }  # fmt: skip
    flat_alone = ("Csv", "Text", "Bytes")
    return {name: form for name, form in made.items() if kind == "flat" or name not in flat_alone}


def _rows_for(form: Any, frame: pl.DataFrame) -> pl.DataFrame:
    if isinstance(form, Text | Bytes):
        return frame.select(pl.col("user").cast(next(iter(form.columns.values()))).alias("value"))
    if isinstance(form, CloudEvents):
        return frame.with_columns(event=pl.col("id").cast(pl.String))
    return frame


def _text_of_times() -> list[pl.Expr]:
    return [pl.col(pl.Datetime("us", "UTC")).dt.strftime("%Y-%m-%dT%H:%M:%SZ")]


def _change(row: dict[str, Any]) -> bytes:
    event = {"op": "c", "ts_ms": 1, "source": {"ts_ms": 1}, "before": None, "after": row}
    return json.dumps(event).encode()


def _registered(form: Any, kind: str) -> Registered:
    made = Registered(form, auto_register=True).of(f"bench-{kind}-{type(form).__name__}")
    made.connect(Client("mock://bench", {}))
    made.known()
    return made


def _avro(columns: dict[str, Any], name: str = "Row") -> dict[str, Any]:
    def kind_of(kind: Any, called: str) -> Any:
        if isinstance(kind, pl.List):
            return {"type": "array", "items": kind_of(kind.inner, called)}
        if isinstance(kind, pl.Struct):
            return _avro({part.name: part.dtype for part in kind.fields}, called)
        return _AVRO[kind]

    fields = [{"name": n, "type": kind_of(kind, f"{name}_{n}")} for n, kind in columns.items()]
    return {"type": "record", "name": name, "fields": fields}


def _object(columns: dict[str, Any]) -> dict[str, Any]:
    def kind_of(kind: Any) -> dict[str, Any]:
        if isinstance(kind, pl.List):
            return {"type": "array", "items": kind_of(kind.inner)}
        if isinstance(kind, pl.Struct):
            return _object({part.name: part.dtype for part in kind.fields})
        return _JSON[kind]

    properties = {name: kind_of(kind) for name, kind in columns.items()}
    return {"type": "object", "required": [*columns], "properties": properties}


def _message(columns: dict[str, Any]) -> type:
    """A message's class, made as ``protoc`` makes one."""
    file = descriptor_pb2.FileDescriptorProto(
        name="bench.proto", package="bench", syntax="proto3",
        dependency=["google/protobuf/timestamp.proto"],
    )  # fmt: skip
    _add(file, file.message_type.add(name="Row"), columns)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    made: type = message_factory.GetMessageClass(pool.FindMessageTypeByName("bench.Row"))
    return made


def _add(file: Any, message: Any, columns: dict[str, Any]) -> None:
    for number, (name, kind) in enumerate(columns.items(), 1):
        inner = kind.inner if isinstance(kind, pl.List) else kind
        field = message.field.add(name=name, number=number, label=3 if inner is not kind else 1)
        if isinstance(inner, pl.Struct):
            part = file.message_type.add(name=f"{message.name}_{name}")
            _add(file, part, {each.name: each.dtype for each in inner.fields})
            field.type, field.type_name = 11, f".bench.{part.name}"
        elif inner in _NUMBERS:
            field.type = _NUMBERS[inner]
        else:
            field.type, field.type_name = 11, _TIMESTAMP


def _call(function: Callable[[Any], object], argument: object) -> Step:
    return lambda _: function(argument)
