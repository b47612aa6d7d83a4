"""A directory that takes a task's files whole and once.

::

    out/                                  readers see these
        trips~rides~0~17~0000000041~9c1f02ab.json
        .pending/5f0d77e2/                and not these; the directory's own name is in the middle
            trips~rides~0~17~0000000042~41d8e07c.json.pending

A file is written under a name that no other try of any batch has, and is on the disk before the
commit that names it. With that commit it gets its own name: at once, by who has committed; else by
who next has the task, before anything else of it is committed. What was never committed is cleared
by who has the task, up to the epoch that is: what is of the next one may be a new owner's.

The name in the middle tells the directory from another one in the same place: a worker on another
machine, or behind another mount, would not find what it has to finish.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final, NoReturn

from processor.errors import SinkError
from processor.model.log import TopicPartition

PENDING: Final = ".pending"
_LABEL_MAX: Final = 120
_REMEDIES: Final = {
    errno.ENOSPC: "make room on the disk; nothing is lost, and a new start goes on from the last "
    "commit",
    errno.EDQUOT: "the quota of the user is used up: make room, and start again; nothing is lost",
    errno.EACCES: "let the user that the processor runs as write there",
    errno.EPERM: "let the user that the processor runs as write there",
    errno.EROFS: "the file system can only be read: give another directory",
    errno.EXDEV: "the directory and what is in it have to be on one file system: let nothing be "
    "mounted in it",
    errno.ENAMETOOLONG: "give the directory or the application a shorter name",
}
_OTHERWISE: Final = "see to the directory, and start again; nothing is lost"


@dataclass(frozen=True, slots=True)
class File:
    """A file of one try of a batch: the start of its name says whose it is."""

    label: str
    life: int
    epoch: int
    attempt: str
    ending: str

    @property
    def name(self) -> str:
        """Its name in the end."""
        return f"{self.label}~{self.life}~{self.epoch:010d}~{self.attempt}.{self.ending}"

    @classmethod
    def parse(cls, pending: str) -> File | None:
        """The file of a pending name; ``None`` for what is none.

        >>> file = File("rides~0", 3, 17, "ab", "json")
        >>> File.parse(f"{file.name}.pending") == file, File.parse("README")
        (True, None)
        """
        name = pending.removesuffix(".pending")
        head, _, ending = name.rpartition(".")
        label, *rest = head.rsplit("~", 3)
        if name == pending or len(rest) < 3 or not all(part.isdecimal() for part in rest[:2]):
            return None
        return cls(label, int(rest[0]), int(rest[1]), rest[2], ending)


def label(app: str, partition: TopicPartition) -> str:
    """What the names of a task's files begin with.

    >>> label("rides", TopicPartition("trips", 0)), label("a.b", TopicPartition("a.b", 1))
    ('rides~trips~0', 'a.b~1')
    """
    of = [app] if app == partition.topic else [app, partition.topic]
    text = "~".join([*of, str(partition.partition)])
    if len(text) <= _LABEL_MAX:
        return text
    return f"{text[:_LABEL_MAX]}-{blake2b(text.encode(), digest_size=8).hexdigest()}"


class Folder:
    """The directory of a sink; made when it is not there, in one that is.

    Raises `SinkError` where that cannot be.
    """

    def __init__(self, path: str, probe: Callable[[str], None] = lambda _: None) -> None:
        self._path = Path(path).absolute()
        self._probe = probe
        try:
            self._path.mkdir(exist_ok=True)
            self.id = self._named()
        except OSError as error:
            self._fail("cannot be written to", error)
        self._pending = self._path / PENDING / self.id

    def __str__(self) -> str:
        return str(self._path)

    def write(self, file: File, data: bytes) -> None:
        """Write a pending file, so that it is there whatever happens."""
        path = self._pending / f"{file.name}.pending"
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            try:
                with os.fdopen(handle, "wb") as out:
                    out.write(data)
                    out.flush()
                    os.fsync(out.fileno())
            except BaseException:
                with suppress(OSError):  # it makes room; what stays is cleared later
                    path.unlink()
                raise
        except OSError as error:
            self._fail(f"cannot take {file.name} ({len(data)} bytes)", error)

    def sync(self) -> None:
        """See that the names of pending files are on the disk too."""
        self._synced(self._pending)

    def name(self, files: Sequence[File]) -> None:
        """Give committed files their names. One that has its name already is left alone."""
        for file in files:
            try:
                (self._pending / f"{file.name}.pending").rename(self._path / file.name)
            except FileNotFoundError:
                continue  # a new owner of the task was here before
            except OSError as error:
                self._fail(f"cannot name {file.name}, which is committed,", error)
        self._synced(self._path)

    def clear(self, files: Sequence[File]) -> None:
        """Delete pending files that will never be committed."""
        for file in files:
            with suppress(OSError):  # the next one who has the task sees to it
                (self._pending / f"{file.name}.pending").unlink(missing_ok=True)

    def pending(self, of: str) -> list[File]:
        """The pending files of a task."""
        try:
            names = [path.name for path in self._pending.iterdir()]
        except OSError as error:
            self._fail("cannot be read", error)
        files = (File.parse(name) for name in names if name.startswith(f"{of}~"))
        return [file for file in files if file is not None and file.label == of]

    def _named(self) -> str:
        """Its own name, given once: a directory takes no place of one that has something in it."""
        pending = self._path / PENDING
        for _ in range(3):
            with suppress(FileNotFoundError):
                if found := [entry.name for entry in pending.iterdir() if entry.is_dir()]:
                    return min(found)
            made = self._path / f".{secrets.token_hex(8)}"
            (made / secrets.token_hex(4)).mkdir(parents=True)
            try:
                made.rename(pending)
                self._synced(self._path)
            except OSError as error:
                for entry in made.iterdir():
                    entry.rmdir()
                made.rmdir()
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        raise OSError(errno.EBUSY, "it is being made and deleted")

    def _synced(self, path: Path) -> None:
        try:
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            self._fail("cannot be written to the disk", error)

    def _fail(self, what: str, error: OSError) -> NoReturn:
        remedy = _REMEDIES.get(error.errno or 0, _OTHERWISE)
        if error.errno == errno.ENOENT and not self._path.parent.is_dir():
            remedy = f"make {self._path.parent}, or mount it: only the last directory is made"
        if error.errno == errno.ENOTDIR:
            remedy = "a file has the name of a directory: give another one"
        raise SinkError(f"{self._path} {what}: {error.strerror or error}", remedy=remedy) from error
