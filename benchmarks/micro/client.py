"""``python -m benchmarks.micro.client``: what the Kafka client's calls cost a record.

On a real broker, records of about 60 bytes in batches of ``--records``. *this thread* is the
calling thread's processor time, *CPU* that of the whole process, *wall* the clock's. Variants take
turns; the table has medians of ``--runs``.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from statistics import median
from typing import Any, Final
from uuid import uuid4

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.macro.spend import admin
from benchmarks.servers import servers
from benchmarks.work import work

BATCHES: Final = 5
SIZES: Final = (500, 2_000, 4_000, 20_000)

Times = dict[str, list[tuple[float, float, float]]]


@contextmanager
def timed(times: Times, name: str, records: int) -> Iterator[None]:
    thread, cpu, wall = time.thread_time(), time.process_time(), time.perf_counter()
    yield
    taken = time.thread_time() - thread, time.process_time() - cpu, time.perf_counter() - wall
    times[name].append(tuple(1e6 * t / records for t in taken))  # type: ignore[arg-type]


def _producer(bootstrap_servers: str, **more: Any) -> Producer:
    settings = {
        "bootstrap.servers": bootstrap_servers, "enable.idempotence": True, "linger.ms": 50,
        "compression.type": "lz4", "queue.buffering.max.messages": 1_000_000,
        "delivery.report.only.error": True, "on_delivery": lambda *_: None,
        "partitioner": "murmur2_random",
    }  # fmt: skip
    made = Producer(settings | more)
    if "transactional.id" in more:
        made.init_transactions(30)
    return made


def _one_by_one(client: Producer, topic: str, keys: list[bytes], values: list[bytes]) -> None:
    deque(map(client.produce, repeat(topic), values, keys), maxlen=0)


def _at_once(client: Producer, topic: str, keys: list[bytes], values: list[bytes]) -> None:
    messages = [{"key": k, "value": v} for k, v in zip(keys, values, strict=True)]
    sent: int = client.produce_batch(topic, messages)
    assert sent == len(values)


Hand: Final[dict[str, Callable[[Producer, str, list[bytes], list[bytes]], None]]] = {
    "`produce`, a call a record": _one_by_one,
    "`produce_batch`, with the dictionaries that it takes": _at_once,
}


def _produce(bootstrap_servers: str, topic: str, records: int, times: Times) -> None:
    job = work(3, records)
    keys: list[bytes] = job.keys or []
    for name, hand in Hand.items():
        client = _producer(bootstrap_servers)
        with timed(times, name, records):
            hand(client, topic, keys, job.values)
        with timed(times, f"{name}: then flush", records):
            client.flush()


def _transactions(bootstrap_servers: str, topic: str, records: int, times: Times) -> None:
    job = work(3, records)
    client = _producer(bootstrap_servers, **{"transactional.id": uuid4().hex})
    keys: list[bytes] = job.keys or []
    reader = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": uuid4().hex})
    for each in (1, BATCHES):
        name = "transaction a batch" if each == 1 else f"transaction for {BATCHES} batches"
        with timed(times, name, records * BATCHES):
            for number in range(BATCHES):
                if not number % each:
                    client.begin_transaction()
                _one_by_one(client, topic, keys, job.values)
                client.flush()
                if not (number + 1) % each:
                    client.send_offsets_to_transaction(
                        [TopicPartition(topic, 0, number + 1)], reader.consumer_group_metadata(), 30
                    )
                    client.commit_transaction(30)


def _consume(bootstrap_servers: str, topic: str, records: int, times: Times) -> None:
    for size in SIZES:
        client = Consumer({
            "bootstrap.servers": bootstrap_servers, "group.id": uuid4().hex,
            "enable.auto.commit": False, "queued.min.messages": 20_000,
            "fetch.queue.backoff.ms": 5,
        })  # fmt: skip
        client.assign([TopicPartition(topic, p, 0) for p in range(4)])
        client.consume(1, 10)
        name = f"`consume` of {size:,}, values and partitions"
        with timed(times, name, records * BATCHES):
            left = records * BATCHES
            while left > 0:
                messages = client.consume(min(size, left), 0.2)
                values = [message.value() for message in messages]
                numbers = [message.partition() for message in messages]
                left -= len(values)
                del messages, values, numbers
        client.close()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.micro.client",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    times: Times = defaultdict(list)
    with servers() as found:
        topic = f"client-{uuid4().hex[:6]}"
        client = admin.AdminClient({"bootstrap.servers": found.bootstrap_servers})
        for answer in client.create_topics([admin.NewTopic(topic, 4, 1)]).values():
            answer.result()
        for step in (_transactions, _produce, _consume):
            for _ in range(options.runs):
                step(found.bootstrap_servers, topic, options.records, times)
    print("| call | this thread, us | CPU us | wall us |\n|---|---:|---:|---:|")
    for name, rows in times.items():
        cells = (f"{median(column):.2f}" for column in zip(*rows, strict=True))
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
