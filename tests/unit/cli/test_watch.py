from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from processor.cli.watch import DONE, LIVES, LOOK_S, Watch
from processor.clock import ManualClock, SystemClock
from processor.errors import ProcessorError


class Process:
    """A process that ends when it was made to; ``lives_s`` of ``None``: when it is told to."""

    sentinel = 0

    def __init__(self, clock, lives_s, code):
        self._clock, self._lives_s, self._code = clock, lives_s, code
        self.begun_s = clock.monotonic_s()
        self.told = False

    @property
    def exitcode(self):
        if self.told and self._lives_s is None and self._code == DONE:
            return DONE
        lived_s = self._clock.monotonic_s() - self.begun_s
        return None if self._lives_s is None or lived_s < self._lives_s else self._code

    def terminate(self):
        self.told = True

    def kill(self):
        self._lives_s, self._code = 0.0, -signal.SIGKILL


class Bench:
    """A watch on a clock that only its waiting moves on."""

    def __init__(self):
        self.clock = ManualClock()
        self.stop = threading.Event()
        self.stop_at_s = None
        self.watch = Watch(self.stop.is_set, self.stop.set, self.clock, self.wait, grace_s=35.0)
        self.made = {}

    def wait(self, processes, limit_s):
        assert 0 <= limit_s <= LOOK_S
        self.clock.advance(max(limit_s, 0.001))
        if self.stop_at_s is not None and self.clock.monotonic_s() >= self.stop_at_s:
            self.stop.set()

    def add(self, name, *lives):
        """A worker with these lives, of seconds and exit code; the last one again and again."""
        self.made[name] = []
        left = list(lives)

        def make():
            life = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(life, OSError):
                self.made[name].append(self.clock.monotonic_s())
                raise life
            process = Process(self.clock, *life)
            self.made[name].append(process)
            return process

        self.watch.add(name, make)

    def pauses(self, name, lives_s):
        """The seconds between a death and the start that follows, a look at most too many."""
        starts = [getattr(made, "begun_s", made) for made in self.made[name]]
        return [after - before - lives_s for before, after in pairwise(starts)]


LASTS = (None, DONE)
DEAF = (None, 1)  # does not end when it is told to


@pytest.fixture
def bench():
    return Bench()


def about(*seconds):
    return [pytest.approx(s, abs=2 * LOOK_S + 0.01) for s in seconds]


def test_workers_that_end_their_work_are_waited_for(bench):
    bench.add("a", (1, DONE))
    bench.add("b", (500, DONE))
    bench.watch.run()
    assert bench.clock.monotonic_s() == pytest.approx(500, abs=1)
    assert not bench.stop.is_set()


def test_a_step_that_ends_the_process_with_exit_code_0_is_no_success():
    bench = Bench()
    bench.add("worker 0 of rides", (3, 0))
    with pytest.raises(ProcessorError, match="ended by its own code, with exit code 0"):
        bench.watch.run()
    assert len(bench.made["worker 0 of rides"]) == LIVES


def test_one_that_is_killed_once_is_back_within_a_second(bench):
    bench.add("a", (20, -signal.SIGKILL), (10, DONE))
    bench.watch.run()
    assert bench.pauses("a", 20) == about(0.5)


def test_pauses_double_up_to_half_a_minute_and_then_the_run_ends_by_name(bench):
    bench.add("worker 1 of rides", (3, -signal.SIGSEGV))
    with pytest.raises(ProcessorError) as raised:
        bench.watch.run()
    assert bench.pauses("worker 1 of rides", 3) == about(0.5, 1, 2, 4, 8, 16, 30, 30, 30)
    assert len(bench.made["worker 1 of rides"]) == LIVES == 10
    message = raised.value.message
    assert "worker 1 of rides was killed by SIGSEGV, 10 times in a row within 60 s" in message
    assert "memory" in raised.value.remedy
    assert "--workers 1" in raised.value.remedy


def test_the_others_are_watched_all_the_while_and_stopped_in_order_at_the_end(bench):
    bench.add("bad", (0, -signal.SIGABRT))
    bench.add("good", LASTS)
    bench.add("killed", (30, -signal.SIGKILL), LASTS)
    with pytest.raises(ProcessorError, match="bad was killed by SIGABRT"):
        bench.watch.run()
    assert bench.pauses("killed", 30) == about(0.5)
    assert [process.told for process in bench.made["good"]] == [True]
    assert [process.told for process in bench.made["killed"]] == [False, True]


def test_a_long_life_is_started_again_at_once_and_the_short_ones_are_forgotten(bench):
    short, long = (1, -signal.SIGKILL), (61, -signal.SIGKILL)
    bench.add("a", *[short] * 9, long, *[short] * 9, (1, DONE))
    bench.watch.run()
    pauses = bench.pauses("a", 1)
    assert pauses[8] == about(30)[0]
    assert pauses[9] == about(60)[0]  # sixty more that it lived, and no pause
    assert pauses[10:13] == about(0.5, 1, 2)


def test_each_worker_has_pauses_of_its_own(bench):
    bench.add("a", *[(1, -signal.SIGKILL)] * 5, (1, DONE))
    bench.add("b", (1, -signal.SIGKILL), (200, DONE))
    bench.watch.run()
    assert bench.pauses("b", 1) == about(0.5)


def test_a_stop_is_heard_while_a_worker_is_put_off(bench):
    bench.add("bad", (1, -signal.SIGSEGV))
    bench.add("good", LASTS)
    bench.stop_at_s = 60.0  # in the middle of a pause of half a minute
    bench.watch.run()
    assert bench.clock.monotonic_s() < 60.5
    assert len(bench.made["bad"]) == 7
    assert bench.made["good"][0].told


def test_one_that_fails_is_not_started_again_and_stops_the_others(bench):
    bench.add("a", (2, 2))
    bench.add("b", LASTS)
    with pytest.raises(ProcessorError, match="1 of the workers failed"):
        bench.watch.run()
    assert len(bench.made["a"]) == 1
    assert bench.made["b"][0].told


def test_one_that_had_not_begun_to_listen_when_it_was_told_to_end_is_no_failure(bench):
    bench.add("a", (5, -signal.SIGTERM))
    bench.stop_at_s = 5.0
    bench.watch.run()


def test_one_that_cannot_be_started_is_tried_again_and_told(bench):
    bench.add("a", OSError(12, "Cannot allocate memory"), OSError(12, "Cannot"), (1, DONE))
    bench.watch.run()
    assert bench.pauses("a", 0) == about(0.5, 1)
    other = Bench()
    other.add("b", OSError(12, "Cannot allocate memory"))
    with pytest.raises(ProcessorError, match="b could not be started: Cannot allocate memory, 10"):
        other.watch.run()


def test_what_is_told_of_a_kill(bench):
    bench.add("worker 0 of rides", (1, -signal.SIGSEGV), (1, DONE))
    with capture_logs() as told:
        bench.watch.run()
    assert told == [
        {
            "event": "worker was killed: starting it again",
            "log_level": "warning",
            "worker": "worker 0 of rides",
            "what": "was killed by SIGSEGV",
            "signal": 11,
            "pause_s": 0.5,
            "in_a_row": 1,
        }
    ]


def test_real_processes_that_kill_themselves_are_started_again():
    spawn, made = multiprocessing.get_context("spawn"), []
    lives = [(signal.raise_signal, signal.SIGSEGV), (os.abort,), (os._exit, 0), (os._exit, DONE)]

    def make():
        target, *args = lives[len(made)]
        made.append(spawn.Process(target=target, args=args))
        made[-1].start()
        return made[-1]

    watch = Watch(lambda: False, lambda: None, SystemClock())
    watch.add("a", make)
    watch.run()
    assert [process.exitcode for process in made] == [-signal.SIGSEGV, -signal.SIGABRT, 0, DONE]


def test_a_worker_that_does_not_stop_in_its_time_is_killed_and_told(bench):
    bench.add("deaf", DEAF)
    bench.add("good", LASTS)
    bench.stop_at_s = 10.0
    with capture_logs() as told, pytest.raises(ProcessorError, match="1 of the workers failed"):
        bench.watch.run()
    assert 45.0 <= bench.clock.monotonic_s() < 46.0
    assert [(line["event"], line["worker"]) for line in told] == [
        ("worker did not stop: killing it", "deaf")
    ]
