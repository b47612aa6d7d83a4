"""Release, processor time, and the broker's times of what came out.

A contender first drains a prefix of the input, so that it is started, joined and warm. The rest
lies behind it in an open transaction; committing that releases all of it at once::

    prefix │ rest (open transaction) │ commit ──► last output appended
                                       └── the time and the processor time that count ──┘
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import psutil  # type: ignore[import-untyped]
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka import admin as untyped_admin

from benchmarks.contenders import CONTENDERS, Contender, Job
from benchmarks.work import Work, answer, difference

kafka_admin: Any = untyped_admin

PREFIX: Final = 0.05
_SAMPLE_S: Final = 0.05
_SHARE_EVERY: Final = 20  # samples; the proportional memory is dear to ask for
_LIMIT_S: Final = 300.0
_SETTLED_S: Final = 2.0
_IDLE_S: Final = 6.0
_WRONG_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Figures:
    """One measured run; processor time and the broker's are in seconds per million records.

    ``rss_mb`` counts what processes share once for each, ``pss_mb`` once in all.
    """

    rate: float
    cpu_s: float
    broker_cpu_s: float | None
    rss_mb: float
    pss_mb: float
    startup_s: float
    outputs: int


def measure(name: str, job: Job, work: Work) -> Figures:
    """Run one contender on one stage; raises `AssertionError` for a wrong answer."""
    topics = Topics(job)
    topics.create()
    try:
        return _measure(name, job, work)
    finally:
        topics.delete()


def _measure(name: str, job: Job, work: Work) -> Figures:
    split = round(len(work.values) * PREFIX)
    client = {"bootstrap.servers": job.bootstrap_servers, "linger.ms": 20,
              "queue.buffering.max.messages": 200_000}  # fmt: skip
    _fill(Producer(client), job, work, range(split))
    release = Producer(client | {"transactional.id": job.source,
                                 "transaction.timeout.ms": 900_000})  # fmt: skip
    release.init_transactions(30)
    release.begin_transaction()
    _fill(release, job, work, range(split, len(work.values)))
    output = _Output(job)
    spawned = time.time()
    contender = Contender(name, job)
    sampler = Sampler(contender, _broker(job.bootstrap_servers))
    sampler.start()
    try:
        output.wait(work.least(split), _SETTLED_S, contender.check)
        released = time.time()
        release.commit_transaction(30)
        output.wait(work.least(len(work.values)), _IDLE_S, contender.check)
        outputs, wrong = _judged(job, work)
        if wrong:  # a stage in front may have stood still for longer than that
            output.wait(0, _WRONG_S, contender.check)
            outputs, wrong = _judged(job, work)
    except Exception as error:
        raise RuntimeError(f"{name}, stage {job.stage}: {error}\n{contender.tail()}") from error
    finally:
        sampler.end()
        contender.stop()
        output.close()
    times = [stamp for _, stamp in outputs]
    last = max(times)
    assert not wrong, f"{name}, stage {job.stage}: {wrong}"
    if CONTENDERS[name].dead_letters:
        dead = len(read(job, job.dead_letters))
        assert dead == work.malformed, f"{name}: {dead} dead letters, not {work.malformed}"
    count = len(work.values) - split
    cpu_s, broker_cpu_s = (sampler.between(released, last, c) / count * 1e6 for c in (1, 2))
    return Figures(
        rate=count / (last - released),
        cpu_s=cpu_s,
        broker_cpu_s=broker_cpu_s if sampler.broker else None,
        rss_mb=sampler.peak_bytes(3) / 2**20,
        pss_mb=sampler.peak_bytes(4) / 2**20,
        startup_s=min(times) - spawned,
        outputs=len(outputs),
    )


def _judged(job: Job, work: Work) -> tuple[list[tuple[bytes, float]], str]:
    """All outputs, and what is wrong with them."""
    outputs = read(job, job.output)
    return outputs, difference(work.answer, answer(work.stage, (value for value, _ in outputs)))


def _fill(producer: Producer, job: Job, work: Work, rows: Iterable[int]) -> None:
    for i in rows:
        key = None if work.keys is None else work.keys[i]
        while True:
            try:
                producer.produce(
                    job.sources[i % work.topics], work.values[i], key,
                    partition=work.spread[i] % job.partitions,
                )  # fmt: skip
                break
            except BufferError:
                producer.poll(0.2)
    assert not producer.flush(120), "the input could not be written"


def _broker(bootstrap_servers: str) -> psutil.Process | None:
    """The broker's process, where it runs on this machine and may be looked at."""
    port = int(bootstrap_servers.split(",", 1)[0].rpartition(":")[2])
    try:
        for c in psutil.net_connections("tcp"):
            if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr[1] == port and c.pid:
                return psutil.Process(c.pid)
    except psutil.Error:
        pass
    return None


class Sampler(threading.Thread):
    """Processor time and memory of a contender, and processor time of the broker, over time."""

    def __init__(self, contender: Contender, broker: psutil.Process | None = None) -> None:
        super().__init__(daemon=True)
        self.broker = broker
        self._contender = contender
        self._cpu_s: dict[int, float] = {}
        self._rows: list[tuple[float, float, float, float, float]] = []
        self._ended = threading.Event()

    def run(self) -> None:
        shared = 0.0
        while not self._ended.wait(_SAMPLE_S):
            rss, processes = 0, self._contender.tree()
            for process in processes:
                try:
                    self._cpu_s[process.pid] = _cpu_s(process)
                    rss += process.memory_info().rss
                except psutil.Error:
                    continue
            if not len(self._rows) % _SHARE_EVERY:
                shared = _shared(processes)
            broker_s = _cpu_s(self.broker) if self.broker else 0.0
            cpu_s = sum(self._cpu_s.values())
            self._rows.append((time.time(), cpu_s, broker_s, float(rss), shared))

    def end(self) -> None:
        self._ended.set()
        self.join()

    def between(self, start: float, end: float, column: int) -> float:
        rows = np.array(self._rows)
        first, last = np.interp([start, end], rows[:, 0], rows[:, column])
        return float(last - first)

    def peak_bytes(self, column: int) -> float:
        return max(row[column] for row in self._rows)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _shared(processes: list[psutil.Process]) -> float:
    """Memory where a page that two processes share counts a half for each, in bytes."""
    found = 0.0
    for process in processes:
        try:
            found += process.memory_full_info().pss
        except (psutil.Error, AttributeError):
            continue
    return found


class _Output:
    """How much a contender has written, asked of the broker."""

    def __init__(self, job: Job) -> None:
        self._partitions = [TopicPartition(job.output, p) for p in range(job.partitions)]
        self._client = Consumer({"bootstrap.servers": job.bootstrap_servers, "group.id": "none"})

    def _count(self) -> int:
        return sum(self._client.get_watermark_offsets(p, timeout=10)[1] for p in self._partitions)

    def wait(self, least: int, idle_s: float, check: Callable[[], None]) -> None:
        """Wait for so many outputs, and until for so long there are no more."""
        begun = grown = time.monotonic()
        last = 0
        while True:
            count, now = self._count(), time.monotonic()
            if count != last:
                last, grown = count, now
            if count >= least and now - grown >= idle_s:
                return
            check()
            assert now - begun < _LIMIT_S, f"{count} outputs after {_LIMIT_S:g} s, not {least}"
            time.sleep(0.1)

    def close(self) -> None:
        self._client.close()


def read(job: Job, topic: str) -> list[tuple[bytes, float]]:
    """Committed values with their times, partition by partition, each in its order."""
    consumer = Consumer(
        {
            "bootstrap.servers": job.bootstrap_servers,
            "group.id": f"read-{topic}",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(topic, p, 0) for p in range(job.partitions)])
    found: list[list[tuple[bytes, float]]] = [[] for _ in range(job.partitions)]
    ended: set[int | None] = set()
    while len(ended) < job.partitions:
        for message in consumer.consume(10_000, timeout=1.0):
            partition = message.partition()
            if message.error() or partition is None:
                ended.add(partition)
            else:
                stamp = message.timestamp()[1] / 1000
                found[partition].append((message.value() or b"", stamp))
    consumer.close()
    return [row for rows in found for row in rows]


class Topics:
    """The topics of one run."""

    def __init__(self, job: Job) -> None:
        self._admin = kafka_admin.AdminClient(
            {"bootstrap.servers": job.bootstrap_servers, "log_level": 2}
        )
        self._job = job

    def create(self) -> None:
        """The broker stamps what the contender writes: its times are nobody's claim."""
        job, stamped = self._job, {"message.timestamp.type": "LogAppendTime"}
        new = [kafka_admin.NewTopic(topic, job.partitions, 1) for topic in job.sources]
        new += [
            kafka_admin.NewTopic(topic, job.partitions, 1, config=stamped)
            for topic in (job.output, job.dead_letters)
        ]
        for done in self._admin.create_topics(new).values():
            done.result()

    def delete(self) -> None:
        """Delete them, and what a contender has created after its group's name."""
        job = self._job
        own = [t for t in self._admin.list_topics(timeout=10).topics if job.group in t]
        for done in self._admin.delete_topics(own).values():
            done.result()
