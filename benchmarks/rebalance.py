"""``python -m benchmarks.rebalance``: how long partitions stand still when workers come and go.

Spend by user, exactly once, four partitions, ``--keys`` keys of state in all. Input trickles to all
of them all the time. A partition's stall is the longest time that its committed position stood
still around the change; "at rest" is what is usual.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from confluent_kafka import Producer
from confluent_kafka import admin as untyped_admin

from tests.services import climb, kafka_rungs, redis_rungs

admin: Any = untyped_admin
PARTITIONS = 4


class Trickle(threading.Thread):
    """A record to every partition, every ten milliseconds."""

    def __init__(self, servers: str, topic: str) -> None:
        super().__init__(daemon=True)
        self._producer = Producer({"bootstrap.servers": servers, "linger.ms": 1})
        self._topic = topic
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(0.01):
            for partition in range(PARTITIONS):
                self._producer.produce(self._topic, _payment(partition), partition=partition)
            self._producer.poll(0)


class Spend:
    """One worker; its commits by partition are read off its log."""

    def __init__(self, servers: str, redis_url: str, names: dict[str, str], instance: str) -> None:
        sets = [part for k, v in names.items() for part in ("--set", f"{k}={v}")]
        self.log = Path(tempfile.mkdtemp()) / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "processor", "run", "topologies.spend.totals",
                    "--bootstrap-servers", servers, "--redis-url", redis_url, "--instance",
                    instance, "--interval", "20ms", "--log-format", "json", *sets,
                ],
                stderr=log,
            )  # fmt: skip

    def owned(self) -> int:
        held: set[str] = set()
        for line in self.log.read_text().splitlines():
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("event") == "partitions changed":
                changed = set(event["partitions"])
                held = held | changed if event["kind"] == "assigned" else held - changed
        return len(held)


def _payment(number: int, ts: int = 1_406_851_200_000) -> bytes:
    return b'{"user":"u%07d","amount":1.25,"ts":%d}' % (number, ts)


def _until(done: object, limit_s: float = 180) -> None:
    deadline = time.monotonic() + limit_s
    while not done():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)


class Watch(threading.Thread):
    """Looks at the group's committed offsets, and keeps each partition's longest pause."""

    def __init__(self, servers: str, group: str, topic: str) -> None:
        super().__init__(daemon=True)
        from processor.connectors.kafka import KafkaLog

        self._log = KafkaLog(servers)
        self._group, self._topic = group, topic
        self.stopped = threading.Event()
        self.reset()

    def reset(self) -> None:
        self._at: dict[int, tuple[int, float]] = {}
        self.pauses: dict[int, float] = dict.fromkeys(range(PARTITIONS), 0.0)

    def run(self) -> None:
        while not self.stopped.wait(0.01):
            heads = self._log.committed(self._group, self._topic)
            now = time.monotonic()
            for partition, head in heads.items():
                offset, since = self._at.get(partition.partition, (-1, now))
                if head.offset != offset:
                    self._at[partition.partition] = (head.offset, now)
                    since = now if offset < 0 else since
                self.pauses[partition.partition] = max(
                    self.pauses[partition.partition], now - since
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    options = parser.parse_args()
    kafka, redis = climb(kafka_rungs()), climb(redis_rungs())
    try:
        for what, seconds in _measure(kafka.bootstrap_servers, redis.url, options.keys):
            print(f"{what}: longest stall of a partition {seconds:.2f} s", flush=True)
    finally:
        kafka.close()
        redis.close()


def _measure(servers: str, redis_url: str, keys: int) -> list[tuple[str, float]]:
    suffix = uuid4().hex[:6]
    names = {
        "app": f"spend-{suffix}", "input": f"payments-{suffix}", "output": f"totals-{suffix}",
        "dead_letters": f"dead-{suffix}",
    }  # fmt: skip
    client = admin.AdminClient({"bootstrap.servers": servers})
    made = [admin.NewTopic(names[n], PARTITIONS, 1) for n in ("input", "output", "dead_letters")]
    for answer in client.create_topics(made).values():
        answer.result()
    _fill(servers, names["input"], keys)
    first = Spend(servers, redis_url, names, "a")
    watch, trickle = Watch(servers, names["app"], names["input"]), Trickle(servers, names["input"])
    trickle.start()
    watch.start()
    ends = keys // PARTITIONS
    _until(lambda: all(o > ends for o, _ in watch._at.values()) and len(watch._at) == PARTITIONS)  # noqa: SLF001
    found: list[tuple[str, float]] = []

    def during(what: str, until: object) -> None:
        _until(until)
        time.sleep(2)
        found.append((what, max(watch.pauses.values())))

    def settle() -> None:
        time.sleep(2)
        watch.reset()
        time.sleep(0.5)

    settle()
    during("at rest", lambda: True)
    watch.reset()
    second = Spend(servers, redis_url, names, "b")
    during("scale-out, 1 to 2 workers", lambda: second.owned() == PARTITIONS // 2)
    settle()
    second.process.terminate()
    during("scale-in, SIGTERM", lambda: first.owned() == PARTITIONS)
    third = Spend(servers, redis_url, names, "b")
    _until(lambda: third.owned() == PARTITIONS // 2)
    settle()
    third.process.kill()
    during("SIGKILL, not started again", lambda: first.owned() == PARTITIONS)
    trickle.stopped.set()
    watch.stopped.set()
    watch.join()
    first.process.terminate()
    first.process.wait()
    return found


def _fill(servers: str, topic: str, keys: int) -> None:
    producer = Producer(
        {"bootstrap.servers": servers, "linger.ms": 20, "queue.buffering.max.messages": 2_000_000}
    )
    for number in range(keys):
        producer.produce(topic, _payment(number), partition=number % PARTITIONS)
        if not number % 10_000:
            producer.poll(0)
    producer.flush()


if __name__ == "__main__":
    main()
