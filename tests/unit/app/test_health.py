import threading

import pytest

from processor.app import health
from processor.app.health import LIVE_S, Leave, Pulse, watchdog
from processor.app.lookout import BOUND_S, Lookout
from processor.clock import ManualClock
from processor.connectors.memory.log import MemoryLog
from processor.connectors.memory.store import MemoryStore
from processor.engine.running.pace import Pace
from processor.errors import RetriableError, TopicGoneError
from processor.metrics.standing import Standing
from processor.model.log import TopicPartition
from tests.unit.messages import piece

A = TopicPartition("in", 0)


STAYS = Leave(threading.Event(), 30.0)


class Worker:
    idle = True
    instance = "a-0"

    def __init__(self, clock, limit_s=300.0):
        self.pace = Pace(clock, records_max=10, limit_s=limit_s)
        self.stands, self.tasks = Standing(member=True, positions={A: 0}), {}

    def standing(self):
        return self.stands


def made(limit_s=300.0):
    """A worker that has all that it needs, and whose servers have just answered."""
    clock = ManualClock()
    worker, log = Worker(clock, limit_s), MemoryLog(clock)
    log.create({"in": 1, "out": 1})
    roles = {"in": "input", "out": "output"}
    lookout = Lookout(
        "app", roles, log, MemoryStore(), clock, names=("Kafka", "Redis"), worker=worker
    )
    pulse = Pulse(clock, clock.monotonic_s(), worker, lookout)
    asked(pulse)
    return pulse, clock


def asked(pulse):
    lookout = pulse.lookout
    lookout.broker.ask(lookout.ask_broker)
    lookout.store.ask(lookout.ask_store)


def test_a_worker_that_has_all_and_whose_servers_answer_is_ready():
    pulse, _ = made()
    assert pulse.live()
    assert pulse.ready()
    assert pulse.why() == ""
    shown = pulse.health()
    assert shown.ready
    assert shown.broker_up
    assert shown.store_up
    assert shown.lag == {A: 0}
    assert [topic.name for topic in shown.topics] == ["in", "out"]


def test_a_worker_that_has_not_begun_is_not_ready():
    clock = ManualClock()
    pulse = Pulse(clock, clock.monotonic_s())
    assert not pulse.ready()
    assert not pulse.health().ready


@pytest.mark.parametrize("server", ["Kafka", "Redis"])
def test_a_server_that_has_not_answered_within_the_bound_makes_it_not_ready(server):
    pulse, clock = made()
    clock.advance(BOUND_S)
    lookout = pulse.lookout
    if server == "Redis":
        lookout.broker.ask(lookout.ask_broker)
    else:
        lookout.store.ask(lookout.ask_store)
    assert pulse.live()
    assert pulse.why() == f"{server} has not answered for 6 s"
    assert not pulse.ready()
    asked(pulse)
    assert pulse.ready()


@pytest.mark.parametrize(
    ("standing", "why"),
    [
        (Standing(), "in no group"),
        (Standing(member=True, pending=3), "state of 3 partitions"),
        (Standing(member=True, pending=1, positions={A: 0}), "state of 1 partitions"),
        (Standing(member=True), "no partitions"),
        (Standing(positions={A: 0}), "in no group"),
    ],
)
def test_a_worker_that_lacks_something_is_not_ready_and_says_what(standing, why):
    pulse, _ = made()
    pulse.worker.stands = standing
    asked(pulse)
    assert why in pulse.why()
    assert not pulse.ready()
    assert not pulse.health().ready


def test_a_worker_that_waits_says_for_what():
    pulse, _ = made()
    pulse.worker.stands = Standing()
    pulse.failed("taking the identity: no answer")
    assert pulse.why().endswith("waits: taking the identity: no answer")


def test_a_worker_that_waits_until_another_plan_is_gone_is_ready():
    pulse, _ = made()
    pulse.worker.stands = Standing(standby=True)
    assert pulse.ready()


def test_a_standby_is_ready_while_others_have_all_partitions():
    pulse, _ = made()
    pulse.worker.stands = Standing(member=True)
    pulse.lookout._log.held = lambda group, timeout_s: frozenset({A})
    asked(pulse)
    assert pulse.ready()


def test_batches_that_fail_for_longer_than_the_bound_make_it_not_ready():
    pulse, clock = made()
    pulse.failed("no acknowledgement")
    clock.advance(BOUND_S - 0.1)
    pulse.failed("again none")
    assert pulse.ready()
    clock.advance(0.2)
    asked(pulse)
    assert pulse.why() == "batches have failed for 6 s: again none"
    pulse.well()
    assert pulse.ready()


def test_a_failed_batch_counts_no_more_when_there_is_nothing_left_to_do():
    pulse, clock = made()
    pulse.failed("x")
    pulse.worker.idle = False
    pulse.turned(60)
    clock.advance(BOUND_S)
    asked(pulse)
    assert not pulse.ready()
    pulse.worker.idle = True
    pulse.turned(60)
    assert pulse.ready()


def test_a_loop_whose_topic_is_gone_for_too_long_ends_by_name():
    pulse, clock = made()
    del pulse.lookout._log._broker.topics["in"]
    asked(pulse), asked(pulse)
    pulse.turned(10)
    clock.advance(10)
    asked(pulse)
    with pytest.raises(TopicGoneError, match="input topic in is not there"):
        pulse.turned(10)


def test_what_a_broker_that_is_silent_said_before_ends_nothing():
    pulse, clock = made()
    del pulse.lookout._log._broker.topics["in"]
    asked(pulse), asked(pulse)

    def away(*_):
        raise RetriableError("no answer")

    pulse.lookout._log.look = away
    clock.advance(60)
    asked(pulse)
    pulse.turned(10)


def test_a_loop_that_does_not_move_is_not_alive():
    pulse, clock = made()
    assert pulse.live()
    clock.advance(LIVE_S)
    asked(pulse)
    assert not pulse.live()
    assert not pulse.ready()
    pulse.beat()
    assert pulse.live()


def test_a_step_may_take_as_long_as_the_group_waits():
    pulse, clock = made(limit_s=200.0)
    pulse.worker.pace.begin([])
    pulse.worker.pace.step("select")
    clock.advance(199)
    assert pulse.live()
    clock.advance(1)
    assert not pulse.live()


def test_a_step_that_never_ends_ends_the_process_by_name(monkeypatch, capsys):
    class Ended(BaseException):
        pass

    def leave(code):
        raise Ended(code)

    monkeypatch.setattr(health.os, "_exit", leave)
    monkeypatch.setattr(health, "LOOK_S", 0.0)
    pulse, clock = made(limit_s=10.0)
    pulse.worker.pace.begin([piece([b"a"], start=7)])
    pulse.worker.pace.step("select at a.py:2")
    clock.advance(31)
    with pytest.raises(Ended, match="2"):
        watchdog(pulse.worker, threading.Event(), clock, STAYS)
    told = capsys.readouterr().err
    assert told.startswith("error (too_slow): in[0] offset 7: step select at a.py:2 has not ended")


def test_the_watch_ends_with_the_worker():
    pulse, clock = made()
    ended = threading.Event()
    ended.set()
    watchdog(pulse.worker, ended, clock, STAYS)


def test_a_worker_that_does_not_stop_in_its_time_ends_the_process_by_name(monkeypatch, capsys):
    class Ended(BaseException):
        pass

    def leave(code):
        raise Ended(code)

    monkeypatch.setattr(health.os, "_exit", leave)
    monkeypatch.setattr(health, "LOOK_S", 0.0)
    pulse, clock = made(limit_s=300.0)
    pulse.worker.pace.begin([piece([b"a"], start=7)])
    pulse.worker.pace.step("select at a.py:2")
    asked, looks = threading.Event(), []

    def look():
        looks.append(clock.monotonic_s())
        clock.advance(1)
        if len(looks) == 5:
            asked.set()

    with pytest.raises(Ended, match="2"):
        watchdog(pulse.worker, threading.Event(), clock, Leave(asked, 30.0), look)
    assert len(looks) == 35
    told = capsys.readouterr().err
    assert told.startswith("error (shutdown): a-0: told to stop, and not done after 30 s: it is at")
    assert "step select at a.py:2" in told
