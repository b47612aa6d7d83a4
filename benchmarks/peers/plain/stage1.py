"""Stage 1 without a processor: one record at a time, at least once."""

import json
import os
from datetime import datetime
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition

BATCH = 10_000


def main() -> None:
    environment = os.environ
    centroids = json.loads(Path(environment["CENTROIDS"]).read_text())["centroids"]
    output, dead_letters = environment["OUTPUT"], environment["DEAD_LETTERS"]
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
    # By hand: a dict of state does not follow a partition that moves.
    first, step = int(environment["WORKER"]), int(environment["WORKERS"])
    numbers = range(first, int(environment["PARTITIONS"]), step)
    consumer.assign([TopicPartition(environment["INPUT"], p) for p in numbers])
    while True:
        messages = consumer.consume(BATCH, timeout=0.1)
        for message in messages:
            value = message.value()
            if message.error() or value is None:
                continue
            try:
                dt, lat_text, lon_text, base = value.decode().split(",")
                datetime.fromisoformat(dt)
                lat, lon = float(lat_text), float(lon_text)
            except ValueError:
                producer.produce(dead_letters, value)
                continue
            distances = [(lat - a) * (lat - a) + (lon - b) * (lon - b) for a, b in centroids]
            cluster = distances.index(min(distances))
            trip = {"dt": dt, "lat": lat, "lon": lon, "base": base, "cluster": cluster}
            producer.produce(output, json.dumps(trip), str(cluster))
        if messages:
            producer.flush()
            consumer.commit(asynchronous=False)


if __name__ == "__main__":
    main()
