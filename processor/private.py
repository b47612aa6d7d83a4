"""Directories and files of one user, which nobody else can read, fill or lead elsewhere.

A path in a directory that others can write to may be theirs, or a link of theirs to a file of ours.
So a directory is opened first, then looked at, and its files are reached through what was opened:
nothing can be put in between.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from processor.errors import SettingsError

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without a wait for the other end, should it be a pipe.
_FILE: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class PrivateDirectory:
    """A directory that is its user's alone; it is made, with its parents, where it is not there.

    Args:
        path: where it is; its last part may be no link.
        remedy: what to do where it cannot be used.
        tighten: take the rights of others away, instead of refusing a directory that they have any
            in.

    ``tightened`` says whether that was done. Raises `SettingsError` for what is no directory, or
    another user's, or cannot be made or opened.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     with PrivateDirectory(Path(place, "mine"), remedy="") as mine:
    ...         os.close(mine.file("notes"))
    ...     oct(Path(place, "mine").stat().st_mode), oct(Path(place, "mine/notes").stat().st_mode)
    ('0o40700', '0o100600')
    """

    def __init__(self, path: Path, *, remedy: str, tighten: bool = False) -> None:
        self.path = path
        self.tightened = False
        self._remedy = remedy
        try:
            _make(path)
            self._descriptor = os.open(path, _DIRECTORY)
        except OSError as error:
            why = "it is a link" if path.is_symlink() else error.strerror or str(error)
            raise self._refusal(path, why) from None
        try:
            self._check(tighten=tighten)
        except BaseException:
            self.close()
            raise

    def file(self, name: str, *, empty: bool = False) -> int:
        """Open a file for reading and writing, made if it is not there, and emptied if so wanted.

        The descriptor is the caller's to close. Raises `SettingsError` for a link, for what is no
        file, and for one that is another user's or has another name elsewhere.
        """
        path = self.path / name
        try:
            descriptor = os.open(name, _FILE, 0o600, dir_fd=self._descriptor)
        except OSError as error:
            why = "it is a link" if path.is_symlink() else error.strerror or str(error)
            raise self._refusal(path, why) from None
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise self._refusal(path, "it is no file")
            self._check_owner(path, found)
            if found.st_nlink > 1:
                raise self._refusal(path, "it is another file too, by a hard link")
            os.fchmod(descriptor, 0o600)
            if empty:
                os.ftruncate(descriptor, 0)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def tighten(self, names: Iterable[str]) -> bool:
        """Take the rights of others in these files and directories, and all in them, away.

        Those that are not there, links, and what is another user's are left alone. Returns whether
        there were any rights to take.
        """
        return sum(_tightened(name, self._descriptor) for name in names) > 0

    def close(self) -> None:
        """Let go of the directory; files that were opened stay open."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check(self, *, tighten: bool) -> None:
        found = os.fstat(self._descriptor)
        self._check_owner(self.path, found)
        if found.st_mode & _OTHERS:
            if not tighten:
                shown = f"{stat.S_IMODE(found.st_mode):04o}"
                raise self._refusal(self.path, f"other users have rights in it (mode {shown})")
            os.fchmod(self._descriptor, stat.S_IMODE(found.st_mode) & ~_OTHERS)
            self.tightened = True

    def _check_owner(self, path: Path, found: os.stat_result) -> None:
        if found.st_uid != os.geteuid():
            raise self._refusal(path, f"it is of another user (uid {found.st_uid})")

    def _refusal(self, path: Path, why: str) -> SettingsError:
        return SettingsError(f"{path} cannot be used: {why}", remedy=self._remedy)


def real(given: Path, *, remedy: str) -> Path:
    """Where a directory is; a link that leads there may be ours or the system's, no one else's.

    Raises `SettingsError` for a link of another user.

    >>> real(Path("/"), remedy="")
    PosixPath('/')
    """
    given = given.absolute()
    if given.is_symlink() and given.lstat().st_uid not in (0, os.geteuid()):
        raise SettingsError(f"{given} cannot be used: it is a link of another user", remedy=remedy)
    return given.resolve()


def _make(path: Path) -> None:
    for each in (*reversed(path.parents), path):
        if not each.exists() and not each.is_symlink():
            each.mkdir(mode=0o700, exist_ok=True)


def _tightened(name: str, directory: int) -> bool:
    try:
        descriptor = os.open(
            name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory
        )
    except OSError:  # not there, a link, a socket
        return False
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid():
            return False
        others = bool(found.st_mode & _OTHERS)
        if others:
            os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & ~_OTHERS)
        inside: list[str] = []
        if stat.S_ISDIR(found.st_mode):
            with os.scandir(descriptor) as entries:
                inside = [entry.name for entry in entries]
        return others + sum(_tightened(each, descriptor) for each in inside) > 0
    finally:
        os.close(descriptor)
