"""The feeders of a run: beside each worker, or before all of them where the input is bounded.

::

    run                       a worker's process:  worker's loop ─┐ one stops, both stop
                                                   feeder's loop ─┘
    run --until-caught-up     the feeder, until what was there is fed  ──►  the workers
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

import structlog

from processor.app.backends import Backends, tell_end, tell_wait
from processor.app.health import Leave, Pulse, watchdog
from processor.app.host import Host
from processor.app.probe import crash_probe
from processor.clock import SystemClock
from processor.engine.commit.protocol import Verdict
from processor.engine.running import loop
from processor.engine.running.batcher import Limits
from processor.engine.running.feeder import RECORDS_MAX, Feeder
from processor.engine.running.options import Listener, Options
from processor.engine.running.patience import Patience
from processor.engine.running.rubbish import left_alone
from processor.errors import ProcessorError, SettingsError
from processor.metrics.catalogue import Metrics
from processor.metrics.progress import BatchReport
from processor.model.log import Rebalance
from processor.plan.nodes import Plan, Source
from processor.settings import Settings
from processor.slots import Slot

log_lines = structlog.get_logger("processor")


_ENDLESS: Final = (
    "leave --until-caught-up out; with collect(), feed the topic: feed={topic: records}"
)


def feed_all(plan: Plan, settings: Settings, used: Backends, stop: threading.Event, *,
             host: Host) -> None:  # fmt: skip
    """Feed what is there now, if the plan has a feed; blocks until that is done, or ``stop``."""
    source = host.feeds(plan.source())
    if source is None or source.feed is None:
        return
    if source.feed.source.endless:
        raise SettingsError(f"{source.at}: {source.feed.source.endless}", remedy=_ENDLESS)
    _Turning(source, settings, used, host, bounded=True).run(stop.is_set, stop.wait)


class Feeding:
    """The feeder beside a worker, in a thread, if the plan has a feed.

    As a context it runs; `end` stops it, and raises what it has ended by.
    """

    def __init__(
        self, plan: Plan, settings: Settings, used: Backends, stop: threading.Event, *,
        host: Host, metrics: Metrics, pulse: Pulse, bounded: bool,
    ) -> None:  # fmt: skip
        source = host.feeds(plan.source())
        self._stop, self._ended = stop, threading.Event()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._turning: _Turning | None = None
        self._own = host.own
        if source is not None and source.feed is not None and not bounded:
            self._turning = _Turning(source, settings, used, host, metrics=metrics, pulse=pulse)
            pulse.feeder = self._turning.feeder
            name = f"{threading.current_thread().name}-feed"
            self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def __enter__(self) -> Self:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def stops(self) -> bool:
        """Whether it is time to stop: told to, or the feeder has ended by an error."""
        return self._stop.is_set() or self._ended.is_set()

    def end(self) -> None:
        """Stop it, and wait for that; raises what it has ended by."""
        self.__exit__(None, None, None)
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        if self._turning is None:
            return
        self._own(threading.get_ident())
        try:
            self._turning.run(self.stops, self._ended.wait)
        except BaseException as error:  # noqa: BLE001 - it is raised again by `end`
            self._error = error
        self._ended.set()


class _Turning:
    """A feeder with what its loop needs."""

    def __init__(
        self, source: Source, settings: Settings, used: Backends, host: Host, *,
        bounded: bool = False, metrics: Metrics | None = None, pulse: Pulse | None = None,
    ) -> None:  # fmt: skip
        if source.feed is None:
            raise TypeError("the source has no feed")
        self._settings, self._host, self._clock = settings, host, SystemClock()
        self._pulse = pulse
        self._slot = Slot(source.feed.group, settings.instance)
        if metrics is not None:
            metrics.begin(source.feed.group)
        self.feeder = Feeder(
            source, used.log, used.store, self._clock, instance=self._slot.instance,
            options=_options(settings, bounded=bounded),
            listener=_listener(source.feed.group, metrics, host.on_batch),
            probe=crash_probe(source.feed.group),
        )  # fmt: skip
        self._done = self.feeder.caught_up if bounded else lambda: False

    def run(self, stop: Callable[[], bool], wait: Callable[[float], object]) -> None:
        """Turn until told to stop, or done."""
        settings, clock = self._settings, self._clock
        who = {"topology": self.feeder.feed.group, "worker": self.feeder.instance}
        give_up_s = settings.give_up_after.total_seconds()

        def tell(error: ProcessorError, pause_s: float) -> None:
            self._fails(error.message)
            tell_wait(error, pause_s, give_up_after_s=round(give_up_s, 1), **who)

        def well(after_s: float) -> None:
            self._fails("")
            tell_end(after_s, **who)

        patience = Patience(clock, wait, give_up_after_s=give_up_s, tell=tell, ended=well)
        with ExitStack() as stack:
            stack.callback(self._slot.close)
            ended, asked = threading.Event(), _Asked(stop)
            leave = Leave(asked, settings.shutdown_timeout.total_seconds(), self._host.overdue)
            watch = (self.feeder, ended, clock, leave)
            threading.Thread(target=watchdog, args=watch, daemon=True).start()
            stack.callback(ended.set)
            log_lines.info("feeder starts", **who)
            loop.run(self.feeder, clock, patience, stop=stop, done=self._done, collector=left_alone)
            log_lines.info("feeder stopped", **who)

    def _fails(self, why: str) -> None:
        if self._pulse is not None:
            self._pulse.feed_fails = why


class _Asked(threading.Event):
    """Whether it is time to stop, as an event that can be looked at."""

    def __init__(self, stop: Callable[[], bool]) -> None:
        super().__init__()
        self._stop = stop

    def is_set(self) -> bool:
        return self._stop()


def _options(settings: Settings, *, bounded: bool) -> Options:
    most = min(settings.batch_records_max or RECORDS_MAX, RECORDS_MAX)
    return Options(
        limits=Limits(0.0, most, settings.batch_bytes_max),
        timeout_s=settings.transaction_timeout.total_seconds(),
        bounded=bounded,
    )


def _listener(
    group: str, metrics: Metrics | None, on_batch: Callable[[BatchReport], None]
) -> Listener:
    def batch(report: BatchReport) -> None:
        if metrics is not None:
            metrics.observe(report)
        log_lines.info("fed", **report.log_fields())
        on_batch(report)

    def change(event: Rebalance) -> None:
        log_lines.info(
            "partitions changed", kind=type(event).__name__.lower(), topology=group,
            partitions=sorted(map(str, event.partitions)),
        )  # fmt: skip

    def undone(verdict: Verdict, error: ProcessorError | None) -> None:
        reason = error.message if error else "its partitions were on the move"
        log_lines.warning("batch undone", topology=group, verdict=verdict.value, reason=reason)

    def noted(what: str) -> None:
        log_lines.warning("note of the feed", topology=group, what=what)

    return Listener(batch, change, undone, noted=noted)
