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


DATE = pl.lit("2024-01-31").str.to_date("%Y-%m-%d")
TIME = pl.lit(dt.datetime(2024, 10, 27, 2, 30))
TEXTS = pl.lit(["a", "b"], dtype=pl.List(pl.String))
NUMBERS = pl.lit([1, 2, 3], dtype=pl.List(pl.Int64))
n, text = pl.col("n"), pl.col("n").cast(pl.String)
WHEN = pl.when(n > 2).then(pl.lit("earliest")).otherwise(pl.lit("latest"))
ZONE = {"time_zone": "Europe/Berlin", "ambiguous": WHEN}
# By an element that no made-up text has.
PART = pl.col("s").str.split(".").list.get(1).cast(pl.Int8)
WRONG = [
    DATE.dt.replace(month=n), DATE.dt.replace(month=PART), (TIME.dt.replace(hour=n)).dt.hour() + 1,
    pl.struct(x=DATE.dt.replace(day=n), n="n"), TIME.dt.replace_time_zone(**ZONE),
    pl.lit("2024-10-27 02:30").str.to_datetime("%Y-%m-%d %H:%M", **ZONE), TEXTS.list.join(text),
    TEXTS.list.to_array(2).arr.join(text), pl.lit("a1b").str.replace("a", text),
    pl.lit("a1b").str.replace_all("a", text), pl.lit("1a").str.count_matches(text),
    pl.lit("1a").str.extract_all(text), NUMBERS.list.count_matches(n),
    NUMBERS.list.to_array(3).arr.count_matches(n), NUMBERS.list.gather_every(n),
    NUMBERS.list.gather_every(1, n),
]  # fmt: skip
RIGHT = [
    DATE.dt.add_business_days(n), DATE.dt.offset_by(text + "d"),
    TIME.dt.truncate((n.abs() + 1).cast(pl.String) + "m"),
    TIME.dt.round(text + "m"), DATE.dt.combine(pl.time(n)), pl.lit("abcdef").str.slice(n),
    pl.lit("abcdef").str.head(n), pl.lit("abcdef").str.tail(n),
    NUMBERS.list.get(n, null_on_oob=True),
    NUMBERS.list.contains(n), NUMBERS.list.head(n), NUMBERS.list.slice(n, 1), NUMBERS.list.shift(n),
    NUMBERS.list.concat(n), NUMBERS.list.set_difference(pl.concat_list("n")), pl.date(2024, n, 1),
    pl.datetime(2024, n, 1), pl.duration(hours=n), pl.int_ranges(0, n), pl.lit("x").repeat_by(n),
    pl.lit("x").str.pad_start(n), pl.lit("x").str.pad_end(n), pl.lit("7").str.zfill(n),
    pl.lit("a1b").str.contains(text), pl.lit("1a").str.starts_with(text),
    pl.lit("1a").str.find(text),
    pl.lit("1a").str.ends_with(text), pl.lit("1a1").str.strip_chars(text),
    pl.lit("1a1").str.strip_chars_start(text), pl.lit("1a1").str.strip_chars_end(text),
    pl.lit("1a1").str.strip_prefix(text), pl.lit("1a1").str.strip_suffix(text),
    pl.lit("1a1").str.split(text), pl.lit('{"1":5}').str.json_path_match("$." + text),
    pl.lit(5).clip(n, n + 1), pl.lit(5).is_between(n, n + 2), pl.lit(None).fill_null(n),
    pl.coalesce(pl.lit(None), n), pl.lit(3).is_in(pl.concat_list(n, n)), pl.lit(2) ** n,
    pl.lit(b"abcdef").bin.slice(n, 1),
    pl.lit(b"abcdef").bin.head(n), pl.lit(b"3a").bin.contains(text.cast(pl.Binary)),
    pl.lit(b"3a").bin.starts_with(text.cast(pl.Binary)), pl.lit(8.0).log(n),
    pl.lit("11").str.to_integer(base=(n + 1).cast(pl.UInt32)), pl.format("{}-{}", pl.lit("a"), n),
    pl.business_day_count(DATE, DATE.dt.offset_by(text + "d")), pl.lit(3).eq_missing(n),
    pl.lit(dt.date(2024, 1, 1)).dt.replace(month=2), pl.lit(8.0).is_close(n),
]  # fmt: skip


@pytest.mark.parametrize("expression", WRONG, ids=str)
def test_a_literal_by_a_column_is_refused_where_it_is_one_row_beside_many(
    expression: pl.Expr,
) -> None:
    found = rowwise.refusal(expression, {"n": pl.Int64(), "s": pl.String()})
    assert found is not None
    assert "with_columns(x=" in found[1]


@pytest.mark.parametrize("expression", RIGHT, ids=str)
def test_a_literal_by_a_column_is_taken_where_rows_together_are_as_rows_alone(
    expression: pl.Expr,
) -> None:
    assert rowwise.refusal(expression, {"n": pl.Int64()}) is None
    frame = pl.DataFrame({"n": [3, 1, 2, 5, 4]})
    alone = pl.concat(frame[row].with_columns(x=expression) for row in range(5))
    assert frame.with_columns(x=expression).equals(alone)


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


def test_a_list_that_is_taken_apart_is_told_that_one_row_stays_one_row() -> None:
    for taken in (pl.col("l").list.explode(), pl.col("l").explode()):
        found = rowwise.refusal(taken, {"l": pl.List(pl.Int64)})
        assert found is not None
        assert "one row stays one row" in found[1]
