"""The process that watches over a process for each worker, and starts the killed ones again."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, Final

import click
import structlog
from pydantic import SecretStr

from processor.cli.job import Job
from processor.errors import ProcessorError

if TYPE_CHECKING:
    from processor.settings import Settings

# A fork would take over threads that it does not have.
_SPAWN: Final = multiprocessing.get_context("spawn")


def run(names: Sequence[str], settings: Settings, stop: threading.Event) -> None:
    """Prepare, then run the workers until stopped or caught up.

    Raises `ProcessorError` when a worker failed, ``SystemExit`` when the preparation did: both have
    said why.
    """
    jobs: list[Job] = _elsewhere(_prepare, names, settings)
    if stop.is_set():
        return
    if not settings.until_caught_up:
        _Processes(settings, stop).run(jobs)
        return
    for number, job in enumerate(jobs):  # a later one reads what an earlier one wrote
        found = _elsewhere(_with_ends, job, settings) if number else job
        _Processes(settings, stop).run([found])


@contextmanager
def embedded_redis(settings: Settings) -> Iterator[Settings]:
    """The settings with a Redis: the one they name, else one of our own for all workers."""
    if settings.redis_url is not None:
        yield settings
        return
    from processor.connectors.redis.embedded import EmbeddedRedis, state_directory

    directory = state_directory()
    with EmbeddedRedis(directory) as server:
        click.echo(f"checkpoints: embedded Redis in {directory} (no --redis-url given)", err=True)
        yield settings.model_copy(update={"redis_url": SecretStr(server.url)})


def _started(target: Callable[..., None], *args: Any, daemon: bool = False) -> BaseProcess:
    """A process that is deaf to a terminal's interrupt until it knows better: we pass it on."""
    process = _SPAWN.Process(target=target, args=args, daemon=daemon)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, before)
    return process


def _elsewhere(target: Callable[..., Any], *args: Any) -> Any:
    """What a function answers in a process of its own; ends as that one does where it fails."""
    receiver, sender = _SPAWN.Pipe(duplex=False)
    process = _started(target, *args, sender, daemon=True)
    sender.close()
    try:
        answer = receiver.recv()
    except EOFError:
        process.join()
        sys.exit(process.exitcode or 1)
    process.join()
    return answer


def _prepare(names: Sequence[str], settings: Settings, answer: Connection) -> None:
    from processor.cli import work

    answer.send(work.in_child(settings, lambda: work.prepared(names, settings)))


def _with_ends(job: Job, settings: Settings, answer: Connection) -> None:
    from processor.cli import work

    answer.send(work.in_child(settings, lambda: work.with_ends(job, settings)))


def _work(job: Job, settings: Settings, number: int) -> None:
    """A worker's process."""
    from processor.cli import work

    stop = threading.Event()
    threading.Thread(target=_follow_parent, args=(stop,), daemon=True).start()
    work.in_child(settings, lambda: work.run_one(job, settings, number, stop))


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
        running: dict[BaseProcess, Callable[[], BaseProcess]] = {}
        for job in jobs:
            for i in range(self._settings.workers):
                args = (job, self._settings, job.index * self._settings.workers + i)

                def make(args: tuple[Any, ...] = args) -> BaseProcess:
                    return _started(_work, *args)

                running[make()] = make
        failed = self._watch(running)
        if failed:
            raise ProcessorError(f"{failed} of the workers failed: see the log above")

    def _watch(self, running: dict[BaseProcess, Callable[[], BaseProcess]]) -> int:
        failed = 0
        told = False
        while running:
            for process in list(running):
                process.join(0.2 / len(running))
                if process.exitcode is None:
                    continue
                make = running.pop(process)
                if process.exitcode < 0 and not self._stop.is_set():
                    structlog.get_logger("processor").warning(
                        "worker was killed: starting it again", signal=-process.exitcode
                    )
                    running[make()] = make
                elif told and process.exitcode == -signal.SIGTERM:
                    pass  # it had not begun yet, or had ended its work already
                elif process.exitcode:
                    failed += 1
                    self._stop.set()
            if self._stop.is_set() and not told:
                told = True
                for process in running:
                    process.terminate()
        return failed
