"""What is told of a worker's health, and who ends a worker that is stuck."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Protocol

import structlog

from processor import telling
from processor.app.lookout import BOUND_S, Lookout
from processor.clock import Clock
from processor.engine.running.feeder import Feeder
from processor.engine.running.pace import Pace
from processor.engine.running.worker import Worker
from processor.errors import ProcessorError, ShutdownError
from processor.metrics.catalogue import Metrics
from processor.metrics.standing import Health, Standing
from processor.settings import Settings

LIVE_S = 60.0
# A step without a limit of its own, on the embedded log, may take as long.
STEP_S = 300.0
LOOK_S = 1.0

log_lines = structlog.get_logger("processor")


@dataclass(slots=True)
class Pulse:
    """What the health checks look at: when the loop last moved, what it has, who answers."""

    clock: Clock
    moved_s: float
    worker: Worker | None = None
    lookout: Lookout | None = None
    feeder: Feeder | None = None
    feed_fails: str = ""
    _failing: tuple[float, str] | None = None

    def beat(self) -> None:
        """The loop has come to a step."""
        self.moved_s = self.clock.monotonic_s()

    def turned(self, give_up_after_s: float) -> None:
        """The loop has made a turn; raises when what it needs has been gone for so long."""
        self.beat()
        worker, lookout = self.worker, self.lookout
        if worker is None or lookout is None:
            return
        if worker.idle:
            self.well()
        lookout.has(worker.tasks.keys())
        lookout.check(give_up_after_s)

    def failed(self, why: str) -> None:
        """A batch came to nothing, or a server did not answer; it will be tried again."""
        since_s = self._failing[0] if self._failing else self.clock.monotonic_s()
        self._failing = since_s, why

    def well(self) -> None:
        """A batch was committed, or there is none to commit."""
        self._failing = None

    def live(self) -> bool:
        """Whether the loop moves; a step may take as long as the group waits for a poll."""
        now_s = self.clock.monotonic_s()
        if self.worker is not None and self.worker.pace.running:
            return now_s - self.worker.pace.since_s < min(self.worker.pace.limit_s, STEP_S)
        return now_s - self.moved_s < LIVE_S

    def ready(self) -> bool:
        """Whether it is assigned (or rightly waits), loaded, and both servers have answered."""
        return not self.why()

    def why(self) -> str:
        """Why it is not ready; empty when it is."""
        worker, lookout = self.worker, self.lookout
        if worker is None or lookout is None:
            return "the worker has not begun"
        if not self.live():
            return "the worker makes no progress"
        for _, trouble in lookout.troubles():
            return trouble
        why = self._not_at_work(worker.standing(), standby=lookout.standby)
        if why or self.feeder is None or self.feeder.ready:
            return why
        what = f"the feed {self.feeder.feed.name}"
        if self.feed_fails:
            return f"{what} cannot go on: {self.feed_fails}"
        return f"{what} is in no group, or its place is being read"

    def _not_at_work(self, standing: Standing, *, standby: bool) -> str:
        failing = self._failing
        if standing.standby:  # an upgrade waits for it to be ready
            return ""
        if not standing.member:
            what = "the worker is in no group, or waits"
            return f"{what}: {failing[1]}" if failing else what
        if standing.pending:
            return f"the state of {standing.pending} partitions is being taken over"
        if not standing.assigned and not standby:
            return "the worker has no partitions, and others have not all of them"
        lasted_s = self.clock.monotonic_s() - failing[0] if failing else 0.0
        if failing is not None and lasted_s >= BOUND_S:
            return f"batches have failed for {lasted_s:.0f} s: {failing[1]}"
        return ""

    def health(self) -> Health:
        """All of it, for the metrics."""
        worker, lookout, now_ms = self.worker, self.lookout, self.clock.now_ms()
        if worker is None or lookout is None:
            return Health(Standing(), now_ms)
        standing = worker.standing()
        return Health(
            standing, now_ms, self.ready(), lookout.broker.up(), lookout.store.up(),
            lookout.topics(), lookout.lag(standing), lookout.held(standing),
        )  # fmt: skip


def end_process(error: ProcessorError) -> None:
    """End the process, which is the worker's own, by name."""
    telling.error(error)
    os._exit(2)


@dataclass(frozen=True, slots=True)
class Leave:
    """How long a worker may take to stop once ``asked`` is set, and what ends one that hangs."""

    asked: threading.Event
    limit_s: float
    end: Callable[[ProcessorError], None] = end_process


class Watched(Protocol):
    """Who is watched: a worker, or a feeder."""

    instance: str
    pace: Pace


def watchdog(
    worker: Watched,
    ended: threading.Event,
    clock: Clock,
    leave: Leave,
    tell: Callable[[], None] = lambda: None,
) -> None:
    """End the process, by name, when a step of the worker never ends, or the worker does not stop.

    Nothing can stop a step from outside. Its partitions have gone to others long since, or go when
    the process has ended: what was not committed is computed again. ``tell`` is called with every
    look; returns with ``ended``. Where the process is another's, `Leave.end` lets go of the worker
    instead, and returns.
    """
    asked_s: float | None = None
    while not ended.wait(LOOK_S):
        tell()
        if worker.pace.stuck():
            leave.end(worker.pace.too_slow())
            return
        if not leave.asked.is_set():
            continue
        now_s = clock.monotonic_s()
        asked_s = now_s if asked_s is None else asked_s
        if now_s - asked_s >= leave.limit_s:
            leave.end(_overdue(worker, leave.limit_s))
            return


def _overdue(worker: Watched, limit_s: float) -> ShutdownError:
    step = worker.pace.running
    return ShutdownError(
        f"{worker.instance}: told to stop, and not done after {limit_s:g} s"
        + (f": it is at step {step}" if step else ""),
        remedy="a later start goes on from the last commit, and nothing is lost; to give it more "
        "time raise --shutdown-timeout, and what stops the container with it",
    )


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
    server = serve(metrics.registry, port, host, live=pulse.live, ready=pulse.ready, why=pulse.why)
    log_lines.info("metrics", host=host, port=server.port)
    stack.callback(server.close)
    return stack
