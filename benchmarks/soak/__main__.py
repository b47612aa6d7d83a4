"""``python -m benchmarks.soak --minutes 30``: does memory stay where it is?

Spend by user, exactly once, one worker, ``--rate`` records a second of ``--users`` users. Event
time runs ``--speed`` times as fast as the clock, so that windows open and close all the time.
Each half minute a line: Redis' memory, the blobs in it, the worker's resident memory, its rows.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil  # type: ignore[import-untyped]
import redis
from confluent_kafka import Producer
from confluent_kafka import admin as untyped_admin

from tests.services import climb, kafka_rungs, redis_rungs

admin: Any = untyped_admin
START_MS = 1_406_851_200_000
EVERY_S = 30.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=int, default=4_000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--speed", type=int, default=60)
    options = parser.parse_args()
    kafka, store = climb(kafka_rungs()), climb(redis_rungs())
    try:
        _soak(options, kafka.bootstrap_servers, store.url)
    finally:
        kafka.close()
        store.close()


def _soak(options: argparse.Namespace, servers: str, url: str) -> None:
    names = {n: f"{n}-{uuid4().hex[:6]}" for n in ("app", "input", "output", "dead_letters")}
    made = [admin.NewTopic(names[n], 4, 1) for n in ("input", "output", "dead_letters")]
    client = admin.AdminClient({"bootstrap.servers": servers})
    for answer in client.create_topics(made).values():
        answer.result()
    log = Path(tempfile.mkdtemp()) / "log"
    sets = [part for k, v in names.items() for part in ("--set", f"{k}={v}")]
    with log.open("w") as out:
        worker = subprocess.Popen(
            [
                sys.executable, "-m", "processor", "run", "topologies.spend.totals",
                "--bootstrap-servers", servers, "--redis-url", url, "--log-format", "json",
                "--interval", "100ms", "--set", "watermark=10 minutes", *sets,
            ],
            stderr=out,
        )  # fmt: skip
    server = redis.Redis.from_url(url)
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 20})
    dice = random.Random(1)
    started, told, sent = time.monotonic(), 0.0, 0
    print("| minute | records sent | Redis MB | blobs | worker MB | rows of state |")
    print("|---:|---:|---:|---:|---:|---:|")
    while (passed := time.monotonic() - started) < options.minutes * 60:
        due = int(passed * options.rate)
        while sent < due:
            user = f"u{dice.randrange(options.users):06d}"
            ts = START_MS + int(passed * 1000 * options.speed) - dice.randrange(60_000)
            value = b'{"user":"%s","amount":1.25,"ts":%d}' % (user.encode(), ts)
            producer.produce(names["input"], value, user)
            sent += 1
        producer.poll(0)
        if passed - told >= EVERY_S:
            told = passed
            _tell(passed, sent, server, worker, log)
        time.sleep(0.02)
    worker.terminate()
    print(f"worker ended with {worker.wait(60)}")


def _tell(passed: float, sent: int, server: Any, worker: Any, log: Path) -> None:
    memory = server.info("memory")["used_memory"] / 1e6
    resident = psutil.Process(worker.pid).memory_info().rss / 1e6
    batches = [line for line in log.read_text().splitlines() if '"event":"batch"' in line]
    rows = json.loads(batches[-1])["state_rows"] if batches else 0
    print(
        f"| {passed / 60:.1f} | {sent:,} | {memory:.1f} | {server.dbsize():,} | {resident:.0f} "
        f"| {rows:,} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
