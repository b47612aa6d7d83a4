"""A file that is open, read in parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

Mark: TypeAlias = list[int]
"""How many bytes before a place were looked at, and their checksum."""


class TornError(Exception):
    """A file that cannot be read as what it is to be: nothing more of it is read."""


class Part(NamedTuple):
    """Records of a file, and the place behind them.

    ``sizes`` says of how many rows each is, ``None``: of one. ``end``: nothing comes behind.
    ``mark`` is of what lies before the place, where that can be looked at again. ``passed`` empty
    lines were no records.
    """

    values: Sequence[bytes]
    sizes: Sequence[int] | None
    at: int
    end: bool
    mark: Mark | None = None
    passed: int = 0


class Opened(Protocol):
    """A file that is open for reading."""

    def read(self, at: int, records: int, size: int) -> Part:
        """Up to so many records, of about so many bytes, from a place on: what `Part.at` said.

        Raises `TornError`, or ``OSError`` as the system does.
        """
        ...

    def goes_on(self, at: int, mark: Mark | None) -> bool:
        """Whether a place that another process came to is one in this file, which has changed."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...
