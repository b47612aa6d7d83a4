"""What is told of a worker's health, and who ends a worker that is stuck."""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

import structlog

from processor import telling
from processor.clock import Clock
from processor.engine.worker import Worker
from processor.metrics.catalogue import Metrics
from processor.settings import Settings

LIVE_S = 60.0
# A step without a limit of its own, on the embedded log, may take as long.
STEP_S = 300.0
LOOK_S = 1.0

log_lines = structlog.get_logger("processor")


@dataclass(slots=True)
class Pulse:
    """What the health checks look at: when the loop last moved, and whether state is loaded."""

    clock: Clock
    moved_s: float
    worker: Worker | None = None

    def beat(self) -> None:
        """The loop has come to a step."""
        self.moved_s = self.clock.monotonic_s()

    def live(self) -> bool:
        """Whether the loop moves; a step may take as long as the group waits for a poll."""
        now_s = self.clock.monotonic_s()
        if self.worker is not None and self.worker.pace.running:
            return now_s - self.worker.pace.since_s < min(self.worker.pace.limit_s, STEP_S)
        return now_s - self.moved_s < LIVE_S

    def ready(self) -> bool:
        """Whether the worker has joined and loaded all that it was given."""
        return self.live() and self.worker is not None and self.worker.ready


def watchdog(worker: Worker, ended: threading.Event) -> None:
    """End the process, by name, when a step of the worker never ends; returns with ``ended``.

    Nothing can stop a step from outside. Its partitions have gone to others long since.
    """
    while not ended.wait(LOOK_S):
        if worker.pace.stuck():
            error = worker.pace.too_slow()
            telling.error(error)
            os._exit(2)


def metrics_server(
    settings: Settings, metrics: Metrics, pulse: Pulse, number: int
) -> AbstractContextManager[object]:
    """``/metrics``, ``/livez`` and ``/readyz``, on the port that ``number`` adds to the first."""
    if settings.metrics_port is None:
        return ExitStack()
    from processor.metrics.server import serve

    port = settings.metrics_port + number if settings.metrics_port else 0
    stack = ExitStack()
    host = settings.metrics_host
    server = serve(metrics.registry, port, host, live=pulse.live, ready=pulse.ready)
    log_lines.info("metrics", host=host, port=server.port)
    stack.callback(server.close)
    return stack
