"""``python -m benchmarks.macro.rebalance``: how long partitions stand still as workers come and go.

Spend by user, exactly once, four partitions, ``--keys`` keys of state in all. Input trickles to all
of them all the time. A partition's stall is the longest time that its committed position stood
still around the change; "at rest" is what is usual.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from benchmarks.macro.spend import Spend, fill, payment, servers, topics, until

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
                self._producer.produce(self._topic, payment(partition), partition=partition)
            self._producer.poll(0)


class Watch(threading.Thread):
    """Looks at the group's committed offsets, and keeps each partition's longest pause."""

    def __init__(self, servers: str, group: str, topic: str) -> None:
        super().__init__(daemon=True)
        # Not the stable positions: of a killed worker those are answered only when its transaction
        # has ended, and beside busy ones seldom.
        self._reader = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": group,
                "isolation.level": "read_uncommitted",
            }
        )
        self._asked = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        self.stopped = threading.Event()
        self.reset()

    def reset(self) -> None:
        self._at: dict[int, tuple[int, float]] = {}
        self.pauses: dict[int, float] = dict.fromkeys(range(PARTITIONS), 0.0)

    def run(self) -> None:
        while not self.stopped.wait(0.01):
            try:
                heads = self._reader.committed(self._asked, timeout=5)
            except KafkaException:  # the coordinator is not there yet; the stall goes on
                continue
            now = time.monotonic()
            for head in heads:
                offset, since = self._at.get(head.partition, (-1, now))
                if head.offset != offset:
                    self._at[head.partition] = (head.offset, now)
                    since = now if offset < 0 else since
                self.pauses[head.partition] = max(self.pauses[head.partition], now - since)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    options = parser.parse_args()
    with servers() as (kafka, redis):
        for what, seconds in _measure(kafka.bootstrap_servers, redis.url, options.keys):
            print(f"{what}: longest stall of a partition {seconds:.2f} s", flush=True)


def _measure(address: str, redis_url: str, keys: int) -> list[tuple[str, float]]:
    names = topics(address, PARTITIONS)
    fill(address, names["input"], range(keys), PARTITIONS)

    def start(instance: str) -> Spend:
        return Spend(address, redis_url, names, instance, "--interval", "20ms")

    first = start("a")
    watch, trickle = Watch(address, names["app"], names["input"]), Trickle(address, names["input"])
    trickle.start()
    watch.start()
    ends = keys // PARTITIONS
    until(lambda: all(o > ends for o, _ in watch._at.values()) and len(watch._at) == PARTITIONS)  # noqa: SLF001
    found: list[tuple[str, float]] = []

    def during(what: str, done: Callable[[], object]) -> None:
        until(done)
        time.sleep(2)
        seen = len(watch._at)  # noqa: SLF001
        assert watch.is_alive() and seen == PARTITIONS, f"{seen} partitions were watched"  # noqa: PT018
        found.append((what, max(watch.pauses.values())))

    def settle() -> None:
        time.sleep(2)
        watch.reset()
        time.sleep(0.5)

    settle()
    during("at rest", lambda: True)
    watch.reset()
    second = start("b")
    during("scale-out, 1 to 2 workers", lambda: second.owned() == PARTITIONS // 2)
    settle()
    second.process.terminate()
    during("scale-in, SIGTERM", lambda: first.owned() == PARTITIONS)
    third = start("b")
    until(lambda: third.owned() == PARTITIONS // 2)
    settle()
    third.process.kill()
    during("SIGKILL, not started again", lambda: first.owned() == PARTITIONS)
    trickle.stopped.set()
    watch.stopped.set()
    watch.join()
    first.process.terminate()
    first.process.wait()
    return found


if __name__ == "__main__":
    main()
