"""Aggregates of numbers at the ends of their types, against Python's own."""

from __future__ import annotations

import json
import math
from functools import cache
from itertools import accumulate

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor import Json, Topology
from processor import functions as F
from processor.errors import RecordError
from processor.model.batch import Result
from processor.operators.aggregate import Aggregate, SumError, Term
from processor.operators.base import TASK, Context
from processor.operators.pipeline import Pipeline
from processor.plan.nodes import Aggregation, Plan
from processor.state import codec
from processor.state.slab import Slab
from tests.property.profile import QUICK
from tests.reference import interpret
from tests.unit.messages import piece

LOW, HIGH = -(2**63), 2**63 - 1
near = st.sampled_from([LOW, LOW + 1, -(2**62), -1, 0, 1, 2**62, HIGH - 1, HIGH])
whole = st.one_of(st.none(), near, st.integers(LOW, HIGH), st.integers(-5, 5))
records = st.lists(st.tuples(st.sampled_from("ab"), whole), min_size=1, max_size=12)
cuts = st.lists(st.integers(1, 5), min_size=1, max_size=12)


def topology() -> Topology:
    app = Topology("n")
    form = Json({"t": pl.Datetime("us"), "k": pl.String, "v": pl.Int64}, optional=frozenset({"v"}),
                millis=frozenset({"t"}))  # fmt: skip
    rows = app.read.kafka("in", format=form, event_time="t", partitioned_by="k", on_error="skip")
    rows.group_by("k").agg(
        n=F.count(), values=F.count("v"), sum=F.sum("v"), min=F.min("v"), max=F.max("v")
    ).write.kafka("out", key="k", mode="update")
    return app


@cache
def plan() -> Plan:
    """Made when it is first asked for: tests are collected in a process that is to fork."""
    return topology().plan()


def saved(state: dict[str, Slab]) -> dict[str, bytes]:
    """A snapshot of each operator."""
    empty = codec.Header(1, "a", "", "", 0, 0)
    return {name: codec.encode(empty, {name: slab.all()}) for name, slab in state.items()}


@QUICK
@given(records, cuts)
def test_whole_numbers_are_exact_or_the_first_record_that_has_no_room_is_named(
    rows: list[tuple[str, int | None]], sizes: list[int]
) -> None:
    values = [
        json.dumps({"t": 1, "k": k} | ({} if v is None else {"v": v})).encode() for k, v in rows
    ]
    outcome = interpret(values, window=None, delay=None)
    pipeline = Pipeline(plan())
    state, last, at = pipeline.new_state(), {}, 0
    for size in sizes * len(values):
        part = values[at : at + size]
        ends = outcome.leaves is not None and at <= outcome.leaves < at + size
        if ends:
            with pytest.raises(RecordError, match=rf"offset {outcome.leaves}: .*'sum'.*k="):
                pipeline.run([piece(part, start=at)], [state])
            return
        result = pipeline.run([piece(part, start=at)], [state])
        for slab in state.values():
            slab.commit(slab.changed())
        blobs, state = saved(state), pipeline.new_state()
        for name, blob in blobs.items():
            state[name].restore(codec.decode(blob)[1][name])
        last |= {row.pop("k"): row for o in result.outputs for row in map(json.loads, o.values)}
        at += size
    for (_, key), group in outcome.groups.items():
        del group["mean"]
        assert last[key] == group


KINDS = {
    pl.Int8: st.integers(-128, 127),
    pl.UInt32: st.integers(0, 2**32 - 1),
    pl.Int64: st.one_of(near, st.integers(LOW, HIGH)),
    pl.Float32: st.floats(width=32),
    pl.Float64: st.one_of(st.floats(), st.sampled_from([math.inf, -math.inf, math.nan, 1.7e308])),
    pl.Datetime("us"): st.one_of(near, st.integers(LOW, HIGH)),
    pl.Duration("ns"): st.one_of(near, st.integers(LOW, HIGH)),
    pl.Date: st.integers(-(2**31), 2**31 - 1),
}


def aggregated(function: str, kind: pl.DataType, batches: list[list]) -> object:
    """What comes of the batches, each committed and loaded again before the next."""
    term = Term(Aggregation("x", function, "v"), kind)  # type: ignore[arg-type]
    operator = Aggregate(
        "a", window=None, keys={"k": pl.Int64()}, terms=[term], mode="update", delay_us=None
    )
    slab = operator.new_state()
    for batch in batches:
        physical = pl.Series("v", batch, dtype=pl.Series([], dtype=kind).to_physical().dtype)
        frame = pl.DataFrame(
            {TASK: pl.Series([0] * len(batch), dtype=pl.UInt32), "k": [1] * len(batch)}
        ).with_columns(physical.cast(kind))
        context = Context([piece([])], [{"a": slab}], Result(event_times_max=[None]))
        out = operator.process(frame, context)
        slab.commit(slab.changed())
        blob = saved({"a": slab})["a"]
        slab = operator.new_state()
        slab.restore(codec.decode(blob)[1]["a"])
    return out["x"].to_physical().item()


def batched(values: list, size: int) -> list[list]:
    return [values[i : i + size] for i in range(0, len(values), size)]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@QUICK
@given(data=st.data())
def test_the_smallest_and_the_largest_are_of_the_values_and_null_without_one(
    kind: pl.DataType, data: st.DataObject
) -> None:
    values = data.draw(st.lists(st.one_of(st.none(), KINDS[kind]), min_size=1, max_size=8))
    numbers = [v for v in values if v is not None and not (isinstance(v, float) and math.isnan(v))]
    for function, of in (("min", min), ("max", max)):
        found = aggregated(function, kind, batched(values, data.draw(st.integers(1, 8))))
        assert found == (of(numbers) if numbers else None)


@QUICK
@given(
    st.lists(
        st.one_of(st.none(), st.sampled_from([1e308, -1e308, 1.7e308, 1.0, 0.1]), st.floats()),
        min_size=1, max_size=10,
    ),
    st.integers(1, 10),
)  # fmt: skip
def test_sums_and_means_of_fractions_follow_ieee_754_or_name_the_value_that_has_no_room(
    values: list[float | None], size: int
) -> None:
    given_ = [v for v in values if v is not None]
    sums = list(accumulate(given_))
    whole_until = next((i for i, v in enumerate(given_) if not math.isfinite(v)), len(given_))
    leaves = next((i for i in range(whole_until) if not math.isfinite(sums[i])), None)
    for function in ("sum", "mean"):
        if leaves is not None:
            with pytest.raises(SumError, match=f"the {function} of the group k=1, out of Float64"):
                aggregated(function, pl.Float64(), batched(values, size))
            continue
        found = aggregated(function, pl.Float64(), batched(values, size))
        if not given_:
            assert found == (0.0 if function == "sum" else None)
            continue
        total = sums[-1] if function == "sum" else sums[-1] / len(given_)
        room = 1e-15 * sum(abs(v) / 8 for v in given_) * 8 if math.isfinite(total) else 0.0
        assert found == total or (math.isnan(found) and math.isnan(total)) or (
            abs(found - total) <= 10 * room
        )  # fmt: skip
