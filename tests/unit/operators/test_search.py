from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.errors import RecordError
from processor.operators.search import _REASON_MAX, StepError, failing, told


class Step:
    """Fails for some rows, and counts what is asked of it."""

    def __init__(self, bad: set[int]) -> None:
        self.bad, self.calls, self.rows = bad, 0, 0

    def __call__(self, first: int, end: int) -> None:
        assert 0 <= first < end
        self.calls += 1
        self.rows += end - first
        if refused := sorted(self.bad & set(range(first, end))):
            raise ValueError(f"row {refused[0]}")


@settings(deadline=None)
@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_all_rows_that_fail_are_found_and_no_others(case):
    rows, bad = case
    step = Step(bad or {0})
    assert failing(step, rows) == {row: f"ValueError: row {row}" for row in step.bad}


@settings(deadline=None)
@given(st.sets(st.integers(0, 4095), min_size=1, max_size=40))
def test_the_search_takes_few_runs_and_few_rows(bad):
    step = Step(bad)
    failing(step, 4096)
    assert step.calls <= len(bad) * (math.log2(4096) + 3) + 1
    assert step.rows <= len(bad) * 2 * 4096


def test_where_all_rows_fail_each_is_looked_at_two_times_and_no_more():
    step = Step(set(range(1000)))
    assert len(failing(step, 1000)) == 1000
    assert step.calls <= 2 * 1000 + 30


def test_a_step_that_fails_for_no_row_alone_is_told():
    def together(first: int, end: int) -> None:
        if end - first > 1:
            raise ValueError

    with pytest.raises(StepError, match="not for the record"):
        failing(together, 4)


def test_what_the_processor_itself_refuses_is_not_searched():
    def refuse(first: int, end: int) -> None:
        raise RecordError(f"{first} to {end}")

    with pytest.raises(RecordError):
        failing(refuse, 4)


def test_a_reason_is_one_line_of_bounded_length():
    assert told(ValueError()) == "ValueError"
    assert len(told(ValueError("x" * 10_000))) < 400
    assert "\n" not in told(ValueError("a\nb"))
    just = "x" * (_REASON_MAX - len("ValueError: "))
    assert told(ValueError(just)) == f"ValueError: {just}"
    assert told(ValueError(f"{just}y")) == f"ValueError: {just}…"
