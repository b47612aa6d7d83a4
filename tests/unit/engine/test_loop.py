import pytest

from processor.clock import ManualClock
from processor.engine import loop
from processor.errors import FencedError
from processor.model.log import Output, TopicPartition
from processor.testing import TestDriver
from tests.topologies import ride, totals


class Scripted:
    """A worker whose turns are a list of what they raise."""

    member = True
    instance = "scripted.0"

    def __init__(self, turns) -> None:
        self.turns = list(turns)
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")

    def turn(self) -> bool:
        self.calls.append("turn")
        fault = self.turns.pop(0)
        if fault:
            raise fault
        return True

    def rejoin(self) -> None:
        self.calls.append("rejoin")

    def close(self, *, leave: bool) -> None:
        self.calls.append(f"close leave={leave}")


def test_a_stopped_worker_leaves_its_group():
    worker = Scripted([None, None])
    loop.run(worker, ManualClock(), stop=lambda: not worker.turns)
    assert worker.calls == ["start", "turn", "turn", "close leave=True"]


def test_a_fenced_worker_joins_anew():
    worker = Scripted([FencedError("x"), None])
    loop.run(worker, ManualClock(), stop=lambda: not worker.turns)
    assert worker.calls == ["start", "turn", "rejoin", "turn", "close leave=True"]


def test_a_worker_that_is_fenced_again_and_again_gives_up_with_the_reason():
    worker = Scripted([FencedError("taken")] * 10)
    with pytest.raises(FencedError, match="taken"):
        loop.run(worker, ManualClock(), stop=lambda: False)
    assert worker.calls.count("rejoin") == loop.REJOINS_MAX


def test_a_worker_that_the_group_has_forgotten_joins_anew():
    clock = ManualClock()
    worker = Scripted([None] * 12)
    worker.member = False
    loop.run(worker, clock, stop=lambda: not worker.turns, alive=lambda: clock.advance(10))
    assert worker.calls.count("rejoin") == 2


def test_being_fenced_now_and_then_is_borne():
    clock = ManualClock()
    worker = Scripted([FencedError("taken")] * 20)
    loop.run(worker, clock, stop=lambda: not worker.turns, alive=lambda: clock.advance(60))
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
