"""Stage 2 without a processor: counts in a dict that a restart loses, at least once."""

import json
import os
from collections import Counter
from datetime import datetime, timedelta

from confluent_kafka import Consumer, Producer, TopicPartition

BATCH = 10_000
HOUR = timedelta(hours=1)


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
    producer = Producer({**servers, "linger.ms": 5, "partitioner": "murmur2_random"})
    counts: Counter[tuple[int, datetime]] = Counter()
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
            trip = json.loads(value)
            hour = datetime.fromisoformat(trip["dt"]).replace(minute=0, second=0)
            key = trip["cluster"], hour
            counts[key] += 1
            touched.add(key)
        for cluster, start in touched:
            row = {
                "cluster": cluster,
                "window_start": start.isoformat(),
                "window_end": (start + HOUR).isoformat(),
                "trips": counts[cluster, start],
            }
            producer.produce(output, json.dumps(row), str(cluster))
        if messages:
            producer.flush()
            consumer.commit(asynchronous=False)


if __name__ == "__main__":
    main()
