import threading

import pytest

from processor.app import health
from processor.app.health import LIVE_S, Pulse, watchdog
from processor.clock import ManualClock
from processor.engine.pace import Pace
from tests.unit.messages import piece


class Worker:
    ready = True

    def __init__(self, clock, limit_s=300.0):
        self.pace = Pace(clock, records_max=10, limit_s=limit_s)


def made(limit_s=300.0):
    clock = ManualClock()
    return Pulse(clock, clock.monotonic_s(), Worker(clock, limit_s)), clock


def test_a_loop_that_does_not_move_is_not_alive():
    pulse, clock = made()
    assert pulse.live()
    clock.advance(LIVE_S)
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


def test_a_worker_that_waits_for_a_broker_is_alive_and_not_ready():
    pulse, _ = made()
    pulse.worker.ready = False
    assert pulse.live()
    assert not pulse.ready()


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
        watchdog(pulse.worker, threading.Event())
    told = capsys.readouterr().err
    assert told.startswith("error (too_slow): in[0] offset 7: step select at a.py:2 took 31.0 s")


def test_the_watch_ends_with_the_worker():
    pulse, _ = made()
    ended = threading.Event()
    ended.set()
    watchdog(pulse.worker, ended)
