from contextlib import contextmanager

import pytest

from processor.clock import ManualClock
from processor.engine.running import loop
from processor.engine.running.patience import Patience
from processor.engine.running.succession import LOOK_S
from processor.errors import (
    AbortableError,
    FencedError,
    IdentityTakenError,
    RegistryAwayError,
    RetriableError,
    StandbyError,
    StoreAwayError,
)
from processor.model.log import Output, TopicPartition
from processor.testing import TestDriver
from processor.testing.faults import FaultyLog
from tests.topologies import ride, totals


class Scripted:
    """A worker whose turns are a list of what they raise."""

    member = True
    instance = "scripted.0"

    def __init__(self, turns, *, idle=True, committed=True) -> None:
        self.turns = list(turns)
        self.idle, self._committed = idle, committed
        self.starts: list[Exception] = []
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")
        self._fail(self.starts)

    def turn(self) -> bool:
        self.calls.append("turn")
        self._fail(self.turns)
        return self._committed

    def rejoin(self) -> None:
        self.calls.append("rejoin")
        self._fail(self.starts)

    def _fail(self, faults) -> None:
        fault = faults.pop(0) if faults else None
        if fault:
            raise fault

    def close(self, *, leave: bool) -> None:
        self.calls.append(f"close leave={leave}")


def run(worker, clock=None, **options):
    """The loop, with a clock that its waiting moves on."""
    clock = clock or ManualClock()
    patience = Patience(clock, clock.advance, give_up_after_s=60)
    loop.run(worker, clock, patience, **options)


def test_a_stopped_worker_leaves_its_group():
    worker = Scripted([None, None])
    run(worker, stop=lambda: not worker.turns)
    assert worker.calls == ["start", "turn", "turn", "close leave=True"]


def test_a_fenced_worker_joins_anew():
    worker = Scripted([FencedError("x"), None])
    run(worker, stop=lambda: not worker.turns)
    assert worker.calls == ["start", "turn", "rejoin", "turn", "close leave=True"]


def test_a_worker_that_is_fenced_again_and_again_gives_up_with_the_reason():
    worker = Scripted([FencedError("taken")] * 20)
    with pytest.raises(FencedError, match="taken") as caught:
        run(worker, stop=lambda: False)
    assert worker.calls.count("rejoin") == loop.FENCED_MAX
    assert "one identity" in caught.value.remedy


class Slow(Scripted):
    """Each turn takes its time, so that nothing happens often."""

    def __init__(self, turns, clock, seconds) -> None:
        super().__init__(turns)
        self.clock, self.seconds = clock, seconds

    def turn(self) -> bool:
        self.clock.advance(self.seconds)
        return super().turn()

    def rejoin(self) -> None:
        super().rejoin()
        self.member = True


@pytest.mark.parametrize("apart_s", [0.5, 30, 100])
def test_two_workers_under_one_identity_are_told_by_name_however_slowly_they_fence(apart_s):
    clock = ManualClock()
    taken = IdentityTakenError("fenced by another with the same group.instance.id")
    worker = Slow([taken, None] * 20, clock, apart_s / 2)
    with pytest.raises(FencedError, match=r"runs under the identity scripted\.0") as c:
        run(worker, clock, stop=lambda: not worker.turns)
    assert "5 times within" in c.value.message
    assert worker.calls.count("rejoin") == loop.TAKEN_MAX - 1
    assert "--instance" in c.value.remedy


def test_an_identity_that_is_taken_now_and_then_is_no_twin():
    clock = ManualClock()
    worker = Slow([IdentityTakenError("x"), None] * 20, clock, loop.TAKEN_S / 7)
    run(worker, clock, stop=lambda: not worker.turns)
    assert worker.calls.count("rejoin") == 20


@pytest.mark.parametrize(
    "error",
    [RetriableError("no answer"), StoreAwayError("no answer"), RegistryAwayError("no answer")],
)
def test_what_is_away_for_less_than_is_borne_is_waited_for(error):
    clock = ManualClock()
    worker = Scripted([error] * 15 + [None] + [error] * 15 + [None])
    run(worker, clock, stop=lambda: not worker.turns)
    assert worker.calls.count("turn") == 32
    assert 60 < clock.monotonic_s() < 120


@pytest.mark.parametrize("error", [RetriableError, StoreAwayError, RegistryAwayError])
def test_what_is_away_for_longer_ends_the_worker_by_name(error):
    worker = Scripted([error("nobody answers", remedy="look")] * 100)
    with pytest.raises(error, match=r"nobody answers; given up after 6[0-5] s") as caught:
        run(worker, stop=lambda: False)
    assert caught.value.remedy == "look"
    assert worker.calls[-1] == "close leave=True"


@pytest.mark.parametrize("error", [StoreAwayError, RegistryAwayError])
def test_while_the_store_or_the_registry_is_away_the_worker_stays_in_its_group(error):
    worker = Scripted([error("away")] * 3)
    run(worker, stop=lambda: not worker.turns)
    assert "rejoin" not in worker.calls
    assert not worker.member


def test_a_log_that_is_away_at_the_start_is_waited_for():
    worker = Scripted([None])
    worker.starts = [RetriableError("no answer")] * 3
    run(worker, stop=lambda: not worker.turns)
    assert worker.calls == ["start", "rejoin", "rejoin", "rejoin", "turn", "close leave=True"]


def test_a_worker_that_is_told_to_stop_while_it_waits_stops():
    worker = Scripted([StoreAwayError("away")] * 100)
    clock = ManualClock()
    run(worker, clock, stop=lambda: clock.monotonic_s() > 5)
    assert worker.calls[-1] == "close leave=True"


def test_turns_that_find_nothing_to_do_because_it_is_not_ready_do_not_count_as_well():
    clock = ManualClock()
    worker = Scripted([RetriableError("away"), None] * 100, idle=False, committed=False)
    with pytest.raises(RetriableError, match="given up"):
        run(worker, clock, stop=lambda: False)


@pytest.mark.parametrize(("idle", "committed"), [(True, False), (False, True)])
def test_a_turn_that_commits_or_finds_nothing_to_do_ends_the_patience_so_far(idle, committed):
    clock = ManualClock()
    worker = Scripted([RetriableError("away"), None] * 100, idle=idle, committed=committed)
    run(worker, clock, stop=lambda: not worker.turns)
    # Every fault is the first of its kind, and that is tried again at once.
    assert clock.monotonic_s() == 0


def test_who_has_to_wait_for_another_plan_stands_outside_and_looks_again():
    clock = ManualClock()
    worker = Scripted([StandbyError("another plan"), None])
    before_s = clock.monotonic_s()
    run(worker, clock, stop=lambda: not worker.turns)
    # It did not join anew, as who was fenced does: to begin is to look whether it may.
    assert worker.calls == [
        "start", "turn", "close leave=True", "start", "turn", "close leave=True"
    ]  # fmt: skip
    assert clock.monotonic_s() - before_s == LOOK_S


def test_waiting_for_another_plan_is_no_trouble_that_adds_up():
    clock = ManualClock()
    worker = Scripted([RetriableError("away"), StandbyError("another plan")] * 100)
    run(worker, clock, stop=lambda: not worker.turns)
    assert clock.monotonic_s() == 100 * LOOK_S


def test_a_worker_that_the_group_has_forgotten_joins_anew():
    clock = ManualClock()
    worker = Scripted([None] * 13)
    worker.member = False
    run(worker, clock, stop=lambda: not worker.turns, alive=lambda: clock.advance(10))
    assert worker.calls.count("rejoin") == 2


def test_a_batch_that_fails_again_and_again_is_given_up_with_what_is_in_the_way():
    log = FaultyLog(ManualClock())
    driver = TestDriver(totals(), log=log)
    worker = driver._workers[0]
    worker.close(leave=True)
    driver.feed([ride(1)])
    log.before["flush"] = [AbortableError("1 records for out are not acknowledged")] * 10_000
    clock = ManualClock()
    # Between two tries the worker joins anew and has nothing to do for a moment: it is not well.
    with pytest.raises(RetriableError, match=r"for out are not acknowledged; given up after 6\d s"):
        run(worker, clock, stop=lambda: False)
    assert driver.values("out") == []


@pytest.mark.parametrize(("apart_s", "borne"), [(12.0, True), (11.0, False)])
def test_being_fenced_so_many_times_within_so_long_is_a_twins_doing(apart_s, borne):
    assert apart_s * loop.FENCED_MAX == loop.FENCED_S or not borne
    clock = ManualClock()
    clock.advance(1000)
    worker = Scripted([FencedError("taken"), None] * 20)
    options = {"stop": lambda: not worker.turns, "alive": lambda: clock.advance(apart_s / 2)}
    if borne:
        run(worker, clock, **options)
    else:
        with pytest.raises(FencedError, match="taken"):
            run(worker, clock, **options)
    assert worker.calls.count("rejoin") == (20 if borne else loop.FENCED_MAX)


def test_who_has_a_twin_is_named_once():
    said = "scripted.0: another member took the identity"
    worker = Scripted([FencedError(said)] * 20)
    with pytest.raises(FencedError) as caught:
        run(worker, stop=lambda: False)
    assert caught.value.message.count("scripted.0") == 1
    assert "(another member took the identity)" in caught.value.message


def test_who_is_in_no_group_is_adrift_so_long_after_it_last_was_in_one():
    clock = ManualClock()
    adrift, worker = loop._Adrift(clock), Scripted([])
    clock.advance(100)
    adrift.check(worker)
    worker.member = False
    clock.advance(loop.ADRIFT_S)
    adrift.check(worker)
    clock.advance(0.5)
    with pytest.raises(RetriableError, match=r"scripted\.0: in no group for 45 s"):
        adrift.check(worker)


def test_rubbish_is_collected_after_every_turn():
    tidied = []

    @contextmanager
    def noted(_):
        yield lambda: tidied.append(True)

    worker = Scripted([None, RetriableError("away"), None])
    run(worker, stop=lambda: not worker.turns, collector=noted)
    assert len(tidied) == 3


class Settled:
    """A worker that has nothing left to do in its partitions."""

    settled = True

    def __init__(self, *partitions: int) -> None:
        self.tasks = dict.fromkeys(TopicPartition("rides", p) for p in partitions)

    def caught_up(self, ends) -> bool:
        return True


@pytest.mark.parametrize(("end", "caught_up"), [(0, True), (1, False), (2, False)])
def test_of_others_partitions_only_those_with_records_are_waited_for(end, caught_up):
    driver = TestDriver(totals(), partitions=2, workers=0)
    ends = {TopicPartition("rides", 0): 1, TopicPartition("rides", 1): end}
    found = loop.CaughtUp(Settled(0), driver.log, driver.clock, "totals", ends)
    assert found() == caught_up


def test_what_others_have_committed_is_asked_now_and_then_and_not_known_in_between(monkeypatch):
    driver = TestDriver(totals(), partitions=2, workers=0)
    ends = {TopicPartition("rides", p): 1 for p in range(2)}
    found = loop.CaughtUp(Settled(0), driver.log, driver.clock, "totals", ends)
    asked = []

    def away(*_):
        asked.append(True)
        raise RetriableError("no answer")

    monkeypatch.setattr(driver.log, "committed", away)
    for wait_s, times in ((0, 1), (0, 1), (loop.ASK_S / 2, 1), (loop.ASK_S / 2, 2), (0, 2)):
        driver.advance(wait_s)
        assert not found()
        assert len(asked) == times


def test_being_fenced_now_and_then_is_borne():
    clock = ManualClock()
    worker = Scripted([FencedError("taken"), None] * 20)
    run(worker, clock, stop=lambda: not worker.turns, alive=lambda: clock.advance(60))
    assert worker.calls.count("rejoin") == 20


def test_caught_up_passes_the_marks_of_transactions_behind_the_last_record():
    driver = TestDriver(totals())
    producer = driver.log.producer("feeder")
    producer.start(0)
    producer.begin()
    driver.log.feed("rides", [b'{"k":"a","t":"2024-01-01T00:00:00","n":1}'])
    producer.produce(Output("rides", [b"x"]))
    producer.abort(0)
    worker = driver._workers[0]
    end = driver.log.describe(["rides"])["rides"].extents[0].high
    caught_up = loop.CaughtUp(
        worker, driver.log, driver.clock, "totals", {TopicPartition("rides", 0): end}
    )
    assert not caught_up()
    driver.run()
    assert caught_up()
    assert driver.committed()[TopicPartition("rides", 0)].offset == end
    assert len(driver.json("out")) == 1


def test_caught_up_waits_for_the_partitions_of_other_workers():
    driver = TestDriver(totals(), partitions=2, workers=2)
    for number in range(20):
        driver.feed([ride(number)], key=f"k{number % 5}")
    ends = {
        TopicPartition("rides", p): extent.high
        for p, extent in driver.log.describe(["rides"])["rides"].extents.items()
    }
    worker = driver._workers[0]
    caught_up = loop.CaughtUp(worker, driver.log, driver.clock, "totals", ends)
    for _ in range(6):
        driver.turn(0)
        driver.clock.advance(1)
        assert not caught_up()
    driver.run()
    driver.clock.advance(1)
    assert caught_up()


def test_caught_up_does_not_wait_for_others_to_pass_the_marks_of_transactions():
    driver = TestDriver(totals(), partitions=2, workers=2)
    driver.run()
    producer = driver.log.producer("feeder")
    producer.start(0)
    for key in (b"k0", b"k1", b"k2"):
        producer.begin()
        producer.produce(Output("rides", [b'{"k":"a","t":"2024-01-01T00:00:00","n":1}'], [key]))
        producer.commit(0)
    ends = {
        TopicPartition("rides", p): extent.high
        for p, extent in driver.log.describe(["rides"])["rides"].extents.items()
    }
    driver.run()
    worker = driver._workers[0]
    caught_up = loop.CaughtUp(worker, driver.log, driver.clock, "totals", ends)
    assert caught_up()
    heads = {p: committed.offset for p, committed in driver.committed().items()}
    assert {p for p, end in ends.items() if heads[p] < end} == driver.owned(1)


def test_an_empty_topic_is_caught_up_at_once():
    driver = TestDriver(totals())
    driver.run()
    caught_up = loop.CaughtUp(
        driver._workers[0], driver.log, driver.clock, "totals", {TopicPartition("rides", 0): 0}
    )
    assert caught_up()
