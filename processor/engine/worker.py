"""The worker: one loop over poll, load, run, commit.

The loop is sequential. A batch is polled, computed and committed before the next poll, so that
nothing is read inside a transaction and no state is computed on what may be taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Final, Literal

from processor.clock import Clock
from processor.connectors.ports import Consumer, Log, Producer, Store
from processor.engine.batcher import Batcher, Limits, Share
from processor.engine.changelog import Changelog
from processor.engine.checkpoint import Checkpointer, Prepared
from processor.engine.committer import Commit, Committer, Probe, Work
from processor.engine.heal import STEP_S, Healed, Healer, Policy
from processor.engine.protocol import AT_LEAST_ONCE, EXACTLY_ONCE, Step, Verdict
from processor.engine.recovery import STABLE_S, Identity, Recovery
from processor.engine.task import Task
from processor.engine.upgrade import Upgraded, Upgrader
from processor.errors import FencedError, LogError, StateLostError, StoreAwayError
from processor.metrics.progress import BatchReport, Phase
from processor.model.batch import Result, Slice
from processor.model.log import Assigned, Output, Rebalance, TopicPartition
from processor.operators.pipeline import Pipeline
from processor.plan.fingerprint import describe, fingerprint, layout
from processor.plan.nodes import Plan

REDO_MAX: Final = 5
AUDIT_S: Final = 5.0
_PHASES: Final[Mapping[Step, Phase]] = {
    Step.STAGE: "stage",
    Step.PRODUCE: "publish",
    Step.FLUSH: "publish",
}

Guarantee = Literal["exactly-once", "at-least-once"]


@dataclass(frozen=True, slots=True)
class Listener:
    """Who wants to know: of batches, changes of partitions, tasks healed and taken over."""

    batch: Callable[[BatchReport], None] = lambda _: None
    change: Callable[[Rebalance], None] = lambda _: None
    undone: Callable[[Verdict, LogError | None], None] = lambda _, __: None
    healed: Callable[[Healed], None] = lambda _: None
    upgraded: Callable[[Upgraded], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Options:
    """How a worker runs."""

    guarantee: Guarantee = "exactly-once"
    start_from: Literal["earliest", "latest"] = "earliest"
    limits: Limits = field(default_factory=Limits)
    timeout_s: float = 10.0
    stable_s: float = STABLE_S
    on_checkpoint_loss: Policy = "stop"
    allow_dropped_state: bool = False
    heal_step_s: float = STEP_S


class Worker:
    """One member of a topology's consumer group.

    Args:
        instance: the stable identity over restarts: transactional id and group instance id.
        partitions: the input topic's partition count.
    """

    def __init__(
        self,
        plan: Plan,
        log: Log,
        store: Store,
        clock: Clock,
        executor: Executor,
        *,
        instance: str,
        partitions: int,
        options: Options,
        listener: Listener | None = None,
        probe: Probe = lambda _: None,
    ) -> None:
        self.instance = instance
        self._app = plan.app
        self._topic = plan.source().topic
        self._delay = plan.delay()
        self._sends_late = plan.late() is not None
        self._log, self._store, self._clock = log, store, clock
        self._options = options
        self._listener = listener or Listener()
        self._probe = probe
        self._pipeline = Pipeline(plan)
        self._identity = Identity(
            plan.app, instance, fingerprint(plan), partitions, options.start_from, layout(plan)
        )
        self._description = describe(plan)
        self._changelog: Changelog | None = None
        if options.on_checkpoint_loss == "changelog" and self._pipeline.stateful:
            self._changelog = Changelog(log, plan.app, options.timeout_s)
        self._checkpointer = Checkpointer(
            store, executor, self._identity.fingerprint, partitions, instance,
            changelog=self._changelog, description=str(self._description), probe=probe,
        )  # fmt: skip
        self._batches = 0
        self._reset()

    # The state of a membership: all of it goes when the worker joins anew.
    def _reset(self) -> None:
        self.tasks: dict[TopicPartition, Task] = {}
        self._pending: set[TopicPartition] = set()
        self._lost: set[TopicPartition] = set()
        self._redone = 0
        self._refusal: LogError | None = None
        self._poll_s = 0.0
        self._audit_at_s = self._clock.monotonic_s() + AUDIT_S
        # Whether the group counts this worker in, as of the last turn.
        self.member = False

    def start(self) -> None:
        """Join the group. Ends what an earlier holder of this identity left open."""
        producer = self._new_producer()
        try:
            self._consumer: Consumer = self._log.consumer(self._app, self.instance, [self._topic])
        except BaseException:
            producer.close()
            raise
        exactly_once = self._options.guarantee == "exactly-once"
        self._committer = Committer(
            EXACTLY_ONCE if exactly_once else AT_LEAST_ONCE,
            self._consumer, producer, self._store, self._clock,
            renew=self._new_producer, probe=self._probe, timeout_s=self._options.timeout_s,
        )  # fmt: skip
        self._recovery = Recovery(
            self._log, self._consumer, self._store, self._pipeline,
            checkpointer=self._checkpointer, healer=self._healer(), upgrader=self._upgrader(),
            identity=self._identity, timeout_s=self._options.timeout_s,
            stable_s=self._options.stable_s, probe=self._probe,
        )  # fmt: skip
        self._batcher = Batcher(self._consumer, self._topic, self._clock, self._options.limits)

    def turn(self) -> bool:
        """One round of the loop; true when a batch was committed.

        Raises `FencedError` when the identity was taken or nothing else than joining anew helps:
        see `rejoin`. Raises `StoreAwayError` when the store does not answer; then all is as it was
        before the batch, and the next turn tries again.
        """
        started_s = self._clock.monotonic_s()
        polled = self._batcher.poll()
        self._poll_s += self._clock.monotonic_s() - started_s
        for change in polled.changes:
            self._apply(change)
        self._audit()
        if self._lost:
            self._mend()
        if self._pending:
            self._load()
        committed = self._batcher.due() and self._run(self._batcher.take())
        self.member = committed or self._consumer.membership().generation >= 0
        return committed

    def caught_up(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether every task of this worker has committed what was there at ``ends``.

        What follows the last record may be the marks of transactions only; they are passed by
        committing an empty batch.
        """
        if self._pending or not self._batcher.empty():
            return False
        behind = {p for p, task in self.tasks.items() if task.base.offset < ends.get(p, 0)}
        marks = [p for p in behind if (self._batcher.end(p) or 0) >= ends[p]]
        if marks:
            self._run(self._batcher.nothing(marks))
        return all(task.base.offset >= ends.get(p, 0) for p, task in self.tasks.items())

    def rejoin(self) -> None:
        """Forget everything, close the clients, and join the group anew."""
        self.close(leave=False)
        self.start()

    def close(self, *, leave: bool) -> None:
        """Let go of the clients; with ``leave`` the group hands the partitions on at once."""
        for partition in self.tasks:
            self._checkpointer.forget(partition)
        self._reset()
        self._recovery.healer.close()
        self._consumer.close(leave=leave)
        self._committer.producer.close()

    @property
    def ready(self) -> bool:
        """Whether it is in the group and all that is assigned is loaded. Any thread may ask."""
        return self.member and not self._pending

    def _new_producer(self) -> Producer:
        exactly_once = self._options.guarantee == "exactly-once"
        producer = self._log.producer(self.instance if exactly_once else None)
        producer.start(self._options.timeout_s)
        return producer

    def _healer(self) -> Healer:
        options = self._options
        return Healer(
            options.on_checkpoint_loss, self._log, self._store, self._pipeline,
            checkpointer=self._checkpointer, clock=self._clock, changelog=self._changelog,
            records_max=options.limits.records_max, tell=self._listener.healed,
            probe=self._probe, step_s=options.heal_step_s,
        )  # fmt: skip

    def _upgrader(self) -> Upgrader:
        return Upgrader(
            self._store, self._pipeline, self._checkpointer, self._description,
            allow_dropped=self._options.allow_dropped_state, tell=self._listener.upgraded,
            probe=self._probe,
        )  # fmt: skip

    def _apply(self, change: Rebalance) -> None:
        # Also what is assigned is forgotten first: told twice of one, the worker loads it again.
        self._forget(change.partitions)
        if isinstance(change, Assigned):
            self._pending |= change.partitions
        else:
            self._pending -= change.partitions
        self._listener.change(change)

    def _forget(self, partitions: frozenset[TopicPartition] | set[TopicPartition]) -> None:
        self._batcher.shut(partitions)
        for partition in partitions:
            self.tasks.pop(partition, None)
            self._lost.discard(partition)
            self._checkpointer.forget(partition)
            self._recovery.healer.forget(partition)

    def _load(self) -> None:
        tasks = self._recovery.load(self._pending)
        if tasks:
            self._batcher.open({task.partition: task.base.offset for task in tasks})
            self.tasks |= {task.partition: task for task in tasks}
            self._pending -= {task.partition for task in tasks}

    def _audit(self) -> None:
        """Now and then, see that the store has what the committed heads rest on."""
        if self._clock.monotonic_s() < self._audit_at_s:
            return
        self._audit_at_s = self._clock.monotonic_s() + AUDIT_S
        self._probe("before:audit")
        by_name = {task.name: task for task in self.tasks.values()}
        keys = {name: task.link.rests_on() for name, task in by_name.items()}
        gone = self._store.missing({name: asked for name, asked in keys.items() if asked})
        self._lost |= {by_name[name].partition for name in gone}

    def _mend(self) -> None:
        """Write anew from memory what the store has lost, and commit heads that rest on it.

        After a poll, which has told what is no longer ours. Until it is committed, a restart
        would find the loss.
        """
        lost = sorted(self._lost)
        mended = self._recovery.mend([self.tasks[partition] for partition in lost])
        if mended and self._run(self._batcher.nothing(lost)):
            self._lost -= set(lost)

    def _run(self, shares: Mapping[TopicPartition, Share]) -> bool:
        """One batch: compute, prepare, commit."""
        started_ms, started_s = self._clock.now_ms(), self._clock.monotonic_s()
        slices = [self._slice(p, shares[p]) for p in sorted(shares)]
        tasks = [self.tasks[part.partition] for part in slices]
        self._probe("before:process")
        result = self._pipeline.run(slices, [task.state for task in tasks])
        for share in shares.values():  # makes room for the outputs on their way
            share.clear()
        prepared = [
            self._checkpointer.prepare(task, part, time)
            for task, part, time in zip(tasks, slices, result.event_times_max, strict=True)
        ]
        process_s = self._clock.monotonic_s() - started_s
        work = Work(prepared, [*result.outputs, *self._logged(prepared)])
        try:
            commit = self._committer.commit(work)
        except StoreAwayError:
            self._go_back(tasks)
            raise
        if commit.verdict is not Verdict.ADOPT:
            self._undo(tasks, commit)
            return False
        for share in shares.values():
            share.took()
        for part in prepared:
            self._checkpointer.adopt(part)
        self._probe("after:adopt")
        self._redone, self._refusal = 0, None
        snapshot_bytes = sum(self._checkpointer.tidy(task) for task in tasks)
        self._batches += 1
        phases = self._phases(process_s, commit)
        self._listener.batch(self._report(result, work, started_ms, phases, snapshot_bytes))
        return True

    def _logged(self, prepared: Sequence[Prepared]) -> Iterator[Output]:
        if self._changelog:
            for part in prepared:
                yield from self._changelog.outputs(part.task.partition.partition, part.blobs)

    def _slice(self, partition: TopicPartition, share: Share) -> Slice:
        task = self.tasks[partition]
        share.check(partition, task.base.offset)
        return Slice(
            partition, share.messages, share.values, task.base.offset, share.end(),
            task.event_time_max,
        )  # fmt: skip

    def _undo(self, tasks: list[Task], commit: Commit) -> None:
        """The batch did not happen: go back, or forget, or join anew."""
        self._listener.undone(commit.verdict, commit.error)
        self._redone += 1
        # What follows a refusal may be its echo: the first that has a remedy is the one to tell.
        if self._refusal is None or not self._refusal.remedy:
            self._refusal = commit.error or self._refusal
        if self._redone > REDO_MAX and self._refusal is not None:
            raise LogError(
                f"{self._app}: a batch failed {self._redone} times in a row, with: "
                f"{self._refusal.message}",
                remedy=self._refusal.remedy or "see the errors of the tries",
            ) from self._refusal
        if self._redone > REDO_MAX and commit.gone:
            raise StateLostError(
                f"{self._app}: what was written to the store was gone again {self._redone} times "
                f"in a row, for {', '.join(map(str, sorted(commit.gone)))}",
                remedy="see that Redis keeps what it takes: maxmemory-policy noeviction, nobody "
                "else who deletes or flushes",
            )
        if commit.verdict is Verdict.REJOIN:
            raise FencedError(
                f"{self.instance}: {commit.error or 'its transaction cannot go on'}"
            ) from commit.error
        if commit.verdict is Verdict.RELOAD:
            partitions = {task.partition for task in tasks}
            self._forget(partitions)
            self._pending |= partitions
        else:
            self._lost |= commit.gone
            self._go_back(tasks)

    def _go_back(self, tasks: Sequence[Task]) -> None:
        """To what is committed: the state, and the place in the log."""
        for task in tasks:
            for slab in task.state.values():
                slab.rollback()
        self._batcher.open({task.partition: task.base.offset for task in tasks})

    def _phases(self, process_s: float, commit: Commit) -> dict[Phase, float]:
        phases: dict[Phase, float] = {"poll": self._poll_s, "process": process_s}
        self._poll_s = 0.0
        for step, seconds in commit.seconds.items():
            phase = _PHASES.get(step, "commit")
            phases[phase] = phases.get(phase, 0.0) + seconds
        return phases

    def _report(
        self,
        result: Result,
        work: Work,
        started_ms: int,
        phases: Mapping[Phase, float],
        snapshot_bytes: int,
    ) -> BatchReport:
        counts = result.counts
        set_aside = counts.dead_lettered + (counts.late if self._sends_late else 0)
        delay_ms = self._delay.total_seconds() * 1000 if self._delay else 0
        times = {p: task.event_time_max for p, task in self.tasks.items()}
        return BatchReport(
            self._app,
            self.instance,
            self._batches,
            started_ms,
            records_in=counts.read,
            records_out=sum(map(len, result.outputs)) - set_aside,
            contributed=counts.contributed,
            dead_lettered=counts.dead_lettered,
            late=counts.late,
            skipped=counts.skipped,
            filtered=counts.filtered,
            phases=phases,
            state_rows=sum(task.rows() for task in self.tasks.values()),
            state_bytes=sum(task.memory_bytes() for task in self.tasks.values()),
            checkpoint_bytes=sum(p.bytes for p in work.prepared),
            snapshot_bytes=snapshot_bytes,
            lag=self._consumer.lag({p: task.base.offset for p, task in self.tasks.items()}),
            watermark_ms={
                p: None if time is None else int(time // 1000 - delay_ms)
                for p, time in times.items()
            },
        )
