import gc
import weakref

from processor.clock import ManualClock
from processor.engine.rubbish import EVERY_S, collected_between_batches


class Cycle:
    def __init__(self) -> None:
        self.me = self


def test_cycles_are_collected_now_and_then_and_only_when_asked():
    clock = ManualClock()
    with collected_between_batches(clock) as tidy:
        assert not gc.isenabled()
        gone = weakref.ref(Cycle())
        tidy()
        assert gone() is not None
        clock.advance(EVERY_S)
        tidy()
        assert gone() is None


def test_the_collector_is_as_it_was_afterwards():
    with collected_between_batches(ManualClock()):
        pass
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
