"""Stage 3 without a processor: sums in a dict that a restart loses, at least once."""

import json
import os

from confluent_kafka import Consumer, Producer, TopicPartition

BATCH = 10_000
SIZE_MS = 600_000


def main() -> None:
    environment = os.environ
    output = environment["OUTPUT"]
    servers = {"bootstrap.servers": environment["BOOTSTRAP"]}
    consumer = Consumer(
        {
            **servers,
            "group.id": environment["GROUP"],
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    producer = Producer(
        {
            **servers,
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
            "partitioner": "murmur2_random",
        }
    )
    totals: dict[tuple[str, int], tuple[float, int]] = {}
    # By hand: a dict of state does not follow a partition that moves.
    first, step = int(environment["WORKER"]), int(environment["WORKERS"])
    numbers = range(first, int(environment["PARTITIONS"]), step)
    consumer.assign([TopicPartition(environment["INPUT"], p) for p in numbers])
    while True:
        messages = consumer.consume(BATCH, timeout=0.1)
        touched = set()
        for message in messages:
            value = message.value()
            if message.error() or value is None:
                continue
            payment = json.loads(value)
            key = payment["user"], payment["ts"] // SIZE_MS * SIZE_MS
            total, count = totals.get(key, (0.0, 0))
            totals[key] = total + payment["amount"], count + 1
            touched.add(key)
        for user, start in touched:
            total, count = totals[user, start]
            row = {
                "user": user,
                "start": start,
                "end": start + SIZE_MS,
                "sum": total,
                "count": count,
            }
            producer.produce(output, json.dumps(row), user)
        if messages:
            producer.flush()
            consumer.commit(asynchronous=False)


if __name__ == "__main__":
    main()
