"""Which files lie in a folder now, and which of them are meant."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from stat import S_ISREG
from typing import Final, NamedTuple

from processor.errors import FeedError, RetriableError

HIDDEN: Final = (".", "_")
UNFINISHED: Final = (".tmp", ".part", ".partial", ".swp", "~")
NAME_BYTES_MAX: Final = 1_000
"""A longer name has no room in the metadata of an offset."""


class Found(NamedTuple):
    """A file: its path below the folder, with ``/``, its bytes, and when it was written.

    ``inode`` is its number in the file system, which another file of that name does not have.
    """

    name: str
    size: int
    mtime_ns: int
    inode: int = 0

    def same(self, other: Found) -> bool:
        """Whether nothing has been written since."""
        return (self.size, self.mtime_ns) == (other.size, other.mtime_ns)

    def replaced(self, now: Found | None) -> bool:
        """Whether this file is gone, and what has its name now, if anything, is another one."""
        return now is None or not (self.same(now) or self.inode == now.inode)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder whose files are read, or a file by itself.

    ``pattern`` is one of the shell's, of the name without its folders.
    """

    path: Path
    pattern: str = "*"
    recursive: bool = False

    def files(self) -> dict[str, Found]:
        """What is there: regular files that match, by name.

        Left out are names that begin with ``.`` or ``_``, and those that end as what is still being
        written is called: ``.tmp``, ``.part``, ``.partial``, ``.swp``, ``~``; folders too. Raises
        `RetriableError` where the folder is not there, `FeedError` where it may not be read.
        """
        try:
            if self.path.is_file():
                found = _found(self.path, self.path.name)
                return {found.name: found} if found else {}
            return {found.name: found for found in self._walk(self.path, "")}
        except PermissionError as error:
            raise FeedError(
                f"{error.filename}: {error.strerror}", remedy="let the processor's user read it"
            ) from error
        except OSError as error:
            raise RetriableError(
                f"{error.filename}: {error.strerror}",
                remedy="see that the folder is there, and mounted",
            ) from error

    def _walk(self, directory: Path, below: str) -> Iterator[Found]:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.startswith(HIDDEN) or entry.name.endswith(UNFINISHED):
                    continue
                if self.recursive and entry.is_dir(follow_symlinks=False):
                    try:
                        yield from self._walk(Path(entry.path), f"{below}{entry.name}/")
                    except FileNotFoundError:  # it was taken away meanwhile
                        continue
                elif fnmatchcase(entry.name, self.pattern):
                    found = _found(Path(entry.path), below + entry.name)
                    if found is not None:
                        yield found

    def found(self, name: str) -> Found | None:
        """One file as it is now; ``None`` where it is gone."""
        return _found(self.of(name), name)

    def of(self, name: str) -> Path:
        """Where a file lies."""
        return self.path if self.path.name == name and self.path.is_file() else self.path / name


def _found(path: Path, name: str) -> Found | None:
    try:
        told = path.stat()
    except OSError:  # it vanished, or is a link to nothing
        return None
    if not S_ISREG(told.st_mode):
        return None
    return Found(name, told.st_size, told.st_mtime_ns, told.st_ino)


def nameable(name: str) -> bool:
    r"""Whether a name can be kept as text.

    >>> nameable("a/b.csv"), nameable("\udcff.csv")
    (True, False)
    """
    try:
        return len(name.encode()) <= NAME_BYTES_MAX
    except UnicodeEncodeError:
        return False


def share(name: str, partitions: int) -> int:
    """The partition that a file's records go to.

    >>> share("2010-12-01.csv", 1), share("2010-12-01.csv", 4)
    (0, 3)
    """
    return zlib.crc32(name.encode(errors="surrogateescape")) % partitions
