from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl
import pytest

from processor import Json, Text, Topology
from processor import functions as F
from processor.model.batch import Counts
from processor.operators.pipeline import ConservationError, Pipeline
from processor.operators.search import StepError
from processor.operators.stateless import Select
from tests.unit.messages import piece

if TYPE_CHECKING:
    from processor import Frame

FORM = Json({"t": pl.Datetime("us"), "k": pl.String, "v": pl.Int64}, millis=frozenset({"t"}))


def rows(topology: Topology) -> Frame:
    return topology.read.kafka("in", format=FORM, event_time="t", partitioned_by="k")


def value(t: int, k: str, v: int) -> bytes:
    return json.dumps({"t": t * 1000, "k": k, "v": v}).encode()


def run(topology: Topology, *values: bytes) -> tuple[dict[str, list], object]:
    pipeline = Pipeline(topology.plan())
    result = pipeline.run([piece(values)], [pipeline.new_state()])
    out: dict[str, list] = {}
    for output in result.outputs:
        if output.topic != "a-dead-letters":
            out.setdefault(output.topic, []).extend(json.loads(v or b"0") for v in output.values)
    return out, result.counts


def test_rows_go_through_every_step_in_order() -> None:
    topology = Topology("a")
    kept = rows(topology).filter(pl.col("v") > 1).with_columns(w=pl.col("v") * 2)
    kept.select("k", "w", one=pl.lit(1)).write.kafka("out")
    out, counts = run(topology, value(1, "a", 1), value(1, "b", 2), b"junk")
    assert out["out"] == [{"k": "b", "w": 4, "one": 1}]
    assert (counts.read, counts.contributed, counts.filtered) == (3, 1, 1)
    assert counts.dead_lettered == 1


def test_where_two_paths_part_both_get_all_rows_and_nothing_counts_as_filtered() -> None:
    topology = Topology("a")
    both = rows(topology)
    both.filter(pl.col("v") > 1).select("v").write.kafka("big")
    both.filter(pl.col("v") <= 1).select("v").write.kafka("small")
    out, counts = run(topology, value(1, "a", 1), value(1, "b", 2))
    assert out == {"big": [{"v": 2}], "small": [{"v": 1}]}
    assert (counts.contributed, counts.filtered) == (2, 0)


def test_a_filter_behind_an_aggregate_drops_groups_not_records() -> None:
    topology = Topology("a")
    totals = rows(topology).group_by("k").agg(n=F.count())
    totals.filter(pl.col("n") > 1).write.kafka("out", mode="update")
    out, counts = run(topology, value(1, "a", 1), value(1, "b", 1), value(1, "b", 1))
    assert out["out"] == [{"k": "b", "n": 2}]
    assert (counts.contributed, counts.filtered) == (3, 0)


def test_late_and_filtered_records_are_counted_apart() -> None:
    topology = Topology("a")
    kept = rows(topology).with_watermark("10s").filter(pl.col("v") > 0)
    kept.group_by(F.window("t", "1 minute"), "k").agg(n=F.count()).write.kafka("out", mode="update")
    values = [value(100, "a", 1), value(89, "a", 1), value(90, "a", 0), value(90, "a", 1)]
    out, counts = run(topology, *values)
    assert out["out"] == [
        {
            "window_start": "1970-01-01T00:01:00",
            "window_end": "1970-01-01T00:02:00",
            "k": "a",
            "n": 2,
        }
    ]
    assert (counts.late, counts.filtered, counts.contributed) == (1, 1, 2)


def test_two_aggregates_keep_their_state_apart() -> None:
    topology = Topology("a")
    both = rows(topology)
    both.group_by("k").agg(n=F.count()).write.kafka("counts", mode="update")
    both.group_by("k", "v").agg(total=F.sum("v")).write.kafka("sums", mode="complete")
    pipeline = Pipeline(topology.plan())
    assert pipeline.stateful
    assert list(pipeline.new_state()) == ["aggregate-0", "aggregate-1"]
    out, _ = run(topology, value(1, "a", 1), value(1, "a", 2))
    assert out["counts"] == [{"k": "a", "n": 2}]
    assert len(out["sums"]) == 2


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_select_of_constants_has_a_row_for_each_record(count: int) -> None:
    topology = Topology("a")
    rows(topology).select(x=pl.lit(1)).write.kafka("out")
    out, counts = run(topology, *[value(1, "a", 1)] * count)
    assert out.get("out", []) == [{"x": 1}] * count
    assert counts.contributed == count


def test_a_step_that_loses_records_stops_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    topology = Topology("a")
    rows(topology).select("v").write.kafka("out")
    monkeypatch.setattr(Select, "process", lambda _self, frame, _context: frame[:2])
    with pytest.raises(ConservationError, match="made 2 rows out of 3"):
        run(topology, *[value(1, "a", 1)] * 3)


def test_a_function_that_loses_records_of_a_batch_and_none_alone_ends_the_run() -> None:
    topology = Topology("a")
    shrink = pl.col("v").map_batches(lambda s: s[:2], return_dtype=pl.Int64, is_elementwise=True)
    rows(topology).select(v=shrink).write.kafka("out")
    with pytest.raises(StepError, match="fails for the batch"):
        run(topology, *[value(1, "a", 1)] * 3)


def test_an_empty_batch_and_one_without_partitions_do_nothing() -> None:
    topology = Topology("a")
    rows(topology).group_by("k").agg(n=F.count()).write.kafka("out", mode="complete")
    pipeline = Pipeline(topology.plan())
    assert pipeline.run([piece([])], [pipeline.new_state()]).outputs == []
    assert pipeline.run([], []).outputs == []


def test_every_step_is_told_before_it_is_done_the_reading_first() -> None:
    topology = Topology("a")
    rows = topology.read.kafka("in", format=Text())
    rows.filter(pl.col("value") != "x").write.kafka("out", format=Text())
    pipeline, told = Pipeline(topology.plan()), []
    pipeline.run([piece([b"a"])], [{}], told.append)
    assert [name.partition(" at ")[0] for name in told] == ["decode", "filter", "write"]


def test_every_attempt_to_find_what_a_step_cannot_compute_is_told_as_one() -> None:
    topology = Topology("a")
    rows = topology.read.kafka("in", format=Text())
    rows.with_columns(n=pl.col("value").cast(pl.Int64)).write.kafka("out", key="value")
    pipeline, told = Pipeline(topology.plan()), []
    result = pipeline.run([piece([b"1"] * 15 + [b"x"])], [{}], told.append)
    assert result.counts.dead_lettered == 1
    # The first, five to find it among sixteen, and one without it.
    assert sum(name.startswith("with_columns at ") for name in told) >= 7


def test_records_that_do_not_add_up_stop_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    topology = Topology("a")
    rows(topology).select("k").write.kafka("out")
    monkeypatch.setattr(Counts, "balanced", lambda _: False)
    with pytest.raises(ConservationError, match="do not add up"):
        run(topology, value(1, "a", 1))
