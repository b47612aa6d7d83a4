"""Probes that are answered while a run waits for its servers, before there is a worker to ask.

They say alive and not ready: what starts the container is to let it wait. Metrics say the same,
without the name of a topology, which is not known yet.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from processor.clock import SystemClock
from processor.errors import (
    ProcessorError,
    RegistryAwayError,
    RegistryError,
    SettingsError,
    StoreError,
)
from processor.metrics.standing import Health, Standing
from processor.settings import Settings

if TYPE_CHECKING:
    from processor.metrics.catalogue import Metrics


class Probes:
    """Opened with the first wait, on the ports that the workers will have."""

    def __init__(self, settings: Settings, numbers: Sequence[int], stack: ExitStack) -> None:
        self._settings, self._numbers, self._stack = settings, numbers, stack
        self._error = ProcessorError("")
        self._metrics: Metrics | None = None
        self.waited = False

    def wait(self, error: ProcessorError) -> None:
        """A server is away: say so to who asks."""
        self._error, self.waited = error, True
        port = self._settings.metrics_port
        if not port:
            return
        if self._metrics is None:
            self._metrics = self._opened(port)
        if isinstance(error, RegistryAwayError):
            self._metrics.unanswered("")

    def _opened(self, first: int) -> Metrics:
        from processor.metrics.catalogue import Metrics
        from processor.metrics.server import serve

        metrics = Metrics()
        metrics.shows("", self._health)
        for number in self._numbers:
            port = first + number
            # A port that is taken is told by the worker, which needs it.
            with contextlib.suppress(SettingsError):
                server = serve(
                    metrics.registry, port, self._settings.metrics_host,
                    ready=lambda: False, why=lambda: f"waiting: {self._error.message}",
                )  # fmt: skip
                self._stack.callback(server.close)
        return metrics

    def _health(self) -> Health:
        """What the alerts need: not ready, and which server does not answer."""
        of_store = isinstance(self._error, StoreError)
        of_log = not of_store and not isinstance(self._error, RegistryError)
        return Health(
            Standing(),
            SystemClock().now_ms(),
            broker_up=False if of_log else None,
            store_up=False if of_store else None,
        )


@contextmanager
def probes(settings: Settings, numbers: Sequence[int]) -> Iterator[Probes]:
    """Probes for workers of these numbers, until the waiting is over."""
    with ExitStack() as stack:
        yield Probes(settings, numbers, stack)
