"""A sink of files in a box: every order of events for two workers that write one task's files.

A worker recovers, and then batch by batch writes a pending file, commits a manifest that names it,
and renames it. It may be killed between any two steps, or stand still while another takes the task.

Judged is J6: the files in the end hold each committed row once. What the variants teach; those that
hold:

renamed before the next commit  a manifest names one file, so recovery can finish one
synced before the commit        what is committed is there after the machine went down, too

and those that do not, each with the invariant that fails:

all else is cleared             J6: who stands still in its recovery has lost the task meanwhile:
                                it may clear pending files up to the committed epoch, and no others
renamed later                   J6: two files may wait for their names, and the manifest has one
files of any task are cleared   J6: a name without the task lets one task clear another's files
names without the attempt       J6: a former owner's file takes the place of the committed one
not synced                      J6: a file that was committed may be gone with the machine
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.simulation.model import Violation


class File(NamedTuple):
    """A pending file, or one that has its name: the rows [start, end) of an epoch."""

    epoch: int
    attempt: int
    start: int
    end: int


class Manifest(NamedTuple):
    """What is committed."""

    offset: int = 0
    epoch: int = 0
    attempt: int = 0


class Worker(NamedTuple):
    """A process. ``waiting`` are its committed files that have no name yet."""

    alive: bool = True
    step: str = "load"
    generation: int = 0
    base: Manifest = Manifest()
    file: File | None = None
    waiting: tuple[File, ...] = ()


class State(NamedTuple):
    """Everything there is."""

    manifest: Manifest = Manifest()
    owner: int = 0
    generation: int = 0
    workers: tuple[Worker, ...] = (Worker(), Worker())
    pending: frozenset[File] = frozenset()
    named: frozenset[File] = frozenset()
    synced: frozenset[File] = frozenset()
    attempts: int = 0
    crashes: int = 0
    moves: int = 0
    aborts: int = 0
    outages: int = 0
    strangers: int = 0


@dataclass(frozen=True)
class Bounds:
    """How many rows there are, and how much may happen."""

    rows: int = 3
    crashes: int = 1
    moves: int = 1
    aborts: int = 1
    outages: int = 0


class Model:
    """The rules, with switches that the variants turn."""

    clears_passed_only = True
    renames_at_once = True
    names_the_task = True
    names_the_attempt = True
    syncs = True

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds

    def start(self) -> State:
        return State()

    def following(self, s: State) -> Iterator[tuple[str, State]]:
        for w, worker in enumerate(s.workers):
            if not worker.alive:
                yield f"{w} starts again", _working(s, w, Worker())
                continue
            yield from getattr(self, "_" + worker.step)(s, w, worker)
            if s.crashes < self.bounds.crashes:
                dead = _working(s, w, Worker(alive=False))
                yield f"{w} is killed", dead._replace(crashes=s.crashes + 1)
        if s.moves < self.bounds.moves:
            yield (
                "the task moves",
                s._replace(
                    owner=1 - s.owner, generation=s.generation + 1, moves=s.moves + 1
                ),
            )  # fmt: skip
        if not self.names_the_task and s.pending and not s.strangers:
            yield "another task clears", s._replace(pending=frozenset(), strangers=1)
        if s.outages < self.bounds.outages:
            down = Worker(alive=False)
            yield (
                "the machine goes down",
                s._replace(
                    workers=(down, down), pending=s.pending & s.synced,
                    named=s.named & s.synced, outages=s.outages + 1,
                ),
            )  # fmt: skip

    def _load(self, s: State, w: int, worker: Worker) -> Iterator[tuple[str, State]]:
        if s.owner == w:
            loaded = Worker(step="recover", generation=s.generation, base=s.manifest)
            yield f"{w} loads {s.manifest}", _working(s, w, loaded)

    def _recover(self, s: State, w: int, worker: Worker) -> Iterator[tuple[str, State]]:
        """Finishes what its manifest names, and clears what it takes for rubbish."""
        base = worker.base
        own = {f for f in s.pending if (f.epoch, f.attempt) == (base.epoch, base.attempt)}
        passed = {f for f in s.pending if f.epoch <= base.epoch}
        rubbish = passed if self.clears_passed_only else s.pending
        after = _working(s, w, worker._replace(step="cut"))
        yield (
            f"{w} recovers",
            after._replace(pending=s.pending - own - rubbish, named=s.named | own),
        )

    def _cut(self, s: State, w: int, worker: Worker) -> Iterator[tuple[str, State]]:
        if worker.generation != s.generation:
            yield f"{w} is told that it lost the task", _working(s, w, Worker())
        base = worker.base
        for end in range(base.offset + 1, self.bounds.rows + 1):
            attempt = s.attempts + 1 if self.names_the_attempt else 1
            file = File(base.epoch + 1, attempt, base.offset, end)
            written = _working(s, w, worker._replace(step="commit", file=file))
            # What has the same name takes the other's place.
            others = {f for f in s.pending if (f.epoch, f.attempt) != (file.epoch, file.attempt)}
            yield (
                f"{w} writes {file}",
                written._replace(
                    pending=frozenset(others | {file}), attempts=s.attempts + 1,
                    synced=s.synced | {file} if self.syncs else s.synced,
                ),
            )  # fmt: skip

    def _commit(self, s: State, w: int, worker: Worker) -> Iterator[tuple[str, State]]:
        if worker.generation != s.generation:
            yield f"{w} may not commit", _working(s, w, Worker())
            return
        file = worker.file
        base = Manifest(file.end, file.epoch, file.attempt)
        waiting = (*worker.waiting, file)
        done = worker._replace(step="rename", base=base, file=None, waiting=waiting)
        yield f"{w} commits {base}", _working(s, w, done)._replace(manifest=base)
        if s.aborts < self.bounds.aborts:
            aborted = s._replace(aborts=s.aborts + 1)
            yield f"{w} aborts", _working(aborted, w, worker._replace(step="cut", file=None))

    def _rename(self, s: State, w: int, worker: Worker) -> Iterator[tuple[str, State]]:
        named = {(file.epoch, file.attempt) for file in worker.waiting}
        mine = {f for f in s.pending if (f.epoch, f.attempt) in named}
        after = _working(s, w, worker._replace(step="cut", waiting=()))
        yield f"{w} renames", after._replace(pending=s.pending - mine, named=s.named | mine)
        if not self.renames_at_once and len(worker.waiting) == 1:
            yield f"{w} renames later", _working(s, w, worker._replace(step="cut"))

    def check(self, s: State) -> None:
        """What the files hold, when nobody has anything to do and recovery has been."""
        if s.manifest.offset != self.bounds.rows:
            return
        last = s.manifest
        own = {f for f in s.pending if (f.epoch, f.attempt) == (last.epoch, last.attempt)}
        if any(w.alive and (w.waiting or w.step == "recover") for w in s.workers):
            return
        rows = sorted(row for file in s.named | own for row in range(file.start, file.end))
        if rows != [*range(self.bounds.rows)]:
            raise Violation(f"J6: the files hold {rows}: {set(s.named | own)}")


def _working(s: State, w: int, worker: Worker) -> State:
    workers = (worker, s.workers[1]) if w == 0 else (s.workers[0], worker)
    return s._replace(workers=workers)
