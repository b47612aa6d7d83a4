"""What becomes of files that were read: they are moved away, or deleted, once that is committed."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

from processor.errors import FeedError
from processor.feeds.base import Opening
from processor.feeds.listing import Folder, Found


class Cleaner:
    """Clears files away; ``wanted`` says whether it does."""

    def __init__(
        self, folder: Folder, how: str | None, archive: Path | None, opening: Opening
    ) -> None:
        self._folder, self._archive, self._opening = folder, archive, opening
        self.wanted = how is not None

    def check(self) -> None:
        """See that files can be moved: raises `FeedError` for another file system."""
        if self._archive is None:
            return
        try:
            self._archive.mkdir(parents=True, exist_ok=True)
            there, here = self._archive.stat().st_dev, self._folder.path.stat().st_dev
        except FileNotFoundError:
            return  # the folder itself is not there: that is told where it is listed
        except OSError as error:
            raise FeedError(
                f"{self._archive}: {error.strerror}", remedy="make the folder for read files"
            ) from error
        if there != here:
            raise FeedError(
                f"{self._archive} is on another file system than {self._folder.path}, and a file "
                "cannot be moved there in one step",
                remedy="archive on the same file system",
            )

    def clean(self, file: Found) -> bool:
        """Clear a file away, whose rows are committed; false where it has to stay for now."""
        path = self._folder.of(file.name)
        self._opening.probe("before:clean")
        try:
            told = path.stat()
            now = Found(file.name, told.st_size, told.st_mtime_ns, told.st_ino)
            if file.replaced(now):
                return True
            if not file.same(now):
                return False  # it was written to since: told where it is listed
            if file.inode != now.inode:
                self._opening.tell(
                    f"{path}: a file of its size and time was read, and this may be another one: "
                    "it is neither read nor cleared away"
                )
                return False
            if self._archive is None:
                path.unlink()
            else:
                self._move(path, self._archive / file.name, file)
        except FileNotFoundError:
            return True
        except OSError as error:
            self._opening.tell(f"{path}: {error.strerror}: it was read, and stays where it is")
            return False
        self._opening.probe("after:clean")
        return True

    @staticmethod
    def _move(path: Path, to: Path, file: Found) -> None:
        to.parent.mkdir(parents=True, exist_ok=True)
        other = to
        for number in count():  # others of that name may have been there before
            if not os.path.lexists(other):
                break
            other = to.with_name(f"{to.name}.{file.mtime_ns}" + (f".{number}" if number else ""))
        path.rename(other)
