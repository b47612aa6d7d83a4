from __future__ import annotations

import polars as pl
import polars.selectors as cs
import pytest

from processor.plan.hoist import hoist
from tests.unit.plan.methods import same

pytestmark = pytest.mark.filterwarnings("ignore::polars.exceptions.PolarsInefficientMapWarning")
n = pl.col("n")
made = n.map_elements(same, return_dtype=pl.Int64)


@pytest.mark.parametrize(
    "expression",
    [
        made * 2,
        2 - made,
        (made * 2 > 3) & (n < 5),
        pl.when(made > 1).then(made + 1).otherwise(-made),
        pl.coalesce(made * 2, n).alias("m"),
        (made * 2).cast(pl.Float64).sqrt() * made,
        made.map_elements(same, return_dtype=pl.Int64) + 1,
        pl.struct(n, made.alias("x")).struct.field("x") * 2,
    ],
)
def test_what_is_left_with_the_functions_before_it_is_the_same(expression: pl.Expr) -> None:
    frame = pl.DataFrame({"n": [1, 2, 3, None]})
    functions, (rest,) = hoist([expression])
    assert functions
    assert "python_udf" not in str(rest)
    found = frame.with_columns(**functions).select(rest.alias("r"))
    assert found.equals(frame.select(expression.alias("r")))
    assert rest.meta.output_name() == expression.meta.output_name()


def test_a_function_is_taken_out_once() -> None:
    functions, rest = hoist([(made * 2).alias("a"), (made * 3).alias("b"), (n + 1).alias("c")])
    assert len(functions) == 1
    assert [expression.meta.output_name() for expression in rest] == ["a", "b", "c"]


def test_nothing_is_taken_out_beside_a_selector() -> None:
    expressions = [made * 2, cs.integer() + 1]
    assert hoist(expressions) == ({}, expressions)
