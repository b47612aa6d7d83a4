"""The process that watches over a process for each worker, and starts the killed ones again."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr

from processor import telling
from processor.cli.job import Job
from processor.cli.watch import DONE, Watch, signal_name
from processor.clock import SystemClock
from processor.errors import ProcessorError

if TYPE_CHECKING:
    from processor.settings import Settings

ASK_S: Final = 0.1
# A worker ends itself by name when its time is over; one that cannot is killed after this.
SPARE_S: Final = 5.0
# A fork would take over threads that it does not have.
_SPAWN: Final = multiprocessing.get_context("spawn")


def run(names: Sequence[str], settings: Settings, stop: threading.Event) -> None:
    """Prepare, then run the workers until stopped or caught up.

    Raises `ProcessorError` when a worker failed, ``SystemExit`` when the preparation did: both have
    said why.
    """
    jobs: list[Job] = _elsewhere(stop, _prepare, names, settings)
    if stop.is_set():
        return
    if not settings.until_caught_up:
        _Processes(settings, stop).run(jobs)
        return
    for number, job in enumerate(jobs):  # a later one reads what an earlier one wrote
        found = _elsewhere(stop, _with_ends, job, settings) if number else job
        _Processes(settings, stop).run([found])


@contextmanager
def embedded_redis(settings: Settings) -> Iterator[Settings]:
    """The settings with a Redis: the one they name, else one of our own for all workers."""
    if settings.redis_url is not None:
        yield settings
        return
    from processor.connectors.redis.embedded import EmbeddedRedis, state_directory

    directory = state_directory(settings.data_dir)
    with EmbeddedRedis(directory) as server:
        telling.line(f"checkpoints: embedded Redis in {directory} (no --redis-url given)")
        used = {"redis_url": SecretStr(server.url), "data_dir": None}
        yield settings.model_copy(update=used)


def _started(target: Callable[..., None], *args: Any, daemon: bool = False) -> BaseProcess:
    """A process that is deaf to a terminal's interrupt until it knows better: we pass it on."""
    process = _SPAWN.Process(target=target, args=args, daemon=daemon)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, before)
    return process


def _elsewhere(stop: threading.Event, target: Callable[..., Any], *args: Any) -> Any:
    """What a function answers in a process of its own; ends as that one does where it fails.

    Raises `ProcessorError` where a signal ended it, unless it was time to stop anyway.
    """
    receiver, sender = _SPAWN.Pipe(duplex=False)
    process = _started(target, *args, sender, daemon=True)
    sender.close()
    while not receiver.poll(ASK_S):
        if stop.is_set():
            process.terminate()
    try:
        answer = receiver.recv()
    except EOFError:
        process.join()
        if stop.is_set():
            sys.exit(0)
        if process.exitcode and process.exitcode < 0:  # it could not say why
            raise ProcessorError(
                f"preparing the run was ended by {signal_name(-process.exitcode)}",
                remedy="a module of a topology may end the process that imports it; after SIGKILL "
                "see whether the machine ran out of memory",
            ) from None
        sys.exit(process.exitcode or 1)
    process.join()
    return answer


def _prepare(names: Sequence[str], settings: Settings, answer: Connection) -> None:
    _answer(settings, answer, lambda work, stop: work.prepared(names, settings, stop))


def _with_ends(job: Job, settings: Settings, answer: Connection) -> None:
    _answer(settings, answer, lambda work, stop: work.with_ends(job, settings, stop))


def _answer(
    settings: Settings, answer: Connection, make: Callable[[Any, threading.Event], Any]
) -> None:
    """Send what is made, or nothing when told to stop before."""
    from processor.cli import work
    from processor.cli.run import signals

    stop = threading.Event()
    with signals(stop):
        made = work.in_child(settings, lambda: make(work, stop))
    if made is not None:
        with suppress(BrokenPipeError):  # who asked was killed meanwhile
            answer.send(made)


def _work(job: Job, settings: Settings, number: int) -> None:
    """A worker's process."""
    from processor.cli import work
    from processor.cli.run import signals

    stop = threading.Event()
    threading.Thread(target=_follow_parent, args=(stop,), daemon=True).start()
    with signals(stop):
        work.in_child(settings, lambda: work.run_one(job, settings, number, stop))
    sys.exit(DONE)


def _follow_parent(stop: threading.Event) -> None:
    """Stop in good order when the parent is gone: nobody would start this worker again."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        stop.set()


class _Processes:
    """A process per worker; one that a signal killed is started again."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop

    def run(self, jobs: Sequence[Job]) -> None:
        grace_s = self._settings.shutdown_timeout.total_seconds() + SPARE_S
        watch = Watch(self._stop.is_set, self._stop.set, SystemClock(), grace_s=grace_s)
        for job in jobs:
            for i in range(self._settings.workers):
                number = job.index * self._settings.workers + i
                make = partial(_started, _work, job, self._settings, number)
                watch.add(f"worker {number} of {job.name}", make)
        watch.run()
