"""What runs topologies: in this process, or one worker's share of it in a process of its own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from processor import app, telling
from processor.cli.job import Job
from processor.connectors.ports import Log
from processor.errors import ProcessorError, TopologyError
from processor.plan.fingerprint import identity
from processor.plan.nodes import Plan
from processor.settings import conceal

if TYPE_CHECKING:
    from processor.settings import Settings

Answer = TypeVar("Answer")


def run_here(
    names: Sequence[str],
    settings: Settings,
    feed: Mapping[str, str],
    stop: threading.Event,
    *,
    show: bool = False,
) -> None:
    """Run topologies in this process, a thread for each worker; ``show`` prints what comes out."""
    stages = _loaded(names, settings)
    plans = [stage.plan for stage in stages]
    named = {stage.plan.app: stage for stage in stages}

    def rebuilt(plan: Plan) -> Plan:
        stage = named[plan.app]
        return _same(stage.name, stage.number, identity(plan), settings)

    app.run(plans, settings, feed, stop, show=show, host=app.Host(), rebuilt=rebuilt)


def prepared(names: Sequence[str], settings: Settings, stop: threading.Event) -> list[Job] | None:
    """What is to be run, where it ends is known of the first; ``None`` when told to stop."""
    stages = _loaded(names, settings)
    plans = [stage.plan for stage in stages]
    here = app.picked(plans, settings)

    def prepare() -> list[Job]:
        with app.backends(settings) as used:
            counts = app.prepared(plans, settings, used, {}, telling.line)
            jobs = [
                Job(stage.name, identity(stage.plan), counts[stage.plan.app], i, stage.number)
                for i, stage in enumerate(stages)
                if i in here
            ]
            if settings.until_caught_up:
                app.feed_all(plans[here[0]], settings, used, stop, host=app.Host())
                jobs[0] = _measured(jobs[0], plans[here[0]], used.log)
            return jobs

    apps = [plan.app for plan in plans]
    return app.patiently(settings, stop, prepare, range(settings.workers), apps=apps)


def _loaded(names: Sequence[str], settings: Settings) -> list[app.Loaded]:
    stages = app.load_stages(names, settings.set)
    app.looked_at([stage.plan for stage in stages], settings)
    return stages


def with_ends(job: Job, settings: Settings, stop: threading.Event) -> Job | None:
    """The job, to end where its input ends now; ``None`` when told to stop."""
    plan = _same(job.name, job.stage, job.plan, settings)

    def measure() -> Job:
        with app.backends(settings) as used:
            app.feed_all(plan, settings, used, stop, host=app.Host())
            return _measured(job, plan, used.log)

    return app.patiently(settings, stop, measure, apps=[plan.app])


def run_one(job: Job, settings: Settings, number: int, stop: threading.Event) -> None:
    """One worker, in this very thread's stead."""
    plan = _same(job.name, job.stage, job.plan, settings)
    with ExitStack() as stack:
        used = app.connected(settings, stop, stack, [number], apps=[plan.app], host=app.Host())
        if used is not None:
            app.run_worker(plan, settings, used, job.partitions, stop, number=number, ends=job.ends)


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


def plan_of(name: str, settings: Settings, stage: int = 0) -> Plan:
    """A stage's plan; parameters that its topology does not declare are another's.

    Of a topology that has fewer stages than that it is the last one's.
    """
    plans = app.load_topologies([name], app.taken(name, settings.set))
    app.connect_registries(plans, settings)
    return plans[min(stage, len(plans) - 1)]


def _same(name: str, stage: int, plan_identity: str, settings: Settings) -> Plan:
    """The plan, built anew; raises `TopologyError` where that is another one."""
    plan = plan_of(name, settings, stage)
    if identity(plan) != plan_identity:
        raise TopologyError(
            f"{plan.at}: {name} is not the topology that this run began with",
            remedy="start the run again if it was changed meanwhile; if not, something in it is "
            "another value each time that it is built, as of datetime.now() or a random number: "
            "read it from the records, or make it a parameter (--set)",
        )
    return plan


def _measured(job: Job, plan: Plan, log: Log) -> Job:
    return replace(job, ends=app.ends_of(log, plan))
