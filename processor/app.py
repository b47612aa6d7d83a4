"""The composition root: settings to adapters to workers.

::

    bootstrap servers?  yes: KafkaLog          redis URL?  yes: RedisStore
                        no:  MemoryLog                     no:  embedded valkey-server, AOF on
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module

import structlog

from processor.api.topology import Definition, Topology
from processor.clock import SystemClock
from processor.connectors.ports import Log, Store
from processor.engine import loop
from processor.engine.batcher import Limits
from processor.engine.heal import Healed
from processor.engine.protocol import Verdict
from processor.engine.upgrade import Upgraded
from processor.engine.worker import Listener, Options, Worker
from processor.errors import LogError, SettingsError, TopologyError
from processor.metrics.catalogue import AbortReason, Metrics, RebalanceKind
from processor.metrics.progress import BatchReport
from processor.model.log import Assigned, Rebalance, Revoked, TopicPartition
from processor.plan.nodes import Aggregate, Plan
from processor.settings import Settings
from processor.slots import Slot

PARTITIONS = 4
LIVE_S = 60.0
# Large enough to wait seldom for commits; with state, for many records to meet in one group.
RECORDS_MAX = 40_000
RECORDS_MAX_WITH_STATE = 60_000

log_lines = structlog.get_logger("processor")


@dataclass(frozen=True, slots=True)
class Backends:
    """The log and the store in use, and one line that says which they are."""

    log: Log
    store: Store
    line: str


@contextmanager
def backends(settings: Settings) -> Iterator[Backends]:
    """Connect to what the settings name; what they do not name is embedded."""
    with ExitStack() as stack:
        log, log_name = _log(settings)
        stack.callback(log.close)
        store, store_name = _store(settings, stack)
        stack.callback(store.close)
        store.ping()
        yield Backends(log, store, f"log: {log_name}; checkpoints: {store_name}")


def reading(settings: Settings) -> Log:
    """The log alone, for a command that looks at topics which others have filled."""
    if settings.bootstrap_servers is None:
        raise SettingsError(
            "the embedded log is empty when a command starts: there is nothing to look at",
            remedy="say where Kafka is: --bootstrap-servers",
        )
    return _log(settings)[0]


def _log(settings: Settings) -> tuple[Log, str]:
    if settings.bootstrap_servers is None:
        from processor.connectors.memory.log import MemoryLog

        return MemoryLog(), "embedded, in this process (no --bootstrap-servers given)"
    from processor.connectors.kafka.log import KafkaLog

    log = KafkaLog(
        settings.bootstrap_servers,
        settings.kafka,
        session_timeout_ms=round(settings.session_timeout.total_seconds() * 1000),
        transaction_timeout_ms=round(settings.transaction_timeout.total_seconds() * 1000),
    )
    log.cluster_id()
    return log, f"Kafka at {settings.bootstrap_servers}"


def _store(settings: Settings, stack: ExitStack) -> tuple[Store, str]:
    from processor.connectors.redis.store import RedisStore

    if settings.redis_url is not None:
        remote = RedisStore(settings.redis_url.get_secret_value())
        policy = (remote.policy() or {}).get("maxmemory-policy", "noeviction")
        if policy != "noeviction":
            log_lines.warning(
                "Redis may evict checkpoints: set noeviction", maxmemory_policy=policy
            )
        return remote, f"Redis at {remote.address}"
    from processor.connectors.redis.embedded import EmbeddedRedis, state_directory

    # Checkpoints are of use only with the log they belong to: an embedded log is gone with us.
    directory = None if settings.bootstrap_servers is None else state_directory()
    server = stack.enter_context(EmbeddedRedis(directory))
    where = directory or "a temporary directory"
    return RedisStore(server.url), f"embedded Redis in {where} (no --redis-url given)"


def load_topology(name: str, parameters: Mapping[str, str]) -> Plan:
    """The plan of ``package.module`` or ``package.module:attribute``; raises `TopologyError`.

    Parameters that another topology of the same run declares may be among ``parameters``.
    """
    return _built(_found(name), parameters).plan()


def load_topologies(names: Sequence[str], parameters: Mapping[str, str]) -> list[Plan]:
    """The plans of several topologies that share ``parameters``: each takes those it declares."""
    found = [_found(name) for name in names]
    known = {p for f in found if isinstance(f, Definition) for p in f.parameters}
    unknown = sorted(set(parameters) - known)
    if unknown:
        raise TopologyError(
            f"no topology here has a parameter {unknown[0]!r}",
            remedy=f"there are: {', '.join(sorted(known)) or 'none'}",
        )
    if len(found) > 1:
        shared = {
            p: [f for f in found if isinstance(f, Definition) and p in f.parameters]
            for p in parameters
        }
        many = sorted(p for p, users in shared.items() if len(users) > 1 and p in _OWN)
        if many:
            raise TopologyError(
                f"--set {many[0]}=... would be taken by {len(shared[many[0]])} topologies at once",
                remedy="run them one by one, each with its own",
            )
    plans = [_built(f, {k: v for k, v in parameters.items() if _takes(f, k)}).plan() for f in found]
    apps = [plan.app for plan in plans]
    if len(set(apps)) < len(apps):
        raise TopologyError(f"two topologies have one application id: {', '.join(apps)}")
    return plans


_OWN = ("app", "input", "output")


def _takes(found: Topology | Definition, parameter: str) -> bool:
    return isinstance(found, Definition) and parameter in found.parameters


def taken(name: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """Those of the parameters that a topology declares."""
    found = _found(name)
    return {k: v for k, v in parameters.items() if _takes(found, k)}


def _built(found: Topology | Definition, parameters: Mapping[str, str]) -> Topology:
    return found.build(parameters) if isinstance(found, Definition) else found


def _found(name: str) -> Topology | Definition:
    module_name, _, attribute = name.partition(":")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise TopologyError(
            f"there is no module {module_name!r}",
            remedy="give a module that Python can import from here, as in topologies.uber.enrich",
        ) from None
    candidates = {n: v for n, v in vars(module).items() if isinstance(v, Topology | Definition)}
    if attribute:
        candidates = {n: v for n, v in candidates.items() if n == attribute}
    if len(candidates) != 1:
        have = ", ".join(candidates) or "none"
        raise TopologyError(
            f"{name}: one topology is needed, there are {len(candidates)}: {have}",
            remedy="say which: package.module:name",
        )
    return next(iter(candidates.values()))


def topics_of(plan: Plan) -> tuple[str, set[str]]:
    """The input topic of a plan, and the topics it writes."""
    source = plan.source()
    written = {sink.topic for sink in plan.sinks}
    if source.on_error == "dead_letter":
        written.add(plan.dead_letters())
    if (late := plan.late()) is not None:
        written.add(late)
    return source.topic, written


def prepare_topics(log: Log, plans: Sequence[Plan], settings: Settings) -> dict[str, int]:
    """See that all topics exist, create them where that was asked for; input partition counts."""
    needed = {topic for plan in plans for topic in {topics_of(plan)[0], *topics_of(plan)[1]}}
    have = log.describe(needed)
    missing = sorted(needed - have.keys())
    create = settings.create_topics or settings.bootstrap_servers is None
    if missing and not create:
        raise SettingsError(
            f"topics are missing: {', '.join(missing)}",
            remedy="create them, or start with --create-topics N for N partitions each",
        )
    if missing:
        count = settings.create_topics if type(settings.create_topics) is int else PARTITIONS
        log.create(dict.fromkeys(missing, count))
        have = log.describe(needed)
    return {plan.app: len(have[topics_of(plan)[0]].extents) for plan in plans}


def ends_of(log: Log, plan: Plan) -> dict[TopicPartition, int]:
    """The ends of a plan's input now."""
    topic, _ = topics_of(plan)
    described = log.describe([topic])[topic]
    return {TopicPartition(topic, p): extent.high for p, extent in described.extents.items()}


@dataclass(slots=True)
class Pulse:
    """What the health checks look at: when the loop last turned, and whether state is loaded."""

    clock: SystemClock
    turned_s: float
    worker: Worker | None = None

    def beat(self) -> None:
        """The loop has turned."""
        self.turned_s = self.clock.monotonic_s()

    def live(self) -> bool:
        """Whether the loop turns."""
        return self.clock.monotonic_s() - self.turned_s < LIVE_S

    def ready(self) -> bool:
        """Whether the worker has joined and loaded all that it was given."""
        return self.live() and self.worker is not None and self.worker.ready


def metrics_server(
    settings: Settings, metrics: Metrics, pulse: Pulse, number: int
) -> AbstractContextManager[object]:
    """``/metrics``, ``/livez`` and ``/readyz``, on the port that ``number`` adds to the first."""
    if settings.metrics_port is None:
        return ExitStack()
    from processor.metrics.server import serve

    port = settings.metrics_port + number if settings.metrics_port else 0
    stack = ExitStack()
    host = settings.metrics_host
    server = serve(metrics.registry, port, host, live=pulse.live, ready=pulse.ready)
    log_lines.info("metrics", host=host, port=server.port)
    stack.callback(server.close)
    return stack


def run_worker(
    plan: Plan,
    settings: Settings,
    used: Backends,
    partitions: int,
    stop: threading.Event,
    *,
    number: int = 0,
    ends: Mapping[TopicPartition, int] | None = None,
    on_batch: Callable[[BatchReport], None] = lambda _: None,
) -> None:
    """One worker, from joining the group to leaving it; blocks until ``stop`` or caught up."""
    clock, metrics = SystemClock(), Metrics()
    pulse = Pulse(clock, clock.monotonic_s())
    slot = Slot(plan.app, settings.instance)
    with ExitStack() as stack:
        stack.callback(slot.close)
        executor = stack.enter_context(ThreadPoolExecutor(1, f"{plan.app}-snapshots"))
        stack.enter_context(metrics_server(settings, metrics, pulse, number))
        worker = Worker(
            plan, used.log, used.store, clock, executor, instance=slot.instance,
            partitions=partitions, options=_options(settings, plan),
            listener=_listener(plan.app, metrics, on_batch), probe=crash_probe(),
        )  # fmt: skip
        pulse.worker = worker
        caught_up = loop.CaughtUp(worker, used.log, clock, plan.app, ends) if ends else None
        log_lines.info("worker starts", topology=plan.app, worker=slot.instance)
        if ends is not None and caught_up is None:
            return
        loop.run(
            worker, clock, stop=stop.is_set, done=caught_up or (lambda: False), alive=pulse.beat
        )
        log_lines.info("worker stopped", topology=plan.app, worker=slot.instance)


def _options(settings: Settings, plan: Plan) -> Options:
    stateful = any(isinstance(node, Aggregate) for node in plan.nodes())
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
    )


def _listener(app: str, metrics: Metrics, on_batch: Callable[[BatchReport], None]) -> Listener:
    def batch(report: BatchReport) -> None:
        metrics.observe(report)
        log_lines.info("batch", **report.log_fields())
        on_batch(report)

    def change(event: Rebalance) -> None:
        kinds: dict[type[Rebalance], RebalanceKind] = {Assigned: "assigned", Revoked: "revoked"}
        kind = kinds.get(type(event), "lost")
        if kind != "assigned":
            metrics.forget(event.partitions)
        metrics.rebalanced(app, kind)
        log_lines.info(
            "partitions changed", kind=kind, topology=app,
            partitions=sorted(map(str, event.partitions)),
        )  # fmt: skip

    def undone(verdict: Verdict, error: LogError | None) -> None:
        reason: AbortReason = "fenced" if verdict is Verdict.REJOIN else "rebalance"
        if error is not None and verdict is not Verdict.REJOIN:
            reason = "log"
        metrics.aborted(app, reason)
        message = error.message if error else "its partitions were on the move"
        log_lines.warning("batch undone", topology=app, verdict=verdict.value, reason=message)

    def healed(event: Healed) -> None:
        log_lines.warning(
            "lost checkpoints healed", topology=app, task=event.task, how=event.how,
            records=event.records, offset_from=event.offset_from, offset_to=event.offset_to,
        )  # fmt: skip

    def upgraded(event: Upgraded) -> None:
        log_lines.warning(
            "state taken over by a changed topology", topology=app, task=event.task,
            offset=event.offset, operators=event.table.splitlines(),
        )  # fmt: skip

    return Listener(batch, change, undone, healed, upgraded)


def crash_probe() -> Callable[[str], None]:
    """Die at a step, where the environment asks for it: ``PROCESSOR_CRASH_AT=before:commit#3``."""
    wanted, _, count = os.environ.get("PROCESSOR_CRASH_AT", "").partition("#")
    if not wanted:
        return lambda _: None
    left = int(count or 1)

    def probe(step: str) -> None:
        nonlocal left
        left -= step == wanted
        if not left:
            os._exit(70)

    return probe
