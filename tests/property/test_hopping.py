"""Windows that slide come to what one record after the other comes to, in dictionaries."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor import Topology
from processor import functions as F
from processor.operators.pipeline import Pipeline
from processor.operators.windows import Panes
from tests.property.profile import QUICK
from tests.property.test_pipeline import IN, Run, agrees, encoded, good, steps
from tests.reference import interpret, windows_of

BRIEF = settings(QUICK, max_examples=30)
SECOND = timedelta(seconds=1)
shapes = st.integers(1, 90).flatmap(
    lambda size: st.integers(1, size).flatmap(
        lambda slide: st.tuples(st.just(size), st.just(slide), st.integers(1 - slide, slide - 1))
    )
)


def topology(mode: Any, shape: tuple[int, int, int], delay: int | None) -> Topology:
    size, slide, first = shape
    app = Topology("p")
    rows = app.read.kafka("in", format=IN, event_time="t", partitioned_by="k", on_error="skip")
    if delay is not None:
        rows = rows.with_watermark(delay * SECOND)
    rows.group_by(F.window("t", size * SECOND, slide * SECOND, first * SECOND), "k").agg(
        n=F.count(), values=F.count("v"), sum=F.sum("v"), min=F.min("v"), max=F.max("v"),
        mean=F.mean("v"),
    ).write.kafka("out", key="k", mode=mode)  # fmt: skip
    return app


@pytest.mark.parametrize("mode", ["append", "update", "complete"])
@BRIEF
@given(data=st.data())
def test_any_batching_agrees_with_one_record_at_a_time(mode: str, data: st.DataObject) -> None:
    shape, delay = data.draw(shapes), data.draw(st.integers(0, 150))
    everything = data.draw(st.lists(good, max_size=25))
    parts: list[list] = [[], []]
    for record in everything:
        parts[len(record[1] or "") % 2].append(record)
    run = Run(Pipeline(topology(mode, shape, delay).plan()), 2)
    rest = [[encoded(r, millis=True) for r in part] for part in parts]
    cuts = data.draw(steps)
    while any(rest) or cuts:
        size, redo, then = cuts.pop(0) if cuts else (50, False, "")
        run.batch([part[:size] for part in rest], redo=redo)
        rest = [part[size:] for part in rest]
        if then:
            run.restart(snapshot=then == "snapshot")
    size, slide, first = shape
    outcomes = [
        interpret(
            [encoded(r, millis=False) for r in part],
            window=size, slide=slide, first=first, delay=delay,
        )
        for part in parts
    ]  # fmt: skip
    if mode == "append":
        assert len(run.rows) == sum(len(outcome.closed) for outcome in outcomes)
    agrees(run, outcomes, mode)
    for state, part in zip(run.states, parts, strict=True):
        _kept(state["aggregate-0"], part, shape, delay, mode)


def _kept(slab: Any, part: list[tuple], shape: tuple[int, int, int], delay: int, mode: str) -> None:
    """A pane is kept as long as a window with it is open, and no longer."""
    size, slide, first = shape
    largest = -(10**9)
    panes = set()
    pane = math.gcd(size, slide)
    for time, key, _ in part:
        largest = max(largest, time)
        if time >= largest - delay:
            panes.add(((time - first) // pane * pane + first, key))
    for_ever = mode == "complete"
    left = {
        (start, key) for start, key in panes
        if for_ever or max(windows_of(start, size, slide, first)) + size > largest - delay
    }  # fmt: skip
    assert slab.rows() == len(left)


@BRIEF
@given(shapes, st.integers(-200, 200))
def test_every_time_is_in_the_windows_that_python_says(
    shape: tuple[int, int, int], time: int
) -> None:
    window = F.window("t", *(SECOND * number for number in shape))
    panes = Panes(window)
    frame = pl.DataFrame({"t": [time * 1_000_000]}).cast(pl.Datetime("us"))
    pane = frame.select(panes.pane()).to_series().to_numpy()
    assert pane[0] <= time * 1_000_000 < pane[0] + panes.pane_us
    _, starts = panes.spread(pane, -(2**63), 2**63 - 1)
    wanted = [start * 1_000_000 for start in windows_of(time, *shape) if start is not None]
    assert sorted(starts.tolist()) == sorted(wanted)
