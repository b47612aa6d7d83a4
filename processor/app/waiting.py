"""Probes that are answered while a run waits for its servers, before there is a worker to ask.

They say alive and not ready: what starts the container is to let it wait.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from processor.errors import ProcessorError, SettingsError
from processor.settings import Settings


class Probes:
    """Opened with the first wait, on the ports that the workers will have."""

    def __init__(self, settings: Settings, numbers: Sequence[int], stack: ExitStack) -> None:
        self._settings, self._numbers, self._stack = settings, numbers, stack
        self._why = ""
        self._open = False

    def wait(self, error: ProcessorError) -> None:
        """A server is away: say so to who asks."""
        self._why = error.message
        if self._open or not self._settings.metrics_port:
            return
        self._open = True
        from prometheus_client import CollectorRegistry

        from processor.metrics.server import serve

        for number in self._numbers:
            port = self._settings.metrics_port + number
            # A port that is taken is told by the worker, which needs it.
            with contextlib.suppress(SettingsError):
                server = serve(
                    CollectorRegistry(), port, self._settings.metrics_host,
                    ready=lambda: False, why=lambda: f"waiting: {self._why}",
                )  # fmt: skip
                self._stack.callback(server.close)


@contextmanager
def probes(settings: Settings, numbers: Sequence[int]) -> Iterator[Probes]:
    """Probes for workers of these numbers, until the waiting is over."""
    with ExitStack() as stack:
        yield Probes(settings, numbers, stack)
