from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.errors import RecordError
from processor.operators import sums
from processor.operators.pipeline import Pipeline
from processor.testing import TestDriver
from tests.unit.messages import piece

LOW, HIGH = -(2**63), 2**63 - 1
FORM = Json({"t": pl.Datetime("us"), "k": pl.String, "v": pl.Int64, "x": pl.Float64},
            optional=frozenset({"v", "x"}), millis=frozenset({"t"}))  # fmt: skip


@pytest.mark.parametrize(
    ("total", "values", "at"),
    [
        (0, [HIGH, 1], 1),
        (HIGH, [0, 0], None),
        (HIGH, [1, -1], 0),
        (LOW, [-1], 0),
        (LOW, [HIGH, HIGH, 1, 1], 3),
        (1, [HIGH - 1, -5, 5, 1], 3),
        (HIGH, [LOW, LOW], 1),
        (-1, [LOW], 0),
        (5, [], None),
    ],
)
def test_the_first_whole_number_that_leaves_64_bits_is_found(
    total: int, values: list[int], at: int | None
) -> None:
    assert sums.leaves(np.int64(total), np.array(values, np.int64)) == at


@pytest.mark.parametrize(
    ("most", "further"),
    [(np.int64(2**62), np.int64(2**62 + 1)), (np.float64(2.0**1022), np.float64(2.0**1022 * 1.5))],
)
def test_half_of_the_range_is_close_and_what_is_further_is_looked_at(
    most: np.number, further: np.number
) -> None:
    assert sums.close(np.array([most, -most]))
    assert not sums.close(np.array([0, further], most.dtype))
    assert not sums.close(np.array([0, -further], most.dtype))
    totals = np.array([most, -most, further, -further], most.dtype)
    assert sums.beyond(totals).tolist() == [False, False, True, True]


def test_how_far_sums_reach_is_asked_of_the_widest_types_only() -> None:
    assert sums.reach(pl.Series([3, -4, None], dtype=pl.Int64)) == 12.0
    assert sums.reach(pl.Series([0.5, -0.25], dtype=pl.Float64)) == 1.0
    assert sums.reach(pl.Series([100, -100], dtype=pl.Int32)) == 0.0
    assert sums.reach(pl.Series([None, None], dtype=pl.Int64)) == 0.0


@pytest.mark.parametrize(
    ("total", "values", "at"),
    [
        (0.0, [1e308, 1e308], 1),
        (1e308, [-1e308, 1e308], None),
        (np.inf, [1e308, 1e308], None),
        (0.0, [np.nan, 1e308, 1e308], None),
        (1e308, [1e308, np.inf], 0),
        (0.0, [np.inf, -np.inf], None),
    ],
)
def test_the_first_fraction_that_leaves_float64_is_found(
    total: float, values: list[float], at: int | None
) -> None:
    assert sums.leaves(np.float64(total), np.array(values)) == at


def rides(app: str = "n", **options: object) -> tuple[Topology, object]:
    topology = Topology(app)
    rows = topology.read.kafka("in", format=FORM, event_time="t", partitioned_by="k", **options)
    return topology, rows


def record(k: str, **cells: object) -> bytes:
    return json.dumps({"t": 0, "k": k, **cells}).encode()


def totals(**aggregates: object) -> Topology:
    topology, rows = rides()
    rows.filter(pl.col("k") != "no").group_by("k").agg(**aggregates).write.kafka(
        "out", key="k", mode="update"
    )
    return topology


@pytest.mark.parametrize("on_error", ["dead_letter", "skip", "fail"])
@pytest.mark.parametrize("size", [1, 2, 10])
def test_a_sum_that_has_no_room_ends_the_run_and_names_group_record_and_line(
    size: int, on_error: str
) -> None:
    topology, rows = rides(on_error=on_error)
    rows.filter(pl.col("k") != "no").group_by("k").agg(sum=F.sum("v")).write.kafka(
        "out", key="k", mode="update"
    )
    pipeline = Pipeline(topology.plan())
    state = pipeline.new_state()
    cells = [("a", HIGH), ("no", 1), ("b", 7), ("a", -1), ("a", 1), ("no", 2), ("a", 1), ("b", 1)]
    values = [record(k, v=v) for k, v in cells]
    with pytest.raises(RecordError) as error:
        for at in range(0, len(values), size):
            part = piece(values[at : at + size], partition=3, start=100 + at)
            pipeline.run([part], [state])
            for slab in state.values():
                slab.commit()
    told = rf"in\[3\] offset 106: step n/agg at {re.escape(str(Path(__file__)))}:\d+ .*'sum'.*k=a"
    assert re.match(told, error.value.message), error.value.message
    assert "Int64" in error.value.message
    assert "cast" in error.value.remedy


def test_of_several_partitions_the_one_is_named_whose_sum_has_no_room() -> None:
    pipeline = Pipeline(totals(sum=F.sum("v")).plan())
    states = [pipeline.new_state() for _ in range(3)]
    parts = [
        piece([record("a", v=HIGH)], partition=0, start=5),
        piece([], partition=1),
        piece([record("c", v=1), record("b", v=LOW), record("b", v=-1)], partition=2, start=40),
    ]
    with pytest.raises(RecordError, match=r"in\[2\] offset 42: .* k=b"):
        pipeline.run(parts, states)


def test_a_mean_whose_sum_has_no_room_is_named_and_is_never_null_for_ever() -> None:
    driver = TestDriver(totals(m=F.mean("x")), batch_records_max=2)
    driver.feed([record("a", x=x) for x in (1e308, 1e308, -1e308, -1e308)])
    with pytest.raises(RecordError, match=r"offset 1: .*'m', the mean of the group k=a"):
        driver.run()
    assert driver.values("out") == []


@pytest.mark.parametrize("size", [3, 20_000])
def test_a_sum_that_stays_in_its_type_is_right_in_whatever_order_it_is_taken(size: int) -> None:
    driver = TestDriver(totals(s=F.sum("x"), m=F.mean("x"), i=F.sum("v")), batch_records_max=size)
    pair = [record("a", x=1.7e308, v=HIGH), record("a", x=-1.7e308, v=-HIGH)]
    driver.feed([record("a", x=8.0, v=8 - HIGH), record("a", v=HIGH - 8)] + pair * 300)
    driver.run()
    assert driver.json("out")[-1] == {"k": "a", "s": 0.0, "m": 0.0, "i": 0}


def test_a_total_close_to_the_end_of_its_type_goes_on() -> None:
    driver = TestDriver(totals(s=F.sum("v")), batch_records_max=2)
    driver.feed([record("a", v=v) for v in (HIGH - 2, 1, None, 1)])
    driver.run()
    assert driver.json("out")[-1]["s"] == HIGH


def test_narrow_numbers_add_up_to_wide_ones() -> None:
    topology, rows = rides()
    narrow = rows.with_columns(pl.col("v").cast(pl.Int8), x=pl.col("x").cast(pl.Float32))
    narrow.group_by("k").agg(i=F.sum("v"), s=F.sum("x")).write.kafka("out", mode="update")
    driver = TestDriver(topology)
    driver.feed([record("a", v=127, x=3e38)] * 3)
    driver.run()
    (found,) = driver.json("out")
    assert found["i"] == 381
    assert found["s"] == pytest.approx(9e38)


def test_a_count_that_has_no_room_is_named() -> None:
    pipeline = Pipeline(totals(n=F.count(), some=F.count("v")).plan())
    state = pipeline.new_state()
    pipeline.run([piece([record("a", v=1)])], [state])
    for slab in state.values():
        slab._columns["some"][:] = HIGH - 1
        slab.commit()
    with pytest.raises(RecordError, match=r"offset 3: .*'some', the count of the group k=a"):
        pipeline.run([piece([record("a", v=1), record("a"), record("a", v=1)], start=1)], [state])


def test_what_a_division_by_nothing_gives_is_added_as_ieee_754_has_it() -> None:
    topology, rows = rides()
    ratio = rows.with_columns(q=pl.col("x") / pl.col("v"))
    ratio.group_by("k").agg(
        s=F.sum("q"), n=F.count("q"), m=F.mean("q"), low=F.min("q")
    ).write.kafka("out", mode="update")
    pipeline = Pipeline(topology.plan())
    state = pipeline.new_state()
    for number in range(3):
        pipeline.run([piece([record("a", x=1.0, v=0), record("b", x=0.0, v=0)])], [state])
        (rows_,) = (slab.dump() for slab in state.values())
        assert [row["s"] for row in rows_] == [np.inf, pytest.approx(np.nan, nan_ok=True)]
        assert [row["m.count"] for row in rows_] == [number + 1] * 2
        for slab in state.values():
            slab.commit()
