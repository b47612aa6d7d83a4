"""Deals keyed state out anew when the input topic was given more partitions.

::

    no members, no open transaction
      ──► every group of state, and every record at hand, lies where its key belongs?  no: refused
      ──► deal the groups out by key, write each new task's snapshot and delta
      ──► commit all manifests at once         killed before it: nothing has changed

A raise does not move the topic's records: those of one key stay where they were, and later ones go
elsewhere. So to run each partition's input again would split every group whose key has moved. What
is moved is the committed state, and only if that is exact: the key's text (or what its format
writes) is what murmur2 goes by, seen from the state itself and from the latest records, and no
record that is still to be read lies where its key no longer belongs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from processor.connectors.ports import Log, Owner, Store
from processor.engine.commit.changelog import Changelog
from processor.engine.commit.checkpoint import Checkpointer
from processor.engine.commit.task import Task, task_name
from processor.engine.offline.keybytes import KeyBytes
from processor.engine.offline.keyplace import Keys, belongs, slabs_of
from processor.engine.offline.reset import check_idle
from processor.engine.restore.grown import OTHERWISE
from processor.engine.restore.heal import restore
from processor.engine.restore.promised import check_kept
from processor.errors import (
    ProcessorError,
    StateLostError,
    StateMismatchError,
)
from processor.model.batch import Slice
from processor.model.log import Committed, TopicPartition
from processor.model.manifest import Manifest
from processor.operators.base import slab_of
from processor.operators.pipeline import Pipeline
from processor.plan.fingerprint import describe, fingerprint, identity
from processor.plan.nodes import Aggregate, Plan, Sink, path
from processor.state import chain
from processor.state.base import TaskState


@dataclass(frozen=True, slots=True)
class Rescaled:
    """State was dealt out anew: from how many partitions, to how many, and how many groups."""

    former: int
    partitions: int
    groups: int


OVERTAKEN: Final = (
    "another process dealt the state out while this one was about it: what was made here is let go "
    "of, and what is committed now is taken"
)
LOST: Final = (
    "state of which a part is lost cannot be dealt out, and is not computed again for more "
    "partitions: restore the Redis data, or begin anew with `processor reset`"
)


def rescale(
    plan: Plan,
    log: Log,
    store: Store,
    partitions: int,
    *,
    changelog: Changelog | None = None,
    probe: Callable[[str], None] = lambda _: None,
    note: Callable[[str], None] = lambda _: None,
) -> Rescaled | None:
    """Deal the state out to so many partitions; ``None`` where there is nothing to do.

    Where another process has done it in the meantime, and its workers may have begun, what was made
    here is let go of, ``note`` hears of it, and all is looked at anew.

    Raises `StateMismatchError` where the result would not be exact, `LogError` while the group has
    members, `StateLostError` when a checkpoint is missing. In all cases nothing was changed.
    """
    pipeline = Pipeline(plan)
    if not pipeline.stateful:
        return None
    topic = plan.source().topic
    heads = log.committed(plan.app, topic)
    while True:
        try:
            return _attempt(plan, pipeline, log, store, partitions, heads, changelog, probe)
        except ProcessorError:
            now = log.committed(plan.app, topic)
            if now == heads:
                raise
            heads = now
            note(OVERTAKEN)


class _OvertakenError(ProcessorError):
    """The committed positions are others than those that the state was loaded from."""


def _attempt(  # noqa: PLR0917 - what `rescale` was given
    plan: Plan,
    pipeline: Pipeline,
    log: Log,
    store: Store,
    partitions: int,
    heads: Mapping[TopicPartition, Committed],
    changelog: Changelog | None,
    probe: Callable[[str], None],
) -> Rescaled | None:
    """Deal out what these heads name, unless others are committed by then."""
    topic = plan.source().topic
    every = {p: Manifest.parse(head.metadata) for p, head in heads.items()}
    # A pin of the new count, as a reset leaves it, has no state, but a life, and files it owes.
    manifests = {p: m for p, m in every.items() if m.epoch or m.partitions != partitions}
    read = manifests.values()
    counts = {manifest.partitions for manifest in read}
    if not counts or counts == {partitions}:
        return None
    former = _check(plan, manifests, partitions)
    _check_windows(plan, manifests)
    probe("before:idle")
    check_idle(plan.app, log)
    extents = {TopicPartition(topic, p): e for p, e in log.describe([topic])[topic].extents.items()}
    old = {
        p: _load(plan, pipeline, store, p, manifest, changelog=changelog)
        for p, manifest in manifests.items()
    }
    least = min(manifest.former or former for manifest in read)
    keys = Keys(plan, range(least, former + 1), partitions)
    keys.check_state(old)
    for partition, extent in extents.items():
        keys.check_records(log, partition, extent, heads.get(partition))
    keys.check_evidence(old)
    dealt = _deal(old.values(), pipeline, keys.bytes, extents)
    times = [m.event_time_max for m in read if m.event_time_max is not None]
    log_times = [m.log_time for m in read if m.log_time is not None]
    probe("before:rescale")
    new: dict[TopicPartition, Committed] = {}
    with ThreadPoolExecutor(1) as executor:
        handed, named = {s for m in read for s in m.stages}, log.identity(topic)()
        checkpointer = Checkpointer(
            store, executor, fingerprint(plan), partitions, f"{plan.app}.rescale",
            changelog=changelog, description=str(describe(plan)), plan=identity(plan),
            lineage=lambda: named, begun=lambda: partitions, stages=tuple(sorted(handed)),
        )  # fmt: skip
        epoch, life = max(m.epoch for m in read), max(m.life for m in every.values())
        for partition, extent in extents.items():
            offset = heads[partition].offset if partition in heads else extent.low
            base = Manifest(epoch, "", "", "", None, "", partitions, "", life=life, former=least)
            task = Task(
                task_name(plan.app, partition), partition, Owner("", "", 0), dealt[partition],
                Committed(offset, str(base)), epoch, max(times, default=None), chain.Link(),
                max(log_times, default=None),
            )  # fmt: skip
            owing = every[partition].owing() if partition in every else ()
            new[partition] = _written(task, checkpointer, store, changelog, owing)
            probe("after:deal")
    probe("before:reset")
    # Who was held up here must not put the group back to where it was before another dealt out.
    if log.committed(plan.app, topic) != heads:
        raise _OvertakenError(OVERTAKEN)
    log.reset(plan.app, new)
    probe("after:rescale")
    groups = sum(slab.rows() for state in dealt.values() for slab in state.values())
    return Rescaled(former, partitions, groups)


def _check(plan: Plan, manifests: Mapping[TopicPartition, Manifest], partitions: int) -> int:
    """The former partition count."""
    for partition, manifest in manifests.items():
        check_kept(partition, manifest)
    counts = sorted({manifest.partitions for manifest in manifests.values()})
    if len(counts) > 1 or counts[0] > partitions:
        raise StateMismatchError(
            f"{plan.app}: the state was written with {', '.join(map(str, counts))} partitions, the "
            f"topic has {partitions}: that cannot be rebuilt",
            remedy=OTHERWISE,
        )
    if {manifest.fingerprint for manifest in manifests.values()} != {fingerprint(plan)}:
        raise StateMismatchError(
            f"{plan.app}: both the topology and the partition count have changed",
            remedy="rebuild with the topology that wrote the state, and change it then",
        )
    return counts[0]


def _slides(sink: Sink) -> bool:
    """Whether what comes to a sink is of windows that overlap."""
    windows = [node.window for node in path(sink) if isinstance(node, Aggregate)]
    return any(window is not None and window.every != window.size for window in windows)


def _check_windows(plan: Plan, manifests: Mapping[TopicPartition, Manifest]) -> None:
    """Which windows have been published, where they overlap, a partition's watermark tells."""
    times = {manifest.event_time_max for manifest in manifests.values()}
    if len(times) > 1 and any(_slides(sink) and sink.mode == "append" for sink in plan.sinks):
        raise StateMismatchError(
            f"{plan.app}: windows that slide are published once, and the partitions' watermarks "
            "stand at different times: in one task it could not be told which were",
            remedy=OTHERWISE,
        )


def _load(
    plan: Plan,
    pipeline: Pipeline,
    store: Store,
    partition: TopicPartition,
    manifest: Manifest,
    *,
    changelog: Changelog | None,
) -> TaskState:
    """From the store, else from the changelog where there is one."""
    name = task_name(plan.app, partition)
    state = pipeline.new_state()
    try:
        restore(state, chain.load(name, manifest, lambda keys: store.load(name, keys)).states)
    except StateLostError as error:
        if changelog is None:
            raise StateLostError(error.message, remedy=LOST) from error
        state = pipeline.new_state()
        logged = changelog.loader(partition.partition, manifest)
        restore(state, chain.load(name, manifest, logged).states)
    return state


def _deal(
    old: Iterable[TaskState],
    pipeline: Pipeline,
    key_bytes: KeyBytes,
    partitions: Collection[TopicPartition],
) -> dict[TopicPartition, TaskState]:
    """All former state, each group in the partition that its key belongs to."""
    new = {partition: pipeline.new_state() for partition in partitions}
    for name, slab in [item for state in old for item in slabs_of(state).items()]:
        live = slab.live()
        keys = slab.keys(live)
        cells = {cell: slab.gather(cell, live) for cell in slab.changed().cells}
        count = len(partitions)
        numbers = np.array([belongs(key, count) for key in key_bytes.of(keys)], np.int64)
        for partition, state in new.items():
            ours = numbers == partition.partition
            if ours.any():
                part = {cell: values[ours] for cell, values in cells.items()}
                slab_of(state, name).fold(keys.filter(pl.Series(ours)), part)
    for kept in [kept for state in new.values() for kept in state.values()]:
        kept.commit(kept.changed())
    return new


def _written(
    task: Task, checkpointer: Checkpointer, store: Store, changelog: Changelog | None,
    files: tuple[str, ...],
) -> Committed:  # fmt: skip
    """The task's checkpoint, in the store; the head that names it, and files that are owed."""
    checkpointer.rebase(task)
    offset, times = task.base.offset, (task.event_time_max, task.log_time)
    part = Slice(task.partition, (), (), offset, offset, *times)
    prepared = checkpointer.prepare(task, part, *times, files)
    store.stage({task.name: prepared.blobs})
    if changelog:
        changelog.write(task.partition.partition, {b.key: b.data for b in prepared.blobs})
    return prepared.head
