import gc
import weakref

from processor.clock import ManualClock
from processor.engine.running.rubbish import EVERY_S, collected_between_batches


class Cycle:
    def __init__(self) -> None:
        self.me = self


def test_cycles_are_collected_now_and_then_and_only_when_asked():
    clock = ManualClock()
    clock.advance(EVERY_S)
    with collected_between_batches(clock) as tidy:
        assert not gc.isenabled()
        gone = weakref.ref(Cycle())
        tidy()
        assert gone() is not None
        for seconds in (EVERY_S - 1, 1):
            assert gone() is not None
            clock.advance(seconds)
            tidy()
        assert gone() is None


def test_cycles_from_before_are_collected_first_since_nobody_looks_at_them_again():
    gc.disable()
    try:
        gone = weakref.ref(Cycle())
        assert gone() is not None
        with collected_between_batches(ManualClock()):
            assert gone() is None
            assert gc.get_freeze_count()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_collector_is_as_it_was_afterwards():
    with collected_between_batches(ManualClock()):
        pass
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
