"""A row that a step cannot compute is what a record that cannot be read is."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor import Json, Text, Topology
from processor import functions as F
from processor.errors import RecordError
from processor.model.batch import Result
from processor.operators.aggregate import Aggregate
from processor.operators.pipeline import Pipeline
from processor.operators.search import StepError
from tests.unit.messages import piece

FORM = Json({"t": pl.Datetime("us"), "k": pl.String, "v": pl.String}, millis=frozenset({"t"}))
ZONE = "Europe/Berlin"


def value(t: int, k: str, v: str) -> bytes:
    return json.dumps({"t": t * 1000, "k": k, "v": v}).encode()


def raising(cell: str) -> float:
    if cell == "n/a":
        raise LookupError(cell)
    return float(cell)


STEPS = {
    "cast": pl.col("v").cast(pl.Float64),
    "to_integer": pl.col("v").str.to_integer(),
    "to_datetime": pl.col("v").str.to_datetime("%s"),
    "json_decode": pl.col("v").str.json_decode(pl.Float64),
    "map_elements": pl.col("v").map_elements(raising, return_dtype=pl.Float64),
    "one result of another type": pl.col("v").map_elements(
        lambda cell: cell if cell == "n/a" else 1.0, return_dtype=pl.Float64
    ),
    "map_elements on a struct": pl.struct("k", "v").map_elements(
        lambda row: raising(row["v"]), return_dtype=pl.Float64
    ),
}


def source(topology: Topology, on_error: str = "dead_letter"):
    return topology.read.kafka(
        "in", format=FORM, event_time="t", partitioned_by="k", on_error=on_error
    )


def run(topology: Topology, *values: bytes, start: int = 0) -> Result:
    pipeline = Pipeline(topology.plan())
    return pipeline.run([piece(values, start=start)], [pipeline.new_state()])


def found(result: Result, topic: str) -> list:
    return [v for o in result.outputs if o.topic == topic for v in o.values]


@pytest.mark.filterwarnings("ignore::polars.exceptions.PolarsInefficientMapWarning")
@pytest.mark.parametrize("name", STEPS)
def test_a_row_that_an_expression_cannot_compute_is_a_dead_letter_and_its_neighbours_go_on(name):
    topology = Topology("a")
    source(topology).with_columns(w=STEPS[name]).select("k").write.kafka("out")
    values = [value(1, "a", "1"), value(2, "b", "n/a"), value(3, "c", "3")]
    result = run(topology, *values, start=100)
    assert [json.loads(v)["k"] for v in found(result, "out")] == ["a", "c"]
    assert found(result, "a-dead-letters") == [values[1]]
    (dead,) = (o for o in result.outputs if o.topic == "a-dead-letters")
    headers = {name: text.decode() for name, text in dead.headers[0]}
    assert headers["processor.offset"] == "101"
    assert headers["processor.stage"].startswith("a/with_columns at ")
    assert "test_refusal.py:" in headers["processor.stage"]
    assert headers["processor.error"]
    counts = result.counts
    assert (counts.read, counts.contributed, counts.dead_lettered) == (3, 2, 1)


@pytest.mark.parametrize("step", ["select", "filter", "agg", "write"])
def test_every_step_sets_aside_what_it_cannot_compute(step):
    topology = Topology("a")
    frame = source(topology)
    number = pl.col("v").cast(pl.Float64)
    if step == "select":
        frame.select("k", w=number).write.kafka("out")
    elif step == "filter":
        frame.filter(number > 0).write.kafka("out")
    elif step == "agg":
        frame.with_columns(w=number).group_by("k").agg(s=F.sum("w")).write.kafka(
            "out", mode="update"
        )
    else:
        frame.select("v").write.kafka("out", format=Picky())
    result = run(topology, value(1, "a", "1"), value(2, "b", "n/a"), value(3, "c", "1"))
    assert len(found(result, "out")) == 2
    assert len(found(result, "a-dead-letters")) == 1
    assert result.counts.balanced()


def test_a_record_that_an_aggregate_itself_cannot_take_is_set_aside(monkeypatch):
    grouped = Aggregate.grouped

    def picky(self, frame):
        if "n/a" in frame["v"]:
            raise ValueError("n/a cannot be grouped")
        return grouped(self, frame)

    monkeypatch.setattr(Aggregate, "grouped", picky)
    topology = Topology("a")
    source(topology).group_by("k").agg(n=F.count()).write.kafka("out", mode="update")
    result = run(topology, value(1, "a", "1"), value(2, "a", "n/a"), value(3, "a", "2"))
    assert [json.loads(v)["n"] for v in found(result, "out")] == [2]
    assert len(found(result, "a-dead-letters")) == 1


class Picky(Text):
    """Writes all but one."""

    def encode(self, frame):
        if "n/a" in frame.to_series():
            raise ValueError("n/a cannot be written")
        return super().encode(frame)


def test_a_panic_of_the_column_engine_is_a_row_that_cannot_be_computed():
    def panic(_: str) -> float:
        raise pl.exceptions.PanicException("index out of bounds")

    topology = Topology("a")
    odd = pl.when(pl.col("v") == "n/a").then(pl.col("v"))
    step = odd.map_elements(panic, return_dtype=pl.Float64, skip_nulls=True)
    source(topology).with_columns(w=step).select("k").write.kafka("out")
    result = run(topology, value(1, "a", "1"), value(2, "b", "n/a"))
    assert len(found(result, "out")) == len(found(result, "a-dead-letters")) == 1


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), asyncio.CancelledError()])
def test_what_would_end_a_program_elsewhere_is_a_row_that_cannot_be_computed(error):
    def ending(text: str) -> str:
        if text == "n/a":
            raise error
        return text

    topology = Topology("a")
    step = pl.col("v").map_elements(ending, return_dtype=pl.String)
    source(topology).with_columns(w=step).select("k").write.kafka("out")
    result = run(topology, value(1, "a", "1"), value(2, "b", "n/a"), value(3, "c", "2"))
    assert len(found(result, "out")) == 2
    assert len(found(result, "a-dead-letters")) == 1


def test_an_hour_that_a_zone_leaves_out_is_a_dead_letter():
    topology = Topology("a")
    zoned = pl.col("v").str.to_datetime("%F %R").dt.replace_time_zone(ZONE)
    source(topology).with_columns(w=zoned).select("k").write.kafka("out")
    hours = ["2026-03-29 01:30", "2026-03-29 02:30", "2026-03-29 03:30"]
    result = run(topology, *(value(i, "a", hour) for i, hour in enumerate(hours)))
    assert [json.loads(v)["v"] for v in found(result, "a-dead-letters")] == [hours[1]]


def test_a_topology_that_is_to_fail_says_where_and_in_which_step():
    topology = Topology("a")
    source(topology, "fail").with_columns(w=pl.col("v").cast(pl.Float64)).write.kafka("out")
    told = (
        r"in\[0\] offset 7: step a/with_columns at .*test_refusal.py:\d+ cannot compute .*\"n/a\""
    )
    with pytest.raises(RecordError, match=told) as error:
        run(topology, value(1, "a", "1"), value(2, "a", "1"), value(1, "a", "n/a"), start=5)
    assert "on_error" in error.value.remedy


def test_a_topology_that_is_to_skip_counts_them():
    topology = Topology("a")
    source(topology, "skip").with_columns(w=pl.col("v").cast(pl.Float64)).write.kafka("out")
    result = run(topology, value(1, "a", "1"), value(2, "a", "n/a"))
    assert (result.counts.skipped, result.counts.contributed) == (1, 1)
    assert [o.topic for o in result.outputs] == ["out"]


def test_a_record_that_one_path_cannot_compute_is_on_none():
    topology = Topology("a")
    both = source(topology)
    both.select("k").write.kafka("all")
    both.group_by("k").agg(n=F.count()).write.kafka("counts", mode="update")
    both.select(w=pl.col("v").cast(pl.Float64)).write.kafka("numbers")
    result = run(topology, value(1, "a", "1"), value(2, "a", "n/a"))
    assert len(found(result, "all")) == len(found(result, "numbers")) == 1
    assert [json.loads(v)["n"] for v in found(result, "counts")] == [1]
    assert len(found(result, "a-dead-letters")) == 1


def test_a_record_that_cannot_be_computed_moves_no_watermark():
    topology = Topology("a")
    late = source(topology).with_watermark("10 seconds", late="late")
    late.with_columns(w=pl.col("v").cast(pl.Float64)).select("k").write.kafka("out")
    result = run(topology, value(100, "a", "1"), value(900, "b", "n/a"), value(95, "c", "1"))
    assert [json.loads(v)["k"] for v in found(result, "out")] == ["a", "c"]
    assert result.counts.late == 0
    assert result.event_times_max == [100_000_000]


def test_a_late_record_is_late_and_not_computed():
    topology = Topology("a")
    late = source(topology).with_watermark("10 seconds", late="late")
    late.with_columns(w=pl.col("v").cast(pl.Float64)).select("k").write.kafka("out")
    result = run(topology, value(100, "a", "1"), value(50, "b", "n/a"))
    assert (result.counts.late, result.counts.dead_lettered) == (1, 0)


def test_a_group_that_a_step_behind_an_aggregate_cannot_compute_is_set_aside_and_stays_in_state():
    topology = Topology("a")
    totals = source(topology).group_by("k").agg(n=F.count(), last=F.max("t"))
    ratio = pl.col("k").cast(pl.Float64)
    totals.with_columns(w=ratio).select("n").write.kafka("out", mode="update")
    pipeline = Pipeline(topology.plan())
    state = pipeline.new_state()
    result = pipeline.run(
        [piece([value(1, "1", ""), value(2, "x", ""), value(3, "3", "")])], [state]
    )
    assert [json.loads(v) for v in found(result, "out")] == [{"n": 1}, {"n": 1}]
    (dead,) = found(result, "a-dead-letters")
    assert json.loads(dead)["k"] == "x"
    (headers,) = next(o.headers for o in result.outputs if o.topic == "a-dead-letters")
    assert dict(headers)["processor.offset"] == b"2"  # the last record that was read
    assert sum(slab.rows() for slab in state.values()) == 3
    assert result.counts.contributed == 3


def test_a_group_that_cannot_be_computed_ends_a_topology_that_is_to_fail():
    topology = Topology("a")
    totals = source(topology, "fail").group_by("k").agg(n=F.count())
    totals.with_columns(w=pl.col("k").cast(pl.Float64)).write.kafka("out", mode="update")
    with pytest.raises(RecordError, match=r"in\[0\] up to offset 0.*\"k\":\"x\""):
        run(topology, value(1, "x", ""))


def test_a_step_that_fails_for_the_batch_only_is_named():
    seen: Counter[str] = Counter()

    def once(cell: str) -> str:
        seen[cell] += 1
        if seen[cell] == 1 and cell == "x":
            raise TimeoutError
        return cell

    topology = Topology("a")
    step = pl.col("v").map_elements(once, return_dtype=pl.String)
    source(topology).with_columns(w=step).write.kafka("out")
    with pytest.raises(StepError, match=r"with_columns at .*test_refusal.py"):
        run(topology, value(1, "a", "x"), value(1, "a", "y"))


RECORDS = st.lists(
    st.tuples(
        st.integers(0, 60), st.sampled_from("abc"), st.sampled_from(["1", "2", "n/a", "", "x"])
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(RECORDS, st.lists(st.integers(1, 9), min_size=1))
def test_results_are_as_if_the_records_had_not_been_there_however_batches_are_cut(records, sizes):
    """Against looking at one record after the other."""
    topology = Topology("a")
    late = source(topology).with_watermark("10 seconds")
    numbers = late.filter(pl.col("v") != "x").with_columns(w=pl.col("v").cast(pl.Int64))
    window = F.window("t", "7 seconds")
    numbers.group_by(window, "k").agg(s=F.sum("w")).write.kafka("out", mode="update")
    pipeline = Pipeline(topology.plan())
    state = pipeline.new_state()
    values, at, time, dead = [value(*r) for r in records], 0, None, []
    sums: dict[tuple, int] = {}
    cuts = iter(sizes * len(records))
    while at < len(values):
        batch = values[at : at + next(cuts)]
        result = pipeline.run([piece(batch, start=at, event_time_max=time)], [state])
        assert result.counts.balanced()
        for slab in state.values():
            slab.commit(slab.changed())
        (time,) = result.event_times_max
        dead += found(result, "a-dead-letters")
        for row in map(json.loads, found(result, "out")):
            sums[row["window_start"], row["k"]] = row["s"]
        at += len(batch)

    expected, refused, highest = Counter(), [], None
    for (t, k, v), raw in zip(records, values, strict=True):
        if highest is not None and t < highest - 10:
            continue
        if v not in ("1", "2", "x"):
            refused.append(raw)
            continue
        highest = t if highest is None else max(t, highest)
        if v != "x":
            start = datetime(1970, 1, 1) + timedelta(seconds=t // 7 * 7)
            expected[start.isoformat(), k] += int(v)
    assert dead == refused
    assert sums == expected
