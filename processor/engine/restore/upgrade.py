"""Takes a task's state over from a topology that has changed since.

::

    the head's delta tells its topology ──► compare, operator by operator
        refused ──► stop, with the table and the choices; nothing is changed
        else    ──► load the chain, renamed and reordered in memory; write a snapshot of it
    the next commit names that snapshot, under the new fingerprint

Until that commit the committed offset names the former topology's checkpoint, which is not touched:
who is killed in between starts over, and the former topology can go on as if nothing had been.
After it there is no way past the snapshot: earlier deltas are of another topology, and the input is
run again from its beginning only where the new topology comes to the same state by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from processor.connectors.ports import Log, Owner, Store
from processor.engine.commit.checkpoint import Checkpointer
from processor.engine.commit.task import Task, task_name
from processor.engine.restore.heal import restore
from processor.errors import StateLostError, StateMismatchError
from processor.model.log import Committed, TopicPartition
from processor.model.manifest import Manifest
from processor.operators.pipeline import Pipeline
from processor.plan.compare import Comparison, Finding, Verdict, compare, table
from processor.plan.fingerprint import Description, describe, fingerprint, layout
from processor.plan.nodes import Plan
from processor.state import chain, codec
from processor.state.base import Saved, TaskState
from processor.state.cells import Rows
from processor.state.keys import Layout, Words

BEGIN_ANEW = (
    "`processor reset` begins anew, offsets and state together (it only tells what it would do "
    "without --yes); or give the changed topology another application id (--set app=...); or run "
    "the topology that wrote the state"
)
LET_GO = "; --allow-dropped-state lets go of state that is dropped"


@dataclass(frozen=True, slots=True)
class Upgraded:
    """A task goes on under a changed topology; ``table`` tells what became of its state."""

    task: str
    offset: int
    table: str


class Upgrader:
    """Loads tasks whose checkpoints another topology wrote.

    Args:
        description: of the topology that runs.
        allow_dropped: whether state that no operator needs may be let go.
        tell: called when a task has been taken over.
        probe: called with ``before:migrate`` and ``after:migrate``.
    """

    def __init__(
        self,
        store: Store,
        pipeline: Pipeline,
        checkpointer: Checkpointer,
        description: Description,
        *,
        allow_dropped: bool,
        tell: Callable[[Upgraded], None],
        probe: Callable[[str], None],
    ) -> None:
        self._store, self._pipeline, self._checkpointer = store, pipeline, checkpointer
        self._description = description
        self._allow_dropped = allow_dropped
        self._tell, self._probe = tell, probe

    def load(self, name: str, partition: TopicPartition, owner: Owner, head: Committed) -> Task:
        """The task, its state made this topology's.

        Raises `StateMismatchError` with the table of operators when the state cannot be used, and
        `StateLostError` when it is not whole.
        """
        manifest = Manifest.parse(head.metadata)
        comparison = compared(self._store, self._description, name, partition, manifest)
        if comparison.refused(allow_dropped=self._allow_dropped):
            raise _refusal(partition, comparison.findings)
        self._probe("before:migrate")
        state = _taken(self._store, self._pipeline, name, partition, manifest, comparison)
        time = manifest.event_time_max
        if time is not None:
            shift = comparison.watermark_us
            time = None if shift is None else time + shift
        origin = manifest.origin if comparison.replayable else None
        task = Task(
            name, partition, owner, state, head, manifest.epoch, time,
            chain.Link(origin=origin), manifest.log_time,
        )  # fmt: skip
        self._checkpointer.rebase(task)
        self._probe("after:migrate")
        self._tell(Upgraded(name, head.offset, table(comparison.findings)))
        return task


def _taken(  # noqa: PLR0917 - whose state it is, and what becomes of it
    store: Store,
    pipeline: Pipeline,
    name: str,
    partition: TopicPartition,
    manifest: Manifest,
    comparison: Comparison,
) -> TaskState:
    """What a task has kept, as the changed topology has it.

    Raises `StateMismatchError` where it cannot be, `StateLostError` where it is not whole.
    """
    try:
        loaded = chain.load(name, manifest, lambda keys: store.load(name, keys))
    except StateLostError as error:
        raise _lost(partition, error.message) from error
    state = pipeline.new_state()
    restore(state, [migrated(rows, comparison.findings) for rows in loaded.states])
    findings = [_with_history(finding, state) for finding in comparison.findings]
    if any(finding.verdict is Verdict.INCOMPATIBLE for finding in findings):
        raise _refusal(partition, findings)
    return state


def _with_history(finding: Finding, state: TaskState) -> Finding:
    """An aggregate without history is right only where no group is there yet."""
    rows = state[finding.new].rows() if finding.new in state else 0
    if not (finding.unknown and rows):
        return finding
    told = f"{rows} groups in state would have it from here on only"
    return replace(finding, verdict=Verdict.INCOMPATIBLE, differences=(*finding.differences, told))


def compared(
    store: Store, description: Description, name: str, partition: TopicPartition, manifest: Manifest
) -> Comparison:
    """What becomes of a task's state under the topology that is described.

    Raises `StateLostError` where the head's checkpoint is not there, and `StateMismatchError` where
    it does not tell what it is of.
    """
    if not manifest.digest:
        # Nothing was kept, not even which column the event times were of.
        former = replace(description, operators=())
        return replace(compare(former, description), watermark_us=None)
    return compare(_former(store, name, partition, manifest), description)


def _former(store: Store, name: str, partition: TopicPartition, manifest: Manifest) -> Description:
    """What the head's checkpoint is of."""
    key = chain.delta_key(manifest.epoch, manifest.attempt)
    (data,) = store.load(name, [key])
    if data is None or codec.digest(data) != manifest.digest:
        raise _lost(partition, f"checkpoint {key} of task {name} is missing or was altered")
    header, _ = codec.decode(data)
    told = header.journal.get("topology")
    if not told:
        raise StateMismatchError(
            f"{partition}: the state was written by another topology: its fingerprint is "
            f"{manifest.fingerprint}; it was written by an earlier version of the processor, "
            "which did not keep what the operators were",
            remedy=BEGIN_ANEW,
        )
    return Description.parse(told)


def _refusal(partition: TopicPartition, findings: Sequence[Finding]) -> StateMismatchError:
    verdicts = {finding.verdict for finding in findings}
    only_dropped = Verdict.INCOMPATIBLE not in verdicts
    return StateMismatchError(
        f"{partition}: the state was written by another topology, and cannot be used as it is:"
        f"\n{table(findings)}",
        remedy=BEGIN_ANEW + (LET_GO if only_dropped else ""),
    )


def check(plan: Plan, log: Log, store: Store, *, allow_dropped: bool) -> None:
    """Raise `StateMismatchError` where a stage could not take over what its tasks have kept.

    Before any stage starts: those in front would have read on by the changed plan, and what they
    left out by it would be missing when the former topology goes on. So it is tried, and let go.
    """
    topic, own = plan.source().topic, (fingerprint(plan), layout(plan))
    description, pipeline = describe(plan), Pipeline(plan)
    # A killed worker's open transaction is its successor's to end: it is not waited for here.
    for partition, head in sorted(log.committed(plan.app, topic, stable=False).items()):
        manifest = Manifest.parse(head.metadata)
        if manifest.fingerprint in own or not manifest.digest:
            continue
        name = task_name(plan.app, partition)
        comparison = compared(store, description, name, partition, manifest)
        if comparison.refused(allow_dropped=allow_dropped):
            raise _refusal(partition, comparison.findings)
        _taken(store, pipeline, name, partition, manifest, comparison)


def migrated(state: Mapping[str, Saved], findings: Sequence[Finding]) -> dict[str, Saved]:
    """A checkpoint's rows as the new operators call and order them; what is dropped is left out."""
    return {
        finding.new: _rows(state[finding.old], finding)
        for finding in findings
        if finding.new and finding.old and finding.old in state
    }


def _rows(rows: Saved, finding: Finding) -> Saved:
    if not isinstance(rows, Rows):
        return rows  # of a kind that is kept as it is, or refused
    window = len(rows.layout.widths) - len(finding.keys)
    order = [*range(window), *(window + at for at in finding.keys)]
    cells = {
        # What has no history is filled up; rows of it are refused once all has been applied.
        cell: np.zeros(len(rows.words), np.int64) if source is None else rows.cells[source]
        for cell, source in finding.cells.items()
        # One that tells of another is not in every piece: see `Slab.restore`.
        if source is None or source in rows.cells
    }
    if order == sorted(order):
        return replace(rows, cells=cells)
    layout = Layout([rows.layout.widths[at] for at in order], rows.layout.nulls)
    return Rows(
        layout, _ordered(rows.words, rows.layout, order), cells,
        _ordered(rows.gone, rows.layout, order), rows.texts,
    )  # fmt: skip


def _ordered(words: Words, layout: Layout, order: Sequence[int]) -> Words:
    """Key words with the columns in another order, and the bits of nulls with them."""
    parts: list[Words] = []
    if layout.nulls:
        bits = np.zeros(len(words), np.uint64)
        for to, at in enumerate(order):
            bits |= ((words[:, 0] >> np.uint64(at)) & np.uint64(1)) << np.uint64(to)
        parts.append(bits.reshape(-1, 1))
    ends = np.cumsum([int(layout.nulls), *layout.widths]).tolist()
    parts += [words[:, ends[at] : ends[at + 1]] for at in order]
    return np.ascontiguousarray(np.hstack(parts))


def _lost(partition: TopicPartition, what: str) -> StateLostError:
    return StateLostError(
        f"{partition}: the topology has changed, and {what}",
        remedy="start the former topology once with --on-checkpoint-loss replay, which heals it, "
        "and change it then; or begin anew with `processor reset`",
    )
