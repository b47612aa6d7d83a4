from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.operators.pipeline import Pipeline
from processor.plan.fingerprint import Description, describe, fingerprint, layout
from processor.plan.nodes import Plan


def make(
    *,
    window: str | None = "1h",
    keys: tuple[str, ...] = ("user",),
    kind: Any = pl.Int64,
    delay: str = "1s",
    topic: str = "out",
    limit: int = 0,
    **aggregates: Any,
) -> Plan:
    app = Topology("a")
    form = Json({"dt": pl.Datetime("us"), "user": pl.String, "city": pl.String, "n": kind})
    rows = app.read.kafka("in", format=form, event_time="dt", partitioned_by="user")
    rows = rows.with_watermark(delay).filter(pl.col("n") > limit)
    group = [F.window("dt", window)] if window else []
    totals = rows.group_by(*group, *keys).agg(**aggregates or {"c": F.sum("n")})
    totals.write.kafka(topic, mode="update")
    return app.plan()


STEPS = [{"delay": "9s"}, {"topic": "other"}, {"limit": 5}]
STATE = [
    {"window": "2h"},
    {"window": None},
    {"keys": ("user", "city")},
    {"keys": ("city", "user")},
    {"kind": pl.Float64},
    {"c": F.max("n")},
    {"d": F.sum("n")},
    {"c": F.sum("n"), "d": F.count()},
    {"c": F.count("n")},
    {"c": F.count()},
]


def test_it_is_sixteen_hexadecimal_digits() -> None:
    assert len(fingerprint(make())) == 16
    assert int(fingerprint(make()), 16) >= 0


def test_one_plan_has_one_fingerprint_however_often_it_is_made() -> None:
    assert fingerprint(make()) == fingerprint(make())


@pytest.mark.parametrize("change", [*STEPS, *STATE])
def test_what_state_depends_on_changes_the_fingerprint(change: dict) -> None:
    assert fingerprint(make(**change)) != fingerprint(make())


@pytest.mark.parametrize("change", STEPS)
def test_the_layout_that_earlier_versions_wrote_is_of_the_state_alone(change: dict) -> None:
    assert layout(make(**change)) == layout(make())


@pytest.mark.parametrize("change", STATE)
def test_the_layout_changes_with_the_state(change: dict) -> None:
    assert layout(make(**change)) != layout(make())


def test_a_description_survives_being_written() -> None:
    for plan in (make(), make(window=None, a=F.mean("n"), b=F.count())):
        assert Description.parse(str(describe(plan))) == describe(plan)


def test_the_described_cells_are_those_that_the_operators_store() -> None:
    every = {
        "a": F.count(), "b": F.count("n"), "c": F.sum("n"), "d": F.min("n"), "e": F.max("n"),
        "f": F.mean("n"), "g": F.max("dt"),
    }  # fmt: skip
    for kind in (pl.Int32, pl.Float32, pl.Float64):
        plan = make(kind=kind, **every)
        (operator,) = describe(plan).operators
        rows = Pipeline(plan).new_state()[operator.name].changed()
        stored = {name: column.dtype.str for name, column in rows.cells.items()}
        assert {cell.name: cell.dtype for cell in operator.cells} == stored
        assert len(rows.layout.widths) == len(operator.keys) + 1


def test_where_a_function_of_the_users_lies_in_memory_does_not_matter() -> None:
    def plan() -> Plan:
        app = Topology("a")
        rows = app.read.kafka("in", format=Json({"user": pl.String}), partitioned_by="user")
        rows = rows.filter(pl.col("user").map_elements(str.isupper, pl.Boolean))
        rows.group_by("user").agg(n=F.count()).write.kafka("out", mode="update")
        return app.plan()

    assert fingerprint(plan()) == fingerprint(plan())
