"""Time across two stages in a box: every order of events, for two tasks of sources and one behind.

Each of the two tasks has a partition of few rows, and belongs to one of two workers. A worker cuts
a batch of any length, writes its blocks one by one into the partition of an internal topic, and
commits them with its manifests. It may be killed, or lose a task, between any two of these steps.
The task behind reads what is stable, in batches of any length, and closes windows. Times are small
numbers, a row is (partition, number), a window is as long as `WINDOW`.

Of the invariants of stages these are judged here:

J1  a stage with state reads one topic and nothing else
J2  a watermark never falls, and is at most the least that all its upstream tasks have committed
J3  no row is folded into a closed window, and none is late behind that was in time at its source
J6  results depend neither on the order of blocks, nor on batches, crashes and hand-overs
J7  the epochs of an upstream task rise (an epoch is told by its offsets here: fewer states)

J5 and J8 are in `stages_intent`, J4 in `stages_trim`. What the variants teach; those that hold:

as designed                  the least of all upstream tasks, told on an epoch's last block
rows out of order            lateness is decided at the source, and need not be looked at again
rows for another target      a target without rows of an epoch is told its watermark all the same
blocks of two rows           how an epoch is cut into blocks does not matter
told now and then            to hold watermarks back is safe, if what was not told is owed, ...
an idle task raises its own  ... and so is a task that raises the watermark in its own manifest, ...
idle, out of order           ... whatever the order of its rows, ...
idle twice                   ... as often as it likes, ...
the clock goes on            ... also by the clock, where all are idle
only those heard, counted    the least of the tasks heard loses rows, though it counts them
idle left out, counted       to leave idle tasks out loses rows, though it counts them, ...
all idle closes all          ... also where all being idle closes every window

and those that do not, each with the invariant that fails:

only those heard             J2: a task that was not heard of may be far behind all others, ...
only those heard, rows       J3: ... and its rows come into windows that are closed
told on every block          J3: the rest of an epoch is behind the watermark of its first block
told and not owed            J6: a window stays open because of how batches were cut
idle left out                J3: who comes back has rows for windows that are closed
idle left out, folded        J3: to fold them all the same is worse: windows are told twice
idle left out, may fall      J2: to take the watermark back instead is no way out
late by batch                J6: late by the watermark before the batch depends on the batch
a mark before its rows       J3: an epoch's watermark covers the rows that it comes with
outside the transaction      J7: what an abort should have taken back is read, and comes again
a former owner commits       J7: two owners of a task write the same rows
the highest is forgotten     J2: a watermark that begins anew with each owner has been passed
open ones are passed over    J6: what is committed behind the reader's back is never read
raised, and not kept         J2: who takes over an idle task knows nothing of what it told
manifests are looked at      J1 (shown by J3): what is committed is not yet read, so it is too new
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from tests.simulation.model import Violation
from tests.simulation.time_records import (
    EARLIEST,
    LATEST,
    STABLE,
    WINDOW,
    Block,
    Part,
    Row,
    Source,
    Stage,
    State,
    Transaction,
    Worker,
    aborted,
    at,
    committed,
    working,
)  # fmt: skip

# What the clock adds to the largest event time, when it is looked at.
TICK = 3


@dataclass(frozen=True)
class Bounds:
    """How much there is, and may happen: event times by partition, in offset order."""

    rows: tuple[tuple[int, ...], ...] = ((1, 5), (0, 6))
    elsewhere: frozenset[Row] = frozenset()
    block: int = 1
    crashes: int = 1
    moves: int = 1
    aborts: int = 1
    raises: int = 1
    delay: int = 1


class Model:
    """The rules, with switches that the variants turn."""

    waits_for_all = True
    told_on_every_block = False
    throttles = False
    owes = True
    idle = ""  # "raised", "clock", "left out"
    all_idle_closes_all = False
    never_falls = True
    late_here = "refused"  # "counted", "by batch", "folded"
    bounded = True
    heeds_marks_first = False
    in_transactions = True
    takes_former_owners = False
    forgets_the_highest = False
    passes_over_open = False
    keeps_what_it_raised = True
    looks_at_manifests = False

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        counts = [range(len(times)) for times in bounds.rows]
        everything = [(task, number) for task, numbers in enumerate(counts) for number in numbers]
        self.here = frozenset(everything) - bounds.elsewhere
        self._known: dict[tuple[Stage, tuple[Block, ...]], Stage] = {}

    def start(self) -> State:
        count = len(self.bounds.rows)
        sources = tuple(Source(owner=min(task, 1)) for task in range(count))
        stage = Stage((0,) * count, (None,) * count, (False,) * count)
        return State(sources, (Worker(), Worker()), (), stage)

    def time(self, row: Row) -> int:
        return self.bounds.rows[row[0]][row[1]]

    def watermark(self, source: Source) -> int:
        """What a task has committed."""
        return source.highest - self.bounds.delay if source.highest > EARLIEST else EARLIEST

    # What can happen next.

    def following(self, s: State) -> Iterator[tuple[str, State]]:
        for w, worker in enumerate(s.workers):
            if not worker.alive:
                yield f"{w} starts again", aborted(s, w)
                if worker.open:
                    yield (
                        f"the transaction of {w}, which is dead, is ended",
                        aborted(s, w, alive=False),
                    )
                continue
            if worker.open is None:
                for label, transaction, after in self._cuts(s, w):
                    yield label, working(after, w, Worker(open=transaction))
            else:
                yield from self._going(s, w, worker.open)
            if s.crashes < self.bounds.crashes:
                dead = working(s, w, worker._replace(alive=False))
                yield f"{w} is killed", dead._replace(crashes=s.crashes + 1)
        if s.moves < self.bounds.moves:
            for task, source in enumerate(s.sources):
                if s.workers[1 - source.owner].alive:
                    yield f"task {task} moves", self._moved(s, task, source)
        yield from self._read(s)

    def _moved(self, s: State, task: int, source: Source) -> State:
        taken = source._replace(owner=1 - source.owner, generation=source.generation + 1)
        if self.forgets_the_highest:
            taken = taken._replace(highest=EARLIEST)
        return s._replace(sources=at(s.sources, task, taken), moves=s.moves + 1)

    # A worker of the source stage.

    def _cuts(self, s: State, w: int) -> Iterator[tuple[str, Transaction, State]]:
        mine = [task for task, source in enumerate(s.sources) if source.owner == w]
        left = {task: len(self.bounds.rows[task]) - s.sources[task].offset for task in mine}
        for counts in product(*(range(left[task] + 1) for task in mine)):
            taken = {task: count for task, count in zip(mine, counts, strict=True) if count}
            for tells in ((True, False) if self.throttles else (True,)) if taken else ():
                yield f"{w} cuts {taken}", self._batch(s, taken, tells=tells), s
        for task in mine:
            source = s.sources[task]
            owed = self.owes and source.told != self.watermark(source)
            if self.throttles and owed and not left[task]:
                yield f"{w} tells what it owes of {task}", self._batch(s, {task: 0}), s
            out = self.idle == "left out" and source.idle
            if self.idle and source.raises < self.bounds.raises and not out:
                raised = source._replace(raises=source.raises + 1)
                after = s._replace(sources=at(s.sources, task, raised))
                yield f"task {task} is idle", self._idle(s, task, source), after

    def _batch(self, s: State, taken: dict[int, int], *, tells: bool = True) -> Transaction:
        """A transaction over so many rows of each task."""
        parts, blocks = [], []
        for task, count in taken.items():
            source = s.sources[task]
            highest, here, late = source.highest, [], set()
            end = source.offset + count
            for number in range(source.offset, end):
                row = task, number
                highest = max(highest, self.time(row))
                if self.time(row) < highest - self.bounds.delay:
                    late.add(row)
                elif row in self.here:
                    here.append(row)
            mark = highest - self.bounds.delay if tells else None
            told = source.told if mark is None else mark
            lost = frozenset(late)
            parts.append(Part(task, source.generation, end, highest, told, idle=False, late=lost))
            blocks += self._blocks(task, here, source.offset, end, mark)
        return Transaction(tuple(parts), tuple(blocks))

    def _blocks(self, task: int, rows: list[Row], start: int, end: int, mark: int | None):
        size = self.bounds.block
        pieces = [tuple(rows[first : first + size]) for first in range(0, len(rows), size)]
        for piece in pieces[:-1]:
            early = mark if self.told_on_every_block else None
            yield Block(task, piece, piece[0][1], piece[-1][1] + 1, early)
        if pieces:
            yield Block(task, pieces[-1], pieces[-1][0][1], end, mark)
        elif mark is not None:
            yield Block(task, (), start, end, mark)

    def _idle(self, s: State, task: int, source: Source) -> Transaction:
        """A transaction of no rows: the task has waited for some long enough."""
        highest, out = source.highest, self.idle == "left out"
        others = [
            other.highest for number, other in enumerate(s.sources)
            if number != task and not other.idle and other.highest > EARLIEST
        ]  # fmt: skip
        if self.idle == "raised":
            highest = max(highest, min(others, default=EARLIEST))
        elif self.idle == "clock":
            latest = max(other.highest for other in s.sources)
            highest = latest + TICK if latest > EARLIEST else highest
        mark = self.watermark(source._replace(highest=highest)) if highest > EARLIEST else None
        kept = highest if self.keeps_what_it_raised else source.highest
        told = source.told if out or mark is None else mark
        part = Part(task, source.generation, source.offset, kept, told, idle=True)
        block = Block(task, (), source.offset, source.offset, None if out else mark, idle=out)
        return Transaction((part,), (block,) if out or mark is not None else ())

    def _going(self, s: State, w: int, open_: Transaction) -> Iterator[tuple[str, State]]:
        stands = all(s.sources[p.task].generation == p.generation for p in open_.parts)
        if open_.unwritten:
            block, *rest = open_.unwritten
            writer = w if self.in_transactions else STABLE
            after = working(s, w, Worker(open=open_._replace(unwritten=tuple(rest))))
            yield f"{w} writes {block}", after._replace(topic=(*s.topic, (writer, block)))
        elif stands or self.takes_former_owners:
            yield f"{w} commits", committed(s, w, open_)
        if not stands:
            yield f"{w} is refused", aborted(s, w)
        elif s.aborts < self.bounds.aborts:
            yield f"{w} aborts", aborted(s, w)._replace(aborts=s.aborts + 1)

    # The task behind.

    def _read(self, s: State) -> Iterator[tuple[str, State]]:
        ready = []
        for number, (writer, _) in enumerate(s.topic):
            if writer == STABLE:
                ready.append(number)
            elif not self.passes_over_open:
                break
        if not ready:
            return
        blocks = [s.topic[number][1] for number in ready]
        one_by_one = after = self._after(s, s.stage, blocks[:1])
        for count in range(2, len(blocks) + 1):
            one_by_one = self._after(s, one_by_one, blocks[count - 1 : count])
            if self._after(s, s.stage, blocks[:count]) != one_by_one:
                raise Violation(f"J6: {count} blocks at once are not the same as one by one")
        yield "a block is read", s._replace(topic=s.topic[ready[0] + 1 :], stage=after)

    def _after(self, s: State, stage: Stage, blocks: list[Block]) -> Stage:
        """The same as `_folded`, which is a function of the topic alone, and so is remembered."""
        if self.looks_at_manifests:
            return self._folded(s, stage, blocks)
        key = stage, tuple(blocks)
        if (known := self._known.get(key)) is None:
            known = self._known[key] = self._folded(s, stage, blocks)
        return known

    def _folded(self, s: State, stage: Stage, blocks: list[Block]) -> Stage:
        """The task behind after a batch of these blocks."""
        at_start = stage.watermark
        for block in blocks:
            if block.start < stage.read[block.task]:
                raise Violation(f"J7: {block} after {stage.read[block.task]}")
            stage = stage._replace(read=at(stage.read, block.task, block.end))
            if self.heeds_marks_first:
                stage = self._heeded(s, stage, block)
            limit = at_start if self.late_here == "by batch" else stage.watermark
            for row in block.rows:
                stage = self._taken(stage, row, limit)
            stage = self._heeded(s, stage, block)
        over = frozenset(row for row in stage.open if self._end(row) <= stage.watermark)
        return stage._replace(open=stage.open - over, closed=stage.closed | over)

    def _end(self, row: Row) -> int:
        return (self.time(row) // WINDOW + 1) * WINDOW

    def _taken(self, stage: Stage, row: Row, limit: int) -> Stage:
        if row in stage.open | stage.closed | stage.late:
            raise Violation(f"J6: {row} is counted twice")
        if self.time(row) < limit and self.late_here != "folded":
            if self.late_here == "refused":
                raise Violation(f"J3: {row} was in time at its source, and is late behind")
            return stage._replace(late=stage.late | {row})
        if self._end(row) <= limit:
            raise Violation(f"J3: {row} is folded into a closed window")
        return stage._replace(open=stage.open | {row})

    def _heeded(self, s: State, stage: Stage, block: Block) -> Stage:
        """After what a block tells of time."""
        idle, marks = at(stage.idle, block.task, block.idle), stage.marks
        if block.mark is not None:
            marks = at(marks, block.task, block.mark)
        if self.looks_at_manifests:
            marks = tuple(self.watermark(source) for source in s.sources)
        wanted = [mark for mark, out in zip(marks, idle, strict=True) if not out]
        if not self.waits_for_all:
            wanted = [mark for mark in wanted if mark is not None]
        if wanted:
            least = min(EARLIEST if mark is None else mark for mark in wanted)
        else:
            least = LATEST if self.all_idle_closes_all and all(idle) else stage.watermark
        if self.never_falls:
            least = max(least, stage.watermark)
        elif least < stage.watermark:
            raise Violation(f"J2: the watermark falls from {stage.watermark} to {least}")
        return stage._replace(idle=idle, marks=marks, watermark=least)

    # The invariants.

    def check(self, s: State) -> None:
        """The invariants of a state."""
        least = min(self.watermark(source) for source in s.sources)
        if self.bounded and s.stage.watermark > least:
            raise Violation(f"J2: {s.stage.watermark} behind, where {least} is committed")
        if s.topic or any(worker.open for worker in s.workers):
            return
        if any(len(t) != x.offset for t, x in zip(self.bounds.rows, s.sources, strict=True)):
            return
        wanted, stage = self.here - s.late, s.stage
        if stage.open | stage.closed | stage.late != wanted:
            raise Violation(f"J6: {wanted} were read, {stage} is the result")
        untold = self.owes and any(x.told != self.watermark(x) for x in s.sources)
        if self.bounded and not untold and stage.watermark != least:
            raise Violation(f"J6: at rest {stage.watermark}, where {least} is committed")
