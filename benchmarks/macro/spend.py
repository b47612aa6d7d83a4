"""What several benchmarks share: spend by user in a process of its own, its topics and its log."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from confluent_kafka import Producer
from confluent_kafka import admin as untyped_admin

from tests.services import climb, kafka_rungs, redis_rungs

admin: Any = untyped_admin
START_MS = 1_406_851_200_000
LIMIT_S = 180.0


@contextmanager
def servers() -> Iterator[tuple[Any, Any]]:
    """A broker and a Redis: those given, else started as the tests start theirs."""
    kafka = climb(kafka_rungs())
    try:
        redis = climb(redis_rungs())
        try:
            yield kafka, redis
        finally:
            redis.close()
    finally:
        kafka.close()


def topics(bootstrap_servers: str, partitions: int) -> dict[str, str]:
    """Fresh topics, and an application id, by the names of the topology's parameters."""
    suffix = uuid4().hex[:6]
    names = {
        "app": f"spend-{suffix}", "input": f"payments-{suffix}", "output": f"totals-{suffix}",
        "dead_letters": f"dead-{suffix}",
    }  # fmt: skip
    client = admin.AdminClient({"bootstrap.servers": bootstrap_servers})
    made = [admin.NewTopic(names[n], partitions, 1) for n in ("input", "output", "dead_letters")]
    for answer in client.create_topics(made).values():
        answer.result()
    return names


def payment(number: int, ts: int = START_MS) -> bytes:
    return b'{"user":"u%07d","amount":1.25,"ts":%d}' % (number, ts)


def fill(bootstrap_servers: str, topic: str, numbers: range, partitions: int) -> None:
    """A payment of every user."""
    producer = Producer({
        "bootstrap.servers": bootstrap_servers, "linger.ms": 20,
        "queue.buffering.max.messages": 2_000_000,
    })  # fmt: skip
    for number in numbers:
        producer.produce(topic, payment(number), partition=number % partitions)
        if not number % 10_000:
            producer.poll(0)
    producer.flush()


def until(done: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    deadline = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)


class Spend:
    """One worker; what it does is read off its log."""

    def __init__(
        self,
        bootstrap_servers: str,
        redis_url: str,
        names: dict[str, str],
        instance: str,
        *options: str,
    ) -> None:
        sets = [part for k, v in names.items() for part in ("--set", f"{k}={v}")]
        self.log = Path(tempfile.mkdtemp()) / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "processor", "run", "topologies.spend.totals",
                    "--bootstrap-servers", bootstrap_servers, "--redis-url", redis_url,
                    "--instance", instance, "--log-format", "json", *options, *sets,
                ],
                stderr=log,
            )  # fmt: skip

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """The events of its log so far, in order; with ``name`` those only."""
        found = []
        for line in self.log.read_text().splitlines(keepends=True):
            if line.startswith("{") and line.endswith("}\n"):
                event = json.loads(line)
                if name in (None, event["event"]):
                    found.append(event)
        return found

    def owned(self) -> int:
        held: set[str] = set()
        for event in self.events("partitions changed"):
            changed = set(event["partitions"])
            held = held | changed if event["kind"] == "assigned" else held - changed
        return len(held)

    def check(self) -> None:
        """Raise unless it runs."""
        if self.process.poll() is not None:
            text = self.log.read_text()[-2000:]
            raise RuntimeError(f"the worker ended with {self.process.returncode}:\n{text}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def seconds(event: dict[str, Any]) -> float:
    """When an event was logged, in seconds since 1970."""
    return datetime.fromisoformat(event["timestamp"]).timestamp()


class Steady(threading.Thread):
    """Payments of users taken at random, so many a second, every ten milliseconds."""

    def __init__(
        self, bootstrap_servers: str, topic: str, *, rate: int, users: int, partitions: int
    ) -> None:
        super().__init__(daemon=True)
        self._producer = Producer({"bootstrap.servers": bootstrap_servers, "linger.ms": 1})
        self._topic, self._rate, self._users, self._partitions = topic, rate, users, partitions
        self.stopped = threading.Event()

    def run(self) -> None:
        dice, sent, started = random.Random(1), 0, time.monotonic()
        while not self.stopped.wait(0.01):
            due = int((time.monotonic() - started) * self._rate)
            for _ in range(due - sent):
                user = dice.randrange(self._users)
                self._producer.produce(
                    self._topic, payment(user), partition=user % self._partitions
                )
            sent = max(sent, due)
            self._producer.poll(0)
