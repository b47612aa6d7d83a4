"""The test driver: a topology on an in-memory log and store, moved by the test alone.

No thread, no broker, no clock of the wall: every step happens when the test asks for it, so a run
is the same each time, and a worker can be crashed between any two steps of its commit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from processor.api.topology import Definition, Topology
from processor.clock import ManualClock
from processor.connectors.memory.log import MemoryLog
from processor.connectors.memory.store import MemoryStore
from processor.connectors.registry.connect import connect_to, in_memory
from processor.engine.commit import changelog
from processor.engine.commit.protocol import Verdict
from processor.engine.commit.task import task_name, transactional_id
from processor.engine.offline.letters import Wanted
from processor.engine.offline.redrive import Redrive, Redriven, Route, Terms
from processor.engine.restore.heal import Healed, Policy
from processor.engine.restore.upgrade import Upgraded
from processor.engine.running.align import LOOK_S
from processor.engine.running.batcher import Limits
from processor.engine.running.feeder import Feeder
from processor.engine.running.options import Guarantee, Listener, Options
from processor.engine.running.worker import Worker
from processor.errors import FencedError, ProcessorError, RetriableError, StandbyError
from processor.feeds.base import Feed
from processor.formats.registry import Schemas
from processor.metrics.progress import BatchReport
from processor.model.log import Committed, TopicPartition
from processor.plan.nodes import Plan
from processor.sinks.tables import Tables
from processor.testing import inline
from processor.testing.inline import Inline, as_bytes, encoded, feeder_of, killed, topics_of
from processor.testing.seen import Seen
from processor.testing.steps import check_step

_QUIET_ROUNDS = 4
# In 2096: no event time of a test is ahead of when its record was written.
START_MS = 4_000_000_000_000
# So many rounds without a record in a committed batch: something goes round in circles.
_IDLE_ROUNDS = 300

Who: TypeAlias = int | tuple[str, int]
"""A worker: its number in the first stage, or the name of another stage and its number there.

The feeder of a feed is called ``("feed-NAME", 0)``.
"""


class Crash(BaseException):
    """A worker was killed at a step; nothing that it held was closed."""


class TestDriver(Seen):
    """Runs a topology step by step.

    Args:
        topology: a topology, or a definition with parameters.
        parameters: the definition's parameters, as text.
        partitions: of the input topic, and of every output topic.
        workers: members of each stage's consumer group, from the start.
        batch_records_max: the largest batch.
        on_checkpoint_loss: what to do when the store has lost checkpoints.
        allow_dropped_state: let go of state that a changed topology has no operator for.
        registry: the schema registry of all formats that have one; left out, one in memory.

    >>> from processor import Text, Topology
    >>> topology = Topology("copy")
    >>> topology.read.kafka("from", format=Text()).write.kafka("to", format=Text())
    >>> driver = TestDriver(topology)
    >>> driver.feed(["a", "b"])
    >>> driver.run()
    >>> driver.values("to")
    [b'a', b'b']
    """

    __test__ = False

    def __init__(
        self,
        topology: Topology | Definition,
        parameters: Mapping[str, str] | None = None,
        *,
        partitions: int = 1,
        workers: int = 1,
        guarantee: Guarantee = "exactly-once",
        batch_records_max: int = 20_000,
        interval_s: float = 0.0,
        on_checkpoint_loss: Policy = "stop",
        allow_dropped_state: bool = False,
        log: MemoryLog | None = None,
        store: MemoryStore | None = None,
        registry: Schemas | None = None,
    ) -> None:
        built = topology.build(parameters) if isinstance(topology, Definition) else topology
        self.plans = [stage.plan for stage in built.stages()]
        self.plan, self.tables = self.plans[0], Tables(self.plans)
        self.registry = registry or next(filter(None, map(in_memory, self.plans)), None)
        if self.registry is not None:
            for plan in self.plans:
                connect_to(plan, self.registry)
        self.clock = ManualClock(START_MS)
        self.log = log or MemoryLog(self.clock)
        self.store = store or MemoryStore()
        self.reports: list[BatchReport] = []
        limits = Limits(interval_s, batch_records_max, wait_s=0.0)
        self.undone: list[Verdict] = []
        self.noted: list[str] = []
        self.healed: list[Healed] = []
        self.upgraded: list[Upgraded] = []
        self._options = Options(
            guarantee, limits=limits, timeout_s=0.0, stable_s=0.0, doubts=0,
            on_checkpoint_loss=on_checkpoint_loss, heal_step_s=0.0,
            allow_dropped_state=allow_dropped_state,
        )  # fmt: skip
        self._dead_letters = self.plan.dead_letters()
        self.log.create(self._topics(partitions))
        self._crashes: dict[Who, list[str]] = {}
        self._pauses: dict[Who, list[tuple[str, Callable[[], None]]]] = {}
        self.steps: list[str] = []
        self._turning: Who | None = None
        self._workers: dict[Who, Worker | Feeder] = {}
        for plan in self.plans:
            for number in range(workers):
                self.restart(number if plan is self.plan else (self._name(plan), number))
                if (feed := plan.source().feed) is not None:
                    self.restart((feeder_of(feed), number))

    def _topics(self, partitions: int) -> dict[str, int]:
        topics: dict[str, int] = {}
        for plan in self.plans:
            source = plan.source()
            topics[source.topic] = 1 if source.gathered() else source.spread or partitions
            topics |= topics_of(source.feed)
            others = [plan.dead_letters(), plan.late(), *(s.topic for s in plan.published())]
            if self._options.on_checkpoint_loss == "changelog":
                topics[changelog.topic_of(plan.app)] = topics[source.topic]
            for topic in filter(None, others):
                topics.setdefault(topic, partitions)
        # An internal topic is a sink's before it is a source's.
        return topics

    # Input and time.

    def feed(
        self,
        values: Iterable[str | bytes | Mapping[str, Any] | None],
        *,
        topic: str | None = None,
        key: str | bytes | Mapping[str, Any] | None = None,
        partition: int | None = None,
        headers: Mapping[str, str | bytes] | None = None,
    ) -> None:
        """Append records to the input topic: text, bytes, or mappings that become JSON.

        A feed of that topic that has not begun is left out from then on. ``topic`` says which,
        where the topology reads several.
        ``None`` is a record without a value. Where the topic's format has a schema, mappings become
        its records, of what a column's type takes: a datetime, Decimal or bytes, no text of them
        (Avro; Arrow, a record for each); of Protobuf what a message is made of; JSON as it is.
        All have the same ``key`` and the same ``headers``; a mapping becomes a key as
        the topic's format of keys has it.
        """
        source = inline.source_of(self.plans, topic)
        for who in [w for w, one in self._workers.items() if inline.begins(one, source)]:
            self._workers.pop(who).close(leave=True)  # as with `collect(feed=...)`
        records = [encoded(source.format, value) for value in inline.several(values)]
        keys = None if key is None else [encoded(source.key_format, key)] * len(records)
        pairs = [(name, as_bytes(value)) for name, value in (headers or {}).items()]
        self.log.feed(
            source.topic, records, keys=keys, partition=partition,
            headers=[pairs] * len(records) if pairs else None,
        )  # fmt: skip

    def advance(self, seconds: float) -> None:
        """Move the clock on."""
        self.clock.advance(seconds)

    # Running.

    def turn(self, worker: Who = 0) -> bool:
        """One round of a worker's loop; true when it committed a batch.

        Raises `Crash` where `crash_at` said so; the worker is dead then.
        """
        return self._in(worker, lambda running: running.turn())

    def _in(self, worker: Who, do: Callable[[Worker | Feeder], bool]) -> bool:
        running = inline.running(self._workers, worker)
        outer, self._turning = self._turning, worker
        try:
            if running.standby:
                running.start()
            return do(running)
        except StandbyError:
            running.close(leave=True)
            running.standby = True
            return False
        except Crash:
            self.drop(worker)
            raise
        except (FencedError, RetriableError):
            running.rejoin()
            return False
        finally:
            self._turning = outer

    def caught_up(self, worker: Who = 0) -> bool:
        """Whether a worker has committed all that its partitions hold now; it passes their marks.

        Raises `Crash` where `crash_at` said so.
        """
        topic = self._plan_of(worker).source().topic
        extents = self.log.describe([topic])[topic].extents
        ends = {TopicPartition(topic, number): extent.high for number, extent in extents.items()}
        return self._in(worker, lambda running: running.caught_up(ends))

    def run(self) -> None:
        """Turn all workers, one after the other, until nothing is left to do.

        Raises `Crash` where `crash_at` said so, `ProcessorError` when they never come to rest.
        """
        quiet = idle = looks = 0
        while quiet < _QUIET_ROUNDS:
            before, reports = len(self.steps), len(self.reports)
            if (idle := idle + 1) > _IDLE_ROUNDS:
                raise ProcessorError(f"{self.plan.app} does not come to rest: {self.steps[-20:]}")
            worked = [self.turn(w) or inline.fills(self._workers[w]) for w in self.running()]
            self.clock.advance(self._options.limits.interval_s or 0.001)
            quiet = 0 if any(worked) or len(self.steps) > before else quiet + 1
            if any(report.records_in for report in self.reports[reports:]):
                idle = looks = 0
            if quiet == _QUIET_ROUNDS:
                told = [self._in(worker, inline.tells) for worker in self.running()]
                quiet = 0 if any(told) else quiet
            # Those that wait as they are far ahead are looked at once a second.
            if quiet == _QUIET_ROUNDS and looks < 2 and inline.holds(self._workers.values()):
                self.clock.advance(LOOK_S)
                quiet, looks = 0, looks + 1

    def running(self) -> list[Who]:
        """The workers that are alive, stage by stage."""
        apps = [plan.app for plan in self.plans]
        at = {who: (apps.index(self._plan_of(who).app), _number(who)) for who in self._workers}
        return sorted(at, key=at.__getitem__)

    def _plan_of(self, who: Who) -> Plan:
        return self.plan if isinstance(who, int) else inline.plan_of(self.plans, who[0])

    def _name(self, plan: Plan) -> str:
        return plan.app.removeprefix(f"{self.plan.app}.")

    def stages(self) -> list[str]:
        """The names of the stages, each behind those that it reads from."""
        return [self._name(plan) for plan in self.plans]

    def redrive(self, *, error: str = "", step: str = "", attempts: int = 3) -> Redriven:
        """Send the dead letters to the input again, each once, as ``processor dlq redrive`` does.

        ``error`` and ``step`` are text in the reason and in the step's name of those to send.
        """
        route = Route(self.plan.app, self._dead_letters, self.plan.source().topic)
        terms = Terms(Wanted(error, step), attempts)
        return Redrive(route, terms, self.log, self.clock, timeout_s=0.0).run()

    # Faults.

    def crash_at(self, step: str, worker: Who = 0) -> None:
        """Kill the worker the next time it comes to a step: ``before:commit``, ``after:stage``."""
        check_step(step)
        self._plan_of(worker)
        self._crashes.setdefault(worker, []).append(step)

    def pause_at(self, step: str, worker: Who, meanwhile: Callable[[], None]) -> None:
        """Stall the worker the next time it comes to a step, and do something else meanwhile."""
        check_step(step)
        self._pauses.setdefault(worker, []).append((step, meanwhile))

    def evict(self, worker: Who = 0, *, told: bool = True) -> None:
        """A worker's session times out, its transaction does not: it may be a zombie.

        One that is not ``told`` what it lost joins anew with nothing, when it next polls.
        """
        self.log.evict(self._instance(worker), told=told)

    def kill(self, worker: Who = 0) -> None:
        """Kill the worker now, between two turns."""
        killed(inline.taken(self._workers, worker))

    def drop(self, worker: Who = 0) -> None:
        """The worker's process has ended by itself: as `kill`, and no harm if it is gone."""
        killed(self._workers.pop(worker, None))

    def spare(self) -> None:
        """Forget the crashes and pauses that were asked for and have not happened."""
        self._crashes.clear()
        self._pauses.clear()

    def stop(self, worker: Who = 0) -> None:
        """Stop the worker in good order: it leaves the group."""
        inline.taken(self._workers, worker).close(leave=True)

    def restart(self, worker: Who = 0) -> None:
        """Start a worker, or a dead one again under the same identity."""
        self._workers[worker] = self._start(worker)

    def expire(self, worker: Who = 0) -> None:
        """A dead worker's session and transaction time out: the others get its partitions."""
        instance = self._instance(worker)
        self.log.expire(transactional_id(self._group(worker), instance))
        self.log.evict(instance)

    # What came of it, beside what `Seen` has.

    def state(self) -> dict[TopicPartition, dict[str, list[dict[str, Any]]]]:
        """The live workers' state: by task and operator, each key with its stored cells."""
        found: dict[TopicPartition, dict[str, list[dict[str, Any]]]] = {}
        for worker in self._workers.values():
            for partition, task in worker.tasks.items() if isinstance(worker, Worker) else ():
                found[partition] = {name: slab.dump() for name, slab in task.state.items()}
        return found

    def owned(self, worker: Who = 0) -> set[TopicPartition]:
        """The partitions that a worker has loaded."""
        return set(inline.running(self._workers, worker).tasks)

    def committed(self, stage: int = 0) -> dict[TopicPartition, Committed]:
        """A stage's committed positions with their manifests."""
        plan = self.plans[stage]
        return self.log.committed(plan.app, plan.source().topic)

    def task(self, partition: int = 0, stage: int = 0) -> str:
        """What the store calls the task of an input partition of a stage."""
        plan = self.plans[stage]
        return task_name(plan.app, TopicPartition(plan.source().topic, partition))

    def passes(self, step: str) -> None:
        """The worker that is turning comes to a step: what was asked for there happens."""
        if self._turning is not None:
            self._passes(self._turning, step)

    def _passes(self, worker: Who, step: str) -> None:
        self.steps.append(step)
        for pause in [p for p in self._pauses.get(worker, ()) if p[0] == step]:
            self._pauses[worker].remove(pause)
            pause[1]()
        if step in self._crashes.get(worker, ()):
            self._crashes[worker].remove(step)
            raise Crash(f"worker {worker} at {step}")

    def _start(self, worker: Who) -> Worker | Feeder:
        plan = self._plan_of(worker)
        if self._feeds(worker):
            feeder = Feeder(
                plan.source(), self.log, self.store, self.clock, instance=self._instance(worker),
                options=self._options, listener=self._listener(),
                probe=lambda step: self._passes(worker, step), wait_s=0.0,
            )  # fmt: skip
            feeder.start()
            return feeder
        topic = plan.source().topic
        started = Worker(
            plan, self.log, self.store, self.clock, Inline(), instance=self._instance(worker),
            partitions=len(self.log.describe([topic])[topic].extents), options=self._options,
            listener=self._listener(), probe=lambda step: self._passes(worker, step),
        )  # fmt: skip
        with contextlib.suppress(StandbyError):  # it waits, and begins with a later turn
            started.start()
        return started

    def _listener(self) -> Listener:
        return Listener(
            batch=self.reports.append,
            undone=lambda verdict, _: self.undone.append(verdict),
            healed=self.healed.append,
            upgraded=self.upgraded.append,
            noted=self.noted.append, shown=self.tables.show,
        )  # fmt: skip

    def _feeds(self, worker: Who) -> Feed | None:
        """The feed that this one turns, if it is a feeder."""
        feed = self._plan_of(worker).source().feed
        return feed if not isinstance(worker, int) and worker[0] == feeder_of(feed) else None

    def _group(self, worker: Who) -> str:
        feed = self._feeds(worker)
        return feed.group if feed else self._plan_of(worker).app

    def _instance(self, worker: Who) -> str:
        return f"{self._group(worker)}.{_number(worker)}"


def _number(who: Who) -> int:
    return who if isinstance(who, int) else who[1]
