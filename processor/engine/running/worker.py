"""The worker: one loop over poll, load, run, commit.

The loop is sequential. A batch is polled, computed and committed before the next poll, so that
nothing is read inside a transaction and no state is computed on what may be taken back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace

from processor.clock import Clock
from processor.connectors.ports import Consumer, Log, Store
from processor.engine.commit.checkpoint import Prepared
from processor.engine.commit.committer import Commit, Probe, Work
from processor.engine.commit.protocol import Verdict
from processor.engine.commit.task import Task, transactional_id
from processor.engine.running import redo
from processor.engine.running.align import align_of
from processor.engine.running.audit import Audit
from processor.engine.running.batcher import Batcher, Share
from processor.engine.running.clocked import stamp_of
from processor.engine.running.idle import idle_of
from processor.engine.running.making import decides_lateness, parts_of
from processor.engine.running.options import END_US, Listener, Options
from processor.engine.running.outside import Part
from processor.engine.running.pace import OverdueError, Pace
from processor.engine.running.report import phases_of, report_of, standing_of
from processor.engine.running.slicing import slice_of
from processor.errors import (
    LogError,
    RegistryAwayError,
    RetriableError,
    SinkError,
    StoreAwayError,
)
from processor.metrics.standing import Standing
from processor.model.batch import Result, Slice
from processor.model.log import Assigned, Output, Rebalance, TopicPartition
from processor.plan.nodes import Plan


class Worker:
    """One member of a topology's consumer group.

    Args:
        instance: the stable identity over restarts: the group instance id, from which the
            transactional id derives.
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
        self.transactional_id = transactional_id(plan.app, instance)
        self._app = plan.app
        self._topic = plan.source().topic
        self._delay, self._stamp = plan.delay(), stamp_of(plan, clock)
        self._log, self._store, self._clock = log, store, clock
        self._options = options
        self._listener = listener or Listener()
        self._probe = probe
        self._parts = parts_of(
            plan, log, store, clock, executor, instance=instance,
            transactional_id=self.transactional_id, partitions=partitions, options=options,
            listener=self._listener, probe=probe,
        )  # fmt: skip
        self._carry, self._pipeline = self._parts.carry, self._parts.pipeline
        self._identity, self._lineage = self._parts.identity, self._parts.lineage
        self._succession, self._changelog = self._parts.succession, self._parts.changelog
        self._checkpointer, self._trimmer = self._parts.checkpointer, self._parts.trimmer
        self._idle = idle_of(plan, log, clock, partitions=partitions, bounded=options.bounded)
        self._align = align_of(plan, log, clock, self._listener.noted, bounded=options.bounded)
        self._outside = self._parts.outside
        self.pace = Pace(clock, records_max=options.limits.records_max, limit_s=math.inf)
        self._batches, self._joined, self.standby = 0, False, False
        self._reset()

    # The state of a membership: all of it goes when the worker joins anew.
    def _reset(self) -> None:
        self.tasks: dict[TopicPartition, Task] = {}
        self._pending: set[TopicPartition] = set()
        self._lost: set[TopicPartition] = set()
        # Whether a batch waits for what the client has ready, as of the last turn.
        self.filling, self._redone = False, 0
        self._refusal: LogError | None = None
        self._audit = Audit(self._store, self._clock, self._probe)
        # Whether the group counts this worker in, as of the last turn.
        self.member = self.settled = False

    def start(self) -> None:
        """Join the group. Ends what an earlier holder of this identity left open.

        Raises `StandbyError` while another plan is at work in the group.
        """
        self.standby = True
        self._succession.check_start()
        self.standby = False
        self._outside.begin()
        producer = self._parts.producer()
        try:
            self._consumer: Consumer = self._log.consumer(self._app, self.instance, [self._topic])
        except BaseException:
            producer.close()
            raise
        self._committer = self._parts.committer(self._consumer, producer)
        self._recovery = self._parts.recovery(self._consumer)
        self._batcher = Batcher(self._consumer, self._topic, self._clock, self._options.limits)
        self.pace.waits(self._consumer.poll_interval_s)
        self._batcher.records_max = self.pace.records_max
        self._carry.begin()
        self._joined = True

    def turn(self) -> bool:
        """One round of the loop; true when a batch was committed.

        Raises `FencedError` when the identity was taken or nothing else than joining anew helps:
        see `rejoin`; `StoreAwayError` when the store does not answer, `RegistryAwayError` when the
        schema registry does not: then all is as before the batch, and the next turn tries again.
        """
        with self._lineage.asked():
            polled = self._batcher.poll()
        for change in polled.changes:
            self._apply(change)
        if self._audit.due():
            self._succession.check_running(self._identity.partitions, self.tasks)
            self._lost |= self._audit.lost(self.tasks)
        if self._lost:
            self._mend()
        if self._pending:
            self._load()
        owed = self._outside.owed(self.tasks)
        # Batches that were promised go before all others, as they were.
        again = self._outside.again(owed, self.tasks, self._batcher) if owed else None
        shares = again or (self._batcher.take() if self._batcher.due() else {})
        committed = bool(shares) and self._run(shares)
        if not owed and not committed and self._idle is not None and not self._options.bounded:
            self._raise(self._idle.raised(self.tasks, self._batcher.emptied()))
        if not committed and self._carry.due:
            self.tell()
        if self._align is not None:
            self._align.turn(self.tasks, self._batcher)
        # In the second turn as a member it knows what it was assigned.
        self.settled, self.filling = self.member, self._batcher.filling()
        self.member = committed or self._consumer.membership().generation >= 0
        return committed

    def caught_up(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether every task of this worker has committed what was there at ``ends``.

        What follows the last record may be the marks of transactions only; they are passed by
        committing an empty batch.
        """
        if self._pending or not self._batcher.empty() or self._outside.owed(self.tasks):
            return False
        behind = {p for p, task in self.tasks.items() if task.base.offset < ends.get(p, 0)}
        marks = [p for p in behind if (self._batcher.end(p) or 0) >= ends[p]]
        if marks:
            self._run(self._batcher.nothing(marks))
        if not all(task.base.offset >= ends.get(p, 0) for p, task in self.tasks.items()):
            return False
        if self._idle is not None:
            ends = {partition: task.base.offset for partition, task in self.tasks.items()}
            self._raise(self._idle.raised(self.tasks, ends))
        self._raise(self._ended())
        self.tell()
        return self._idle is None or self._idle.levelled(self.tasks)

    def _ended(self) -> dict[TopicPartition, int | None]:
        """The tasks whose watermark goes to the end of time, where no record comes any more."""
        if not self._options.ends or not decides_lateness(self._parts.plan):
            return {}
        times = {p: task.event_time_max for p, task in self.tasks.items()}
        return {p: END_US for p, time in times.items() if time is None or time < END_US}

    def _raise(self, raised: Mapping[TopicPartition, int | None]) -> None:
        """Let the watermarks of partitions that stand still go on."""
        if raised:
            self._run(self._batcher.nothing(raised), raised)

    def tell(self) -> bool:
        """Tell the stages behind what they are owed: a batch of one task tells of all."""
        owes = self.tasks and not self._outside.owed(self.tasks) and self._carry.pay()
        return bool(owes) and self._run(self._batcher.nothing([min(self.tasks)]))

    def rejoin(self) -> None:
        """Forget everything, close the clients, and join the group anew."""
        self.close(leave=False)
        self.start()

    def close(self, *, leave: bool) -> None:
        """Let go of the clients; with ``leave`` the group hands the partitions on at once."""
        for partition in self.tasks:
            self._checkpointer.forget(partition)
        self._reset()
        if self._joined:
            self._joined = False
            self._recovery.healer.close()
            self._consumer.close(leave=leave)
            self._committer.producer.close()

    @property
    def held(self) -> frozenset[TopicPartition]:
        """The partitions that wait, as they are far ahead of others."""
        return self._batcher.held if self._joined else frozenset()

    @property
    def ready(self) -> bool:
        """Whether it is in the group with all loaded, or lets another plan's workers go first."""
        return self.standby or (self.member and not self._pending)

    @property
    def idle(self) -> bool:
        """Whether it is ready, and has committed all that it can see: nothing waits to be done."""
        return self.ready and self.member and not self._lost and self._batcher.at_end()

    def standing(self) -> Standing:
        """What it has and how far it has got. Any thread may ask; costs the loop nothing."""
        standing = standing_of(self.tasks, self._passed(), len(self._pending), self._delay)
        return replace(standing, member=self.member, standby=self.standby)

    def _passed(self) -> dict[TopicPartition, int]:
        bases = {p: task.base.offset for p, task in dict(self.tasks).items()}
        return {p: self._batcher.passed(p, base) for p, base in bases.items()}

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
            self._trimmer.forget(partition)

    def _load(self) -> None:
        tasks = self._recovery.load(self._pending)
        if tasks:
            for task in tasks:
                self._outside.recover(task)
            self._batcher.open({task.partition: task.base.offset for task in tasks})
            self.tasks |= {task.partition: task for task in tasks}
            self._pending -= {task.partition for task in tasks}
            self._carry.loaded(tasks)
            of_another = self._succession.is_of_another
            # Else what was healed goes with its partition. A batch that was promised does the same.
            owed = self._outside.owed(self.tasks)
            apart = [t.partition for t in tasks if of_another(t.base) or t.rebased()]
            if apart := [partition for partition in apart if partition not in owed]:
                self._lost |= set(apart)  # which is tried until it is done
                self._lost -= set(apart if self._run(self._batcher.nothing(apart)) else ())

    def _mend(self) -> None:
        """Write anew from memory what the store has lost, and commit heads that rest on it.

        After a poll, which has told what is no longer ours. A restart would find the loss before.
        """
        lost = sorted(self._lost)
        mended = self._recovery.mend([self.tasks[partition] for partition in lost])
        owed = self._outside.owed(self.tasks)  # the batch that was promised does it
        rest = [partition for partition in lost if partition not in owed]
        if mended and (not rest or self._run(self._batcher.nothing(rest))):
            self._lost -= set(lost)

    def _run(
        self,
        shares: Mapping[TopicPartition, Share],
        raised: Mapping[TopicPartition, int | None] | None = None,
    ) -> bool:
        """One batch: compute, prepare, commit. Idle partitions have their watermark ``raised``."""
        started_s, poll_s = self._clock.monotonic_s(), self._batcher.fetched_s
        started_ms = self._clock.now_ms() - round(poll_s * 1000)
        tasks = [self.tasks[partition] for partition in sorted(shares)]
        slices = [slice_of(task, shares[task.partition], raised, self._stamp) for task in tasks]
        records = [len(part.messages) for part in slices]
        if (result := self._computed(tasks, slices, sum(records))) is None:
            return False
        for share in shares.values():  # makes room for the outputs on their way
            share.clear()
        times = zip(result.event_times_max, result.log_times, strict=True)
        files = self._outside.files(result)
        prepared = [
            self._checkpointer.prepare(task, part, *both, files.get(number, ()))
            for number, (task, part, both) in enumerate(zip(tasks, slices, times, strict=True))
        ]
        process_s = self._clock.monotonic_s() - started_s
        outputs = self._carry.carried(result, slices, self.tasks)
        written = self._outside.written(result, prepared)
        work = Work(prepared, [*outputs, *self._logged(prepared)], written)
        parts = [Part(*each) for each in zip(slices, prepared, records, strict=True)]
        try:
            self._lineage.check()
            commit = self._outside.commit(work, result, parts, self._committer, self.pace)
        except (StoreAwayError, RetriableError, SinkError) as error:
            if isinstance(error, StoreAwayError):
                self._listener.unsaved("delta", error)
            self._go_back(tasks)
            raise
        if commit.verdict is not Verdict.ADOPT:
            self._undo(tasks, commit)
            return False
        self._batcher.took(shares)
        for part in prepared:
            self._checkpointer.adopt(part)
        self._carry.committed()
        self._probe("after:adopt")
        self._batcher.records_max = self.pace.records_max
        self._outside.shown(result, slices, commit)
        self._redone, self._refusal = 0, None
        snapshot_bytes = sum(map(self._tidy, tasks))
        self._batches += 1
        report = report_of(result, work, self.tasks, delay=self._delay)
        self._listener.batch(
            replace(
                report, topology=self._app, worker=self.instance, batch=self._batches,
                started_ms=started_ms, phases=phases_of(poll_s, process_s, commit.seconds),
                snapshot_bytes=snapshot_bytes, lag=self._consumer.lag(self._passed()),
            )
        )  # fmt: skip
        return True

    def _computed(self, tasks: list[Task], slices: list[Slice], records: int) -> Result | None:
        """What the operators make of it; ``None`` where that took too long."""
        self._probe("before:process")
        self._lineage.ask()
        self.pace.begin(slices)
        try:
            result = self._pipeline.run(slices, [task.state for task in tasks], self.pace.step)
        except OverdueError:
            result = None
        except RegistryAwayError:
            self.pace.step("")
            self._go_back(tasks)
            raise
        in_time = self.pace.done(records)
        self._batcher.records_max = self.pace.records_max
        if result is not None and in_time:
            return result
        self._listener.undone(Verdict.REDO, self.pace.too_slow())
        self._go_back(tasks)
        return None

    def _tidy(self, task: Task) -> int:
        """After a commit: collect, begin a snapshot when it is time, and trim; its bytes."""
        self._trimmer.committed(task)
        if size := self._checkpointer.tidy(task):
            self._trimmer.begun(task)
        return size

    def _logged(self, prepared: Sequence[Prepared]) -> Iterator[Output]:
        if self._changelog:
            for part in prepared:
                yield from self._changelog.outputs(part.task.partition.partition, part.blobs)

    def _undo(self, tasks: list[Task], commit: Commit) -> None:
        """The batch did not happen: go back, or forget, or join anew."""
        self._listener.undone(commit.verdict, commit.error)
        self._redone += 1
        # What follows a refusal may be its echo: the first that has a remedy is the one to tell.
        if self._refusal is None or not self._refusal.remedy:
            self._refusal = commit.error or self._refusal
        redo.check(self._app, self._redone, self._refusal, commit.gone)
        if commit.verdict is Verdict.REJOIN:
            raise redo.fenced(commit.error, self.instance, self.transactional_id) from commit.error
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
            for state in task.state.values():
                state.rollback()
        self._batcher.open({task.partition: task.base.offset for task in tasks})
