"""The database of the log on disk: one process at a time, and what goes wrong with it by name.

It is written through a log of its own (WAL). A transaction is on the disk when its end returns:
``synchronous=FULL``. What fails once is over: what memory and disk have may differ, so every later
call raises the same, and the next start goes on from the disk.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from processor.errors import LogError, ProcessorError, SettingsError
from processor.private import PrivateDirectory, real

FILE: Final = "log.sqlite"
VERSION: Final = 1
_LOCK: Final = "lock"
# "proc", by which a file that another program has made is told.
_APPLICATION: Final = 0x70726F63
_WAL_BYTES: Final = 64 * 1024 * 1024
_BUSY_S: Final = 1.0
_CACHE_KIB: Final = 16 * 1024

_SCHEMA: Final = """
CREATE TABLE topics (name TEXT PRIMARY KEY, identity TEXT NOT NULL);
CREATE TABLE partitions (
    number INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, partition INTEGER NOT NULL,
    low INTEGER NOT NULL, end INTEGER NOT NULL, UNIQUE (topic, partition)
);
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY, records INTEGER NOT NULL, newest_ms INTEGER NOT NULL,
    aborted INTEGER NOT NULL, checksum INTEGER NOT NULL,
    times BLOB, keys BLOB, headers BLOB, data BLOB NOT NULL
);
CREATE TABLE positions (
    "group" TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL,
    "offset" INTEGER NOT NULL, metadata TEXT NOT NULL, PRIMARY KEY ("group", topic, partition)
);
"""
_PLACE: Final = (
    "name a directory of yours with --data-dir (PROCESSOR_DATA_DIR) that is not there yet, or "
    "empty, or that nobody else has rights in (chmod 700)"
)
_DAMAGED: Final = (
    "put a copy of the whole directory back, or begin anew in another one (--data-dir)"
)
_REMEDIES: Final = {
    sqlite3.SQLITE_FULL: "make room on its disk and start again: what was committed is there",
    sqlite3.SQLITE_IOERR: "see that its disk has room and is sound, and start again",
    sqlite3.SQLITE_READONLY: "see that the directory and its files can be written",
    sqlite3.SQLITE_CANTOPEN: "see that the directory and its files can be written",
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_BUSY: "end the program that has it open",
    sqlite3.SQLITE_TOOBIG: "a record may have 900 MB: have less in it",
}


def holds_log(directory: Path) -> bool:
    """Whether there is a log in a directory.

    >>> holds_log(Path("/none"))
    False
    """
    return FILE in _names(directory)


class Database:
    """The database in a directory, made where it is not there; call it with one lock held.

    Raises `SettingsError` where the directory or a file cannot be used, `LogError` while another
    process has it, where it is of another version, damaged, or its disk full.
    """

    def __init__(self, directory: Path) -> None:
        directory = real(directory, remedy=_PLACE)
        self.path = directory / FILE
        self._failure: LogError | None = None
        self._inside = False
        tighten = holds_log(directory) or not _names(directory)
        with PrivateDirectory(directory, remedy=_PLACE, tighten=tighten) as place:
            self._lock = _take(place)
            try:
                # SQLite's own files beside it get its rights.
                os.close(place.file(FILE))
                self._db = self._opened(directory)
            except BaseException:
                os.close(self._lock)
                raise

    def _opened(self, directory: Path) -> sqlite3.Connection:
        db = sqlite3.connect(
            self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        try:
            # Nobody else is to look on, so there is no shared memory beside it.
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            application = db.execute("PRAGMA application_id").fetchone()[0]
            empty = not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if not empty and application != _APPLICATION:
                raise SettingsError(
                    f"{self.path} is no log of the processor's: another program made it",
                    remedy=_PLACE,
                )
            if not empty and version != VERSION:
                raise LogError(
                    f"{self.path} is of version {version}; this processor reads version {VERSION}",
                    remedy="run the processor that wrote it, or begin anew in another directory",
                )
            for name, value in (
                ("journal_mode", "WAL"), ("synchronous", "FULL"),
                ("journal_size_limit", _WAL_BYTES), ("cache_size", -_CACHE_KIB),
            ):  # fmt: skip
                db.execute(f"PRAGMA {name} = {value}")
            if empty:
                _make(db)
                for path in (directory, directory.parent):
                    _sync(path)
        except sqlite3.Error as error:
            db.close()
            raise self._told(error) from None
        except BaseException:
            db.close()
            raise
        return db

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A block whose changes are on the disk together when it ends; one within another is it."""
        if self._inside:
            yield
            return
        self.execute("BEGIN IMMEDIATE")
        self._inside = True
        try:
            yield
            self.execute("COMMIT")
        except BaseException as error:
            with suppress(sqlite3.Error):
                self._db.rollback()
            if self._failure is None and not isinstance(error, ProcessorError):
                self._failure = LogError(
                    f"{self.path}: a change was given up in its midst: {error!r}",
                    remedy="start again: nothing that was committed is lost",
                )
            raise
        finally:
            self._inside = False

    def execute(
        self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()
    ) -> sqlite3.Cursor:
        """Run one statement; raises `LogError`, then and ever after, where that cannot be."""
        self._check()
        try:
            return self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise self._failed(error) from None

    def insert(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each row."""
        self._check()
        try:
            self._db.executemany(statement, rows)
        except sqlite3.Error as error:
            raise self._failed(error) from None

    def all(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows that a statement gives."""
        return list(self.rows(self.execute(statement, values)))

    def rows(self, cursor: sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
        """The rows that a statement gives, one by one."""
        try:
            yield from cursor
        except sqlite3.Error as error:
            raise self._failed(error) from None

    def damaged(self, what: str) -> LogError:
        """The error for something in it that is not what was written."""
        return LogError(f"{self.path} is damaged: {what} is not what was written", remedy=_DAMAGED)

    def close(self) -> None:
        """Let go of the database, for others to take; a second call does nothing."""
        if self._lock < 0:
            return
        self._failure = self._failure or LogError(f"the log {self.path} is closed")
        with suppress(sqlite3.Error):
            self._db.close()
        os.close(self._lock)
        self._lock = -1

    def _check(self) -> None:
        if self._failure is not None:
            raise type(self._failure)(self._failure.message, remedy=self._failure.remedy)

    def _failed(self, error: sqlite3.Error) -> LogError:
        self._failure = self._told(error)
        return self._failure

    def _told(self, error: sqlite3.Error) -> LogError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        remedy = _REMEDIES.get(code, "see docs/guide.md, on --data-dir")
        return LogError(f"the log {self.path} failed: {error}", remedy=remedy)


def _make(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA.split(";\n"):
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {_APPLICATION}")
    db.execute(f"PRAGMA user_version = {VERSION}")
    db.execute("COMMIT")


def _names(directory: Path) -> list[str]:
    try:
        return [entry.name for entry in directory.iterdir()]
    except OSError:  # told when it is opened
        return []


def _sync(directory: Path) -> None:
    """See that the directory has its new files after a loss of power too."""
    with suppress(OSError):  # others' directories may not be ours to open
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _take(place: PrivateDirectory) -> int:
    """Lock the directory for this process; whoever dies has let go."""
    descriptor = place.file(_LOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise LogError(
            f"the data directory {place.path} is in use by process {holder or '?'}",
            remedy="stop that process first, or name another directory: one process at a time "
            "works on a log, and looks at it",
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
