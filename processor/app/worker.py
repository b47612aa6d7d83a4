"""One worker, from settings to the end of its loop."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Final

import structlog

from processor.app.backends import Backends, tell_end, tell_wait
from processor.app.feeding import Feeding
from processor.app.health import Leave, Pulse, metrics_server, watchdog
from processor.app.host import Host
from processor.app.listener import listener
from processor.app.lookout import Lookout
from processor.app.probe import crash_probe
from processor.app.topics import roles_of
from processor.clock import SystemClock
from processor.engine.commit.changelog import topic_of
from processor.engine.running import loop
from processor.engine.running.batcher import Limits
from processor.engine.running.options import Options
from processor.engine.running.patience import Patience
from processor.engine.running.worker import Worker
from processor.errors import ProcessorError, RegistryAwayError
from processor.metrics.catalogue import Metrics
from processor.metrics.standing import Role
from processor.model.log import TopicPartition
from processor.operators.pipeline import Pipeline
from processor.plan.nodes import Aggregate, Newest, Plan
from processor.settings import Settings
from processor.slots import Slot

# Large enough to wait seldom for commits; with state, for many records to meet in one group.
RECORDS_MAX = 40_000
RECORDS_MAX_WITH_STATE = 60_000

log_lines = structlog.get_logger("processor")
_HOST: Final = Host()


def run_worker(
    plan: Plan,
    settings: Settings,
    used: Backends,
    partitions: int,
    stop: threading.Event,
    *,
    number: int = 0,
    ends: Mapping[TopicPartition, int] | None = None,
    host: Host = _HOST,
) -> None:
    """One worker, from joining the group to leaving it; blocks until ``stop`` or caught up.

    ``host`` hears of its batches, and of a step that does not end.
    """
    clock, metrics = SystemClock(), Metrics()
    pulse = Pulse(clock, clock.monotonic_s())
    metrics.begin(plan.app)
    metrics.shows(plan.app, pulse.health)
    slot = Slot(plan.app, settings.instance)
    with ExitStack() as stack:
        stack.callback(slot.close)
        executor = stack.enter_context(ThreadPoolExecutor(1, f"{plan.app}-snapshots"))
        stack.enter_context(metrics_server(settings, metrics, pulse, number))
        crash = crash_probe(plan.app)

        def probe(step: str) -> None:
            pulse.beat()
            crash(step)

        worker = Worker(
            plan, used.log, used.store, clock, executor, instance=slot.instance,
            partitions=partitions, options=replace(options_of(settings, plan), ends=host.finite),
            listener=replace(
                listener(plan, metrics, host.on_batch, pulse), shown=host.shown
            ),
            probe=probe,
        )  # fmt: skip
        lookout = Lookout(
            plan.app, _roles(plan, settings), used.log, used.store, clock,
            names=(used.log_name, used.store_name), worker=worker,
        )  # fmt: skip
        pulse.worker, pulse.lookout = worker, lookout
        host.begins(pulse)
        stack.callback(host.ends, pulse)
        ended = threading.Event()
        leave = Leave(stop, settings.shutdown_timeout.total_seconds(), host.overdue)
        watch = (worker, ended, clock, leave, lookout.tell)
        threading.Thread(target=watchdog, args=watch, daemon=True).start()
        stack.callback(ended.set)
        caught_up = loop.CaughtUp(worker, used.log, clock, plan.app, ends) if ends else None
        who = {"topology": plan.app, "worker": slot.instance}
        log_lines.info("worker starts", **who)
        if ends is not None and caught_up is None:
            return
        stack.enter_context(lookout.asking())
        give_up_s = settings.give_up_after.total_seconds()

        def tell(error: ProcessorError, pause_s: float) -> None:
            pulse.failed(error.message)
            if isinstance(error, RegistryAwayError):
                metrics.unanswered(plan.app)
            tell_wait(error, pause_s, give_up_after_s=round(give_up_s, 1), **who)

        patience = Patience(
            clock, stop.wait, give_up_after_s=give_up_s, tell=tell,
            ended=lambda after_s: tell_end(after_s, **who),
        )  # fmt: skip
        feeding = stack.enter_context(Feeding(
            plan, settings, used, stop, host=host, metrics=metrics, pulse=pulse,
            bounded=ends is not None,
        ))  # fmt: skip
        loop.run(
            worker, clock, patience, stop=feeding.stops, done=caught_up or (lambda: False),
            alive=partial(pulse.turned, give_up_s), collector=host.collector,
        )  # fmt: skip
        feeding.end()
        log_lines.info("worker stopped", **who)


def _roles(plan: Plan, settings: Settings) -> dict[str, Role]:
    logs = settings.on_checkpoint_loss == "changelog" and Pipeline(plan).stateful
    return roles_of(plan, changelog=topic_of(plan.app) if logs else None)


def options_of(settings: Settings, plan: Plan) -> Options:
    """What the settings say of how a worker of this plan runs."""
    stateful = any(isinstance(node, Aggregate | Newest) for node in plan.nodes())
    records_max = RECORDS_MAX_WITH_STATE if stateful else RECORDS_MAX
    return Options(
        settings.guarantee,
        settings.from_,
        Limits(
            settings.interval.total_seconds(),
            settings.batch_records_max or records_max,
            settings.batch_bytes_max,
        ),
        timeout_s=settings.transaction_timeout.total_seconds(),
        on_checkpoint_loss=settings.on_checkpoint_loss,
        allow_dropped_state=settings.allow_dropped_state,
        bounded=settings.until_caught_up,
    )
