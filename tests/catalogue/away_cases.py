"""Redis or the brokers are away for a while: workers stay, tell so, and then go on."""

from __future__ import annotations

import signal
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

from tests.catalogue import redis_faults as faults
from tests.catalogue.case import case
from tests.catalogue.counting import Counting
from tests.catalogue.redis_counting import SMALL
from tests.catalogue.redis_counting import Counting as RedisCounting
from tests.integration.running import until

METRICS = ("--metrics-port", 0)
STAYS = "stays, alive and not ready; goes on, exact"


def health(port, probe):
    """The status that a probe gets."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{probe}", timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code


@contextmanager
def stays(run, fault, seconds):
    """While the fault lasts, the worker is alive and not ready; then it is ready again."""
    port = run.until(lambda r: r.events("metrics"), "its port")[0]["port"]
    until(lambda: health(port, "readyz") == 200, "that it is ready")
    with fault:
        began = time.monotonic()
        yield
        until(lambda: health(port, "readyz") == 503, "that it is not ready")
        while time.monotonic() - began < seconds:
            assert health(port, "livez") == 200, run.tail()
            assert run.process.poll() is None, run.tail()
            time.sleep(0.5)  # how long it lasts is the fault
    until(lambda: health(port, "readyz") == 200, "that it is ready again")


@contextmanager
def killed(server):
    server.kill()
    yield
    server.restart()


@contextmanager
def stopped(server):
    server._process.send_signal(signal.SIGSTOP)
    yield
    server._process.send_signal(signal.SIGCONT)


FAULTS = {"killed": killed, "stopped": stopped}
SECONDS = {8: "killed", 70: None}


def _redis_away(name, fault, seconds, in_tests):
    @case(
        f"redis: {name} and away for {seconds} s",
        done="records come meanwhile; up again after that time",
        expected=STAYS,
        in_tests=in_tests,
    )
    def away(servers):
        counting = RedisCounting(servers)
        run = counting.running(*SMALL, *METRICS)
        with stays(run, fault(counting.redis), seconds):
            counting.feed()
        counting.goes_on(run)


def _broker_away(name, fault, seconds, in_tests):
    @case(
        f"kafka: all brokers {name} and away for {seconds} s",
        done="up again after that time, with their data; records come before and after",
        expected=STAYS,
        in_tests=in_tests,
    )
    def away(servers):
        broker = servers.own_kafka()
        stage = Counting(servers.bench(kafka=broker))
        stage.feed(200)
        run = stage.start("a", *METRICS)
        stage.counted(run)
        stage.feed(100)
        with stays(run, fault(broker), seconds):
            pass
        stage.feed(300).counted(run)
        stage.finish(run)


for _seconds, _in_tests in ((12, True), (75, False)):
    for _name, _fault in FAULTS.items():
        _redis_away(_name, _fault, _seconds, _in_tests and _name == "stopped")
        _broker_away(_name, _fault, _seconds, _in_tests and _name == "killed")


def _at_start(run_a, run_b, restart):
    for run in (run_a, run_b):
        run.until(lambda r: len(r.events("waiting")) > 2, "that it waits")
    restart()
    for run in (run_a, run_b):
        run.succeeds()


@case(
    "redis: away when a run starts",
    done="SIGKILL of Redis, a run starts with one worker, and another with two; then up again",
    expected="both wait and go on, exact",
    in_tests=True,
)
def redis_away_at_start(servers):
    counting = RedisCounting(servers)
    counting.running().terminate().succeeds(20)
    counting.feed()
    counting.redis.kill()
    runs = [counting.start("--until-caught-up", "--workers", workers) for workers in (1, 2)]
    _at_start(*runs, counting.redis.restart)
    counting.exact()


@case(
    "kafka: the broker is away when a run starts",
    done="SIGKILL, a run starts with one worker, and another with two; then up again",
    expected="both wait and go on, exact",
)
def broker_away_at_start(servers):
    broker = servers.own_kafka()
    stage = Counting(servers.bench(kafka=broker))
    stage.feed(300)
    broker.kill()
    runs = [
        stage.start(name, "--until-caught-up", "--workers", workers)
        for name, workers in (("a", 1), ("b", 2))
    ]
    _at_start(*runs, broker.restart)
    stage.exact()


@case(
    "kafka: away for good",
    done="SIGKILL of the broker until the run gives up (--give-up-after 20s), then up again",
    expected="stops by name: given up; then exact",
)
def broker_gone(servers):
    broker = servers.own_kafka()
    stage = Counting(servers.bench(kafka=broker))
    stage.feed(300)
    run = stage.start("a", "--give-up-after", "20s")
    stage.counted(run)
    broker.kill()
    stage.stops(run, "given up after", limit_s=150)
    broker.restart()
    stage.feed(100).catch_up()
    stage.exact()


@case(
    "redis: a worker that waits is told to stop",
    done="SIGKILL of Redis, SIGTERM of a worker that waits for it",
    expected="ends in order within seconds; then exact",
    in_tests=True,
)
def told_to_stop(servers):
    counting = RedisCounting(servers)
    run = counting.running()
    counting.redis.kill()
    run.until(lambda r: len(r.events("waiting")) > 1, "that it waits")
    run.terminate().succeeds(20)
    counting.redis.restart()
    counting.feed()
    counting.finish()


@case(
    "redis: what the committed head rests on is deleted under a living worker",
    done="snapshots and deltas deleted, no record comes, the input is trimmed; SIGKILL, started",
    expected="written anew from memory within seconds, under the policy stop; exact",
    in_tests=True,
)
def lost_under_a_worker(servers):
    counting = RedisCounting(servers)
    run = counting.running()
    for key in faults.blobs(counting.redis, "[ds]:*"):
        faults.ask(counting.redis, "DEL", key)
    batches = run.batches()
    run.until(lambda r: r.events("lost checkpoints healed"), "that it is seen")
    run.until(lambda r: r.batches() > batches, "that it is committed")
    counting.healed(run, "memory")
    run.kill()
    counting.trim()
    counting.goes_on(counting.start())
