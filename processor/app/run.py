"""One run in this process, whoever asked for it: the command line, or a query of Python's.

::

    plans ──► log and store ──► topics, fed ──► a thread for each worker ──► ended in order
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import structlog

from processor.api.running import Feed
from processor.app.backends import Backends, backends, patiently
from processor.app.feeding import feed_all
from processor.app.host import Host
from processor.app.preparing import picked, prepared
from processor.app.screen import Screen
from processor.app.topics import ends_of
from processor.app.worker import run_worker
from processor.errors import ProcessorError
from processor.model.log import TopicPartition
from processor.plan.nodes import Plan
from processor.settings import Settings

JOIN_S: Final = 0.2

log_lines = structlog.get_logger("processor")


@dataclass(frozen=True, slots=True)
class Part:
    """One plan of a run: the partitions of its input, its place among the others, its end."""

    plan: Plan
    partitions: int
    index: int
    ends: Mapping[TopicPartition, int] | None = None


def run(
    plans: Sequence[Plan],
    settings: Settings,
    fed: Mapping[str, Feed],
    stop: threading.Event,
    *,
    show: bool = False,
    host: Host,
    rebuilt: Callable[[Plan], Plan] = lambda plan: plan,
) -> None:
    """Run plans until stopped or caught up; raises what made it stop.

    ``fed`` has files or values by topic, for the embedded log; ``show`` prints what is published.
    ``rebuilt`` gives each worker its plan.
    """
    apps = [plan.app for plan in plans]
    # A topic that is fed by hand takes the place of what its feed would read.
    feeds = host.feeds
    host = replace(host, feeds=lambda s: None if s.topic in fed else feeds(s))
    numbers = range(settings.workers)
    with ExitStack() as stack:
        used = connected(settings, stop, stack, numbers, apps=apps, host=host)
        if used is None:
            return
        host.connected(used)
        prepare = partial(prepared, plans, settings, used, fed, host.line)
        counts = patiently(settings, stop, prepare, numbers, apps=apps, waits=host.waits)
        if counts is None:
            return
        kept = settings.data_dir is not None
        stack.enter_context(Screen(used.log, plans, everything=show, new=kept).shown())
        here = picked(plans, settings)
        parts = [Part(plans[i], counts[plans[i].app], i) for i in here]
        threads = Threads(settings, used, stop, host, rebuilt)
        host.ready(used)
        if not settings.until_caught_up:
            threads.run(parts)
        for part in parts if settings.until_caught_up else ():
            feed_all(part.plan, settings, used, stop, host=host)
            # A later one reads what an earlier one wrote.
            measure = partial(ends_of, used.log, part.plan)
            ends = patiently(settings, stop, measure, apps=[part.plan.app], waits=host.waits)
            if ends is not None:
                threads.run([replace(part, ends=ends)])
        host.finished(used)


def connected(
    settings: Settings,
    stop: threading.Event,
    stack: ExitStack,
    numbers: Sequence[int],
    *,
    apps: Sequence[str],
    host: Host,
) -> Backends | None:
    """The log and the store for workers of these ``numbers``; ``None`` when told to stop before."""

    def connect() -> Backends:
        return stack.enter_context(backends(settings, running=True))

    return patiently(settings, stop, connect, numbers, apps=apps, waits=host.waits)


class Threads:
    """All workers in this process, a thread for each."""

    def __init__(
        self,
        settings: Settings,
        used: Backends,
        stop: threading.Event,
        host: Host,
        rebuilt: Callable[[Plan], Plan],
    ) -> None:
        self._settings = settings
        self._used = used
        self._stop = stop
        self._rebuilt = rebuilt
        self._errors: list[BaseException] = []
        self._let_go = threading.Event()
        self._host = host

    def run(self, parts: Sequence[Part]) -> None:
        """Until all have ended; raises the first error of one of them."""
        each = self._settings.workers
        workers = [
            threading.Thread(
                target=self._work,
                args=(part, number),
                name=f"{part.plan.app}-{number}",
                daemon=True,
            )
            for part in parts
            for number in range(part.index * each, (part.index + 1) * each)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            while worker.is_alive() and not self._let_go.is_set():
                worker.join(JOIN_S)  # short, so that the main thread can take signals
        if self._errors:
            raise self._errors[0]

    def _work(self, part: Part, number: int) -> None:
        app = part.plan.app
        host = replace(self._host, overdue=partial(self._overdue, app))
        try:
            run_worker(
                self._rebuilt(part.plan), self._settings, self._used, part.partitions,
                self._stop, number=number, ends=part.ends, host=host,
            )  # fmt: skip
        except KeyboardInterrupt:
            # The column engine ends a computation of any thread at an interrupt: the batch is not
            # committed, and the run stops as it does for the main thread's.
            self._stop.set()
        except BaseException as error:  # noqa: BLE001 - it is raised again by `run`
            if not self._stop.is_set():
                log_lines.warning(
                    "worker failed: the others stop", worker=number, reason=str(error)
                )
            self._fail(app, error)

    def _fail(self, app: str, error: BaseException) -> None:
        self._errors.append(error)
        self._host.failed((app, error))
        self._stop.set()

    def _overdue(self, app: str, error: ProcessorError) -> None:
        """A worker hangs: the process ends here, or is another's, and the worker is let go of."""
        self._host.overdue(error)
        self._fail(app, error)
        self._let_go.set()
