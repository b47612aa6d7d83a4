"""What a worker's batches show outside of Kafka: before their commit, with it, and after it.

::

    computed ──► promise ──► call the functions ──► commit, with files ──► tables
                    │                                      ▲
                    └── killed, aborted: the same records, the same end, the same epoch ──┘

A function is called with the rows of one task and epoch. Before it is, the task's manifest says
where the batch ends; whoever has the task then cuts it there again, and so comes to the same rows.
An epoch is shown again as it was, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from processor.clock import Clock
from processor.connectors.ports import Log
from processor.engine.commit.checkpoint import Prepared
from processor.engine.commit.committer import Commit, Committer, Probe, Work, Written
from processor.engine.commit.protocol import Step, Verdict
from processor.engine.commit.task import Task
from processor.engine.running.batcher import Batcher, Share
from processor.engine.running.pace import Pace
from processor.errors import InputLostError, SinkError
from processor.model.batch import Result, Shown, Slice
from processor.model.called import Batch
from processor.model.log import Committed, TopicPartition
from processor.model.manifest import Intent, Manifest
from processor.operators.show import ending
from processor.plan import nodes
from processor.plan.fingerprint import identity
from processor.sinks.call import call
from processor.sinks.folder import File, Folder, label

Show = Callable[[str, TopicPartition, pl.DataFrame], None]


@dataclass(frozen=True, slots=True)
class Part:
    """A task's share of the batch that is running, and how many records it has."""

    part: Slice
    prepared: Prepared
    records: int

    def batch(self, app: str, sink: str) -> Batch:
        """What the function of a sink is told of it."""
        manifest = self.prepared.manifest
        return Batch(app, manifest.life, str(self.part.partition), sink, manifest.epoch)


class Outside:
    """Of one plan's sinks, those that are no topics.

    Args:
        show: takes the rows of tables, once they are committed.
        note: hears of what a person should see.
    """

    def __init__(
        self,
        plan: nodes.Plan,
        log: Log,
        clock: Clock,
        probe: Probe,
        *,
        show: Show = lambda *_: None,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._app, self._log, self._probe, self._show, self._note = plan.app, log, probe, show, note
        self._sinks = {s.topic: (number, s) for number, s in enumerate(plan.sinks) if s.outside}
        self._promises = plan.promises()
        self._plan = identity(plan)
        self._folders: dict[str, Folder] = {}

    def begin(self) -> None:
        """A membership begins: the directories are there, and can be written to."""
        for topic, (_, sink) in self._sinks.items():
            if isinstance(sink.outside, nodes.Files):
                self._folders[topic] = Folder(sink.outside.folder)

    # When a task is loaded.

    def recover(self, task: Task) -> None:
        """Finish what the committed manifest names, and clear what cannot be committed any more.

        Raises `SinkError` where the files that it names are in another directory.
        """
        head = Manifest.parse(task.base.metadata)
        self._check_folders(task.partition, head)
        of, gave = label(self._app, task.partition), head.gave()
        for folder in self._folders.values():
            named, gone = [], []
            for file in folder.pending(of):
                its = (file.life, file.epoch, file.attempt)
                if its in ((head.life, head.epoch, head.attempt), gave.get(folder.id)):
                    named.append(file)
                elif its[:2] <= (head.life, head.epoch):
                    gone.append(file)
            if named:
                self._probe("before:rename")
                folder.name(named)
                self._probe("after:rename")
            folder.clear(gone)

    def _check_folders(self, partition: TopicPartition, head: Manifest) -> None:
        known = {folder.id for folder in self._folders.values()}
        lost = [name for name in head.gave() if name not in known]
        if not lost:
            return
        what = (
            f"{partition}: the last batch has a file in the directory that calls itself {lost[0]}"
        )
        if head.plan != self._plan or head.files == head.owing():  # as `processor reset` leaves it
            self._note(f"{what}, and that is no more in the topology: see that nothing of it is "
                       "left in .pending there")  # fmt: skip
            return
        where = ", ".join(str(folder) for folder in self._folders.values())
        raise SinkError(
            f"{what}, and here is another one: {where}",
            remedy="all workers have to see one directory, on one file system: mount it in each "
            "of them. Was it moved, put it back; was it deleted with what was in it, begin anew "
            "with `processor reset`",
        )

    def owed(self, tasks: Mapping[TopicPartition, Task]) -> dict[TopicPartition, Intent]:
        """The tasks whose next batch is promised, and what was promised."""
        if not self._promises:
            return {}
        found = {p: task.intent() for p, task in tasks.items()}
        return {p: intent for p, intent in found.items() if intent is not None}

    def again(
        self,
        owed: Mapping[TopicPartition, Intent],
        tasks: Mapping[TopicPartition, Task],
        batcher: Batcher,
    ) -> Mapping[TopicPartition, Share]:
        """The promised batches, read once more.

        Raises `InputLostError` where some of their records are no more in the log.
        """
        shares = {}
        for partition, intent in owed.items():
            start = tasks[partition].base.offset
            blocks = self._log.scan(partition, start, intent.end) if start < intent.end else ()
            messages = [message for block in blocks for message in block]
            if len(messages) != intent.records:
                raise InputLostError(
                    f"{partition}: the batch from offset {start} to {intent.end} may have been "
                    f"shown to a function with {intent.records} records, and {len(messages)} of "
                    "them are left",
                    remedy="keep records longer than the processor may be down, and let the input "
                    "not be compacted; to go on, begin anew with `processor reset`",
                )
            shares[partition] = batcher.again(partition, messages, intent.end)
        return shares

    # When a batch is committed.

    def files(self, result: Result) -> dict[int, tuple[str, ...]]:
        """By slice, the directories that get a file."""
        found: dict[int, tuple[str, ...]] = {}
        for shown in result.shown:
            if shown.data is not None:
                found[shown.task] = (*found.get(shown.task, ()), self._folders[shown.sink].id)
        return found

    def written(self, result: Result, prepared: Sequence[Prepared]) -> list[Written]:
        """The files of a batch."""
        found = []
        for shown in result.shown:
            if shown.data is None:
                continue
            task, manifest = prepared[shown.task].task, prepared[shown.task].manifest
            sink = self._sinks[shown.sink][1]
            file = File(
                label(self._app, task.partition), manifest.life, manifest.epoch, manifest.attempt,
                ending(sink.format),
            )  # fmt: skip
            found.append(Written(self._folders[shown.sink], file, shown.data))
        return found

    def commit(
        self,
        work: Work,
        result: Result,
        parts: Sequence[Part],
        committer: Committer,
        pace: Pace,
    ) -> Commit:
        """Promise the batch, call the functions, and commit it; what came of it, and how long.

        Raises `SinkError` for what a function raises.
        """
        calls = [s for s in result.shown if isinstance(self._sinks[s.sink][1].outside, nodes.Call)]
        if not calls:
            return committer.commit(work)
        started_s = self._clock.monotonic_s()
        wanted = [parts[number] for number in sorted({shown.task for shown in calls})]
        again = [part for part in wanted if part.prepared.task.intent() is not None]
        first = [part for part in wanted if part.prepared.task.intent() is None]
        if first:
            promise = Work([self._intent(part) for part in first], ())
            commit = committer.promise(promise)
            if commit.verdict is not Verdict.ADOPT:
                return commit
            for each in promise.prepared:
                each.task.base = each.head
        for shown in sorted(calls, key=lambda s: (s.task, self._sinks[s.sink][0])):
            self._call(shown, parts[shown.task], pace)
        pace.called(sum(part.records for part in wanted), again=bool(again))
        took_s = self._clock.monotonic_s() - started_s
        commit = committer.commit(work)
        commit.seconds[Step.WRITE] = commit.seconds.get(Step.WRITE, 0.0) + took_s
        return commit

    def shown(self, result: Result, slices: Sequence[Slice], commit: Commit) -> None:
        """The batch is committed: its rows for tables can be seen.

        Raises `SinkError` where its files could not be named: then nothing more is committed.
        """
        if commit.unnamed is not None:
            raise commit.unnamed
        for shown in result.shown:
            if isinstance(self._sinks[shown.sink][1].outside, nodes.Table):
                self._show(shown.sink, slices[shown.task].partition, shown.rows)

    def _intent(self, part: Part) -> Prepared:
        """The head of a task that has not moved, and says where its next batch ends."""
        task = part.prepared.task
        manifest = replace(
            Manifest.parse(task.base.metadata),
            intent=Intent(part.part.end, part.records, self._plan),
        )
        head = Committed(task.base.offset, str(manifest))
        return Prepared(task, head, manifest, (), task.link, {})

    def _call(self, shown: Shown, part: Part, pace: Pace) -> None:
        sink = self._sinks[shown.sink][1]
        if not isinstance(sink.outside, nodes.Call):
            raise TypeError(f"{sink.topic} is not called")
        batch = part.batch(self._app, sink.outside.name)
        self._probe("before:call")
        pace.call(f"write at {sink.at}")
        where = f"{part.part.partition} offsets {part.part.start} to {part.part.end - 1}"
        call(sink, shown.rows, batch, where, part.part.partition.partition)
        self._probe("after:call")
