import pytest

from processor.clock import ManualClock
from processor.engine.running.patience import MOST_S, Patience
from processor.errors import StoreAwayError


def test_the_first_try_comes_at_once_and_pauses_grow_up_to_a_limit():
    clock, pauses = ManualClock(), []
    patience = Patience(clock, clock.advance, tell=lambda _, pause_s: pauses.append(pause_s))
    for _ in range(9):
        patience.bear(StoreAwayError("away"))
    assert pauses == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, MOST_S, MOST_S]
    assert clock.monotonic_s() == pytest.approx(sum(pauses))


def test_after_all_was_well_a_fault_is_one_of_its_own():
    clock = ManualClock()
    patience = Patience(clock, clock.advance, give_up_after_s=10)
    for _ in range(5):
        for _ in range(6):
            patience.bear(StoreAwayError("away"))
        patience.well()
    assert clock.monotonic_s() > 10


def test_what_has_lasted_too_long_goes_up_with_its_remedy():
    clock = ManualClock()
    patience = Patience(clock, clock.advance, give_up_after_s=0)
    with pytest.raises(StoreAwayError, match="away; given up after 0 s") as caught:
        patience.bear(StoreAwayError("away", remedy="look"))
    assert caught.value.remedy == "look"


def test_that_all_is_well_again_is_told_once_with_how_long_it_was_not():
    clock, ends = ManualClock(), []
    patience = Patience(clock, clock.advance, ended=ends.append)
    patience.well()
    for _ in range(3):
        patience.bear(StoreAwayError("away"))
    patience.well()
    patience.well()
    patience.bear(StoreAwayError("away"))
    patience.well()
    assert ends == [pytest.approx(0.3), 0.0]
