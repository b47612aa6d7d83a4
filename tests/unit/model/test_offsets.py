"""Ranges of offsets are a set of numbers, written shorter."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.model.offsets import Offsets

ranges = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 8)).map(lambda r: (r[0], r[0] + r[1])), max_size=12
).map(lambda found: [(a, b) for a, b in found if b > a])


def as_set(pairs):
    return {offset for start, end in pairs for offset in range(start, end)}


@settings(deadline=None)
@given(ranges)
def test_ranges_hold_the_numbers_that_are_in_them(pairs):
    wanted, made = as_set(pairs), Offsets.of(pairs)
    assert as_set(made.pairs()) == wanted
    assert len(made) == len(wanted)
    assert made.has(range(80)).tolist() == [n in wanted for n in range(80)]
    assert [n in made for n in range(80)] == [n in wanted for n in range(80)]
    assert made.end() == max(wanted, default=-1) + 1


@settings(deadline=None)
@given(ranges)
def test_ranges_are_as_few_as_can_be(pairs):
    made = Offsets.of(pairs).pairs()
    assert all(end < start for (_, end), (start, _) in pairwise(made))


@settings(deadline=None)
@given(ranges, ranges)
def test_two_together_have_what_either_has(one, other):
    both = Offsets.union([Offsets.of(one), Offsets.of(other)])
    assert as_set(both.pairs()) == as_set(one) | as_set(other)


@settings(deadline=None)
@given(ranges, st.integers(0, 80))
def test_a_gap_is_the_first_number_that_is_missing(pairs, low):
    wanted = as_set(pairs)
    assert Offsets.of(pairs).gap(low) == next(n for n in range(low, 200) if n not in wanted)


@settings(deadline=None)
@given(ranges)
def test_steps_are_read_back(pairs):
    made = Offsets.of(pairs)
    assert Offsets.from_steps(made.steps()).pairs() == made.pairs()


def test_the_largest_offsets_are_kept_exactly():
    made = Offsets.of([(2**63 - 3, 2**63 - 1)])
    assert Offsets.from_steps(made.steps()).pairs() == [(2**63 - 3, 2**63 - 1)]


@pytest.mark.parametrize("steps", [[1], [1, -1], [1, "2"], [1, 2.0], [True, 1], [2**62, 2**62]])
def test_what_are_no_steps_is_refused(steps):
    with pytest.raises(ValueError, match="no ranges"):
        Offsets.from_steps(steps)
