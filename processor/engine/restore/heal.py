"""Heals a task whose checkpoints are lost.

::

    stop        the error that names the missing checkpoint; nothing is changed
    changelog   the chain is loaded from the changelog topic, or else as with replay
    replay      from the newest whole state that the manifest names, or from where the task began,
                the input is run again up to the committed offset; what comes out is thrown away

Loading and replay go on a piece a turn, beside the worker's other partitions: the group hears of
the worker in between. In the end the state is the committed one, as results do not depend on where
batches begin and end; a snapshot of it is written, which the next manifest names.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from processor.clock import Clock
from processor.connectors.ports import Log, Owner, Store
from processor.engine.commit.changelog import Changelog
from processor.engine.commit.checkpoint import Checkpointer
from processor.engine.commit.task import Task
from processor.errors import (
    InputLostError,
    RegistryAwayError,
    RetriableError,
    StateLostError,
    StoreAwayError,
)
from processor.model.batch import Slice
from processor.model.log import Committed, Message, TopicPartition
from processor.model.manifest import Manifest
from processor.operators.pipeline import Pipeline
from processor.state import chain
from processor.state.base import Saved, State, TaskState

Policy: TypeAlias = Literal["stop", "replay", "changelog"]
How: TypeAlias = Literal["replay", "changelog", "memory"]
STEP_S: Final = 0.5
# As a worker does: nobody knows yet how long a record takes.
_FIRST: Final = 32
_FACTOR: Final = 4
CHOICES: Final = (
    "restore the Redis data or the deleted records; or start anew under another application id, "
    "which counts from what the topic still holds; to be safe from it, keep the input for as long "
    "as the state is built from it"
)
AWAY: Final = (
    "restore the Redis data; or begin anew with `processor reset`. The input no longer has the "
    "first records that the state is built from, so --on-checkpoint-loss replay helps only where "
    "a part of the checkpoints is left; with `changelog`, from the start on, it can be healed"
)
CHANGED: Final = (
    "no earlier state is whole, and the input run again from the beginning would not come to this "
    "one: the topology or the partition count has changed since, or the watermark was set back; "
    "restore the Redis data, or begin anew with `processor reset`"
)


@dataclass(frozen=True, slots=True)
class Healed:
    """A task was healed: ``how``, and by how many records of input from which offset on."""

    task: str
    how: How
    records: int
    offset_from: int
    offset_to: int


@dataclass(frozen=True, slots=True)
class Broken:
    """A task that cannot be loaded, and why; ``low`` is the first offset the input still has."""

    name: str
    partition: TopicPartition
    head: Committed
    low: int
    error: StateLostError


class Healer:
    """Heals tasks by policy, a piece at a time.

    Args:
        records_max: the largest batch.
        step_s: how long one piece may take.
        tell: called when a task is healed.
        probe: called with ``heal`` before each piece of the work.
    """

    def __init__(
        self,
        policy: Policy,
        log: Log,
        store: Store,
        pipeline: Pipeline,
        *,
        checkpointer: Checkpointer,
        clock: Clock,
        changelog: Changelog | None,
        records_max: int,
        tell: Callable[[Healed], None],
        probe: Callable[[str], None],
        step_s: float = STEP_S,
    ) -> None:
        self.policy: Policy = policy
        self._log, self._store, self._clock = log, store, clock
        self._pipeline = pipeline
        self._checkpointer = checkpointer
        self._changelog = changelog
        self._records_max = records_max
        self._tell, self._probe = tell, probe
        self._step_s = step_s
        self._replays: dict[TopicPartition, _Replay] = {}
        self._until_s = 0.0

    def under_way(self, partition: TopicPartition, head: Committed) -> bool:
        """Whether the partition is being healed up to this head."""
        replay = self._replays.get(partition)
        return replay is not None and replay.broken.head == head

    def forget(self, partition: TopicPartition) -> None:
        """The partition is gone."""
        replay = self._replays.pop(partition, None)
        if replay is not None:
            replay.close()

    def close(self) -> None:
        """Give up whatever is under way."""
        for partition in list(self._replays):
            self.forget(partition)

    def begin(self, broken: Broken) -> None:
        """Start to heal; raises the `StateLostError` when the policy is to stop."""
        if self.policy == "stop":
            begun = Manifest.parse(broken.head.metadata).origin
            if begun is None or begun < broken.low:
                broken.error.remedy = AWAY
            raise broken.error
        self.forget(broken.partition)
        self._probe("heal")
        ancestors = self._ancestors(broken)
        self._replays[broken.partition] = _Replay(
            broken, self._pipeline.new_state, ancestors, self._log
        )

    def _ancestors(self, broken: Broken) -> Iterator[chain.Ancestor]:
        """The states to begin from, newest first; the last one is empty, and whole."""
        manifest = Manifest.parse(broken.head.metadata)
        loader = self._loader(broken, manifest)
        if self._changelog:
            with contextlib.suppress(StateLostError):
                walked = chain.walk(broken.name, manifest, loader)
                offset = broken.head.offset
                times = manifest.event_time_max, manifest.log_time
                yield chain.Ancestor(walked.states(), offset, *times)
        yield from chain.ancestors(broken.name, manifest, loader)
        if manifest.origin is not None:
            yield chain.Ancestor((), manifest.origin, None)

    def _loader(self, broken: Broken, manifest: Manifest) -> chain.Loader:
        """From the changelog where there is one, else from the store."""

        def stored(keys: Sequence[str]) -> list[bytes | None]:
            return self._store.load(broken.name, keys)

        if self._changelog is None:
            return stored
        logged = self._changelog.loader(broken.partition.partition, manifest)

        def either(keys: Sequence[str]) -> list[bytes | None]:
            return [logged([key])[0] or stored([key])[0] for key in keys]

        return either

    def turns(self) -> None:
        """A turn begins: what is under way has so much time in it."""
        self._until_s = self._clock.monotonic_s() + self._step_s * len(self._replays)

    def go_on(self, partition: TopicPartition, owner: Owner) -> Task | None:
        """One piece more; the task when that was the last.

        One partition is healed after the other: where they move on before all are whole, those
        that are stay so, as no part of a state outlives its owner. Raises `InputLostError` when
        the input that is needed is no longer there.
        """
        replay = self._replays[partition]
        if partition != next(iter(self._replays)):
            return None
        now_s = self._clock.monotonic_s()
        deadline_s = max(self._until_s, now_s)
        try:
            while not replay.step(self._pipeline, self._records_max, self._probe):
                before_s, now_s = now_s, self._clock.monotonic_s()
                replay.pace(now_s - before_s <= self._step_s / 2)
                if now_s >= deadline_s:
                    return None
        except RegistryAwayError:
            replay.undo()
            raise
        except (RetriableError, StoreAwayError):
            if replay.restored:
                # Its turn comes again when the others have had theirs.
                self._replays[partition] = self._replays.pop(partition)
            else:
                self.forget(partition)  # half a state is none: it is begun anew
            replay.close()
            return None
        self._probe("heal")
        task = self._finish(replay, owner)
        self.forget(partition)
        return task

    def _finish(self, replay: _Replay, owner: Owner) -> Task:
        broken = replay.broken
        manifest = Manifest.parse(broken.head.metadata)
        if replay.event_time_max != manifest.event_time_max:
            raise StateLostError(
                f"{broken.partition}: the input is not what it was: its largest event time up to "
                f"offset {broken.head.offset} is {replay.event_time_max}, not "
                f"{manifest.event_time_max}",
                remedy=CHOICES,
            ) from broken.error
        link = chain.Link(trail=manifest.trail, origin=manifest.origin, rewound=manifest.rewound)
        task = Task(
            broken.name, broken.partition, owner, replay.state, broken.head, manifest.epoch,
            manifest.event_time_max, link, manifest.log_time,
        )  # fmt: skip
        self._checkpointer.rebase(task)
        offset = broken.head.offset
        how: How = "changelog" if replay.start == offset and self._changelog else "replay"
        self._tell(Healed(broken.name, how, replay.records, replay.start, offset))
        return task

    def rebase(self, task: Task) -> None:
        """The store has lost what a loaded task rests on: write it from memory."""
        self._checkpointer.rebase(task)
        self._tell(Healed(task.name, "memory", 0, task.base.offset, task.base.offset))


def restore(state: Mapping[str, State], chained: Iterable[Mapping[str, Saved]]) -> None:
    """Apply a chain to an empty state, oldest first."""
    for by_operator in chained:
        for operator, saved in by_operator.items():
            state[operator].restore(saved)


class _Replay:
    """The newest state that is whole, and the input from there to the committed offset."""

    def __init__(
        self,
        broken: Broken,
        new_state: Callable[[], TaskState],
        ancestors: Iterator[chain.Ancestor],
        log: Log,
    ) -> None:
        self.broken = broken
        self.restored = False
        self.records = 0
        self._size = _FIRST
        self.state = new_state()
        self.start = self._position = broken.head.offset
        self.event_time_max: int | None = None
        self._log_time: int | None = None
        self._new_state, self._ancestors = new_state, ancestors
        self._pieces: Iterator[Mapping[str, Saved]] | None = None
        self._log = log
        self._runs: Iterator[Sequence[Message]] | None = None
        self._waiting: Sequence[Message] = ()

    def step(self, pipeline: Pipeline, records_max: int, probe: Callable[[str], None]) -> bool:
        """One piece of a state, or one batch; true when there are no more."""
        if self.restored:
            return self._run(pipeline, records_max, probe)
        probe("heal")
        try:
            pieces = self._pieces or self._begin(next(self._ancestors, None))
            rows = next(pieces, None)
        except StateLostError as error:
            if error is self.broken.error:
                raise
            self._pieces = None  # not whole after all: the next older one
            return False
        if rows is None:
            self.restored = True
        else:
            restore(self.state, [rows])
        return False

    def pace(self, fast: bool) -> None:
        """The next batch is larger or smaller: in between the worker polls, or it is out."""
        self._size = self._size * _FACTOR if fast else max(1, self._size // _FACTOR)

    def _begin(self, ancestor: chain.Ancestor | None) -> Iterator[Mapping[str, Saved]]:
        if ancestor is None:
            self.broken.error.remedy = CHANGED
            raise self.broken.error
        if ancestor.offset < self.broken.low:
            raise InputLostError(
                f"{self.broken.partition}: {self.broken.error.message}; the newest whole state "
                f"stands at offset {ancestor.offset}, but the topic begins at {self.broken.low}: "
                f"{self.broken.low - ancestor.offset} records that it rests on were deleted",
                remedy=CHOICES,
            )
        self.state = self._new_state()
        self.start = self._position = ancestor.offset
        self.event_time_max, self._log_time = ancestor.event_time_max, ancestor.log_time
        self._pieces = iter(ancestor.states)
        return self._pieces

    def _run(self, pipeline: Pipeline, records_max: int, probe: Callable[[str], None]) -> bool:
        if not self._waiting:
            if self._runs is None:
                self._runs = iter(
                    self._log.scan(self.broken.partition, self._position, self.broken.head.offset)
                )
            self._waiting = next(self._runs, ())
        size = min(self._size, records_max)
        messages, self._waiting = self._waiting[:size], self._waiting[size:]
        if not messages:
            return True
        probe("heal")
        end = (messages[-1].offset() or 0) + 1
        values = [message.value() for message in messages]
        part = Slice(
            self.broken.partition, messages, values, self._position, end, self.event_time_max,
            self._log_time,
        )  # fmt: skip
        result = pipeline.run([part], [self.state], publishes=False)
        (self.event_time_max,), (self._log_time,) = result.event_times_max, result.log_times
        for state in self.state.values():
            state.commit(state.changed())
        self._position = end
        self.records += len(messages)
        return False

    def undo(self) -> None:
        """Back to where the last batch ended: the next step reads on from there."""
        for state in self.state.values():
            state.rollback()
        self.close()

    def close(self) -> None:
        """Let go of the reading; the next step reads on from where this one stood."""
        runs, self._runs, self._waiting = self._runs, None, ()
        if runs is not None and hasattr(runs, "close"):
            runs.close()
