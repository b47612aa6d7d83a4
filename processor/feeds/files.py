"""Files of a folder: new ones are found, read in pieces, each row once, and cleared away after.

::

    list ─► not seen, oldest first ─► rows, with a place in the file ─► done: a note
      ▲                                     (committed together)           │
      └─ gone: a note with the next piece ◄─ archived or deleted ◄─────────┘ once it is committed

A place is ``{"f": name, "s": size, "m": mtime, "i": inode, "at": place in the file, "r": rows}`` of
the file that is being read, or nothing between two files; ``"k"`` in it tells what was read last. A
note is ``{"f", "s", "m", "i", "r"}`` of a file that was read to its end, with ``"p"`` of one that
was given up, or ``{"g": name}`` of one that is gone. Files are cleared away in the turn that notes
it: so what is committed seldom tells of a file whose name is free already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from processor.errors import FeedError, RetriableError
from processor.feeds.base import RECORD_BYTES_MAX, Limit, Opening, Piece, Place
from processor.feeds.cleaning import Cleaner
from processor.feeds.listing import Folder, Found, nameable, share
from processor.feeds.opened import opened
from processor.feeds.parts import Opened, Part, TornError
from processor.formats.base import Format
from processor.formats.parquet import Parquet
from processor.model.log import Headers

NOTED: Final = ("f", "s", "m", "i", "r")
CleanSource: TypeAlias = Literal["archive", "delete"]
FILE: Final = "file"
ROW: Final = "row"


@dataclass(frozen=True, slots=True)
class Files:
    """A folder whose files are read.

    Args:
        folder: where they lie, and which of them are meant.
        parquet: how they are read, where that is not the format of the records.
        max_files_per_trigger: so many at most begin in one batch.
        latest_first: the newest first.
        clean_source: what becomes of a file that was read.
        archive: where it goes.
    """

    folder: Folder
    parquet: Parquet | None = None
    max_files_per_trigger: int | None = None
    latest_first: bool = False
    clean_source: CleanSource | None = None
    archive: Path | None = None

    kind = "files"
    waits = False
    noted = True
    endless = ""

    @property
    def again(self) -> bool:
        """Whether the files are still there when they have been read."""
        return self.clean_source is None

    def open(self, opening: Opening) -> FilesReading:
        """Begin to read a partition's share of the files."""
        return FilesReading(self, opening)

    def untouched(self) -> Files:
        """The same, and the files stay where they are."""
        return replace(self, clean_source=None, archive=None)

    def describe(self) -> str:
        """``files of /data/in, *.csv, as parquet(...)``."""
        told = [f"files of {self.folder.path}"]
        told += [self.folder.pattern] * (self.folder.pattern != "*")
        told += ["folders below"] * self.folder.recursive
        if self.parquet is not None:
            told.append(f"as {self.parquet.describe()}")
        if self.max_files_per_trigger is not None:
            told.append(f"{self.max_files_per_trigger} at a time")
        told += ["the newest first"] * self.latest_first
        if self.clean_source is not None:
            told.append("deleted after" if self.archive is None else f"moved to {self.archive}")
        return ", ".join(told)


@dataclass(slots=True)
class _Batch:
    """What one piece is made of."""

    limit: Limit
    place: dict[str, Any]
    values: list[bytes] = field(default_factory=list)
    headers: list[Headers] = field(default_factory=list)
    notes: list[Place] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    begun: int = 0
    rows: int = 0
    bytes: int = 0
    skipped: int = 0

    def full(self) -> bool:
        return self.rows >= self.limit.records or self.bytes >= self.limit.bytes

    def piece(self) -> Piece:
        return Piece(self.values, self.place, self.headers, self.notes, self.skipped)


class FilesReading:
    """Implements `processor.feeds.base.Reading` for one partition's share."""

    def __init__(self, files: Files, opening: Opening) -> None:
        self._files, self._opening = files, opening
        self._form: Format | Parquet = files.parquet or opening.format
        self._cleaner = Cleaner(files.folder, files.clean_source, files.archive, opening)
        self._place: Place = {}
        self._seen: dict[str, Found] = {}
        self._notes: dict[str, Place] = {}
        self._gone: list[Place] = []
        self._due: list[str] = []
        self._there: dict[str, Found] = {}
        self._looked_s: float | None = None
        self._told: set[tuple[str, int]] = set()
        self._open: tuple[Found, Opened] | None = None

    def begin(self, place: Place, notes: Iterable[Place]) -> None:
        """Go on; what was committed and not cleared away before is cleared away now."""
        self._place = place
        self._seen, self._notes, self._gone, self._due = {}, {}, [], []
        for note in notes:
            self._note(note)
        self._cleaner.check()
        try:
            self._look()
        except RetriableError as error:
            if self._opening.bounded:  # what is there now is all, and this is not there
                raise FeedError(error.message, remedy=error.remedy) from error
            raise
        for name, found in list(self._seen.items()) if self._cleaner.wanted else ():
            if "p" in self._notes[name]:
                continue
            if found.replaced(self._there.get(name)):
                self._is_gone(name)
            else:
                self._clean(name)

    def _note(self, note: Place) -> None:
        if "g" in note:
            self._seen.pop(note["g"], None)
            self._notes.pop(note["g"], None)
            return
        self._seen[note["f"]] = _found(note)
        self._notes[note["f"]] = note

    def notes(self) -> Iterable[Place]:
        """One for each file that was read and is not gone."""
        return list(self._notes.values())

    # What there is.

    def _look(self) -> None:
        self._looked_s = self._opening.clock.monotonic_s()
        there = self._files.folder.files()
        of = self._opening.partitions
        self._there = {n: f for n, f in there.items() if share(n, of) == self._opening.partition}
        if not there and self._opening.bounded and self._opening.partition == 0:
            folder = self._files.folder
            self._opening.tell(f"{folder.path}: there is no file that matches {folder.pattern!r}")

    def _looks(self) -> bool:
        """Whether it is time to look for new files; a bounded run looks once."""
        if self._opening.bounded or self._looked_s is None:
            return False
        now_s = self._opening.clock.monotonic_s()
        return now_s - self._looked_s >= self._opening.look_s

    def _new(self) -> list[Found]:
        """The files to be read, in order."""
        found = []
        for name, file in self._there.items():
            seen = self._seen.get(name)
            if seen is None:
                if nameable(name):
                    found.append(file)
                else:
                    self._tell(file, "its name is too long, or no text of UTF-8: it is not read")
            elif not seen.same(file):
                self._tell(
                    file, "it was written to after it was read, or lies there anew: what is new in "
                    "it is not read; give a new file a new name, and let it appear whole",
                )  # fmt: skip
        return sorted(found, key=lambda f: (f.mtime_ns, f.name), reverse=self._files.latest_first)

    def _tell(self, file: Found, what: str) -> None:
        """Once for each state of a file."""
        if (file.name, file.mtime_ns) not in self._told:
            self._told.add((file.name, file.mtime_ns))
            self._opening.tell(f"{self._path(file)}: {what}")

    def _path(self, file: Found) -> Path:
        return self._files.folder.of(file.name)

    # Reading.

    def read(self, limit: Limit) -> Piece | None:
        """The next rows, of the file that was begun or of new ones; first it clears away."""
        due, self._due = self._due, []
        for name in due:
            self._clean(name)
        batch = _Batch(limit, dict(self._place))
        if batch.place:
            self._file(batch, _found(batch.place))
        new: Iterator[Found] | None = None
        while not batch.full() and not batch.place:
            most = self._files.max_files_per_trigger
            if most is not None and batch.begun >= most:
                break
            if new is None:
                if not batch.notes and self._looks():
                    self._look()
                new = iter(self._new())
            file = next((one for one in new if one.name not in batch.names), None)
            if file is None:
                break
            self._file(batch, file)
        if not batch.rows and not batch.notes and not self._gone:
            return None
        batch.notes[:0] = self._gone
        return batch.piece()

    def _file(self, batch: _Batch, file: Found) -> None:
        """As much of a file as there is room for."""
        batch.names.add(file.name)
        if not batch.place:
            now = self._files.folder.found(file.name)
            if now is None:
                self._tell(file, "it vanished before it was read")
                self._there.pop(file.name, None)
                return
            file = self._there[file.name] = now
        place = batch.place or {
            "f": file.name, "s": file.size, "m": file.mtime_ns, "i": file.inode, "at": 0, "r": 0
        }  # fmt: skip
        try:
            source = self._opened(file, batch.place)
            if source is None:
                return
            batch.begun += not batch.place
            self._rows(batch, file, source, place)
        except TornError as error:
            self._give_up(batch, file, place, str(error))

    def _opened(self, file: Found, begun: Place) -> Opened | None:
        """The file, open; ``None`` where it cannot be opened now, and others go first.

        One whose rows are in the topic already, by the place that was ``begun``, cannot be passed
        over for long, and has to be the one that it was: `TornError`.
        """
        if self._open is not None and self._open[0] == file:
            return self._open[1]
        self._shut()
        try:
            source = opened(self._path(file), file, self._form)
        except OSError as error:
            if begun and (self._opening.bounded or not isinstance(error, PermissionError)):
                raise TornError(f"{error.strerror}, and a part of it has been read") from error
            if self._opening.on_error == "fail" and not isinstance(error, FileNotFoundError):
                raise FeedError(
                    f"{self._path(file)}: {error.strerror}", remedy="let the processor read it"
                ) from error
            self._tell(file, f"{error.strerror}: it is passed over for now, and tried again")
            return None
        self._open = file, source
        now = self._files.folder.found(file.name) if begun else None
        changed = now is not None and not file.same(now)
        if changed and not source.goes_on(begun["at"], begun.get("k")):
            raise TornError("it was replaced while it was read")
        return source

    def _rows(self, batch: _Batch, file: Found, source: Opened, place: dict[str, Any]) -> None:
        while True:
            try:
                part = source.read(
                    place["at"], batch.limit.records - batch.rows, batch.limit.bytes - batch.bytes
                )
            except OSError as error:
                raise TornError(f"{error.strerror}, behind row {place['r']}") from error
            self._take(batch, file, part, place)
            if part.end:
                batch.notes.append({key: place[key] for key in NOTED})
                batch.place = {}
                self._shut()
                return
            batch.place = place
            if batch.full():
                return

    def _take(self, batch: _Batch, file: Found, part: Part, place: dict[str, Any]) -> None:
        name = (FILE, file.name.encode())
        row = place["r"]
        sizes = part.sizes or [1] * len(part.values)
        for value, size in zip(part.values, sizes, strict=True):
            if len(value) > RECORD_BYTES_MAX:
                self._too_long(file, row, len(value))
                batch.skipped += size
            else:
                batch.values.append(value)
                batch.headers.append([name, (ROW, b"%d" % row)])
                batch.bytes += len(value)
            row += size
        batch.rows += row - place["r"] + part.passed
        place["r"], place["at"] = row, part.at
        if part.mark is not None:
            place["k"] = part.mark

    def _too_long(self, file: Found, row: int, size: int) -> None:
        what = f"{self._path(file)}: row {row} has {size} bytes, more than {RECORD_BYTES_MAX}"
        if self._opening.on_error == "fail":
            raise FeedError(what, remedy="take it out of the file, or say on_error='skip'")
        self._opening.tell(f"{what}: it has no room in a topic, and is left out")

    def _give_up(self, batch: _Batch, file: Found, place: dict[str, Any], why: str) -> None:
        """A file that is broken: what was read of it stays, and the others go on."""
        self._shut()
        if self._opening.on_error == "fail":
            raise FeedError(
                f"{self._path(file)}: {why}",
                remedy="mend it, or take it away, or say on_error='skip'",
            )
        rows = f", behind {place['r']} rows" if place["r"] else ""
        self._opening.tell(f"{self._path(file)}: {why}: it is given up{rows}")
        batch.notes.append({key: place[key] for key in NOTED} | {"p": why[:500]})
        batch.place = {}

    def kept(self, piece: Piece) -> None:
        """What was done is noted: the next time the files are cleared away."""
        self._place = piece.place
        self._gone = []
        for note in piece.notes:
            self._note(note)
        if self._cleaner.wanted:
            self._due += [note["f"] for note in piece.notes if "f" in note and "p" not in note]

    def _clean(self, name: str) -> None:
        if self._cleaner.clean(self._seen[name]):
            self._there.pop(name, None)
            self._is_gone(name)

    def _is_gone(self, name: str) -> None:
        """Another file of that name is a new one, which is noted with the next piece."""
        self._seen.pop(name, None)
        self._notes.pop(name, None)
        self._gone.append({"g": name})

    def at_end(self) -> bool:
        """Whether all that was there in the beginning has been read, or could not be."""
        waiting = (f for f in self._new() if (f.name, f.mtime_ns) not in self._told)
        return not self._place and next(waiting, None) is None

    def _shut(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def close(self) -> None:
        """Let go of the file that is open."""
        self._shut()


def _found(note: Place) -> Found:
    return Found(note["f"], note["s"], note["m"], note["i"])
