"""Which real servers the tests get: those named, else containers, else local processes."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

from tests.services.handle import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack


class Given:
    """A server that somebody else runs; it cannot be stopped from here."""

    rung = "given by the environment"

    def __init__(self, variable: str) -> None:
        value = os.environ.get(variable)
        if not value:
            raise Unavailable(f"{variable} is not set")
        self.address = self.bootstrap_servers = self.url = value

    def _refuse(self) -> None:
        raise NotImplementedError("this server is given: the tests may not stop it")

    stop = kill = restart = _refuse

    def close(self) -> None:
        """Leave it running."""


def kafka_rungs() -> Sequence[Callable[[], Any]]:
    """How to get a Kafka, best first."""
    from tests.services.container import ContainerKafka
    from tests.services.kafka import LocalKafka

    return (lambda: Given("PROCESSOR_TEST_BOOTSTRAP_SERVERS"), ContainerKafka, LocalKafka)


def redis_rungs() -> Sequence[Callable[[], Any]]:
    """How to get a Redis, best first."""
    from tests.services.container import ContainerRedis
    from tests.services.redis import LocalRedis

    return (lambda: Given("PROCESSOR_TEST_REDIS_URL"), ContainerRedis, LocalRedis)


def climb(rungs: Sequence[Callable[[], Any]]) -> Any:
    """The first server that can be had; raises `Unavailable` with every rung's reason."""
    reasons = []
    for rung in rungs:
        try:
            return rung()
        except (Unavailable, OSError, subprocess.SubprocessError) as error:
            reasons.append(str(error))
    raise Unavailable("; ".join(reasons))


def both(stack: ExitStack) -> tuple[Any, Any]:
    """A Kafka and a Redis, which end with ``stack``; raises `Unavailable`."""
    kafka = climb(kafka_rungs())
    stack.callback(kafka.close)
    redis = climb(redis_rungs())
    stack.callback(redis.close)
    return kafka, redis
