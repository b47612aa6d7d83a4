from __future__ import annotations

from datetime import date, datetime

import numpy as np
import polars as pl
import pytest

from processor.formats import placing

KEYS = pl.DataFrame(
    {
        "s": ["", "ann", "Жанна", None, "x" * 300],
        "n": [0, -1, 2**63 - 1, None, -(2**63)],
        "u": pl.Series([0, 1, 2**64 - 1, None, 5], dtype=pl.UInt64),
        "b": [True, False, None, True, False],
        "d": [date(1970, 1, 1), date(2024, 2, 29), None, date(1, 1, 1), date(9999, 1, 1)],
        "at": [datetime(1970, 1, 1), None, datetime(2024, 1, 1), datetime(1, 1, 1), None],
    }
)


@pytest.mark.parametrize(
    ("column", "places"),
    [
        ("s", [535, 59, 121, 94, 369]), ("n", [535, 277, 920, 94, 300]),
        ("u", [535, 815, 277, 94, 119]), ("b", [815, 535, 94, 815, 535]),
        ("d", [535, 92, 94, 283, 196]), ("at", [535, 94, 176, 47, 94]),
    ],
)  # fmt: skip
def test_a_key_has_the_partition_that_it_has_always_had(column, places) -> None:
    assert placing.partitions(KEYS.select(column), 1000).tolist() == places


def test_keys_of_several_columns_have_one_as_well() -> None:
    assert placing.partitions(KEYS, 1000).tolist() == [25, 744, 839, 354, 331]


def test_a_key_lies_where_it_lies_whatever_comes_with_it() -> None:
    whole = placing.partitions(KEYS, 7)
    for row in range(KEYS.height):
        assert placing.partitions(KEYS[row : row + 1], 7).tolist() == [whole[row]]
    turned = placing.partitions(KEYS.reverse(), 7)
    assert turned.tolist() == whole[::-1].tolist()


@pytest.mark.parametrize("count", [2, 3, 4, 7, 12, 64])
def test_keys_are_spread_evenly(count) -> None:
    for keys in (
        pl.DataFrame({"k": [f"user-{n}" for n in range(20_000)]}),
        pl.DataFrame({"k": range(20_000)}),
        pl.DataFrame({"k": [n * 3_600_000_000 for n in range(20_000)]}),
        pl.DataFrame({"a": [n % 20 for n in range(20_000)], "k": [n // 20 for n in range(20_000)]}),
    ):
        held = np.bincount(placing.partitions(keys, count), minlength=count)
        assert held.min() > 0.8 * 20_000 / count
        assert held.max() < 1.2 * 20_000 / count


def test_no_rows_have_no_partitions() -> None:
    assert placing.partitions(KEYS.clear(), 3).tolist() == []
