"""Redis or the brokers are away for a while: workers stay, tell so, and then go on."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager

from tests.catalogue import redis_faults as faults
from tests.catalogue.case import case
from tests.catalogue.counting import Counting
from tests.catalogue.recording import get, recorded
from tests.catalogue.redis_counting import SMALL
from tests.catalogue.redis_counting import Counting as RedisCounting
from tests.integration.running import until

METRICS = ("--metrics-port", 0)
STAYS = "stays, alive and not ready; metric, warning and alert name the server; goes on, exact"


class Away:
    """While the fault lasts, the worker is alive and not ready, and tells who does not answer.

    Args:
        name: the server's, as messages have it.
        metric: which is 0 meanwhile.
        alert: which fires meanwhile.
    """

    def __init__(self, run, servers, name, metric, alert):
        self.run, self.name, self.metric, self.alert = run, name, metric, alert
        self.recording = recorded(run, servers)
        self._directory = servers.directory
        until(lambda: get(self.recording.port, "readyz")[0] == 200, "that it is ready")

    @contextmanager
    def stays(self, fault, seconds):
        """Holds the worker to it; ``told`` is how long each took."""
        recording, run = self.recording, self.run
        with fault:
            began = time.monotonic()
            recording.mark()
            yield
            waited = recording.not_ready(self.name, "has not answered for")
            down = recording.shows(self.metric, 0)
            run.until(self._warned, "a warning that names it")
            while time.monotonic() - began < seconds:
                assert get(recording.port, "livez")[0] == 200, run.tail()
                assert run.process.poll() is None, run.tail()
                time.sleep(0.5)  # how long it lasts is the fault
        until(lambda: get(recording.port, "readyz")[0] == 200, "that it is ready again")
        recording.until(lambda look: look.samples and look.total(self.metric) == 1, "up again")
        recording.close()
        fired = recording.fired(self._directory)
        assert fired is None or self.alert in fired, fired
        self.told = f"not ready after {waited} s, {self.metric} 0 after {down} s, alerts {fired}"

    def _warned(self, run):
        lines = run.events("not well")
        return any(line["level"] == "warning" and self.name in line["what"] for line in lines)


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


def _redis_away(name, fault, seconds):
    @case(
        f"redis: {name} and away for {seconds} s",
        done="records come meanwhile; up again after that time",
        expected=STAYS,
    )
    def away(servers):
        counting = RedisCounting(servers)
        run = counting.running(*SMALL, *METRICS)
        away = Away(
            run, servers, f"redis://{counting.redis.address}", "store_up", "ProcessorStoreDown"
        )
        recording = away.recording
        with away.stays(fault(counting.redis), seconds):
            counting.feed()
            grown = recording.until(
                lambda look: (look.total("consumer_lag_records") or 0) > 0, "lag"
            )
            counting.feed()
            # The end is asked for, so lag grows though nothing is read any more.
            recording.shows("consumer_lag_records", 600)
            recording.until(lambda look: look.total("checkpoint_failures_total") > 0, "failures")
        counting.goes_on(run)
        return f"lag after {grown} s, {away.told}"


def _broker_away(name, fault, seconds):
    @case(
        f"kafka: all brokers {name} and away for {seconds} s",
        done="up again after that time, with their data; records come before and after",
        expected=STAYS,
    )
    def away(servers):
        broker = servers.own_kafka()
        stage = Counting(servers.bench(kafka=broker))
        stage.feed(200)
        run = stage.start("a", *METRICS)
        stage.counted(run)
        stage.feed(100).counted(run)
        away = Away(run, servers, f"Kafka at {broker.address}", "broker_up", "ProcessorBrokerDown")
        with away.stays(fault(broker), seconds):
            # Nothing is shown of what nobody can say.
            away.recording.until(
                lambda look: look.samples and not look.values("consumer_lag_records"), "no lag"
            )
        stage.feed(300).counted(run)
        stage.finish(run)
        return away.told


for _seconds in (20, 75):
    for _name, _fault in FAULTS.items():
        _redis_away(_name, _fault, _seconds)
        _broker_away(_name, _fault, _seconds)


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
