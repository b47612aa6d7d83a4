from __future__ import annotations

import datetime as dt
import re

import polars as pl
import pytest

from processor import Json, Topology, TopologyError
from processor import functions as F
from processor.plan import rowwise, trial
from processor.plan.nodes import Location
from tests.unit.plan.methods import NO_COLUMN, OTHER_ROWS, ROW_WISE, SCHEMA, same

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::polars.exceptions.PolarsInefficientMapWarning"
)
GROUPS = ("str", "dt", "list", "arr", "struct", "cat", "bin", "name", "ext", "map")


def examples(table: dict) -> list:
    return [
        pytest.param(expression, id=f"{group}.{name}")
        for group, names in table.items()
        for name, found in names.items()
        for expression in (found if isinstance(found, list) else [found])
    ]


def public(of: object) -> set[str]:
    return {name for name in dir(of) if not name.startswith("_")}


def test_every_method_and_function_of_the_column_engine_has_been_looked_at() -> None:
    have = {"Expr": public(pl.Expr), "polars": {n for n in pl.__all__ if n[0].islower()}}
    have |= {group: public(getattr(pl.col("a"), group)) for group in GROUPS}
    for group, names in have.items():
        told = {*ROW_WISE.get(group, ()), *OTHER_ROWS.get(group, ()), *NO_COLUMN.get(group, ())}
        assert names - told == set(), f"new in {group}"
        assert told - names == set(), f"gone from {group}"


@pytest.mark.parametrize("expression", examples(ROW_WISE))
def test_what_computes_each_row_from_itself_is_taken(expression: pl.Expr) -> None:
    assert rowwise.refusal(expression, SCHEMA) is None


@pytest.mark.parametrize("expression", examples(OTHER_ROWS))
def test_what_looks_at_other_rows_is_refused(expression: pl.Expr) -> None:
    assert rowwise.refusal(expression, SCHEMA) is not None
    if not expression.meta.has_multiple_outputs():
        inside = pl.struct(pl.lit(1).alias("q"), z=pl.coalesce(expression))
        assert rowwise.refusal(inside, SCHEMA) is not None


@pytest.mark.parametrize(
    ("expression", "part", "remedy"),
    [
        (pl.col("^n$") - pl.col("^n$").mean(), 'cs.matches("^n$").mean()', "group_by"),
        (pl.when(pl.col("n") > 1).then(pl.col("n").shift()), 'col("n").shift', "group_by"),
        (pl.col("n").map_batches(same) + 1, 'col("n").python_udf()', "is_elementwise=True"),
        (pl.map_batches(["n", "s"], lambda c: c[0]), "python_udf", "map_elements"),
        (pl.col("s").str.to_datetime().dt.year(), "strptime", "form of the text"),
        (pl.col("s").cast(pl.Categorical).to_physical() + 1, "to_physical", "pl.String"),
        (pl.col("s").str.split("").list.sample(1), "sample", "each row from itself"),
        (pl.lit(pl.Series([1, 2])), "Series", "each row from itself"),
        (pl.col("n").set_sorted(descending=True).is_in([1]), "set_sorted", "claim about all"),
    ],
)
def test_the_part_that_looks_at_other_rows_is_named_with_its_line_and_what_to_do(
    expression: pl.Expr, part: str, remedy: str
) -> None:
    def build(step: str) -> Topology:
        topology = Topology("app")
        form = Json({"n": pl.Int64, "s": pl.String})
        rows = topology.read.kafka("in", format=form)
        if step == "with_columns":
            rows.with_columns(y=expression).write.kafka("out")
        elif step == "select":
            rows.select("n", y=expression).write.kafka("out")
        else:
            rows.filter(expression.eq_missing(expression)).write.kafka("out")
        return topology

    for step in ("with_columns", "select", "filter"):
        with pytest.raises(TopologyError) as error:
            build(step).plan()
        assert re.match(re.escape(__file__) + r":\d+: ", error.value.message)
        assert part in error.value.message
        assert "looks at other rows" in error.value.message
        assert remedy in error.value.remedy


def test_what_cannot_be_seen_is_refused_at_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise pl.exceptions.ComputeError("no plan")

    monkeypatch.setattr(pl.LazyFrame, "explain", refuse)
    at = Location("t.py", 3)
    with pytest.raises(TopologyError, match=r"t.py:3: whether .* cannot be seen: no plan"):
        rowwise.check(at, pl.col("a") + 1, SCHEMA)
    with pytest.raises(pl.exceptions.ComputeError):
        rowwise.look(at, pl.col("a") + 1, SCHEMA)


def test_a_step_behind_an_aggregate_is_held_to_the_same() -> None:
    topology = Topology("app")
    rows = topology.read.kafka("in", format=Json({"k": pl.String}), partitioned_by="k")
    totals = rows.group_by("k").agg(n=F.count())
    totals.with_columns(share=pl.col("n") / pl.col("n").sum()).write.kafka("out", mode="update")
    with pytest.raises(TopologyError, match=r"sum.*looks at other rows"):
        topology.plan()


def test_a_trial_leaves_out_the_rows_that_cannot_be_computed() -> None:
    columns = {"s": pl.String()}
    assert not trial.differs(pl.col("s").cast(pl.Int64), columns)
    assert not trial.differs(pl.col("s").str.to_datetime("%Y-%m-%d"), columns)
    assert trial.differs(pl.col("s").cast(pl.Int64).rank(), columns)


def test_a_trial_finds_chance() -> None:
    chance = pl.col("l").list.eval(pl.element().sample(fraction=1.0, shuffle=True))
    assert trial.differs(chance, {"l": pl.List(pl.Int64())})


def test_a_trial_has_rows_of_every_type() -> None:
    columns = SCHEMA | {
        "o": pl.Object(), "n": pl.Null(), "dec": pl.Decimal(10, 2), "u": pl.UInt8(),
        "z": pl.Datetime("ms", "Asia/Tokyo"), "dl": pl.List(pl.Duration("ns")),
        "nested": pl.List(pl.Struct({"d": pl.Date(), "e": pl.Array(pl.Enum(["u"]), 2)})),
    }  # fmt: skip
    made = trial._made(columns, ("b", None))
    assert made.schema == columns
    for name in columns:
        assert made[name].null_count() < made.height or name in ("o", "n"), name
    assert made["t"].max() < dt.datetime(1970, 1, 1, 0, 0, 1)
