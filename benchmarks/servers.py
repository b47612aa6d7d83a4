"""The servers that the benchmarks use, and what is said of the machine."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

import confluent_kafka

from tests.services import climb, kafka_rungs, redis_rungs
from tests.services.kafka import LocalKafka

# As the broker's own start script has them, with a heap that fits beside the contenders.
JVM: Final = (
    "-server", "-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
)  # fmt: skip


class Servers(NamedTuple):
    """A broker and a Redis, and which broker it is."""

    bootstrap_servers: str
    redis_url: str
    broker: str


@contextmanager
def servers(
    bootstrap_servers: str | None = None, redis_url: str | None = None
) -> Iterator[Servers]:
    """Those given, here or to the tests, else started as the tests start theirs."""
    for variable, value in (("BOOTSTRAP_SERVERS", bootstrap_servers), ("REDIS_URL", redis_url)):
        if value:
            os.environ[f"PROCESSOR_TEST_{variable}"] = value
    given, container, *_ = kafka_rungs()
    kafka = climb([given, container, lambda: LocalKafka(jvm=JVM)])
    try:
        redis = climb(redis_rungs())
        try:
            broker = f"{_broker_version(kafka.rung)} ({kafka.rung})"
            yield Servers(kafka.bootstrap_servers, redis.url, broker)
        finally:
            redis.close()
    finally:
        kafka.close()


def _broker_version(rung: str) -> str:
    if rung == "container":
        return str(import_module("tests.services.container").KAFKA_IMAGE)
    if rung.startswith("local"):
        jars = Path(import_module("tests.services.jars").jars())
        return next((p.stem for p in jars.glob("kafka-clients-*.jar")), "unknown")
    return "unknown"


def machine(broker: str) -> dict[str, Any]:
    """The machine and the versions."""
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "confluent-kafka": f"{version('confluent-kafka')}, librdkafka "
        f"{confluent_kafka.libversion()[0]}",
        "polars": version("polars"),
        "broker": broker,
        "java": _java(),
    }


def _java() -> str:
    try:
        done = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return done.stderr.splitlines()[0]
