"""A feed of files in a box: every order of events for two feeders of one partition.

A feeder loads the committed place, reads the notes of what was read before, and then piece by
piece hands rows on, with a note where a file ends, and commits both with the new place. It may be
killed between any two steps, or stand still while another takes the partition. What a killed one
left open hides the notes behind it until it is ended. Files that are read are deleted, and another
file may then come under the same name.

Judged is J6: each row of each file is in the topic once, and no file goes before its rows are
there. What the variants teach; those that hold:

as designed                  rows, note and place in one transaction; the place counts the notes
files stay                   so it is where nothing is deleted

and those that do not, each with the invariant that fails:

a plain commit               J6: a place that is committed by itself goes on without its rows, ...
a plain commit behind        J6: ... and one that is committed afterwards has rows come again
a note by itself             J6: a note outlives the abort of its rows
notes are not counted        J6: those behind an open transaction are missed
cleared before the commit    J6: a file is gone, and its rows were aborted
known by name alone          J6: the file that comes under a free name is not read
cleared by name alone        J6: ... or is deleted for the one that was there before
a former owner commits       J6: two feeders read one file
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.simulation.model import Violation

COMMITTED = -1


class File(NamedTuple):
    """A file: its name, which of those that had the name it is, and how many rows it has."""

    name: str
    number: int
    rows: int

    def its(self, rows: int) -> frozenset[tuple[str, int, int]]:
        """The first rows of it."""
        return frozenset((self.name, self.number, row) for row in range(rows))


class Note(NamedTuple):
    """A file was read, says the transaction of feeder ``by``, or what is committed."""

    file: File
    by: int = COMMITTED


class Place(NamedTuple):
    """What is committed: a file that is read up to ``row``, and how many notes there are."""

    file: File | None = None
    row: int = 0
    notes: int = 0


class Feeder(NamedTuple):
    """A process. ``start`` to ``end`` are the rows of ``file`` that it is about to hand on."""

    alive: bool = True
    step: str = "load"
    generation: int = 0
    base: Place = Place()
    known: frozenset[File] = frozenset()
    file: File | None = None
    start: int = 0
    end: int = 0


class State(NamedTuple):
    """Everything there is."""

    folder: frozenset[File]
    place: Place = Place()
    notes: tuple[Note, ...] = ()
    rows: frozenset[tuple[str, int, int]] = frozenset()
    owner: int = 0
    generation: int = 0
    feeders: tuple[Feeder, Feeder] = (Feeder(), Feeder())
    kills: int = 0
    moves: int = 0
    aborts: int = 0
    refills: int = 0


@dataclass(frozen=True)
class Bounds:
    """Which files there are, by their rows, and how much may happen."""

    files: tuple[int, ...] = (2, 1)
    kills: int = 1
    moves: int = 1
    aborts: int = 1
    refills: int = 1


class Model:
    """The rules, with switches that the variants turn."""

    place_goes = "with the rows"  # or "before", "behind"
    notes_in_transactions = True
    counts_notes = True
    clears = "behind"  # or "before", "nothing"
    known_by_name = False
    cleared_by_name = False
    guarded = True

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds

    def start(self) -> State:
        files = enumerate(self.bounds.files)
        return State(frozenset(File("abc"[number], 1, rows) for number, rows in files))

    def following(self, s: State) -> Iterator[tuple[str, State]]:
        for f, feeder in enumerate(s.feeders):
            if feeder.alive:
                yield from getattr(self, "_" + feeder.step)(s, f, feeder)
                if s.kills < self.bounds.kills:
                    dead = _with(s, f, Feeder(alive=False))
                    yield f"{f} is killed", dead._replace(kills=s.kills + 1)
            else:
                yield f"{f} starts again", _ended(_with(s, f, Feeder()), f)
                if any(note.by == f for note in s.notes):
                    yield f"what {f} left open is ended", _ended(s, f)
        if s.moves < self.bounds.moves:
            moved = s._replace(owner=1 - s.owner, generation=s.generation + 1, moves=s.moves + 1)
            yield "the partition moves", moved
        if s.refills < self.bounds.refills and not any(file.name == "a" for file in s.folder):
            other = File("a", 2, self.bounds.files[0])
            yield (
                "another file comes",
                s._replace(folder=s.folder | {other}, refills=s.refills + 1),
            )

    def _load(self, s: State, f: int, feeder: Feeder) -> Iterator[tuple[str, State]]:
        if s.owner == f:
            loaded = Feeder(step="look", generation=s.generation, base=s.place)
            yield f"{f} loads {s.place}", _with(s, f, loaded)

    def _look(self, s: State, f: int, feeder: Feeder) -> Iterator[tuple[str, State]]:
        """Reads the notes that it can see; where some are hidden, or too new, it loads again."""
        hidden = [i for i, note in enumerate(s.notes) if note.by != COMMITTED]
        seen = s.notes[: hidden[0]] if hidden else s.notes
        if self.counts_notes and len(seen) != feeder.base.notes:
            yield f"{f} does not see all notes", _with(s, f, Feeder())
            return
        known = frozenset(note.file for note in seen)
        knows = _with(s, f, feeder._replace(step="read", known=known))
        yield f"{f} looks", self._cleared(knows, known) if self.clears == "behind" else knows

    def _cleared(self, s: State, read: frozenset[File]) -> State:
        names = {file.name for file in read}
        gone = {file for file in s.folder if self.cleared_by_name and file.name in names}
        return s._replace(folder=s.folder - read - gone)

    def _passed(self, file: File, read: frozenset[File]) -> bool:
        """Whether a file is taken for one that was read."""
        names = {other.name for other in read}
        return file.name in names if self.known_by_name else file in read

    def _read(self, s: State, f: int, feeder: Feeder) -> Iterator[tuple[str, State]]:
        if feeder.generation != s.generation:
            yield f"{f} is told that it lost the partition", _with(s, f, Feeder())
        base = feeder.base
        left = sorted(file for file in s.folder if not self._passed(file, feeder.known))
        file = base.file if base.file in s.folder else next(iter(left), None)
        if file is None:
            return
        start = base.row if file == base.file else 0
        for end in range(start + 1, file.rows + 1):
            piece = feeder._replace(step="send", file=file, start=start, end=end)
            yield f"{f} reads {file} from {start} to {end}", _with(s, f, piece)

    def _send(self, s: State, f: int, feeder: Feeder) -> Iterator[tuple[str, State]]:
        """Rows and note are in the log, behind the feeder's open transaction."""
        sent = _with(s, f, feeder._replace(step="commit"))
        if self.place_goes == "before" and feeder.generation == s.generation:
            sent = sent._replace(place=_next(feeder))
        if feeder.end == feeder.file.rows:
            by = f if self.notes_in_transactions else COMMITTED
            sent = sent._replace(notes=(*s.notes, Note(feeder.file, by)))
            if self.clears == "before":
                sent = self._cleared(sent, frozenset({feeder.file}))
        yield f"{f} sends", sent

    def _commit(self, s: State, f: int, feeder: Feeder) -> Iterator[tuple[str, State]]:
        if self.guarded and feeder.generation != s.generation:
            yield f"{f} may not commit", _ended(_with(s, f, Feeder()), f)
            return
        rows = feeder.file.its(feeder.end) - feeder.file.its(feeder.start)
        if rows & s.rows:
            raise Violation(f"J6: {sorted(rows & s.rows)} are in the topic twice")
        notes = tuple(Note(note.file) if note.by == f else note for note in s.notes)
        done = s._replace(notes=notes, rows=s.rows | rows)
        if self.place_goes == "with the rows":
            done = done._replace(place=_next(feeder))
        following = "place" if self.place_goes == "behind" else "adopt"
        yield f"{f} commits", _with(done, f, feeder._replace(step=following))
        if s.aborts < self.bounds.aborts:
            again = feeder._replace(step="read", file=None, start=0, end=0)
            aborted = _ended(_with(s, f, again), f)
            yield f"{f} aborts", aborted._replace(aborts=s.aborts + 1)

    def _place(self, s: State, f: int, feeder: Feeder) -> Iterator[tuple[str, State]]:
        if feeder.generation != s.generation:
            yield f"{f} may not commit its place", _with(s, f, Feeder())
            return
        placed = s._replace(place=_next(feeder))
        yield f"{f} commits its place", _with(placed, f, feeder._replace(step="adopt"))

    def _adopt(self, s: State, f: int, feeder: Feeder) -> Iterator[tuple[str, State]]:
        """Who knows that it is committed may clear away."""
        over = feeder.end == feeder.file.rows
        known = feeder.known | {feeder.file} if over else feeder.known
        on = Feeder(step="read", generation=feeder.generation, base=_next(feeder), known=known)
        after = _with(s, f, on)
        yield f"{f} adopts", self._cleared(after, known) if self.clears == "behind" else after

    def check(self, s: State) -> None:
        """No row is out of reach that is not in the topic."""
        read = frozenset(note.file for note in s.notes if note.by == COMMITTED)
        came = {File("abc"[n], 1, rows) for n, rows in enumerate(self.bounds.files)}
        came |= {File("a", 2, self.bounds.files[0])} if s.refills else set()
        for file in sorted(came):
            passed = file.rows if self._passed(file, read) or file not in s.folder else 0
            if file == s.place.file:
                passed = max(passed, s.place.row)
            if lost := file.its(passed) - s.rows:
                raise Violation(f"J6: {sorted(lost)} are read no more, and not in the topic")


def _next(feeder: Feeder) -> Place:
    """The place behind what a feeder hands on."""
    over = feeder.end == feeder.file.rows
    notes = feeder.base.notes + over
    return Place(None, 0, notes) if over else Place(feeder.file, feeder.end, notes)


def _ended(s: State, f: int) -> State:
    """What a feeder left open is aborted."""
    return s._replace(notes=tuple(note for note in s.notes if note.by != f))


def _with(s: State, f: int, feeder: Feeder) -> State:
    feeders = (feeder, s.feeders[1]) if f == 0 else (s.feeders[0], feeder)
    return s._replace(feeders=feeders)
