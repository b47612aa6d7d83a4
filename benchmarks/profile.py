"""``python -m benchmarks.profile --stage 1``: where a worker's processor time goes.

One worker of `processor run` in this process, exactly once, over a topic of ``--records``. The
steps are timed by the processor time of their thread: *self* is without the steps inside. The
table's second half is the whole process by thread, the Kafka client's and the column engine's
among them. The first batches do not count: imports, connections and first compilations are in
them. The timers themselves are in the figures; they are a few microseconds a batch.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # as in a worker

from confluent_kafka import Producer

from benchmarks.contenders import TOPOLOGIES
from benchmarks.macro.spend import admin
from benchmarks.servers import servers
from benchmarks.work import MALFORMED, work
from processor.cli.main import cli
from processor.connectors.kafka.consumer import KafkaConsumer
from processor.connectors.kafka.producer import KafkaProducer
from processor.connectors.redis.store import RedisStore
from processor.engine.commit.checkpoint import Checkpointer
from processor.engine.commit.committer import Committer
from processor.engine.running import worker
from processor.engine.running.batcher import Batcher
from processor.engine.running.carry import Carry
from processor.engine.running.worker import Worker
from processor.formats import placing
from processor.formats.blocks import Blocks
from processor.formats.csv import Csv
from processor.formats.json import Json
from processor.metrics.catalogue import Metrics
from processor.operators.aggregate import Aggregate
from processor.operators.aside import Aside
from processor.operators.carried import Carried
from processor.operators.emit import Emit
from processor.operators.pipeline import Pipeline
from processor.operators.shuffle import Shuffle
from processor.operators.source import Decode
from processor.state.index import Index
from processor.state.keys import KeyCodec
from processor.state.slab import Slab
from topologies.uber.enrich import TRIP

PARTITIONS: Final = 4
WARM: Final = 8
STEPS: Final = {
    Worker: ("turn", "_run"),
    worker: ("report_of",),
    Batcher: ("poll", "_take"),
    KafkaConsumer: ("poll", "lag"),
    Pipeline: ("run",),
    Decode: ("decode", "admit", "behind", "_ahead"),
    Aside: ("records",),
    Csv: ("decode",),
    Json: ("decode", "encode"),
    Aggregate: ("process", "grouped", "_fold", "_closed", "_rows"),
    Slab: ("fold", "changed", "commit"),
    KeyCodec: ("encode",),
    Index: ("find", "insert", "rebuild"),
    Emit: ("process",),
    Shuffle: ("process", "_dealt"),
    Blocks: ("decode", "pack"),
    placing: ("partitions",),
    Carry: ("carried",),
    Carried: ("hear", "fold"),
    Checkpointer: ("prepare", "adopt", "tidy"),
    RedisStore: ("stage",),
    Committer: ("commit",),
    KafkaProducer: ("begin", "produce", "flush", "send_offsets", "commit"),
    Metrics: ("observe",),
}
NET: Final = (
    "processor.engine.running.worker.report_of", "Metrics.observe", "KafkaConsumer.lag",
    "Decode.behind", "Decode._ahead", "Aside.records",
)  # fmt: skip


@dataclass
class Timers:
    """Thread time by step, in seconds: with what is inside, and without."""

    whole: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    own: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _inside: Any = field(default_factory=threading.local)

    def time(self, kind: Any, name: str) -> None:
        """Let a method be timed from now on."""
        method: Callable[..., Any] = getattr(kind, name)
        label = f"{kind.__name__}.{name}"

        def timed(*args: Any, **options: Any) -> Any:
            stack = self._inside.__dict__.setdefault("stack", [])
            stack.append(0.0)
            started = time.thread_time()
            try:
                return method(*args, **options)
            finally:
                taken = time.thread_time() - started
                self.own[label] += taken - stack.pop()
                self.whole[label] += taken
                if stack:
                    stack[-1] += taken

        setattr(kind, name, timed)


@dataclass(frozen=True, slots=True)
class Mark:
    """All figures at the end of one batch."""

    records: int
    whole: dict[str, float]
    own: dict[str, float]
    threads: dict[str, float]
    wall_s: float


class Marks:
    """The marks of a run: taken when a batch is reported."""

    def __init__(self, timers: Timers) -> None:
        self._records = 0
        self.marks: list[Mark] = []
        report = getattr(worker, "report_of")  # noqa: B009 - a profile looks inside

        def reported(*args: Any, **options: Any) -> Any:
            made = report(*args, **options)
            self._records += made.records_in
            self.marks.append(
                Mark(
                    self._records, dict(timers.whole), dict(timers.own), _threads(),
                    time.perf_counter(),
                )
            )  # fmt: skip
            return made

        setattr(worker, "report_of", reported)  # noqa: B010


def _threads() -> dict[str, float]:
    """Processor time by thread's name, in seconds."""
    found: dict[str, float] = defaultdict(float)
    tick = os.sysconf("SC_CLK_TCK")
    for stat in Path("/proc/self/task").glob("*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        fields = text[text.rindex(")") + 2 :].split()
        found[text[text.index("(") + 1 : text.rindex(")")]] += (
            int(fields[11]) + int(fields[12])
        ) / tick
    return found


def _fill(bootstrap_servers: str, stage: int, records: int, *, clean: bool) -> dict[str, str]:
    suffix = uuid4().hex[:6]
    names = {n: f"{n}-{suffix}" for n in ("app", "input", "output", "dead_letters")}
    client = admin.AdminClient({"bootstrap.servers": bootstrap_servers})
    made = [admin.NewTopic(names[n], PARTITIONS, 1) for n in ("input", "output", "dead_letters")]
    for answer in client.create_topics(made).values():
        answer.result()
    job = work(stage, records)
    bad = set(TRIP.decode(job.values).bad) if clean and stage == 1 else set()
    producer = Producer({
        "bootstrap.servers": bootstrap_servers, "linger.ms": 20,
        "queue.buffering.max.messages": 2 * records,
    })  # fmt: skip
    for i, value in enumerate(job.values):
        if i not in bad:
            key = None if job.keys is None else job.keys[i]
            producer.produce(names["input"], value, key, partition=job.spread[i] % PARTITIONS)
        if not i % 10_000:
            producer.poll(0)
    producer.flush()
    return names


def _print(first: Mark, last: Mark, batches: int) -> None:
    records = last.records - first.records

    def us(before: dict[str, float], after: dict[str, float], name: str) -> float:
        return 1e6 * (after[name] - before.get(name, 0.0)) / records

    total = sum(us(first.threads, last.threads, name) for name in last.threads)
    rate = records / (last.wall_s - first.wall_s)
    print(f"{records:,} records in {batches} batches, {rate:,.0f} a second; "
          f"CPU {total:.2f} us a record\n")  # fmt: skip
    print("| step | CPU us | of it self | share of all |")
    print("|---|---:|---:|---:|")
    for name in last.whole:
        whole, own = us(first.whole, last.whole, name), us(first.own, last.own, name)
        if whole >= 0.001:
            print(f"| {name} | {whole:.3f} | {own:.3f} | {own / total:.1%} |")
    print("\n| thread | CPU us | share |\n|---|---:|---:|")
    for name in sorted(last.threads, key=lambda n: -last.threads[n]):
        if (taken := us(first.threads, last.threads, name)) >= 0.01:
            print(f"| {name} | {taken:.2f} | {taken / total:.1%} |")
    net = sum(us(first.own, last.own, name) for name in NET if name in last.own)
    print(f"\nreports, metrics, lateness and dead letters (without finding them): {net:.3f} us, "
          f"{net / total:.1%}")  # fmt: skip


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.profile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stage", type=int, choices=(1, 2, 3, 4), default=1)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--clean", action="store_true",
                        help=f"without the {MALFORMED:.1%}% that stage 1 cannot read")  # fmt: skip
    options = parser.parse_args()
    timers = Timers()
    for kind, names in STEPS.items():
        for name in names:
            timers.time(kind, name)
    marks = Marks(timers)
    with servers() as found:
        made = _fill(found.bootstrap_servers, options.stage, options.records, clean=options.clean)
        sets = [part for k, v in made.items() for part in ("--set", f"{k}={v}")]
        command = [
            "run", TOPOLOGIES[options.stage], "--bootstrap-servers", found.bootstrap_servers,
            "--redis-url", found.redis_url, "--workers", "1", "--log-level", "warning",
            "--until-caught-up", *sets,
        ]  # fmt: skip
        cli(command, standalone_mode=False)
    _print(marks.marks[WARM], marks.marks[-1], len(marks.marks) - WARM - 1)


if __name__ == "__main__":
    main()
