"""What runs topologies: their preparation, and workers as threads or one at a time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import structlog

from processor import app, telling
from processor.cli import screen
from processor.cli.job import Job
from processor.connectors.ports import Log
from processor.engine.commit import changelog
from processor.engine.offline import rescale
from processor.errors import ProcessorError, TopologyError
from processor.plan import order, roles
from processor.plan.fingerprint import identity
from processor.plan.nodes import Plan, console_topic
from processor.settings import conceal

if TYPE_CHECKING:
    from processor.settings import Settings

Answer = TypeVar("Answer")
log_lines = structlog.get_logger("processor")


def run_here(
    names: Sequence[str],
    settings: Settings,
    feed: Mapping[str, str],
    stop: threading.Event,
    *,
    show: bool = False,
) -> None:
    """Run topologies in this process, a thread for each worker; ``show`` prints what comes out."""
    plans = _loaded(names, settings)
    with ExitStack() as stack:
        apps = [plan.app for plan in plans]
        used = _used(settings, stop, stack, range(settings.workers), apps)
        if used is None:
            return
        prepare = partial(_prepared, names, plans, settings, used, feed)
        jobs = app.patiently(settings, stop, prepare, range(settings.workers), apps=apps)
        if jobs is None:
            return
        kept = settings.data_dir is not None
        stack.enter_context(screen.Screen(used.log, plans, everything=show, new=kept).shown())
        threads = _Threads(settings, used, stop)
        if not settings.until_caught_up:
            threads.run(jobs)
            return
        for job in jobs:  # a later one reads what an earlier one wrote
            measure = partial(_measured, job, plans[job.index], used.log)
            measured = app.patiently(settings, stop, measure, apps=[apps[job.index]])
            if measured is not None:
                threads.run([measured])


def prepared(names: Sequence[str], settings: Settings, stop: threading.Event) -> list[Job] | None:
    """What is to be run, where it ends is known of the first; ``None`` when told to stop."""
    plans = _loaded(names, settings)

    def prepare() -> list[Job]:
        with app.backends(settings) as used:
            jobs = _prepared(names, plans, settings, used, {})
            if settings.until_caught_up:
                jobs[0] = _measured(jobs[0], plans[0], used.log)
            return jobs

    apps = [plan.app for plan in plans]
    return app.patiently(settings, stop, prepare, range(settings.workers), apps=apps)


def _loaded(names: Sequence[str], settings: Settings) -> list[Plan]:
    plans = app.load_topologies(names, settings.set)
    app.connect_registries(plans, settings)
    for plan in plans if settings.bootstrap_servers is not None else ():
        for sink in plan.sinks:
            if sink.topic == console_topic(plan.app):
                raise TopologyError(
                    f"{sink.at}: write.console() shows rows of a run on the embedded log",
                    remedy='write.kafka("topic") for a run on Kafka, or leave '
                    "--bootstrap-servers out",
                )
    alone = (note for plan in plans for note in order.unordered(plan))
    for note in (*roles.together(plans), *alone):
        log_lines.warning("see whether this is right", what=note)
    return plans


def with_ends(job: Job, settings: Settings, stop: threading.Event) -> Job | None:
    """The job, to end where its input ends now; ``None`` when told to stop."""
    plan = planned(job, settings)

    def measure() -> Job:
        with app.backends(settings) as used:
            return _measured(job, plan, used.log)

    return app.patiently(settings, stop, measure, apps=[plan.app])


def run_one(job: Job, settings: Settings, number: int, stop: threading.Event) -> None:
    """One worker, in this very thread's stead."""
    plan = planned(job, settings)
    with ExitStack() as stack:
        used = _used(settings, stop, stack, [number], [plan.app])
        if used is not None:
            app.run_worker(plan, settings, used, job.partitions, stop, number=number, ends=job.ends)


def _used(
    settings: Settings,
    stop: threading.Event,
    stack: ExitStack,
    numbers: Sequence[int],
    apps: Sequence[str],
) -> app.Backends | None:
    def connect() -> app.Backends:
        return stack.enter_context(app.backends(settings, running=True))

    return app.patiently(settings, stop, connect, numbers, apps=apps)


def in_child(settings: Settings, make: Callable[[], Answer]) -> Answer:
    """Make it in a process of its own: what goes wrong is told there, and ends it."""
    from processor.cli import logs

    conceal(settings)
    logs.configure(settings.log_format, settings.log_level)
    try:
        return make()
    except ProcessorError as error:
        telling.error(error)
        sys.exit(2)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 - a panic of the column engine is no Exception
        telling.bug(error)
        sys.exit(1)


def plan_of(name: str, settings: Settings) -> Plan:
    """One topology's plan; parameters that it does not declare are another's."""
    plans = app.load_topologies([name], app.taken(name, settings.set))
    app.connect_registries(plans, settings)
    return plans[0]


def planned(job: Job, settings: Settings) -> Plan:
    """The plan of a job, built anew; raises `TopologyError` where that is another one."""
    plan = plan_of(job.name, settings)
    if identity(plan) != job.plan:
        raise TopologyError(
            f"{plan.at}: {job.name} is not the topology that this run began with",
            remedy="start the run again if it was changed meanwhile; if not, something in it is "
            "another value each time that it is built, as of datetime.now() or a random number: "
            "read it from the records, or make it a parameter (--set)",
        )
    return plan


def _prepared(
    names: Sequence[str],
    plans: Sequence[Plan],
    settings: Settings,
    used: app.Backends,
    feed: Mapping[str, str],
) -> list[Job]:
    app.prepare_schemas(plans)
    telling.line(used.line)
    counts = app.prepare_topics(used.log, plans, settings, feed)
    if settings.on_checkpoint_loss == "changelog":
        create = bool(settings.create_topics) or settings.bootstrap_servers is None
        changelog.prepare(used.log, counts, create=create)
    if settings.on_partitions_raised == "rebuild":
        _rebuild(used, plans, counts, settings)
    for topic, path in feed.items():
        once = settings.data_dir is not None
        if not app.feed(used.log, plans, topic, Path(path), once=once):
            log_lines.warning(
                "a file is in the log already: it is not fed again", topic=topic, file=path,
                remedy="leave --feed out; to feed it once more, begin in another --data-dir",
            )  # fmt: skip
    return [
        Job(name, identity(plan), counts[plan.app], i)
        for i, (name, plan) in enumerate(zip(names, plans, strict=True))
    ]


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
            plan, used.log, used.store, counts[plan.app], changelog=topic,
            probe=app.crash_probe(), note=partial(_tell, plan.app),
        )  # fmt: skip
        if done is not None:
            log_lines.warning(
                "state dealt out anew", topology=plan.app, former=done.former,
                partitions=done.partitions, groups=done.groups,
            )  # fmt: skip


def _tell(application: str, what: str) -> None:
    log_lines.warning("state dealt out by another", topology=application, what=what)


def _measured(job: Job, plan: Plan, log: Log) -> Job:
    return replace(job, ends=app.ends_of(log, plan))


class _Threads:
    """All workers in this process; a single one in this very thread's stead."""

    def __init__(self, settings: Settings, used: app.Backends, stop: threading.Event) -> None:
        self._settings = settings
        self._used = used
        self._stop = stop
        self._errors: list[BaseException] = []

    def run(self, jobs: Sequence[Job]) -> None:
        each = self._settings.workers
        workers = [
            threading.Thread(target=self._work, args=(job, number), daemon=True)
            for job in jobs
            for number in range(job.index * each, (job.index + 1) * each)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            while worker.is_alive():
                worker.join(0.2)  # short, so that the main thread can take signals
        if self._errors:
            raise self._errors[0]

    def _work(self, job: Job, number: int) -> None:
        try:
            app.run_worker(
                planned(job, self._settings), self._settings, self._used, job.partitions,
                self._stop, number=number, ends=job.ends,
            )  # fmt: skip
        except BaseException as error:  # noqa: BLE001 - it is raised again in the main thread
            if not self._stop.is_set():
                log_lines.warning(
                    "worker failed: the others stop", worker=number, reason=str(error)
                )
            self._errors.append(error)
            self._stop.set()
