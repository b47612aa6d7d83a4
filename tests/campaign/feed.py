"""The producer of the input: ``python -m tests.campaign.feed SERVERS TOPIC SEED SECONDS``.

It sends in bursts of 2,000 to 5,000 records a second with pauses in between, until SIGTERM (or for
so many seconds), and ends when all is acknowledged. Its last line says how much that was. A broker
that is away is waited for, and no more than a little waits with it.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from collections import Counter

from confluent_kafka import Producer

from tests.campaign.child import die_with_parent
from tests.campaign.rides import Rides

TICK_S = 0.02
WAITING_MAX = 20_000
FLUSH_S = 180.0


class Feed:
    """Sends rides, and counts by partition what was acknowledged."""

    def __init__(self, bootstrap_servers: str, topic: str, seed: str) -> None:
        self.acknowledged: Counter[int] = Counter()
        self.refused: Counter[str] = Counter()
        self._topic = topic
        self._rides = Rides(seed)
        self._client = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "message.timeout.ms": 0,
                "linger.ms": 5,
                "compression.type": "lz4",
                "reconnect.backoff.max.ms": 1000,
                "log_level": 2,
                "on_delivery": self._delivered,
            }
        )

    def _delivered(self, error, message) -> None:
        if error is None:
            self.acknowledged[message.partition()] += 1
        else:
            self.refused[error.str()] += 1

    def send(self, count: int, at_s: float) -> None:
        for _ in range(count):
            ride = self._rides.next(at_s)
            self._client.produce(
                self._topic, ride.value, ride.key, ride.partition, headers=ride.headers or None
            )
        self._client.poll(0)

    def waiting(self) -> int:
        return len(self._client)

    def serve(self, seconds: float) -> None:
        self._client.poll(seconds)

    def finish(self) -> int:
        """How many were never acknowledged."""
        return self._client.flush(FLUSH_S)


def main() -> int:
    servers, topic, seed, seconds = sys.argv[1:]
    die_with_parent()
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    feed, draw = Feed(servers, topic, seed), random.Random(f"{seed}:bursts")
    began = time.monotonic()
    until_s = float(seconds) or float("inf")
    while not ended and time.monotonic() - began < until_s:
        rate, burst_s = draw.randrange(2000, 5000), draw.uniform(0.5, 3)
        start, sent = time.monotonic(), 0
        while not ended and (passed := time.monotonic() - start) < burst_s:
            due = int(passed * rate) - sent
            # After a broker's outage, or a stall of the machine, there is no flood.
            if feed.waiting() < WAITING_MAX:
                feed.send(min(due, 500), time.monotonic() - began)
            sent += due
            feed.serve(TICK_S)
        pause = time.monotonic() + draw.uniform(0, 2)
        while not ended and time.monotonic() < pause:
            feed.serve(TICK_S)
    left = feed.finish()
    told = {"acknowledged": feed.acknowledged, "left": left, "refused": feed.refused}
    sys.stdout.write(json.dumps(told) + "\n")
    return int(left > 0 or bool(feed.refused))


if __name__ == "__main__":
    sys.exit(main())
