"""``python -m benchmarks.macro.latency``: from produce to a consumer that reads committed records.

Stage 1 under ``--rate`` records a second, or with ``--stage 4`` two stages with a topic between
them. Each record has a latitude or a user of its own, by which its output is known again. A
record's time begins with the call of ``produce`` and ends when ``consume`` has returned its
output, in this process; contenders take turns, the table has medians of runs after four of each
that warm the broker. The producer lingers as the client does by itself, for up to 5 ms, which
counts; with less, the broker's work for many small requests takes more. Kafka Streams does without
the cache that holds updates back for its commit.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.contenders import CONTENDERS, Contender, Job
from benchmarks.measure import Sampler, Topics
from benchmarks.servers import Servers, machine, servers
from benchmarks.work import START_MS

NAMES: Final = ("processor", "kstreams")
OPTIONS: Final = {"processor": ("--interval", "0ms")}
STEP: Final = 1e-6  # degrees from one record's latitude to the next one's
SOUTH: Final = 40.0
_LIMIT_S: Final = 120.0
# A broker that has just started answers small requests many times more slowly, and gets faster for
# minutes: its compiler takes a fifth of a core of the two all that time.
WARM_RUNS: Final = 4


@dataclass(frozen=True, slots=True)
class Latency:
    """Of one run, in milliseconds; processor time in seconds per second."""

    contender: str
    stage: int
    p50: float
    p99: float
    longest: float
    cores: float


@dataclass(frozen=True, slots=True)
class _Form:
    """What the record of a number is, and which number an output has."""

    record: Callable[[int], bytes]
    number: Callable[[dict[str, Any]], int]


FORMS: Final = {
    1: _Form(
        lambda n: b"2014-08-01 00:00:00,%.6f,-73.9422,B02598" % (SOUTH + n * STEP),
        lambda row: round((row["lat"] - SOUTH) / STEP),
    ),
    4: _Form(
        lambda n: b'{"user":"u%07d","amount":1.25,"ts":%d}' % (n, START_MS),
        lambda row: int(row["user"][1:]),
    ),
}


class _Receiver(threading.Thread):
    """Notes when each record's output is there."""

    def __init__(self, job: Job, records: int) -> None:
        super().__init__(daemon=True)
        self.done = np.zeros(records)
        self.count = 0
        self.ended = threading.Event()
        self._number = FORMS[job.stage].number
        self._consumer = Consumer(
            {
                "bootstrap.servers": job.bootstrap_servers,
                "group.id": f"read-{job.output}",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
            }
        )
        self._consumer.assign([TopicPartition(job.output, p, 0) for p in range(job.partitions)])

    def run(self) -> None:
        while not self.ended.is_set():
            messages = self._consumer.consume(1, timeout=0.1)
            messages += self._consumer.consume(1_000, timeout=0)
            now = time.perf_counter()
            for message in messages:
                value = message.value()
                if message.error() is None and value is not None:
                    number = self._number(orjson.loads(value))
                    if not self.done[number]:
                        self.done[number] = now
                        self.count += 1
        self._consumer.close()


class _Sender:
    """Sends so many records a second."""

    def __init__(self, job: Job, records: int, rate: int) -> None:
        self.born = np.zeros(records)
        self.sent = 0
        self._job, self._rate, self._record = job, rate, FORMS[job.stage].record
        self._producer = Producer({"bootstrap.servers": job.bootstrap_servers})

    def send(self, records: int) -> None:
        started, first = time.perf_counter(), self.sent
        while self.sent < first + records:
            due = first + min(records, int((time.perf_counter() - started) * self._rate))
            while self.sent < due:
                value = self._record(self.sent)
                self.born[self.sent] = time.perf_counter()
                self._producer.produce(
                    self._job.source, value, partition=self.sent % self._job.partitions
                )
                self.sent += 1
            self._producer.poll(0)
            time.sleep(0.001)
        self._producer.flush()


def measure(name: str, job: Job, rate: int, warm_s: float, seconds: float) -> Latency:
    """One run; raises `AssertionError` when a record has not come out."""
    topics = Topics(job)
    topics.create()
    warm, paced = 1 + int(warm_s * rate), int(seconds * rate)
    sender, receiver = _Sender(job, warm + paced, rate), _Receiver(job, warm + paced)
    receiver.start()
    contender = Contender(name, job)
    sampler = Sampler(contender)
    sampler.start()
    try:
        sender.send(1)
        _wait(receiver, 1, contender)
        sender.send(warm - 1)
        begun = time.time()
        sender.send(paced)
        ended = time.time()
        _wait(receiver, warm + paced, contender)
    finally:
        sampler.end()
        contender.stop()
        receiver.ended.set()
        receiver.join()
        topics.delete()
    taken = 1e3 * (receiver.done - sender.born)[warm:]
    p50, p99 = np.percentile(taken, [50, 99]).tolist()
    cores = sampler.between(begun, ended, 1) / (ended - begun)
    return Latency(name, job.stage, p50, p99, float(taken.max()), cores)


def _wait(receiver: _Receiver, count: int, contender: Contender) -> None:
    deadline = time.monotonic() + _LIMIT_S
    while receiver.count < count:
        contender.check()
        assert time.monotonic() < deadline, f"{receiver.count} of {count} came out"
        time.sleep(0.05)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.macro.latency",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--contenders", nargs="+", choices=CONTENDERS, metavar="NAME",
        help="else the processor, and Kafka Streams if it is set up")  # fmt: skip
    add("--stage", type=int, choices=FORMS, default=1)
    add("--rate", type=int, default=5_000)
    add("--seconds", type=float, default=20)
    add("--warm", type=float, default=8, metavar="SECONDS")
    add("--runs", type=int, default=3)
    add("--warm-runs", type=int, default=WARM_RUNS, help="of each, not counted, before the others")
    add("--workers", type=int, default=2)
    add("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    names = options.contenders or [n for n in NAMES if CONTENDERS[n].does(options.stage)]
    found: list[Latency] = []
    with tempfile.TemporaryDirectory(prefix="latency-") as directory, servers() as given:
        about = machine(given.broker)
        print("\n".join(f"{k}: {v}" for k, v in about.items()), flush=True)
        for number in range(-options.warm_runs, options.runs):
            for name in names:
                job = _job(options, name, number, given, Path(directory))
                one = measure(name, job, options.rate, options.warm, options.seconds)
                found += [one] if number >= 0 else []
                label = f"run {number + 1}" if number >= 0 else "warm-up"
                print(f"{label}, {name}: p50 {one.p50:.1f} ms, p99 {one.p99:.1f} ms", flush=True)
    print(f"\nstage {options.stage}, {options.rate:,} records/s, {options.workers} workers\n")
    print("| contender | promise | p50 ms | p99 ms | longest ms | cores | runs |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for name in names:
        mine = [one for one in found if one.contender == name]
        p50, p99, longest, cores = (
            median(getattr(one, f) for one in mine) for f in ("p50", "p99", "longest", "cores")
        )
        print(f"| {name} | {CONTENDERS[name].promise} | {p50:.1f} | {p99:.1f} | {longest:.0f} "
              f"| {cores:.2f} | {len(mine)} |")  # fmt: skip
    if options.json:
        result = {"machine": about, "runs": [asdict(one) for one in found]}
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def _job(
    options: argparse.Namespace, name: str, number: int, given: Servers, directory: Path
) -> Job:
    tag = f"latency-{options.stage}-{name}-{number}-{int(time.time())}"
    return Job(
        options.stage, given.bootstrap_servers, given.redis_url, f"{tag}-in", f"{tag}-out",
        f"{tag}-dead", tag, options.workers, directory, options=OPTIONS.get(name, ()), quick=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
