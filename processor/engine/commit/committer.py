"""Performs the protocol: one method a step, the table says what follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from processor.clock import Clock
from processor.connectors.ports import Consumer, Producer, Store
from processor.engine.commit.checkpoint import Prepared
from processor.engine.commit.protocol import PROMISE, Outcome, Step, Table, Verdict
from processor.errors import (
    AbortableError,
    FencedError,
    LogError,
    OutcomeUnknownError,
    RetriableError,
    SinkError,
)
from processor.model.log import Committed, Membership, Output, TopicPartition
from processor.sinks.folder import File, Folder

SLOW_S: Final = 2.0
LEAST_S: Final = 0.1
_OUTCOMES: Final[Sequence[tuple[type[LogError], Outcome]]] = (
    (FencedError, Outcome.FENCED),
    (OutcomeUnknownError, Outcome.UNKNOWN),
    (RetriableError, Outcome.UNKNOWN),
    (AbortableError, Outcome.REFUSED),
)

Probe = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Written:
    """A file of a batch: where it goes, what it is called, what is in it."""

    folder: Folder
    file: File
    data: bytes


@dataclass(frozen=True, slots=True)
class Work:
    """All that one batch commits."""

    prepared: Sequence[Prepared]
    outputs: Sequence[Output]
    files: Sequence[Written] = ()

    def offsets(self) -> dict[TopicPartition, Committed]:
        """The new heads."""
        return {p.task.partition: p.head for p in self.prepared}

    def by_folder(self) -> list[tuple[Folder, list[File]]]:
        """Its files, by the directory that they go to."""
        found: dict[int, tuple[Folder, list[File]]] = {}
        for each in self.files:
            found.setdefault(id(each.folder), (each.folder, []))[1].append(each.file)
        return list(found.values())


@dataclass(slots=True)
class Commit:
    """What came of it: the verdict, seconds by phase, and why it was not adopted.

    ``gone`` are the partitions of which the store has lost what their deltas continue. What is
    ``unnamed`` is committed, but its files could not be given their names.
    """

    verdict: Verdict = Verdict.ADOPT
    seconds: dict[Step, float] = field(default_factory=dict)
    error: LogError | None = None
    gone: frozenset[TopicPartition] = frozenset()
    unnamed: SinkError | None = None


class Committer:
    """Commits batches for one worker.

    Args:
        renew: makes and starts a new producer under the same identity.
        probe: called with ``before:<step>`` and ``after:<step>``; tests crash there.
        timeout_s: the budget of one commit, from staging to the log's answer. It bounds how long a
            hand-over waits for the batch that is running. The ways back get it anew, each call.
    """

    def __init__(
        self,
        table: Table,
        consumer: Consumer,
        producer: Producer,
        store: Store,
        clock: Clock,
        *,
        renew: Callable[[], Producer],
        probe: Probe,
        timeout_s: float = 10.0,
    ) -> None:
        self._table = table
        self._consumer = consumer
        self.producer = producer
        self._store = store
        self._clock = clock
        self._renew_producer = renew
        self._probe = probe
        self._timeout_s = timeout_s
        self._deadline_s = 0.0
        self._membership = Membership(-1, frozenset())
        self._steps: Mapping[Step, Callable[[Work], Outcome]] = {
            Step.STAGE: self._stage,
            Step.GUARD: self._guard,
            Step.BEGIN: self._begin,
            Step.PRODUCE: self._produce,
            Step.FLUSH: self._flush,
            Step.SEND_OFFSETS: self._send_offsets,
            Step.COMMIT: self._commit,
            Step.COMMIT_OFFSETS: self._commit_offsets,
            Step.ABORT: self._abort,
            Step.REFRESH: self._renew,
            Step.RENEW: self._renew,
            Step.INQUIRE: self._inquire,
            Step.WRITE: self._write,
            Step.RENAME: self._rename,
        }

    def commit(self, work: Work) -> Commit:
        """Run the protocol to its verdict.

        Raises `StoreError` when the store does not answer or refuses, `LogError` for what nothing
        can be done about.
        """
        done = self._perform(self._table, Step.STAGE, work)
        if done.verdict in (Verdict.REDO, Verdict.MEND):  # it is sure not to be committed
            for folder, files in work.by_folder():
                folder.clear(files)
        return done

    def promise(self, work: Work) -> Commit:
        """Commit where the next batch ends, before anybody outside is shown its rows."""
        self._probe("before:intent")
        done = self._perform(PROMISE, Step.GUARD, work, "intent-")
        self._probe("after:intent")
        return done

    def _perform(self, table: Table, first: Step, work: Work, of: str = "") -> Commit:
        done = Commit()
        self._gone: set[TopicPartition] = set()
        self._unnamed: SinkError | None = None
        self._deadline_s = self._clock.monotonic_s() + self._timeout_s
        following: Step | Verdict = first
        while isinstance(following, Step):
            step = following
            self._probe(f"before:{of}{step.value}")
            started_s = self._clock.monotonic_s()
            try:
                outcome = self._steps[step](work)
            except LogError as error:
                outcome = _outcome(error)
                done.error = error
            done.seconds[step] = self._clock.monotonic_s() - started_s
            self._probe(f"after:{of}{step.value}")
            following = table[step][outcome]
        done.verdict, done.gone, done.unnamed = following, frozenset(self._gone), self._unnamed
        return done

    def _left_s(self) -> float:
        """What is left of the budget: never nothing, so that an answer that is there is heard."""
        return max(LEAST_S, self._deadline_s - self._clock.monotonic_s())

    def _stage(self, work: Work) -> Outcome:
        blobs = {p.task.name: p.blobs for p in work.prepared if p.blobs}
        if not blobs:
            return Outcome.DONE
        staged = self._store.stage(blobs)
        for prepared in work.prepared:
            answer, owner = staged[prepared.task.name], prepared.task.owner
            if answer.owner == owner and answer.linked:
                continue
            # A new owner may rightly have collected what this one, a zombie, continues.
            if answer.linked or answer.owner not in (owner, None):
                return Outcome.LOST
            self._gone.add(prepared.task.partition)
        return Outcome.GONE if self._gone else Outcome.DONE

    def _write(self, work: Work) -> Outcome:
        folders = work.by_folder()
        try:
            for each in work.files:
                each.folder.write(each.file, each.data)
            for folder, _ in folders:
                folder.sync()
        except SinkError:
            for folder, files in folders:
                folder.clear(files)
            raise
        return Outcome.DONE

    def _rename(self, work: Work) -> Outcome:
        """The batch is committed, whatever comes of this: who has the task next tries again."""
        for folder, files in work.by_folder():
            try:
                folder.name(files)
            except SinkError as error:
                self._unnamed = error
        return Outcome.DONE

    def _guard(self, work: Work) -> Outcome:
        """The broker accepts generation -1 and partitions that are no longer ours: we do not."""
        self._membership = self._consumer.membership()
        ours = {p.task.partition for p in work.prepared} <= self._membership.partitions
        return Outcome.DONE if ours and self._membership.generation >= 0 else Outcome.LOST

    def _begin(self, work: Work) -> Outcome:
        del work
        self.producer.begin()
        return Outcome.DONE

    def _produce(self, work: Work) -> Outcome:
        for output in work.outputs:
            self.producer.produce(output)
        return Outcome.DONE

    def _flush(self, work: Work) -> Outcome:
        del work
        self.producer.flush(self._left_s())
        return Outcome.DONE

    def _send_offsets(self, work: Work) -> Outcome:
        self.producer.send_offsets(work.offsets(), self._membership, self._left_s())
        return Outcome.DONE

    def _commit(self, work: Work) -> Outcome:
        del work
        started_s = self._clock.monotonic_s()
        self.producer.commit(self._left_s())
        return Outcome.SLOW if self._clock.monotonic_s() - started_s > SLOW_S else Outcome.DONE

    def _commit_offsets(self, work: Work) -> Outcome:
        self._consumer.commit(work.offsets(), self._left_s())
        return Outcome.DONE

    def _abort(self, work: Work) -> Outcome:
        del work
        self.producer.abort(self._timeout_s)
        return Outcome.DONE

    def _renew(self, work: Work) -> Outcome:
        del work
        self.producer.close()
        self.producer = self._renew_producer()
        return Outcome.DONE

    def _inquire(self, work: Work) -> Outcome:
        """Which head does the log have now?"""
        offsets = work.offsets()
        heads = self._consumer.committed(list(offsets), self._timeout_s)
        if all(heads[p.task.partition] == p.head for p in work.prepared):
            return Outcome.STAGED
        if all(heads[p.task.partition] == p.task.base for p in work.prepared):
            return Outcome.BASE
        return Outcome.OTHER


def _outcome(error: LogError) -> Outcome:
    for kind, outcome in _OUTCOMES:
        if isinstance(error, kind):
            return outcome
    raise error
