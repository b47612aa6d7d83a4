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
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka import admin as untyped_admin

from benchmarks.contenders import Contender, Job
from benchmarks.data import Answer, Work, answer

kafka_admin: Any = untyped_admin

PARTITIONS: Final = 4
PREFIX: Final = 0.05
_SAMPLE_S: Final = 0.05
_LIMIT_S: Final = 600.0
_PAUSE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Figures:
    """One measured run; processor time and the broker's are in seconds per million records."""

    rate: float
    cpu_s: float
    broker_cpu_s: float | None
    rss_mb: float
    startup_s: float


def measure(name: str, job: Job, work: Work) -> Figures:
    """Run one contender on one stage; raises `AssertionError` for a wrong answer."""
    topics = _Topics(job)
    topics.create()
    try:
        return _measure(name, job, work)
    finally:
        topics.delete()


def _measure(name: str, job: Job, work: Work) -> Figures:
    split = round(len(work.values) * PREFIX)
    servers = {"bootstrap.servers": job.bootstrap_servers}
    client = servers | {"linger.ms": 20, "queue.buffering.max.messages": 200_000,
                        "partitioner": "murmur2_random"}  # fmt: skip
    _fill(Producer(client), job.source, work, range(split))
    progress = _Progress(job)
    warm = progress.ends()
    release = Producer(client | {"transactional.id": job.source,
                                 "transaction.timeout.ms": 900_000})  # fmt: skip
    release.init_transactions(30)
    release.begin_transaction()
    _fill(release, job.source, work, range(split, len(work.values)))
    everything = progress.ends()
    spawned = time.time()
    contender = Contender(name, job)
    sampler = _Sampler(contender, _broker(job.bootstrap_servers))
    sampler.start()
    try:
        progress.wait(warm, contender.check)
        time.sleep(_PAUSE_S)
        released = time.time()
        release.commit_transaction(30)
        progress.wait(everything, contender.check)
    except Exception as error:
        raise RuntimeError(f"{name}, stage {job.stage}: {error}\n{contender.tail()}") from error
    finally:
        sampler.end()
        contender.stop()
        progress.close()
    outputs = _read(job.bootstrap_servers, job.output)
    times = [stamp for _, stamp in outputs]
    last = max(times)
    _check(name, work, answer(work.stage, [value for value, _ in outputs]))
    dead = len(_read(job.bootstrap_servers, job.dead_letters))
    assert dead == work.malformed, f"{name}: {dead} dead letters, not {work.malformed}"
    count = len(work.values) - split
    cpu_s, broker_cpu_s = (sampler.between(released, last, c) / count * 1e6 for c in (1, 2))
    return Figures(
        rate=count / (last - released),
        cpu_s=cpu_s,
        broker_cpu_s=broker_cpu_s if sampler.broker else None,
        rss_mb=sampler.peak_bytes() / 2**20,
        startup_s=min(times) - spawned,
    )


def _check(name: str, work: Work, found: Answer) -> None:
    if dict.__eq__(found, work.answer):  # a Counter's own goes through the elements in Python
        return
    missing, extra = list((work.answer - found).items()), list((found - work.answer).items())
    raise AssertionError(
        f"{name}, stage {work.stage}: wrong answer: {len(missing)} missing, as {missing[:3]}; "
        f"{len(extra)} that should not be, as {extra[:3]}"
    )


def _fill(producer: Producer, topic: str, work: Work, rows: Iterable[int]) -> None:
    for i in rows:
        # Without a key the partitions take turns; with one it decides.
        where: dict[str, Any] = (
            {"partition": i % PARTITIONS} if work.keys is None else {"key": work.keys[i]}
        )
        while True:
            try:
                producer.produce(topic, work.values[i], **where)
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


class _Sampler(threading.Thread):
    """Processor time and memory of a contender, and processor time of the broker, over time."""

    def __init__(self, contender: Contender, broker: psutil.Process | None) -> None:
        super().__init__(daemon=True)
        self.broker = broker
        self._contender = contender
        self._cpu_s: dict[int, float] = {}
        self._rows: list[tuple[float, float, float, float]] = []
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(_SAMPLE_S):
            rss = 0
            for process in self._contender.tree():
                try:
                    self._cpu_s[process.pid] = _cpu_s(process)
                    rss += process.memory_info().rss
                except psutil.Error:
                    continue
            broker_s = _cpu_s(self.broker) if self.broker else 0.0
            self._rows.append((time.time(), sum(self._cpu_s.values()), broker_s, float(rss)))

    def end(self) -> None:
        self._ended.set()
        self.join()

    def between(self, start: float, end: float, column: int) -> float:
        rows = np.array(self._rows)
        first, last = np.interp([start, end], rows[:, 0], rows[:, column])
        return float(last - first)

    def peak_bytes(self) -> float:
        return max(row[3] for row in self._rows)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


class _Progress:
    """How far a group has committed, asked of the broker."""

    def __init__(self, job: Job) -> None:
        self._partitions = [TopicPartition(job.source, p) for p in range(PARTITIONS)]
        self._client = Consumer(
            {
                "bootstrap.servers": job.bootstrap_servers,
                "group.id": job.group,
                "isolation.level": "read_uncommitted",
            }
        )

    def ends(self) -> list[int]:
        """Where the input ends now, what lies in an open transaction included."""
        return [self._client.get_watermark_offsets(p, timeout=10)[1] for p in self._partitions]

    def wait(self, targets: list[int], check: Callable[[], None]) -> None:
        """Wait until the group has committed up to these offsets."""
        deadline = time.monotonic() + _LIMIT_S
        while True:
            try:
                found = self._client.committed(self._partitions, timeout=10)
            except KafkaException:
                found = []
            if found and all(p.offset >= end or not end for p, end in zip(found, targets,
                                                                        strict=True)):  # fmt: skip
                return
            check()
            assert time.monotonic() < deadline, f"not done within {_LIMIT_S:g} s: {found}"
            time.sleep(0.1)

    def close(self) -> None:
        self._client.close()


def _read(bootstrap_servers: str, topic: str) -> list[tuple[bytes, float]]:
    """Committed values with their times, in each partition's order."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": f"read-{topic}",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
    found: list[tuple[bytes, float]] = []
    ended: set[int | None] = set()
    while len(ended) < PARTITIONS:
        for message in consumer.consume(10_000, timeout=1.0):
            if message.error():
                ended.add(message.partition())
            else:
                found.append((message.value() or b"", message.timestamp()[1] / 1000))
    consumer.close()
    return found


class _Topics:
    """The topics of one run."""

    def __init__(self, job: Job) -> None:
        self._admin = kafka_admin.AdminClient(
            {"bootstrap.servers": job.bootstrap_servers, "log_level": 2}
        )
        self._source = job.source
        self._written = [job.output, job.dead_letters]

    def create(self) -> None:
        """The broker stamps what the contender writes: its times are nobody's claim."""
        stamped = {"message.timestamp.type": "LogAppendTime"}
        new = [kafka_admin.NewTopic(self._source, num_partitions=PARTITIONS, replication_factor=1)]
        new += [
            kafka_admin.NewTopic(t, num_partitions=PARTITIONS, replication_factor=1, config=stamped)
            for t in self._written
        ]
        for done in self._admin.create_topics(new).values():
            done.result()

    def delete(self) -> None:
        for done in self._admin.delete_topics([self._source, *self._written]).values():
            done.result()
