"""Steps that look at the batch alone, beside the columns that no topology knows of."""

from __future__ import annotations

import polars as pl
import polars.selectors as cs
import pytest

from processor.model.batch import Result
from processor.operators.base import ROW, TASK, Context
from processor.operators.fit import Fit
from processor.operators.stateless import Extend, Filter, Select
from processor.plan.overflow import Check

HIDDEN = {TASK: pl.UInt32, ROW: pl.UInt32}
FRAME = pl.DataFrame(
    {TASK: [0, 0, 1], ROW: [7, 8, 9], "n": [1, -2, 3], "m": [4, 5, -6]},
    schema={**HIDDEN, "n": pl.Int64, "m": pl.Int64},
)


def rows(step, frame=FRAME):
    found = step.process(frame, Context([], [], Result()))
    known = [*(name for name in found.columns if name not in HIDDEN), *HIDDEN]
    return {name: found[name].to_list() for name in known if name in found.columns}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Select([cs.integer() * 2]), {"n": [2, -4, 6], "m": [8, 10, -12]}),
        (Select([pl.col("m"), cs.by_name("n")]), {"m": [4, 5, -6], "n": [1, -2, 3]}),
        (Select([pl.col("m") + 1]), {"m": [5, 6, -5]}),
        (Select([pl.lit(1).alias("one")]), {"one": [1, 1, 1]}),
        (
            Extend([(cs.integer() + 1).name.suffix("1")]),
            {"n": [1, -2, 3], "m": [4, 5, -6], "n1": [2, -1, 4], "m1": [5, 6, -5]},
        ),
        (Extend([pl.lit(1).alias("m")]), {"n": [1, -2, 3], "m": [1, 1, 1]}),
    ],
)
def test_an_expression_sees_the_topologys_columns_and_the_others_stay_as_they_were(step, expected):
    assert rows(step) == expected | {TASK: [0, 0, 1], ROW: [7, 8, 9]}
    assert rows(step, FRAME.drop(HIDDEN)) == expected


def test_a_predicate_sees_the_topologys_columns_only():
    """The first row's task is 0: it would not pass if it were looked at."""
    for predicate in (pl.all_horizontal(cs.integer() != 0) & (pl.col("n") > 0), pl.col("n") > 0):
        for counted in (True, False):
            step = Filter(predicate, counted)
            expected = {"n": [1, 3], "m": [4, -6]}
            assert rows(step) == expected | {TASK: [0, 1], ROW: [7, 9]}
            assert rows(step, FRAME.drop(HIDDEN)) == expected


@pytest.mark.parametrize("hidden", [True, False])
@pytest.mark.parametrize(
    "step",
    [
        lambda fit: Select([cs.integer() * 2], fit),
        lambda fit: Extend([pl.col("n") * 2], fit),
        lambda fit: Filter(pl.all_horizontal(cs.integer() != 0), counted=True, fit=fit),
        lambda fit: Filter(pl.col("n") != 0, counted=True, fit=fit),
    ],
)
def test_a_value_that_does_not_fit_is_told_whatever_the_expression_picks(step, hidden):
    frame = FRAME if hidden else FRAME.drop(HIDDEN)
    assert rows(step(Fit([Check("m", pl.col("m") > 5)], {})), frame)["n"]
    with pytest.raises(OverflowError, match="m does not fit"):
        rows(step(Fit([Check("m does not fit", pl.col("m") > 4)], {})), frame)
