"""The feeder: reads what lies outside the log into a topic of the application's own.

::

    member of APP.feed-NAME ──► owns partition p of APP.NAME ──► its committed place ──► open
                                                                                          │
    ┌── begin ─ records ─ notes ─ the new place, as the group's offset ─ commit ◄── read ─┘
    └──► kept: files may be cleared away ──► read on

It turns as a worker does, and commits by the same table. The group's offset means nothing but that
it lies in the topic: how far the feed has come is in the manifest that goes with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from processor.clock import Clock
from processor.connectors.ports import Consumer, Log, Producer, Store
from processor.engine.commit.committer import Commit, Committer, Probe, Work
from processor.engine.commit.protocol import EXACTLY_ONCE, Verdict
from processor.engine.commit.task import transactional_id
from processor.engine.restore.lineage import Lineage
from processor.engine.restore.recovery import UNSTABLE_S
from processor.engine.running import redo
from processor.engine.running.fed import Fed, Notes, opened, places
from processor.engine.running.options import Listener, Options
from processor.engine.running.pace import Pace
from processor.engine.running.report import phases_of
from processor.errors import LogError, RetriableError
from processor.feeds.base import Feed, Limit, Opening, Piece, Place
from processor.metrics.progress import BatchReport
from processor.metrics.standing import Standing
from processor.model.log import Assigned, Output, Rebalance, TopicPartition
from processor.plan.nodes import Source

WAIT_S: Final = 0.1
# Rows are handed on as they come: a transaction of so many takes some tenths of a second.
RECORDS_MAX: Final = 20_000
BYTES_MAX: Final = 8 * 1024 * 1024


class Feeder:
    """One member of a feed's group.

    Args:
        source: which has the feed.
        store: it keeps nothing there.
        instance: the stable identity over restarts.
        wait_s: how long a turn waits where nothing is there, and how often it looks for new files
            is a multiple of it; 0 in tests.
    """

    standby = False

    def __init__(
        self,
        source: Source,
        log: Log,
        store: Store,
        clock: Clock,
        *,
        instance: str,
        options: Options,
        listener: Listener | None = None,
        probe: Probe = lambda _: None,
        wait_s: float = WAIT_S,
    ) -> None:
        if source.feed is None:
            raise TypeError("the source has no feed")
        self.feed: Feed = source.feed
        self.instance = instance
        self.transactional_id = transactional_id(self.feed.group, instance)
        self._source, self._log, self._store, self._clock = source, log, store, clock
        self._options, self._probe, self._wait_s = options, probe, wait_s
        self._listener = listener or Listener()
        self._lineage = Lineage(log, self.feed.topic)
        self._notes = Notes(log, self.feed)
        limits = options.limits
        self._limit = Limit(
            min(limits.records_max, RECORDS_MAX), min(limits.bytes_max, BYTES_MAX),
            wait_s if self.feed.source.waits else 0.0,
        )  # fmt: skip
        self.pace = Pace(clock, records_max=limits.records_max, limit_s=float("inf"))
        self._joined = False
        self._batches = 0
        self._kept: dict[TopicPartition, Fed] = {}
        self._waits_s: float | None = None
        self._reset()

    def _reset(self) -> None:
        self.tasks: dict[TopicPartition, Fed] = {}
        self._pending: set[TopicPartition] = set()
        self._redone = 0
        self._refusal: LogError | None = None
        self._rests = False
        self.member = self.settled = False

    def start(self) -> None:
        """Join the group. Ends what an earlier holder of this identity left open."""
        producer = self._log.producer(self.transactional_id)
        try:
            producer.start(self._options.timeout_s)
            self._consumer: Consumer = self._log.consumer(
                self.feed.group, self.instance, [self.feed.topic]
            )
        except BaseException:
            producer.close()
            raise
        self._committer = Committer(
            EXACTLY_ONCE, self._consumer, producer, self._store, self._clock,
            renew=self._renewed, probe=self._probe, timeout_s=self._options.timeout_s,
        )  # fmt: skip
        self.pace.waits(self._consumer.poll_interval_s)
        self._joined = True

    def _renewed(self) -> Producer:
        producer = self._log.producer(self.transactional_id)
        try:
            producer.start(self._options.timeout_s)
        except BaseException:
            producer.close()
            raise
        return producer

    def turn(self) -> bool:
        """One round of the loop; true when something was fed.

        Raises as `Worker.turn` does, and `FeedError` for what stops the run.
        """
        rests = self._rests and not self.feed.source.waits
        polled = self._consumer.poll(1, self._wait_s if rests or not self.tasks else 0.0)
        for change in polled.changes:
            self._apply(change)
        if self._pending:
            self._load()
        fed = False
        for partition in sorted(self.tasks):
            fed = self._run(self.tasks[partition]) or fed
        self._rests = not fed
        self.settled = self.member
        self.member = fed or self._consumer.membership().generation >= 0
        return fed

    def caught_up(self, ends: Mapping[TopicPartition, int] | None = None) -> bool:
        """Whether a bounded feed has given all that this member has of it."""
        del ends
        at_end = all(fed.reading.at_end() for fed in self.tasks.values())
        return self.settled and not self._pending and self._rests and at_end

    def rejoin(self) -> None:
        """Close the clients, and join the group anew; what was read and not committed is held."""
        self._kept = dict(self.tasks)
        self.close(leave=False)
        self.start()

    def close(self, *, leave: bool) -> None:
        """Let go of the clients; with ``leave`` the group hands the partitions on at once."""
        for partition, fed in self.tasks.items():
            if partition not in self._kept or leave:
                fed.reading.close()
        self._reset()
        if self._joined:
            self._joined = False
            self._consumer.close(leave=leave)
            self._committer.producer.close()

    @property
    def ready(self) -> bool:
        """Whether it is in the group with all loaded."""
        return self.member and not self._pending

    @property
    def idle(self) -> bool:
        """Whether it is ready, and nothing was there to be fed."""
        return self.ready and self._rests

    def standing(self) -> Standing:
        """What it has. Any thread may ask."""
        tasks = dict(self.tasks)
        return Standing(
            self.member, pending=len(self._pending),
            positions={p: fed.task.base.offset for p, fed in tasks.items()},
        )  # fmt: skip

    def _apply(self, change: Rebalance) -> None:
        for partition in change.partitions:
            fed = self.tasks.pop(partition, None)
            if fed is not None:
                fed.reading.close()
        if isinstance(change, Assigned):
            self._pending |= change.partitions
        else:
            self._pending -= change.partitions
        self._listener.change(change)

    # Loading.

    def _load(self) -> None:
        try:
            self._lineage.ask()
            self._lineage.check()
            heads = self._consumer.committed(sorted(self._pending), self._options.stable_s)
            found = places(self._log, self._consumer, self.feed, heads, self._pin())
            notes = {p: self._notes.read(p.partition, fed) for p, fed in found.items()}
        except RetriableError as error:
            self._bear(error)
            self._fence()
            return
        self._waits_s = None
        for partition, fed in found.items():
            self.tasks[partition] = self._opened(partition, fed, notes[partition])
            self._pending.discard(partition)
        for fed in self._kept.values():
            fed.reading.close()
        self._kept = {}

    def _bear(self, error: RetriableError) -> None:
        """Try again for a while, then tell: what is never loaded stands still."""
        now_s = self._clock.monotonic_s()
        self._waits_s = now_s if self._waits_s is None else self._waits_s
        if now_s - self._waits_s >= UNSTABLE_S:
            self._waits_s = None
            raise error

    def _pin(self) -> tuple[str, str]:
        return self.transactional_id, self._lineage.identity

    def _opened(self, partition: TopicPartition, fed: Fed, notes: Sequence[Place]) -> Fed:
        self._lineage.check_head(partition, fed.manifest.log)
        before = self._kept.get(partition)
        if before is not None and fed.manifest.transactional_id == self.transactional_id:
            # What a socket has sent comes once: it is held by who has read it.
            fed.reading = before.reading
            del self._kept[partition]
        else:
            fed.reading = self.feed.source.open(self._opening(partition))
        try:
            fed.reading.begin(fed.place, notes)
        except BaseException:
            fed.reading.close()
            raise
        return fed

    def _opening(self, partition: TopicPartition) -> Opening:
        return Opening(
            partition.partition, self.feed.partitions, self._source.format, self._source.on_error,
            self._clock, self._options.bounded, 10 * self._wait_s, self._listener.noted,
            self._probe,
        )  # fmt: skip

    def _fence(self) -> None:
        """End the open transactions of those who had the partitions before, of this group only."""
        heads = self._log.committed(self.feed.group, self.feed.topic, stable=False)
        owners = {opened(head).transactional_id for p, head in heads.items() if p in self._pending}
        for owner in sorted(owners - {self.transactional_id}):
            if owner.startswith(f"{self.feed.group}:"):
                producer = self._log.producer(owner)
                producer.start(self._options.timeout_s)
                producer.close()

    # Feeding.

    def _run(self, fed: Fed) -> bool:
        """Read a piece, and commit it."""
        started_s, started_ms = self._clock.monotonic_s(), self._clock.now_ms()
        self.pace.begin(())
        self.pace.step("read")
        try:
            piece = fed.reading.read(self._limit)
        finally:
            self.pace.step("")
        if piece is None:
            return False
        self._probe("after:read")
        work = self._work(fed, piece)
        read_s = self._clock.monotonic_s() - started_s
        commit = self._committer.commit(work)
        if commit.verdict is not Verdict.ADOPT:
            self._undo(fed, commit)
            return False
        fed.adopt(work.prepared[0])
        self._probe("after:adopt")
        self._redone, self._refusal = 0, None
        fed.reading.kept(piece)
        self._notes.tidy(fed)
        self._batches += 1
        self._listener.batch(
            BatchReport(
                self.feed.group, self.instance, self._batches, started_ms,
                records_in=len(piece.values) + piece.skipped, records_out=len(piece.values),
                contributed=len(piece.values), skipped=piece.skipped,
                phases=phases_of(0.0, read_s, commit.seconds),
            )
        )  # fmt: skip
        return True

    def _work(self, fed: Fed, piece: Piece) -> Work:
        partition = fed.task.partition
        notes = self._notes.of(fed, piece)
        high = self._consumer.extent(partition, self._options.timeout_s).high
        at = max(fed.task.base.offset, high)
        prepared = fed.prepared(at, piece.place, notes, *self._pin())
        outputs = [
            Output(self.feed.topic, piece.values, headers=piece.headers,
                   partition=partition.partition),
            *notes.outputs(partition.partition),
        ]  # fmt: skip
        return Work([prepared], [output for output in outputs if output.values])

    def _undo(self, fed: Fed, commit: Commit) -> None:
        """It did not happen: read it again, or load the place, or join anew."""
        self._listener.undone(commit.verdict, commit.error)
        self._redone += 1
        if self._refusal is None or not self._refusal.remedy:
            self._refusal = commit.error or self._refusal
        redo.check(self.feed.group, self._redone, self._refusal, commit.gone)
        if commit.verdict is Verdict.REJOIN:
            raise redo.fenced(commit.error, self.instance, self.transactional_id) from commit.error
        if commit.verdict is Verdict.RELOAD:
            partition = fed.task.partition
            self._kept = {partition: self.tasks.pop(partition)}
            self._pending.add(partition)
