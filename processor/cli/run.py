"""``processor run``: workers as processes of the group, or as threads over the embedded log."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from processor import app
from processor.connectors.ports import Log
from processor.engine import changelog, rescale
from processor.errors import ProcessorError, SettingsError
from processor.model.log import Output, TopicPartition
from processor.plan.nodes import Plan

if TYPE_CHECKING:
    from processor.settings import Settings


def run(names: Sequence[str], settings: Settings, feed: Mapping[str, str]) -> None:
    """Run until stopped, or until caught up; raises what made it stop."""
    if feed and settings.bootstrap_servers is not None:
        raise SettingsError(
            "--feed puts lines into the embedded log only",
            remedy="produce to Kafka with its own tools, or leave --bootstrap-servers out",
        )
    plans = app.load_topologies(names, settings.set)
    stop = threading.Event()
    with _signals(stop), app.backends(settings) as used:
        click.echo(used.line, err=True)
        counts = app.prepare_topics(used.log, plans, settings)
        if settings.on_checkpoint_loss == "changelog":
            create = bool(settings.create_topics) or settings.bootstrap_servers is None
            changelog.prepare(used.log, counts, create=create)
        if settings.on_partitions_raised == "rebuild":
            _rebuild(used, plans, counts, settings)
        for topic, path in feed.items():
            _feed(used.log, topic, Path(path))
        jobs = [
            _Job(name, plan, counts[plan.app], i)
            for i, (name, plan) in enumerate(zip(names, plans, strict=True))
        ]
        processes = settings.bootstrap_servers is not None and (
            settings.workers > 1 or (len(jobs) > 1 and not settings.until_caught_up)
        )
        runner = _Processes(settings, used, stop) if processes else _Threads(settings, used, stop)
        if settings.until_caught_up:
            for job in jobs:  # a later one reads what an earlier one wrote
                runner.run([job])
        else:
            runner.run(jobs)


def _rebuild(
    used: app.Backends, plans: Sequence[Plan], counts: Mapping[str, int], settings: Settings
) -> None:
    """Deal out anew the state of each topology whose input was given more partitions."""
    for plan in plans:
        topic = None
        if settings.on_checkpoint_loss == "changelog":
            timeout_s = settings.transaction_timeout.total_seconds()
            topic = changelog.Changelog(used.log, plan.app, timeout_s)
        done = rescale.rescale(
            plan, used.log, used.store, counts[plan.app], changelog=topic, probe=app.crash_probe()
        )
        if done is not None:
            app.log_lines.warning(
                "state dealt out anew", topology=plan.app, former=done.former,
                partitions=done.partitions, groups=done.groups,
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Job:
    name: str
    plan: Plan
    partitions: int
    index: int


class _Threads:
    """All workers in this process; a single one in this very thread's stead."""

    def __init__(self, settings: Settings, used: app.Backends, stop: threading.Event) -> None:
        self._settings = settings
        self._used = used
        self._stop = stop
        self._errors: list[BaseException] = []

    def run(self, jobs: Sequence[_Job]) -> None:
        workers = [
            threading.Thread(
                target=self._work,
                args=(job, _ends(self._used.log, job, self._settings), number),
                daemon=True,
            )
            for job in jobs
            for number in range(job.index * self._settings.workers,
                                (job.index + 1) * self._settings.workers)
        ]  # fmt: skip
        for worker in workers:
            worker.start()
        for worker in workers:
            while worker.is_alive():
                worker.join(0.2)  # short, so that the main thread can take signals
        if self._errors:
            raise self._errors[0]

    def _work(self, job: _Job, ends: Mapping[TopicPartition, int] | None, number: int) -> None:
        try:
            app.run_worker(
                job.plan, self._settings, self._used, job.partitions, self._stop,
                number=number, ends=ends,
            )  # fmt: skip
        except BaseException as error:  # noqa: BLE001 - it is raised again in the main thread
            self._errors.append(error)
            self._stop.set()


class _Processes:
    """A process per worker; one that a signal killed is started again."""

    def __init__(self, settings: Settings, used: app.Backends, stop: threading.Event) -> None:
        self._settings = settings
        self._used = used
        self._stop = stop

    def run(self, jobs: Sequence[_Job]) -> None:
        spawn = multiprocessing.get_context("spawn")
        running: dict[BaseProcess, Callable[[], BaseProcess]] = {}
        for job in jobs:
            ends = _ends(self._used.log, job, self._settings)
            for i in range(self._settings.workers):
                number = job.index * self._settings.workers + i
                args = (job.name, self._settings, job.partitions, number, ends)

                def make(args: tuple[Any, ...] = args) -> BaseProcess:
                    process = spawn.Process(target=_child, args=args)
                    process.start()
                    return process

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
                    app.log_lines.warning("worker was killed: starting it again",
                                          signal=-process.exitcode)  # fmt: skip
                    running[make()] = make
                elif process.exitcode:
                    failed += 1
                    self._stop.set()
            if self._stop.is_set() and not told:
                told = True
                for process in running:
                    process.terminate()
        return failed


def _child(
    name: str,
    settings: Settings,
    partitions: int,
    number: int,
    ends: Mapping[TopicPartition, int] | None,
) -> None:
    """A worker's process."""
    from processor.cli import logs

    logs.configure(settings.log_format, settings.log_level)
    stop = threading.Event()
    threading.Thread(target=_follow_parent, args=(stop,), daemon=True).start()
    plan = _plan_of(name, settings)
    try:
        with _signals(stop), app.backends(settings) as used:
            app.run_worker(plan, settings, used, partitions, stop, number=number, ends=ends)
    except ProcessorError as error:
        click.echo(f"error ({error.code}): {error}", err=True)
        sys.exit(2)


def _follow_parent(stop: threading.Event) -> None:
    """Stop in good order when the parent is gone: nobody would start this worker again."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        stop.set()


def _plan_of(name: str, settings: Settings) -> Plan:
    """One topology's plan; parameters that it does not declare are another's."""
    return app.load_topologies([name], app.taken(name, settings.set))[0]


def _ends(log: Log, job: _Job, settings: Settings) -> dict[TopicPartition, int] | None:
    return app.ends_of(log, job.plan) if settings.until_caught_up else None


def _feed(log: Log, topic: str, path: Path) -> None:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise SettingsError(f"--feed {topic}={path}: {error.strerror}") from error
    producer = log.producer(None)
    producer.start(10)
    for start in range(0, len(lines), 1000):
        producer.produce(Output(topic, lines[start : start + 1000]))
    producer.flush(30)
    producer.close()


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT ask for an orderly end."""

    def asked(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    before = {n: signal.signal(n, asked) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
