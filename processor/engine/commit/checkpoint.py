"""What a batch commits for each of its tasks: the delta, the manifest, and now and then a snapshot.

A snapshot is encoded and written beside the loop, from copies of the columns. The manifest of a
later batch names it; once that is committed, what only older manifests reached is deleted, by the
task's owner.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from processor.connectors.ports import Blob, Store
from processor.engine.commit.changelog import Changelog
from processor.engine.commit.newest import Newest
from processor.engine.commit.task import Task
from processor.errors import LogError, ProcessorError, StoreAwayError
from processor.model.batch import Slice
from processor.model.log import Committed, TopicPartition
from processor.model.manifest import Manifest, trailed
from processor.state import chain, codec
from processor.state.base import Saved

Piece: TypeAlias = Literal["delta", "snapshot"]

CHAIN_LENGTH_MAX: Final = 64
SNAPSHOT_BYTES_MIN: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Prepared:
    """A task's part of a commit: the new head, the blob behind it, and the link after it."""

    task: Task
    head: Committed
    manifest: Manifest
    blobs: Sequence[Blob]
    link: chain.Link
    saved: Mapping[str, Saved]

    @property
    def bytes(self) -> int:
        """Bytes staged."""
        return sum(len(blob.data) for blob in self.blobs)


Frozen: TypeAlias = Mapping[str, Callable[[], Saved]]


@dataclass(frozen=True, slots=True)
class _Snapshot:
    name: str
    chunks: tuple[str, ...]
    bytes: int
    chain_bytes: int
    chain_length: int


class Checkpointer:
    """Prepares deltas, and keeps chains short.

    Args:
        executor: where snapshots are written; one thread, or the caller's own.
        changelog: where snapshots are written besides, and what is behind them is deleted.
        plan: the identity of the whole topology.
        lineage: what the input's log calls itself, as far as it is known.
        begun: how many partitions have all been seen to have begun.
        doubts: how often it is asked again before positions that were there are believed gone.
        description: what the topology keeps in state; every delta tells it.
        probe: called before and after ``snapshot`` and ``collect``; tests crash there.
        unsaved: hears of a snapshot that was not taken.
    """

    def __init__(
        self,
        store: Store,
        executor: Executor,
        fingerprint: str,
        partitions: int,
        transactional_id: str,
        *,
        changelog: Changelog | None = None,
        description: str = "",
        plan: str = "",
        lineage: Callable[[], str] = str,
        begun: Callable[[], int] = int,
        doubts: int = 0,
        probe: Callable[[str], None] = lambda _: None,
        unsaved: Callable[[Piece, ProcessorError], None] = lambda _, __: None,
        stages: tuple[str, ...] = (),
    ) -> None:
        self._stages = stages
        self._probe, self._unsaved = probe, unsaved
        self._changelog = changelog
        self._description = description
        self._plan = plan
        self.lineage, self.begun = lineage, begun
        self._floors: dict[TopicPartition, int] = {}
        self.newest = Newest(doubts)
        self._store = store
        self._executor = executor
        self._fingerprint = fingerprint
        self._partitions = partitions
        self._transactional_id = transactional_id
        self._writing: dict[TopicPartition, Future[_Snapshot]] = {}
        self._uncollected: set[TopicPartition] = set()
        self._superseded: dict[TopicPartition, set[str]] = {}

    def _group(self) -> tuple[str, str]:
        return self.lineage(), self._plan

    def pin(
        self, offset: int, life: int = 0, files: tuple[str, ...] = (), *, former: int = 0
    ) -> Committed:
        """The head of a task that has seen nothing and begins at ``offset``, in this life.

        ``files`` are those that the former head still owes; ``former`` is how many partitions there
        were before this one was added.
        """
        manifest = Manifest(
            0, "", "", "", None, self._fingerprint, self._partitions, self._transactional_id,
            offset, (), *self._group(), offset, self.begun(), life=life,
            files=files, former=former,
        )  # fmt: skip
        return Committed(offset, str(manifest))

    def prepare(
        self,
        task: Task,
        part: Slice,
        event_time_max: int | None,
        log_time: int | None,
        files: tuple[str, ...] = (),
    ) -> Prepared:
        """The task's next head, with the delta of what the running batch did to its state.

        ``files`` names the directories that get a file of it.
        """
        self._name_snapshot(task)
        attempt = secrets.token_hex(4)
        epoch, link = task.epoch + 1, task.link
        blobs: list[Blob] = []
        saved: dict[str, Saved] = {}
        digest = ""
        if task.state:
            saved = {name: state.changed() for name, state in task.state.items()}
            header = codec.Header(
                epoch, attempt, link.key, link.digest, part.start, part.end,
                {"event_time_max": event_time_max, "log_time": log_time,
                 "snapshot": link.snapshot, "topology": self._description},
            )  # fmt: skip
            key, digest, pieces = chain.encode_delta(header, saved)
            parent = f"{link.key.removeprefix('d:')}:{link.digest}" if link.key else ""
            blobs = [Blob(name, data, epoch, link.parents()) for name, data in pieces.items()]
            link = replace(
                link, key=key, digest=digest, deltas=(*link.deltas, *pieces),
                chain_bytes=link.chain_bytes + sum(map(len, pieces.values())),
                chain_length=link.chain_length + 1, trail=trailed(link.trail, parent, epoch),
            )  # fmt: skip
        base = Manifest.parse(task.base.metadata)
        # Of several numbers the least: what was added since then may not have begun yet.
        fewer = [n for n in (base.former, base.partitions) if 0 < n < self._partitions]
        manifest = Manifest(
            epoch, attempt, digest, link.snapshot, event_time_max, self._fingerprint,
            self._partitions, self._transactional_id, link.origin, link.trail,
            *self._group(), part.end, self.begun(), log_time, link.rewound, part.idle,
            self._stages, base.life, files, former=min(fewer, default=0),
        )  # fmt: skip
        return Prepared(task, Committed(part.end, str(manifest)), manifest, blobs, link, saved)

    def adopt(self, prepared: Prepared) -> None:
        """The head is committed: it is the base now. Only memory is touched; nothing can fail."""
        task, manifest = prepared.task, prepared.manifest
        if manifest.snapshot != Manifest.parse(task.base.metadata).snapshot:
            self._uncollected.add(task.partition)
        task.base, task.link = prepared.head, prepared.link
        self.newest.saw(task.partition, task.base.offset)
        task.epoch = manifest.epoch
        task.event_time_max, task.log_time = manifest.event_time_max, manifest.log_time
        for name, state in task.state.items():
            state.commit(prepared.saved[name])

    def tidy(self, task: Task) -> int:
        """After `adopt`: collect, and begin a snapshot when it is time; returns its bytes.

        While the store does not answer nothing is collected; the next time will do.
        """
        if task.partition in self._uncollected:
            with contextlib.suppress(StoreAwayError):
                self._collect(task)
                self._uncollected.discard(task.partition)
        link = task.link
        long = link.chain_length >= CHAIN_LENGTH_MAX
        heavy = link.chain_bytes > max(link.snapshot_bytes, SNAPSHOT_BYTES_MIN)
        if task.state and (long or heavy) and task.partition not in self._writing:
            return self._begin_snapshot(task)
        return 0

    def rebase(self, task: Task) -> None:
        """Write the committed state as a snapshot, now.

        The next manifest names it, and the next delta begins a chain on it. No try of another
        worker has its name, so none can alter it.
        """
        self.forget(task.partition)
        if not task.state:
            return
        rows = _frozen(task)
        header = _snapshot_header(task, secrets.token_hex(4))
        self._mark(task)
        written = self._write(task, header, rows, (0, 0))
        task.link = chain.Link(
            snapshot=written.name, chunks=written.chunks, snapshot_bytes=written.bytes,
            trail=task.link.trail, origin=task.link.origin, rewound=task.link.rewound,
        )  # fmt: skip

    def _mark(self, task: Task) -> None:
        """Behind all deltas that the snapshot to be written holds; those to come are not yet."""
        if self._changelog:
            self._floors[task.partition] = self._changelog.end(task.partition.partition)

    def forget(self, partition: TopicPartition) -> None:
        """The task is gone; a snapshot that is being written will name nothing."""
        self._writing.pop(partition, None)
        self._floors.pop(partition, None)
        self._uncollected.discard(partition)
        self._superseded.pop(partition, None)

    def _begin_snapshot(self, task: Task) -> int:
        rows = _frozen(task)
        header = _snapshot_header(task, Manifest.parse(task.base.metadata).attempt)
        link = task.link
        self._mark(task)
        self._writing[task.partition] = self._executor.submit(
            self._write, task, header, rows, (link.chain_bytes, link.chain_length)
        )
        return task.memory_bytes()

    def _write(
        self, task: Task, header: codec.Header, frozen: Frozen, behind: tuple[int, int]
    ) -> _Snapshot:
        self._probe("before:snapshot")
        rows = {name: finish() for name, finish in frozen.items()}
        with contextlib.ExitStack() as stack:
            log = self._changelog and stack.enter_context(self._changelog.writing())
            names: list[str] = []
            written, data = 0, b""
            # One chunk at a time: encoded all at once, they would take the memory of the state.
            for name, data in chain.encode_snapshot(header, rows):
                if log:
                    log(task.partition.partition, name, data)
                self._store.stage({task.name: [Blob(name, data, header.epoch)]})
                names.append(name)
                written += len(data)
        self._probe("after:snapshot")
        snapshot = chain.snapshot_name(names[-1], codec.digest(data))
        return _Snapshot(snapshot, tuple(names), written, *behind)

    def _name_snapshot(self, task: Task) -> None:
        """If a snapshot has been written, let the next manifest name it."""
        future = self._writing.get(task.partition)
        if future is None or not future.done():
            return
        del self._writing[task.partition]
        try:
            written = future.result()
        except (LogError, StoreAwayError) as error:  # it was not taken: the next one will do
            self._unsaved("snapshot", error)
            return
        link = task.link
        self._superseded.setdefault(task.partition, set()).update(link.rests_on())
        task.link = replace(
            link, snapshot=written.name, chunks=written.chunks, snapshot_bytes=written.bytes,
            deltas=chain.behind(link.deltas, written.name),
            chain_bytes=link.chain_bytes - written.chain_bytes,
            chain_length=link.chain_length - written.chain_length,
        )  # fmt: skip

    def _collect(self, task: Task) -> None:
        """Delete what the committed manifest does not reach, orphans of that age among it.

        Only as the owner: who woke up late has nothing to delete any more.
        """
        self._probe("before:collect")
        keys = self._store.blobs(task.name)
        # What was written and is not in the index shows that the index was lost.
        if not keys.keys() >= self._superseded.get(task.partition, set()):
            keys = self._store.reindex(task.name)
        doomed = [key for key in keys if not chain.reachable(key, task.link.snapshot)]
        ours = self._store.delete(task.name, doomed, task.owner)
        self._superseded.pop(task.partition, None)
        if ours and self._changelog and task.partition in self._floors:
            self._changelog.trim(task.partition.partition, self._floors.pop(task.partition))
        self._probe("after:collect")


def _frozen(task: Task) -> Frozen:
    for state in task.state.values():
        state.prune()
    return {name: state.frozen() for name, state in task.state.items()}


def _snapshot_header(task: Task, attempt: str) -> codec.Header:
    journal = {"event_time_max": task.event_time_max, "log_time": task.log_time}
    return codec.Header(task.epoch, attempt, "", "", 0, task.base.offset, journal)
