"""What a delay loses and saves, to the microsecond; whole inputs are in the command's tests."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from processor.engine.late import Lateness, Loss

SECOND = 1_000_000


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def known() -> Lateness:
    groups = pl.DataFrame(
        {"window_start": [0, 0, 1, 1], "k": ["a", "a", "a", "b"],
         "__behind": [9 * SECOND, 1 * SECOND, 2 * SECOND, 2 * SECOND]},
    )  # fmt: skip
    return Lateness(9, np.array([9, 1, 2, 2]) * SECOND, groups)


@pytest.mark.parametrize(
    ("delay", "late", "windows"),
    [
        (0, 4, 3),
        (0.999999, 4, 3),
        (1, 3, 3),
        (1.999999, 3, 3),
        (2, 1, 1),
        (8.999999, 1, 1),
        (9, 0, 0),
    ],
)
def test_a_record_is_late_when_it_is_behind_by_more_than_the_delay(
    delay: float, late: int, windows: int
) -> None:
    assert known().loss(seconds(delay)) == Loss(seconds(delay), late, windows)


@pytest.mark.parametrize(
    ("share", "delay", "saving"),
    [
        (0.0, 0, 0), (0.1, 0, 1), (0.25, 0, 1), (0.26, 0, 2), (0.75, 0, 2), (0.76, 0, 9),
        (1.0, 0, 9), (0.5, 1, 2), (0.0, 1, 1), (0.3, 2, 9), (1.0, 9, 9), (0.5, 20, 20),
    ],
)  # fmt: skip
def test_the_shortest_delay_that_saves_a_share_of_what_another_loses(
    share: float, delay: float, saving: float
) -> None:
    assert known().saving(share, seconds(delay)) == seconds(saving)
