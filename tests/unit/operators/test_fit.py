"""A value that does not fit its type is what a row that cannot be computed is."""

from __future__ import annotations

import json

import polars as pl
import polars.selectors as cs
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.errors import ProcessorError, RecordError
from processor.operators.fit import Fit
from processor.operators.stateless import Extend
from processor.plan.overflow import Check
from processor.testing import TestDriver

M = 2**63 - 1
FORM = Json({"t": pl.Datetime("us"), "k": pl.String, "c": pl.Int64, "i": pl.Int8},
            millis=frozenset({"t"}))  # fmt: skip
CELLS = [1, M, 2, -M - 1, 3, M // 2 + 1]
GOOD = [1, 2, 3]


def record(c: int, k: str = "a", i: int = 1) -> bytes:
    return json.dumps({"t": 0, "k": k, "c": c, "i": i}).encode()


def source(topology: Topology, on_error: str = "dead_letter"):
    return topology.read.kafka("in", format=FORM, event_time="t", partitioned_by="k",
                               on_error=on_error)  # fmt: skip


def called(value: int) -> int:
    return value


STEPS = {
    "with_columns": lambda rows: rows.with_columns(w=pl.col("c") * 2),
    "select": lambda rows: rows.select("c", "k", w=pl.col("c") * 2),
    "filter": lambda rows: rows.filter(pl.col("c") * 2 != 7),
    "selector": lambda rows: rows.with_columns((cs.integer() * 2).name.suffix("2")),
    "selector in a select": lambda rows: rows.select(
        "k", "c", (cs.by_name("c") * 2).name.suffix("2")
    ),
    "selector in a filter": lambda rows: rows.filter(pl.all_horizontal(cs.integer() * 2 != 7)),
    "pattern": lambda rows: rows.select("k", pl.col("^c$"), (pl.col("^c$") * 2).name.suffix("2")),
    "function": lambda rows: rows.with_columns(
        w=pl.col("c").map_elements(called, return_dtype=pl.Int64) * 2
    ),
    "function in a select": lambda rows: rows.select(
        "k", "c", w=pl.col("c").map_elements(called, return_dtype=pl.Int64) * 2
    ),
    "function in a filter": lambda rows: rows.filter(
        pl.col("c").map_elements(called, return_dtype=pl.Int64) * 2 != 7
    ),
}


@pytest.mark.parametrize("size", [1, 4, 100])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.filterwarnings("ignore::polars.exceptions.PolarsInefficientMapWarning")
def test_a_row_whose_value_does_not_fit_is_a_dead_letter_and_its_neighbours_go_on(
    step: str, size: int
) -> None:
    topology = Topology("a")
    STEPS[step](source(topology)).write.kafka("out")
    driver = TestDriver(topology, batch_records_max=size)
    driver.feed([record(c) for c in CELLS])
    driver.run()
    assert [row["c"] for row in driver.json("out")] == GOOD
    dead = driver.dead_letters()
    assert [json.loads(m.value())["c"] for m in dead] == [c for c in CELLS if c not in GOOD]
    headers = {name: text.decode() for name, text in dead[0].headers()}
    assert headers["processor.offset"] == "1"
    assert "does not fit Int64" in headers["processor.error"]
    assert headers["processor.error"].startswith("OverflowError: ")
    assert "test_fit.py:" in headers["processor.stage"]


def test_rows_are_told_at_once_with_the_first_check_that_they_fail() -> None:
    checks = [Check("n", pl.col("n") > 5), Check("m", pl.col("m") > 5)]
    frame = pl.DataFrame({"n": [9, 1, 9, 1], "m": [1, 9, 9, 1]})
    found = Fit(checks, {}).misfits(frame)
    told = {"n": "OverflowError: n", "m": "OverflowError: m"}
    assert found == {0: told["n"], 1: told["m"], 2: told["n"]}


def test_where_another_row_fails_in_another_way_none_is_told_at_once() -> None:
    number = pl.col("k").cast(pl.Int64)
    fit = Fit([Check("k", number > 5)], {})
    assert fit.misfits(pl.DataFrame({"k": ["9", "no"]})) == {}
    assert [*fit.misfits(pl.DataFrame({"k": ["9", "1"]}))] == [0]


@pytest.mark.filterwarnings("ignore::polars.exceptions.PolarsInefficientMapWarning")
def test_what_is_computed_first_is_no_column_of_what_goes_on() -> None:
    topology = Topology("a")
    called_ = pl.col("c").map_elements(called, return_dtype=pl.Int64)
    rows = source(topology).with_columns(w=called_ * 2).filter(called_ * 3 != 7)
    rows.write.kafka("out")
    driver = TestDriver(topology)
    driver.feed([record(5)])
    driver.run()
    (row,) = driver.json("out")
    assert list(row) == ["t", "k", "c", "i", "w"]


def test_a_topology_that_is_to_fail_names_the_record_the_step_and_the_value() -> None:
    topology = Topology("a")
    source(topology, "fail").with_columns(w=pl.col("i") + 1).write.kafka("out")
    driver = TestDriver(topology)
    driver.feed([record(1, i=126), record(1, i=127)])
    told = r"in\[0\] offset 1: step a/with_columns at .*test_fit.py:\d+ .*does not fit Int8"
    with pytest.raises(RecordError, match=told):
        driver.run()


def test_state_behind_it_is_as_if_the_record_had_not_been_there() -> None:
    topology = Topology("a")
    doubled = source(topology).with_columns(w=pl.col("c") * 2)
    doubled.group_by("k").agg(n=F.count(), s=F.sum("w")).write.kafka("out", mode="update")
    driver = TestDriver(topology, batch_records_max=4)
    driver.feed([record(c) for c in CELLS])
    driver.run()
    assert driver.json("out")[-1] == {"k": "a", "n": 3, "s": 12}
    assert len(driver.dead_letters()) == 3


def test_a_group_whose_value_does_not_fit_is_set_aside_and_stays_in_state() -> None:
    topology = Topology("a")
    totals = source(topology).group_by("k").agg(s=F.sum("c"))
    totals.with_columns(w=pl.col("s") * 2).write.kafka("out", mode="update")
    driver = TestDriver(topology)
    driver.feed([record(M - 5, "x"), record(4, "y")])
    driver.run()
    assert driver.json("out") == [{"k": "y", "s": 4, "w": 8}]
    assert [json.loads(m.value())["k"] for m in driver.dead_letters()] == ["x"]
    assert sum(len(rows) for of in driver.state().values() for rows in of.values()) == 2


@pytest.mark.filterwarnings("ignore::polars.exceptions.PolarsInefficientMapWarning")
def test_a_function_is_called_once_for_each_row_though_its_value_is_looked_at() -> None:
    calls: list[int] = []

    def noted(value: int) -> int:
        calls.append(value)
        return value

    topology = Topology("a")
    step = pl.col("c").map_elements(noted, return_dtype=pl.Int64)
    source(topology).with_columns(w=step * 2, v=step + 1).filter(step * 3 > 0).write.kafka("out")
    driver = TestDriver(topology)
    driver.feed([record(c) for c in (1, 2, 3)])
    driver.run()
    assert calls == [1, 2, 3, 1, 2, 3]
    assert [row["w"] for row in driver.json("out")] == [2, 4, 6]


def test_rows_that_do_not_fit_are_found_at_once_and_others_that_fail_beside_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs: list[int] = []
    process = Extend.process
    monkeypatch.setattr(
        Extend,
        "process",
        lambda step, rows, at: runs.append(rows.height) or process(step, rows, at),
    )
    topology = Topology("a")
    ratio = pl.when(pl.col("k") == "no").then(pl.col("k")).otherwise(pl.lit("1")).cast(pl.Int64)
    source(topology).with_columns(w=pl.col("c") * 2, r=ratio).write.kafka("out")
    driver = TestDriver(topology)
    count = 500
    driver.feed([record(M) for _ in range(count)] + [record(c) for c in GOOD])
    driver.run()
    assert [row["c"] for row in driver.json("out")] == GOOD
    assert len(driver.dead_letters()) == count
    assert len(runs) < 60  # in batches that begin with 32
    driver.feed([record(M), record(5, "no"), record(6), record(M, "no")])
    driver.run()
    assert [row["c"] for row in driver.json("out")][3:] == [6]
    reasons = [dict(m.headers())["processor.error"] for m in driver.dead_letters()[count:]]
    assert [b"does not fit" in reason for reason in reasons] == [True, False, True]


def drop(texts: pl.Series) -> pl.Series:
    return texts.filter(texts != "bad")


DROPPED = pl.col("k").map_batches(drop, return_dtype=pl.String, is_elementwise=True)
ONCE = pl.col("k").map_batches(lambda s: s.head(1), return_dtype=pl.String, is_elementwise=True)
LENGTHS = {
    "with_columns": lambda rows, f: rows.with_columns(w=f),
    "select": lambda rows, f: rows.select(w=f),
    "beside": lambda rows, f: rows.select("k", w=f),
    "part": lambda rows, f: rows.with_columns(w=pl.concat_str(f, "k")),
    "compared": lambda rows, f: rows.with_columns(w=f == pl.col("k")),
    "behind": lambda rows, f: rows.select(w=f.str.to_uppercase() + pl.col("k")),
    "filter": lambda rows, f: rows.filter(f.is_not_null()),
    "compared in a filter": lambda rows, f: rows.filter(f == pl.col("k")),
    "struct": lambda rows, f: rows.with_columns(w=pl.struct(f.alias("x"), "k").struct.field("x")),
    "within another": lambda rows, f: rows.with_columns(
        w=pl.map_batches(
            [f, "k"], lambda s: s[1] + s[0], return_dtype=pl.String, is_elementwise=True
        )
    ),
}


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("step", LENGTHS)
def test_a_function_that_returns_too_few_values_fails_for_its_rows_in_any_batch(
    step: str, size: int
) -> None:
    topology = Topology("app")
    LENGTHS[step](source(topology), DROPPED).write.kafka("out")
    driver = TestDriver(topology, batch_records_max=size)
    driver.feed([record(1, "good"), record(1, "bad"), record(1, "fine"), record(1, "bad")])
    driver.run()
    assert len(driver.values("out")) == 2
    assert len(driver.dead_letters()) == 2
    assert not [value for value in driver.values("out") if b"bad" in value]


@pytest.mark.parametrize("step", LENGTHS)
def test_a_function_that_returns_one_value_for_a_batch_ends_the_run(step: str) -> None:
    topology = Topology("app")
    LENGTHS[step](source(topology), ONCE).write.kafka("out")
    driver = TestDriver(topology)
    driver.feed([record(1, "a"), record(1, "b")])
    with pytest.raises(ProcessorError, match="fails for the batch"):
        driver.run()
