from __future__ import annotations

import datetime as dt
import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor import Json, Topology
from processor import functions as F
from processor.operators.pipeline import Pipeline
from processor.state import codec
from tests.property.profile import QUICK
from tests.reference import Outcome, interpret
from tests.unit.messages import piece

WINDOW, DELAY = 60, 90
IN = Json(
    {"t": pl.Datetime("us"), "k": pl.String, "v": pl.Int64},
    optional=frozenset({"k", "v"}),
    millis=frozenset({"t"}),
)
EPOCH = dt.datetime(1970, 1, 1)

keys = st.one_of(st.none(), st.sampled_from(["a", "b", "b\0", "", "ä" * 5, "x" * 47, "y" * 48]))
good = st.builds(
    lambda t, k, v: (t, k, v),
    st.integers(-200, 400),
    keys,
    st.one_of(st.none(), st.integers(-(10**6), 10**6)),
)
junk = st.sampled_from(
    [
        None,
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"t":true}',
        b'{"t":"1","k":"a"}',
        b'{"t":1,"v":1.5}',
        b"{}",
    ]
)
records = st.lists(st.one_of(good, good, good, junk), max_size=40)


def encoded(record: object, *, millis: bool) -> bytes | None:
    if not isinstance(record, tuple):
        return record  # type: ignore[return-value]
    time, key, number = record
    body = {"t": time * 1000 if millis else time, "v": number, "k": key}
    return json.dumps(body, indent=1 if time % 7 == 0 else None).encode()


def topology(mode: str, *, window: bool, delay: bool, at_least: int | None) -> Topology:
    app = Topology("p")
    rows = app.read.kafka("in", format=IN, event_time="t", partitioned_by="k", on_error="skip")
    if delay:
        rows = rows.with_watermark(f"{DELAY}s")
    if at_least is not None:
        rows = rows.filter(pl.col("v") >= at_least)
    group = [F.window("t", f"{WINDOW}s")] if window else []
    totals = rows.group_by(*group, "k").agg(
        n=F.count(), values=F.count("v"), sum=F.sum("v"), min=F.min("v"), max=F.max("v"),
        mean=F.mean("v"),
    )  # fmt: skip
    totals.write.kafka("out", key="k", mode=mode)  # type: ignore[arg-type]
    return app


class Run:
    """The pipeline over partitions, batch by batch; what came out, by partition."""

    def __init__(self, pipeline: Pipeline, partitions: int) -> None:
        self.pipeline = pipeline
        self.states = [pipeline.new_state() for _ in range(partitions)]
        self.times: list[int | None] = [None] * partitions
        self.rows: list[dict] = []
        self.counts = dict.fromkeys(("read", "skipped", "late", "filtered"), 0)
        self.deltas: list[list[bytes]] = [[] for _ in range(partitions)]

    def batch(self, parts: list[list[bytes | None]], *, redo: bool) -> None:
        slices = [
            piece(values, partition=i, event_time_max=self.times[i])
            for i, values in enumerate(parts)
        ]
        result = self.pipeline.run(slices, self.states)
        if redo:
            for state in self.states:
                for slab in state.values():
                    slab.rollback()
            again = self.pipeline.run(slices, self.states)
            assert [o.values for o in again.outputs] == [o.values for o in result.outputs]
            assert again.counts == result.counts
            result = again
        for i, state in enumerate(self.states):
            rows = {name: slab.changed() for name, slab in state.items()}
            self.deltas[i].append(codec.encode(codec.Header(1, "a", "", "", 0, 0), rows))
            for name, slab in state.items():
                slab.commit(rows[name])
        self.times = result.event_times_max
        for name in self.counts:
            self.counts[name] += getattr(result.counts, name)
        for output in result.outputs:
            self.rows += [json.loads(value) for value in output.values]

    def restart(self, *, snapshot: bool) -> None:
        """Every task goes to another worker, which has its checkpoints only."""
        for i, old in enumerate(self.states):
            if snapshot:
                rows = {name: slab.all() for name, slab in old.items()}
                for slab in old.values():
                    slab.prune()
                self.deltas[i] = [codec.encode(codec.Header(1, "a", "", "", 0, 0), rows)]
            self.states[i] = self.pipeline.new_state()
            for blob in self.deltas[i]:
                for name, rows_ in codec.decode(blob)[1].items():
                    self.states[i][name].restore(rows_)


def seconds(text: str | None) -> int | None:
    return (
        None if text is None else round((dt.datetime.fromisoformat(text) - EPOCH).total_seconds())
    )


def last(rows: list[dict]) -> dict:
    found = {}
    for row in rows:
        start = seconds(row.pop("window_start", None))
        row.pop("window_end", None)
        found[start, row.pop("k")] = row
    return found


steps = st.lists(
    st.tuples(st.integers(0, 12), st.booleans(), st.sampled_from(["", "", "restart", "snapshot"])),
    min_size=1,
    max_size=8,
)


@pytest.mark.parametrize("at_least", [None, 0])
@pytest.mark.parametrize(
    ("mode", "window", "delay"),
    [
        ("update", True, True),
        ("append", True, True),
        ("update", False, True),
        ("update", True, False),
        ("complete", True, True),
    ],
)
@QUICK
@given(data=st.data())
def test_any_batching_agrees_with_one_record_at_a_time(
    mode: str, window: bool, delay: bool, at_least: int | None, data: st.DataObject
) -> None:
    # Each key lies in one partition, as `partitioned_by` promises.
    everything = data.draw(records)
    plan = topology(mode, window=window, delay=delay, at_least=at_least).plan()
    parts: list[list] = [[], []]
    for i, record in enumerate(everything):
        home = i % 2 if not isinstance(record, tuple) else len(record[1] or "") % 2
        parts[home].append(record)
    run = Run(Pipeline(plan), 2)
    rest = [[encoded(r, millis=True) for r in part] for part in parts]
    cuts = data.draw(steps)
    while any(rest) or cuts:
        size, redo, then = cuts.pop(0) if cuts else (50, False, "")
        run.batch([part[:size] for part in rest], redo=redo)
        rest = [part[size:] for part in rest]
        if then:
            run.restart(snapshot=then == "snapshot")

    outcomes = [
        interpret(
            [encoded(r, millis=False) for r in part],
            window=WINDOW if window else None,
            delay=DELAY if delay else None,
            at_least=at_least,
        )
        for part in parts
    ]
    check(run, outcomes, mode)


def check(run: Run, outcomes: list[Outcome], mode: str) -> None:
    agrees(run, outcomes, mode)
    live = sum(slab.rows() for state in run.states for slab in state.values())
    kept = sum(len(o.groups) - (len(o.closed) if mode != "complete" else 0) for o in outcomes)
    assert live == kept


def agrees(run: Run, outcomes: list[Outcome], mode: str) -> None:
    assert run.counts["read"] == sum(o.read for o in outcomes)
    assert run.counts["skipped"] == sum(o.bad for o in outcomes)
    assert run.counts["late"] == sum(o.late for o in outcomes)
    assert run.counts["filtered"] == sum(o.filtered for o in outcomes)
    expected = {}
    for outcome in outcomes:
        expected |= {
            key: group
            for key, group in outcome.groups.items()
            if mode != "append" or key in outcome.closed
        }
    if mode == "append":
        assert len(run.rows) == len(expected), "a closed window goes out once"
    assert last(run.rows) == expected
