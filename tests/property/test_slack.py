"""Sums and means of fractions: no order of addition is called wrong, what is left out is."""

from __future__ import annotations

import json
import math
import sys

import polars as pl
from hypothesis import assume, given
from hypothesis import strategies as st

from processor import Csv, Json, Topology
from processor import functions as F
from processor.cli.verify import verified
from processor.testing import TestDriver
from tests.property.profile import QUICK

IN = Json({"k": pl.String, "x": pl.Float64}, optional=frozenset({"x"}))
scaled = st.builds(
    lambda digits, power: digits * 10.0**power, st.integers(-999, 999), st.integers(-12, 12)
)
fractions = st.one_of(
    scaled,
    st.sampled_from([0.1, 0.2, 0.3, -0.6, -0.1, 1e16, -1e16, 5e-324, -1e-310]),
    st.floats(-1e300, 1e300),
)
several = st.lists(fractions, min_size=1, max_size=30)


def run(values, size, form):
    topology = Topology("sums")
    rows = topology.read.kafka("in", format=IN, partitioned_by="k")
    sums = rows.group_by("k").agg(s=F.sum("x"), m=F.mean("x"))
    sums.write.kafka("out", key="k", mode="update", format=form)
    driver = TestDriver(topology, batch_records_max=size)
    driver.feed([{"k": "a", "x": x} for x in values], key="a")
    driver.feed([{"k": "b", "x": 0.5}, {"k": "a", "x": None}], key="a")
    driver.run()
    return driver


def findings(driver, *, total, count, form):
    """What is said when this is the last that was published of the group."""
    mean = total / count
    if isinstance(form, Csv):
        value = f"a,{total!r},{mean!r}"
    else:
        value = json.dumps({"k": "a", "s": total, "m": mean})
    driver.log.feed("out", [value.encode()], [b"a"])
    return [finding.kind for finding in verified(driver.plan, driver.log).findings]


LINE = Csv({"k": pl.String, "s": pl.Float64, "m": pl.Float64})
forms = st.sampled_from([Json(), Json(LINE.columns), LINE])


@QUICK
@given(st.data(), several, st.integers(1, 12), forms)
def test_no_order_of_addition_is_called_wrong(data, values, size, form):
    driver = run(values, size, form)
    assert verified(driver.plan, driver.log).findings == []
    total = 0.0
    for value in data.draw(st.permutations(values)):
        total += value
    assert findings(driver, total=total, count=len(values), form=form) == []
    exact = math.fsum(values)
    assert findings(driver, total=exact, count=len(values), form=form) == []


@QUICK
@given(st.data(), several, st.integers(1, 12), forms)
def test_what_is_left_out_is_found(data, values, size, form):
    bound = 2 * len(values) * sys.float_info.epsilon * math.fsum(map(abs, values))
    seen = [i for i, value in enumerate(values) if abs(value) > 2 * bound]
    assume(seen)
    left_out = data.draw(st.sampled_from(seen))
    rest = math.fsum(values[:left_out] + values[left_out + 1 :])
    driver = run(values, size, form)
    assert findings(driver, total=rest, count=len(values), form=form) == ["wrong"]
