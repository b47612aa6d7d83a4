"""From an assigned partition to a task that stands exactly where the last commit left it.

::

    take the owner's token; refused: the partition has gone on to another, stay pending
    read the committed head on a read-committed handle
        still open: fence its owner's transaction, stay pending, ask again
        none:       state in the store -> stop: the offsets were lost
                    otherwise pin the first position with an empty manifest, and begin there
    another partition count                   -> stop: StateMismatchError
    another fingerprint                       -> take over what can be: see `upgrade`
    the offset is outside what the log holds  -> stop: InputLostError
    walk the chain back from the manifest, verify each digest, apply forward
        a blob missing or altered             -> heal by policy, or stop: StateLostError
    read on from the offset
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Final

from processor.connectors.ports import Consumer, Former, Log, Owner, Store
from processor.engine.commit.checkpoint import Checkpointer
from processor.engine.commit.task import Task, task_name
from processor.engine.restore import grown
from processor.engine.restore.heal import Broken, Healer, restore
from processor.engine.restore.identity import Identity
from processor.engine.restore.lineage import Lineage
from processor.engine.restore.promised import check_same
from processor.engine.restore.traces import filled, trace
from processor.engine.restore.upgrade import Upgrader
from processor.errors import (
    AbortableError,
    FencedError,
    InputLostError,
    RetriableError,
    StateError,
    StateLostError,
    StateMismatchError,
)
from processor.model import moment
from processor.model.log import Committed, Extent, TopicPartition
from processor.model.manifest import Manifest
from processor.operators.pipeline import Pipeline
from processor.state import chain

STABLE_S: Final = 1.0
# The transaction of a worker that was killed is ended by who takes over; others time out.
UNSTABLE_S: Final = 30.0
LOST_OFFSETS: Final = (
    "the group's offsets were deleted or have expired, or a broker that was killed has lost track "
    "of them, and knows them again when it is restarted in order: see whether that is so. Begin "
    "anew with `processor reset`, which publishes again what it reads again; or give another "
    "application id. Offsets that another tool sets do not name their checkpoint"
)
DELETED: Final = (
    "begin anew with `processor reset`; nobody but the stage itself may delete what is in the "
    "topic, which has retention.ms=-1"
)


class _GoneError(Exception):
    """Positions are not there any more, as the store or topics tell, or as was ``seen`` here."""

    def __init__(self, error: StateError, *, seen: bool = False) -> None:
        super().__init__(error)
        self.error, self.seen = error, seen


class Recovery:
    """Loads tasks."""

    def __init__(
        self,
        log: Log,
        consumer: Consumer,
        store: Store,
        pipeline: Pipeline,
        *,
        checkpointer: Checkpointer,
        healer: Healer,
        upgrader: Upgrader,
        identity: Identity,
        lineage: Lineage,
        timeout_s: float = 10.0,
        stable_s: float = STABLE_S,
        probe: Callable[[str], None] = lambda _: None,
        note: Callable[[str], None] = lambda _: None,
        life: Callable[[], int] = int,
    ) -> None:
        self._probe, self._note, self._life = probe, note, life
        self._log = log
        self._consumer = consumer
        self._store = store
        self._pipeline = pipeline
        self._checkpointer = checkpointer
        self.healer = healer
        self._upgrader = upgrader
        self._identity = identity
        self._lineage = lineage
        self._timeout_s = timeout_s
        self._stable_s, self._waited_s = stable_s, 0.0

    def load(self, partitions: Collection[TopicPartition]) -> list[Task]:
        """The tasks of partitions; not those, or none, that have to stay pending for now.

        Raises `StoreAwayError` when the store does not answer, `RetriableError` when the brokers
        tell of the past, or have told no positions for `UNSTABLE_S`; the same may be tried again.
        """
        ordered = sorted(partitions)
        self.healer.turns()
        names = {p: task_name(self._identity.app, p) for p in ordered}
        owner = self._me()
        if owner is None:
            return []
        former = self._acquire(names.values(), owner)
        heads = self._heads({p: former[names[p]] for p in ordered})
        if heads is None:
            return []
        self._checkpointer.newest.check(heads, {p: former[names[p]].newest for p in ordered})
        self._store.begin({name: 0 for name, known in former.items() if not known.begun})
        try:
            tasks = [
                self._task(partition, names[partition], owner, head)
                for partition, head in heads.items()
                if head is not None
            ]
        except RetriableError:  # the broker went away between two questions
            return []
        loaded = [task for task in tasks if task is not None]
        self._store.begin({task.name: task.base.offset for task in loaded})
        for task in loaded:
            self._checkpointer.newest.saw(task.partition, task.base.offset)
        return loaded

    def _heads(
        self, former: Mapping[TopicPartition, Former]
    ) -> Mapping[TopicPartition, Committed | None] | None:
        """Where the tasks go on, new ones where they begin; ``None``: they stay pending."""
        newest = self._checkpointer.newest
        try:
            self._lineage.ask()
            heads = self._consumer.committed(list(former), self._stable_s)
            self._lineage.check()
            missing = {p: known.begun for p, known in former.items() if heads[p] is None}
            if error := newest.gone(missing):
                raise _GoneError(error, seen=True)
            heads |= self._pinned(missing) if missing else {}
        except RetriableError as error:
            self._fence({f.owner.transactional_id for f in former.values() if f.owner})
            self._bear(error)
            return None
        except (FencedError, AbortableError):
            return None
        except _GoneError as gone:
            newest.doubt(gone.error, seen=gone.seen)
            raise gone.error from None
        self._waited_s = 0.0
        return heads

    def _bear(self, error: RetriableError) -> None:
        """Try again for a while, then tell: a partition that is never loaded stands still."""
        self._waited_s += self._stable_s
        if self._waited_s >= UNSTABLE_S:
            raise RetriableError(
                f"the committed positions of {self._identity.app} are not told: {error.message}",
                remedy="see which transaction of the group is not over; where there is none, "
                "restart the broker that coordinates the group",
            ) from error

    def mend(self, tasks: Collection[Task]) -> bool:
        """The store has lost what loaded tasks rest on: write it anew, while we are in the group.

        False while we are not.
        """
        owner = self._me()
        if owner is None:
            return False
        self._acquire([task.name for task in tasks], owner)
        for task in tasks:
            task.owner = owner
            self.healer.rebase(task)
        return True

    def _me(self) -> Owner | None:
        generation = self._consumer.membership().generation
        me = self._identity.transactional_id
        if generation < 0:
            return None
        # Generations begin anew with a group that was deleted: they alone tell nobody apart.
        return Owner(f"{me};{generation};{secrets.token_hex(4)}", me, generation)

    def _acquire(self, names: Collection[str], owner: Owner) -> Mapping[str, Former]:
        self._probe("before:acquire")
        former = self._store.acquire(dict.fromkeys(names, owner))
        self._probe("after:acquire")
        return former

    def _pinned(self, begun: Mapping[TopicPartition, bool]) -> dict[TopicPartition, Committed]:
        topic = next(iter(begun)).topic
        heads = self._log.committed(self._identity.app, topic)
        manifests = {p: manifest_of(p, head) for p, head in heads.items()}
        for partition, manifest in manifests.items():  # what these tell is not asked again
            self._check(partition, manifest)
        for partition in begun:
            grown.check_known(partition, self._identity, stateful=self._pipeline.stateful)
        try:
            return self._pin(begun, topic, manifests)
        except StateError as error:
            if not self._moved(dict.fromkeys(begun)):
                raise _GoneError(error) from error
            raise FencedError(f"another worker has begun meanwhile: {error.message}") from error

    def _pin(
        self, begun: Mapping[TopicPartition, bool], topic: str,
        manifests: Mapping[TopicPartition, Manifest],
    ) -> dict[TopicPartition, Committed]:  # fmt: skip
        """Begin where the log does, ends or has come to a time, and commit that it was there."""
        pinned: dict[TopicPartition, Committed] = {}
        published = self._check_new(topic) if not manifests else None
        former = min((m.former or m.partitions for m in manifests.values()), default=len(begun))
        known = max((m.begun for m in manifests.values()), default=0)
        # A group that nobody knows is one that nobody has met: no number was used before.
        life = max((m.life for m in manifests.values()), default=None)
        life = self._life() if life is None else life
        timed = self._timed(topic)
        for partition, has_begun in begun.items():
            self._check_first(partition, begun=has_begun or partition.partition < known)
            extent = self._consumer.extent(partition, self._timeout_s)
            if self._identity.behind and extent.low > 0:
                raise InputLostError(
                    f"{partition}: the records before offset {extent.low} were deleted, and "
                    f"{self._identity.app} has read none of them",
                    remedy=DELETED,
                )
            # Of a partition that was added while the group was at work, nothing was read yet.
            added = bool(manifests) and partition.partition >= former
            at = extent.high if self._identity.start_from == "latest" else extent.low
            at = extent.low if added else timed.get(partition, at)
            waits = former if added and self._identity.tells else 0
            pinned[partition] = self._checkpointer.pin(at, life, former=waits)
        self._consumer.commit(pinned, self._timeout_s)
        if published:
            self._note(published)
        return pinned

    def _timed(self, topic: str) -> Mapping[TopicPartition, int]:
        """Where the partitions begin, if that is a matter of time."""
        start = self._identity.start_from
        return (
            self._log.offsets_at(topic, moment.millis(start)) if isinstance(start, datetime) else {}
        )

    def _check_first(self, partition: TopicPartition, *, begun: bool) -> None:
        """That the group never committed a position here, as far as the store can tell."""
        name = task_name(self._identity.app, partition)
        if begun or self._store.blobs(name):
            raise StateMismatchError(
                f"{partition}: group {self._identity.app} has no committed offset, but had one, as "
                f"its other partitions or the store tell, or the store has state of task {name}",
                remedy=LOST_OFFSETS,
            )

    def _check_new(self, topic: str) -> str | None:
        """That a group without any position is new, as far as the topics it writes can tell.

        What is not sure is told by what is returned.
        """
        identity = self._identity
        own = identity.set_aside, identity.changelog
        found = trace(self._log, identity.app, topic, *own, internal=identity.internal)
        # What another worker of the group has written since is told together with its position.
        if found and not self._log.committed(identity.app, topic):
            raise StateMismatchError(
                f"group {identity.app} has no committed offset in {topic}, but has been at work: "
                f"it wrote {found}",
                remedy=LOST_OFFSETS,
            )
        there = filled(self._log, identity.outputs)
        if not there or found:
            return None
        return (
            f"group {identity.app} begins anew, and there are records in {', '.join(there)} "
            "already: if they are its own, they are published once more"
        )

    def _fence(self, transactional_ids: Collection[str]) -> None:
        """End the open transactions of the partitions' former owners, of this application only.

        Whoever can write to the store must not have us end anybody's transactions.
        """
        me, ours = self._identity.transactional_id, f"{self._identity.app}:"
        former = [name for name in transactional_ids if name.startswith(ours) and name != me]
        for transactional_id in sorted(former):
            producer = self._log.producer(transactional_id)
            producer.start(self._timeout_s)
            producer.close()

    def _task(
        self, partition: TopicPartition, name: str, owner: Owner, head: Committed
    ) -> Task | None:
        """The task, or ``None`` while it is being healed, or when it has gone on to another."""
        try:
            return self._loaded(partition, name, owner, head)
        except (StateError, InputLostError):
            # Who woke up late looks for what a new owner has rightly deleted since.
            if not self._moved({partition: head}):
                raise
            self.healer.forget(partition)
            return None

    def _moved(self, heads: Mapping[TopicPartition, Committed | None]) -> bool:
        """Whether another worker has committed since: then nothing is lost, but not ours either."""
        return self._consumer.committed(heads, self._stable_s) != heads

    def _loaded(
        self, partition: TopicPartition, name: str, owner: Owner, head: Committed
    ) -> Task | None:
        manifest = manifest_of(partition, head)
        self._check(partition, manifest)
        if manifest.end not in (None, head.offset):
            raise StateMismatchError(
                f"{partition}: the committed offset {head.offset} was moved: its manifest belongs "
                f"to {manifest.end}",
                remedy="set it back; or begin anew with `processor reset`, which sets offsets and "
                "state together",
            )
        check_same(partition, manifest, self._identity.plan)
        if self._identity.tells and grown.is_added(manifest):
            found = self._begun(partition, head)
            if found is None:
                return None  # until those of the others know of it
            head, manifest = found, manifest_of(partition, found)
        if self.healer.under_way(partition, head):
            return self.healer.go_on(partition, owner)
        extent = self._consumer.extent(partition, self._timeout_s)
        _check_offset(partition, head.offset, extent)
        # A pin has no state, and fits any topology.
        known = (self._identity.fingerprint, self._identity.layout)
        if manifest.epoch and manifest.fingerprint not in known:
            return self._upgrader.load(name, partition, owner, head)
        try:
            walked = chain.walk(name, manifest, lambda keys: self._store.load(name, keys))
            state = self._pipeline.new_state()
            restore(state, walked.states())
        except StateLostError as error:
            if not self._moved({partition: head}):
                self.healer.begin(Broken(name, partition, head, extent.low, error))
            return None
        return Task(
            name, partition, owner, state, head, manifest.epoch, manifest.event_time_max,
            walked.link(), manifest.log_time,
        )  # fmt: skip

    def _begun(self, partition: TopicPartition, head: Committed) -> Committed | None:
        """The head of an added partition with the time that it begins at, committed."""
        heads = self._log.committed(self._identity.app, partition.topic, stable=False)
        begun = grown.begun(head, partition, heads, self._identity.partitions)
        if begun is None:
            return None
        try:  # before anything is told of it: another time would be found later
            self._consumer.commit({partition: begun}, self._timeout_s)
        except (FencedError, AbortableError):
            return None
        return begun

    def _check(self, partition: TopicPartition, manifest: Manifest) -> None:
        self._lineage.check_head(partition, manifest.log)
        grown.check(partition, manifest, self._identity, stateful=self._pipeline.stateful)


def manifest_of(partition: TopicPartition, head: Committed) -> Manifest:
    """The manifest of a head; raises `StateMismatchError`, which names the partition, for none."""
    try:
        return Manifest.parse(head.metadata)
    except StateMismatchError as error:
        raise StateMismatchError(f"{partition}: {error.message}", remedy=error.remedy) from error


def _check_offset(partition: TopicPartition, offset: int, extent: Extent) -> None:
    if offset < extent.low:
        raise InputLostError(
            f"{partition}: the committed offset {offset} is no longer in the topic, which begins "
            f"at {extent.low}: {extent.low - offset} records were deleted before they were read",
            remedy="keep records longer than the processor may be down; to go on without them, "
            "begin anew with `processor reset`, or use another application id",
        )
    if offset > extent.high:
        raise InputLostError(
            f"{partition}: the committed offset {offset} is beyond the topic's end {extent.high}: "
            f"the topic was made anew",
            remedy="use another application id for the new topic",
        )
