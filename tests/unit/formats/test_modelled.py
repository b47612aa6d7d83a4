"""Columns that a class names: what each annotation is, and what is refused at the line."""

import enum
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Literal,
    NewType,
    NotRequired,
    Optional,
    Required,
    TypedDict,
    Union,
)
from uuid import UUID

import polars as pl
import pytest
from pydantic import BaseModel, Field, condecimal

from processor import Csv, Debezium, Json, Topology, TopologyError
from processor.testing import TestDriver

UserId = NewType("UserId", int)


class Sort(enum.Enum):
    CASH = "cash"
    CARD = "card"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Place:
    city: str
    lat: float | None


KINDS = [
    (str, pl.String), (int, pl.Int64), (float, pl.Float64), (bool, pl.Boolean),
    (datetime, pl.Datetime("us")), (date, pl.Date), (time, pl.Time), (UUID, pl.String),
    (UserId, pl.Int64), (int | float, pl.Float64),
    (Annotated[Decimal, pl.Decimal(10, 2)], pl.Decimal(10, 2)),
    (condecimal(max_digits=8, decimal_places=3), pl.Decimal(8, 3)),
    (Annotated[Decimal, Field(max_digits=8, decimal_places=3)], pl.Decimal(8, 3)),
    (Annotated[int, pl.Int32], pl.Int32),
    (Annotated[datetime, pl.Datetime("ms", "UTC")], pl.Datetime("ms", "UTC")),
    (Literal["a", "b"], pl.Enum(["a", "b"])), (Literal[1, 2], pl.Int64),
    (Literal[True], pl.Boolean),
    (Sort, pl.Enum(["cash", "card"])), (Level, pl.Int64),
    (list[int], pl.List(pl.Int64)), (Sequence[str], pl.List(pl.String)),
    (tuple[int, ...], pl.List(pl.Int64)), (set[str], pl.List(pl.String)),
    (list[list[date]], pl.List(pl.List(pl.Date))),
    (Place, pl.Struct({"city": pl.String, "lat": pl.Float64})),
    (list[Place], pl.List(pl.Struct({"city": pl.String, "lat": pl.Float64}))),
    (list[int | None], pl.List(pl.Int64)),
]  # fmt: skip


def as_dataclass(told: Any) -> type:
    return dataclass(type("Ride", (), {"__annotations__": {"c": told}}))


def as_typed_dict(told: Any) -> type:
    return TypedDict("Ride", {"c": told})


def as_pydantic(told: Any) -> type:
    config = {"arbitrary_types_allowed": True}
    return type("Ride", (BaseModel,), {"__annotations__": {"c": told}, "model_config": config,
                                       "__module__": __name__})  # fmt: skip


MADE = [as_dataclass, as_typed_dict, as_pydantic]


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize(("told", "kind"), KINDS, ids=str)
def test_an_annotation_is_a_type_of_a_column(made, told, kind):
    form = Json(made(told))
    assert (form.columns, form.optional) == ({"c": kind}, frozenset())


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize(
    "told",
    [
        int | None,
        Optional[int],  # noqa: UP045 - as older code has it
        Union[None, int],  # noqa: UP007 - as older code has it
        Annotated[int | None, "a note"],
        Annotated[int | None, pl.Int64],
    ],
)
def test_what_may_be_none_is_optional(made, told):
    form = Json(made(told))
    assert (form.columns, form.optional) == ({"c": pl.Int64}, {"c"})


def test_a_literal_of_none_is_optional_and_a_decimal_that_may_be_none_has_its_digits():
    form = Json(as_dataclass(Literal["a", None]))  # noqa: PYI061 - as others write it
    assert (form.columns, form.optional) == ({"c": pl.Enum(["a"])}, {"c"})
    form = Json(as_pydantic(condecimal(max_digits=8, decimal_places=3) | None))
    assert (form.columns, form.optional) == ({"c": pl.Decimal(8, 3)}, {"c"})


class Loose(TypedDict, total=False):
    a: int
    b: Required[int]


class Strict(TypedDict):
    a: NotRequired[int]
    b: int


@pytest.mark.parametrize("model", [Loose, Strict])
def test_what_a_typed_dict_may_leave_out_is_optional(model):
    form = Json(model)
    assert (form.columns, form.optional) == ({"a": pl.Int64, "b": pl.Int64}, {"a"})


class Order(BaseModel):
    number: int = Field(alias="id")
    placed: datetime
    total: condecimal(max_digits=10, decimal_places=2)
    sort: Sort
    to: Place | None = None
    lines: list[str] = Field(max_length=5)


def test_a_model_reads_and_writes_records():
    topology = Topology("orders")
    rows = topology.read.kafka("in", format=Json(Order), event_time="placed")
    rows.write.kafka("out", format=Json(Order))
    driver = TestDriver(topology)
    good = {"id": 1, "placed": "2026-05-01T09:10:00", "total": "9.90", "sort": "card",
            "to": {"city": "Bonn", "lat": None}, "lines": ["a"]}  # fmt: skip
    driver.feed([good, {**good, "sort": "other"}, {**good, "to": None}, {"id": 1}])
    driver.run()
    assert driver.json("out") == [good, {**good, "to": None}]
    assert len(driver.dead_letters()) == 2


def test_a_type_of_polars_is_one_of_a_column():
    assert Json(as_dataclass(pl.UInt8)).columns == {"c": pl.UInt8}


def test_optional_of_a_class_and_of_the_format_are_both_so():
    form = Json(Place, optional=frozenset({"city"}))
    assert form.optional == {"city", "lat"}
    assert replace(form, value_bytes_max=9) == Json(Place, optional={"city"}, value_bytes_max=9)


def test_a_line_and_a_row_of_a_table_are_told_by_a_class_too():
    @dataclass
    class Line:
        user: str
        n: int

    assert Csv(Line).decode([b"ann,1"]).frame.rows() == [("ann", 1)]

    class Row(TypedDict):
        id: int
        raw: bytes | None

    event = {"op": "r", "after": {"id": 1}, "ts_ms": 10**12, "source": {"ts_ms": 10**12}}
    decoded = Debezium(Row).decode([json.dumps(event).encode()])
    assert decoded.bad == {}
    assert decoded.frame["after"].to_list() == [{"id": 1, "raw": None}]


class Tree(TypedDict):
    parts: "list[Tree]"


class Lost(TypedDict):
    a: "Nowhere"  # noqa: F821 - that is what is told


@dataclass
class Defaulted:
    tags: list[str] = field(default_factory=list)


@dataclass
class Sorted:
    n: int = 5


class Modelled(BaseModel):
    n: int | None = 5


class Factory(BaseModel):
    tags: list[str] = []


class Absent(BaseModel):
    a: "Nowhere"  # noqa: F821 - that is what is told


class Nothing(BaseModel):
    pass


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (as_dataclass(Decimal), "Ride.c is a Decimal of any number of digits"),
        (as_dataclass(Any), "whose members are not known"),
        (as_dataclass(dict[str, int]), "Ride.c is dict[str, int], whose members are not known"),
        (as_dataclass(list), "Ride.c is list, which is no column"),
        (as_dataclass(tuple[int, str]), "which is no column"),
        (as_dataclass(int | str), "Ride.c is one of several types, int | str"),
        (as_dataclass(Literal["a", 1]), "of which not all are text"),
        (as_dataclass(list[Decimal]), "Ride.c[] is a Decimal of any number of digits"),
        (Tree, "Tree.parts[] is a Tree inside a Tree"),
        (Lost, "the annotations of Lost cannot be read: name 'Nowhere' is not defined"),
        (Absent, "the annotations of Absent cannot be read"),
        (Defaulted, "Defaulted.tags has a default"),
        (Sorted, "Sorted.n has a default"),
        (Modelled, "Modelled.n has a default"),
        (Factory, "Factory.tags has a default"),
        (Nothing, "Nothing names no column"),
        (int, "gives no types of columns"),
    ],
)  # fmt: skip
def test_what_is_no_column_is_refused_at_the_line_with_a_remedy(model, told):
    with pytest.raises(TopologyError, match=r"test_modelled.py:\d+: Json: ") as refused:
        Json(model)
    assert told in refused.value.message
    assert refused.value.remedy


def test_a_line_takes_no_class_with_what_may_be_none():
    with pytest.raises(TopologyError, match=r"test_modelled.py:\d+: Csv: 'lat' is optional"):
        Csv(Place)


def test_bytes_lengths_of_time_and_nanoseconds_are_columns():
    assert Json(as_dataclass(bytes)).columns["c"] == pl.Binary
    assert Json(as_dataclass(timedelta)).columns["c"] == pl.Duration("us")
    fine = as_dataclass(Annotated[datetime, pl.Datetime("ns")])
    assert Json(fine).columns["c"] == pl.Datetime("ns")
