"""What every kind of state can do, and what a checkpoint holds of it.

::

    an operator ──► State, of a kind that it knows          one for each task
                      │  changed, frozen ──► Saved ──► codec, chain ──► blobs
                      └── restore ◄───────── Saved ◄── codec, chain ◄──┘

Who commits, loads, heals and moves state knows these two and no kind. A kind has a name in blobs,
by which `processor.state.codec` reads what it has written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeAlias

import polars as pl

Table: TypeAlias = Mapping[str, pl.Series]


class Saved(Protocol):
    """State as a checkpoint holds it: all of it, what a batch has changed, or a chunk of these."""

    kind: ClassVar[str]

    def size(self) -> int:
        """Bytes before compression."""
        ...

    def split(self, bytes_max: int) -> Iterator[Saved]:
        """In chunks of at most so many bytes before compression; at least one.

        What cannot be divided and is larger is a chunk of its own.
        """
        ...

    def told(self) -> dict[str, Any]:
        """What the blob's header says of it, besides its tables."""
        ...

    def tables(self) -> Sequence[Table]:
        """Its tables, always as many; one without columns or rows takes no bytes."""
        ...


class State(Protocol):
    """A task's state of one operator.

    What a batch does is a change until `commit` or `rollback`: the first makes it a part of the
    base, the second undoes it, exactly. Both take time in proportion to the batch.
    """

    def rows(self) -> int:
        """How many things it holds, about. Any thread may ask, so nothing changes by it."""
        ...

    def memory_bytes(self) -> int:
        """Bytes that it takes, about. Any thread may ask, as of `rows`."""
        ...

    def changed(self) -> Saved:
        """What the batch did, absolute, so that applying it twice does no harm."""
        ...

    def frozen(self) -> Callable[[], Saved]:
        """All as it is now; what is left to be done may be done on another thread."""
        ...

    def commit(self, saved: Saved | None = None) -> None:
        """The batch is part of the base; ``saved`` is what its committed checkpoint holds of it."""
        ...

    def rollback(self) -> None:
        """Undo what was done since the last commit."""
        ...

    def restore(self, saved: Saved) -> None:
        """Apply what a checkpoint holds on top of what is there.

        Raises `StateMismatchError` for another kind, other keys or other columns.
        """
        ...

    def prune(self) -> None:
        """Before a snapshot: forget what nothing refers to any more."""
        ...

    def dump(self) -> list[dict[str, Any]]:
        """All that it holds, for tests and people; not fast."""
        ...


TaskState: TypeAlias = dict[str, State]
"""A task's state by operator name."""
