"""The slab: aggregates of many keys in growable columns, with an index from key to slot.

Everything per batch is proportional to the batch: fold, emit, checkpoint, undo. What a batch did
lies in a change set until `commit` or `rollback`::

    fold ──► touched slots with their old values, new slots ──► commit: they are the base
    free ──► slots to be freed                              └─► rollback: as if nothing had been
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from processor.errors import StateMismatchError
from processor.state.base import Saved
from processor.state.cells import Cell, Column, Rows
from processor.state.index import Index, Slots
from processor.state.keys import KeyCodec, Layout, Words

_ROWS_MIN: Final = 64
NUMBER_MIN: Final = -(2**63)
NUMBER_MAX: Final = 2**63 - 1


@dataclass(slots=True)
class _Changes:
    slots: list[Slots] = field(default_factory=list)
    old: list[dict[str, Column]] = field(default_factory=list)
    added: list[Slots] = field(default_factory=list)
    freed: list[Slots] = field(default_factory=list)


class Slab:
    """Aggregates by key.

    >>> slab = Slab({"user": pl.String()}, [Cell("n", "<i8", "add")])
    >>> slots = slab.fold(pl.DataFrame({"user": ["ann"]}), {"n": np.array([2])})
    >>> slab.gather("n", slots).tolist(), slab.rows()
    ([2], 1)

    ``low`` is the operator's own note, a lower bound of a key column of numbers over all live rows;
    `rollback` and `restore` reset it to one that is always true.
    """

    def __init__(self, keys: Mapping[str, pl.DataType], cells: Sequence[Cell]) -> None:
        self._codec = KeyCodec(keys)
        self._cells = tuple(cells)
        self._index = Index()
        self._words: Words = np.zeros((0, self._codec.layout.words()), np.uint64)
        self._columns: dict[str, Column] = {c.name: np.zeros(0, c.dtype) for c in cells}
        self._live: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._free: list[int] = []
        self._top = 0
        self._count = 0
        self._changes = _Changes()
        self._made: dict[str, Column] = {}
        self.low = NUMBER_MAX

    def rows(self) -> int:
        """Live keys."""
        return self._count

    def memory_bytes(self) -> int:
        """Bytes that the columns, the keys and the index take."""
        columns = sum(column.nbytes for column in self._columns.values())
        rows = self._words.nbytes + self._live.nbytes + 8 * len(self._free)
        return columns + rows + self._index.memory_bytes() + self._codec.memory_bytes()

    def fold(self, keys: pl.DataFrame, partials: Mapping[str, Column]) -> Slots:
        """Fold one partial value per key into each column; every key once. Returns their slots.

        ``keys`` has a row per key, ``partials`` an array of as many values for each cell. Sums of
        integers wrap around beyond 64 bits: who folds looks at `before`, and at what came of it.
        """
        slots = self._slots(self._encode(keys))
        changes = self._changes
        changes.slots.append(slots)
        changes.old.append({c.name: self._columns[c.name][slots] for c in self._cells})
        with np.errstate(over="ignore", invalid="ignore"):
            for cell in self._cells:
                column, partial = self._columns[cell.name], partials[cell.name]
                if cell.fold == "add":
                    self._made[cell.name] = column[slots] + partial
                    column[slots] = self._made[cell.name]
                elif cell.fold == "set":
                    column[slots] = partial
                else:
                    # These pass over NaN, as the batch's own minimum and maximum do.
                    pick = np.fmin if cell.fold == "min" else np.fmax
                    column[slots] = pick(column[slots], partial)
        return slots

    def gather(self, name: str, slots: Slots) -> Column:
        """Values of a column."""
        return self._columns[name][slots]

    def before(self, name: str) -> Column:
        """Values of a column as the last `fold` found them, in the order of its keys."""
        return self._changes.old[-1][name]

    def made(self, name: str) -> Column:
        """Values of a column of sums as the last `fold` made them, in the order of its keys."""
        return self._made[name]

    def amend(self, name: str, slots: Slots, values: Column) -> None:
        """Put values in place of those that the last `fold` made."""
        self._columns[name][slots] = values

    def keys(self, slots: Slots) -> pl.DataFrame:
        """Keys of slots, as columns."""
        return self._codec.decode(self._words.take(slots, axis=0))

    def live(self) -> Slots:
        """Every live slot."""
        return np.flatnonzero(self._live[: self._top]).astype(np.int32)

    def key_numbers(self, name: str, slots: Slots) -> npt.NDArray[np.int64]:
        """A key column of numbers or times as its integers, without decoding the others.

        Raises ``KeyError`` for a name that is no key.
        """
        numbers: npt.NDArray[np.int64] = self._words[slots, self._place(name)].view(np.int64)
        return numbers

    def _place(self, name: str) -> int:
        """Where among the words a key column begins."""
        layout = self._codec.layout
        at = int(layout.nulls)
        for column, width in zip(self._codec.columns, layout.widths, strict=True):
            if column == name:
                return at
            at += width
        raise KeyError(name)

    def beside(self, slots: Slots, name: str, numbers: npt.NDArray[np.int64]) -> Slots:
        """The slots of keys that are as those of ``slots``, but for a column of numbers or times.

        -1 where there is none. Raises ``KeyError`` for a name that is no key.
        """
        words = self._words.take(slots, axis=0)
        words[:, self._place(name)] = numbers.view(np.uint64)
        return self._index.find(words, self._words)

    def free(self, slots: Slots) -> None:
        """Give slots up, once the batch is committed."""
        self._changes.freed.append(slots)

    def changed(self) -> Rows:
        """What the batch did: new absolute values of changed keys, and the keys that are gone."""
        freed = _joined(self._changes.freed)
        slots = np.unique(_joined(self._changes.slots))
        kept = np.setdiff1d(slots, freed, assume_unique=True) if len(freed) else slots
        return self._rows(kept, self._words.take(freed, axis=0), self._codec.unsaved())

    def all(self) -> Rows:
        """Every live row."""
        return self.frozen()()

    def frozen(self) -> Callable[[], Rows]:
        """Every live row as it is now; what is left to be done may be done on another thread.

        Here the columns are only copied as they lie, which is many times as fast as picking rows.
        """
        top = self._top
        layout = Layout([*self._codec.layout.widths], self._codec.layout.nulls)
        words, live = self._words[:top].copy(), self._live[:top].copy()
        cells = {c.name: self._columns[c.name][:top].copy() for c in self._cells}
        texts = self._codec.table()

        def rows() -> Rows:
            slots = np.flatnonzero(live)
            picked, columns = words, cells
            if len(slots) < top:
                picked = words.take(slots, axis=0)
                columns = {name: column.take(slots) for name, column in cells.items()}
            return Rows(layout, picked, columns, picked[:0], texts)

        return rows

    def commit(self, saved: Saved | None = None) -> None:
        """The batch is part of the base; what is ``saved`` has its long texts."""
        self._drop(np.unique(_joined(self._changes.freed)))
        if isinstance(saved, Rows):
            self._codec.saved(saved.texts)
        self._changes = _Changes()

    def rollback(self) -> None:
        """Undo what was done since the last commit."""
        changes = self._changes
        for slots, old in zip(reversed(changes.slots), reversed(changes.old), strict=True):
            for cell in self._cells:
                self._columns[cell.name][slots] = old[cell.name]
        self._drop(_joined(changes.added))
        self._changes = _Changes()
        self.low = NUMBER_MIN

    def restore(self, saved: Saved) -> None:
        """Apply a checkpoint's rows on top of what is there.

        Raises `StateMismatchError` for rows of other keys or other columns. In a checkpoint of an
        earlier version, which had no cells that tell of others, what folding leaves alone was none.
        """
        rows = _of_slab(saved)
        told = {cell.name for cell in self._cells if cell.tells is not None}
        if not self._columns.keys() - told <= rows.cells.keys() <= self._columns.keys():
            raise StateMismatchError(
                f"the checkpoint has the columns {sorted(rows.cells)}, not {sorted(self._columns)}",
                remedy="run the topology that wrote it, or use another application id",
            )
        self._codec.restore(rows.texts)
        old = Layout([*self._codec.layout.widths], self._codec.layout.nulls)
        self._codec.widen(rows.layout)
        self._adopt_layout(old)
        if len(rows.gone):
            gone = self._codec.relayout(rows.gone, rows.layout)
            slots = self._index.find(gone, self._words)
            self._drop(slots[slots >= 0])
        slots = self._slots(self._codec.relayout(rows.words, rows.layout))
        kinds = {cell.name: cell for cell in self._cells}
        for cell in self._cells:
            if cell.name in rows.cells:
                values = rows.cells[cell.name]
            else:
                values = rows.cells[str(cell.tells)] != kinds[str(cell.tells)].identity()
            self._columns[cell.name][slots] = values
        self._changes = _Changes()
        self.low = NUMBER_MIN

    def dump(self) -> list[dict[str, Any]]:
        """Every live key with its stored cells, for tests and people; not fast."""
        slots = self.live()
        cells = [pl.Series(c.name, self._columns[c.name][slots]) for c in self._cells]
        return self.keys(slots).with_columns(cells).to_dicts()

    def prune(self) -> None:
        """Forget long texts that no live row refers to, once they are the most of them.

        One that comes again is a new one, told to the next checkpoint; one that is still known is
        not, which is why a snapshot has all that are known.
        """
        columns = len(self._codec.columns)
        if self._codec.long_texts() > 2 * columns * self._count:
            self._codec.prune(self._codec.texts(self._words.take(self.live(), axis=0)))

    def _rows(self, slots: Slots, gone: Words, texts: dict[int, bytes]) -> Rows:
        layout = Layout([*self._codec.layout.widths], self._codec.layout.nulls)
        cells = {c.name: self._columns[c.name][slots] for c in self._cells}
        return Rows(layout, self._words.take(slots, axis=0), cells, gone, texts)

    def _encode(self, keys: pl.DataFrame) -> Words:
        old = Layout([*self._codec.layout.widths], self._codec.layout.nulls)
        words = self._codec.encode(keys)
        self._adopt_layout(old)
        return words

    def _adopt_layout(self, old: Layout) -> None:
        if old != self._codec.layout:
            self._words = self._codec.relayout(self._words, old)
            self._index.rebuild(self._words, self.live(), 0)

    def _slots(self, words: Words) -> Slots:
        """The slots of keys, with new ones for those that have none."""
        slots = self._index.find(words, self._words)
        missing = np.flatnonzero(slots < 0)
        if len(missing):
            new = self._allocate(len(missing))
            self._words[new] = words[missing]
            if self._index.needs_room(len(new)):
                self._index.rebuild(self._words, self.live(), len(new))
            self._live[new] = True
            self._index.insert(words[missing], new)
            for cell in self._cells:
                self._columns[cell.name][new] = cell.identity()
            self._changes.added.append(new)
            self._count += len(new)
            slots[missing] = new
        return slots

    def _allocate(self, count: int) -> Slots:
        reused = [self._free.pop() for _ in range(min(count, len(self._free)))]
        fresh = count - len(reused)
        if self._top + fresh > len(self._live):
            self._grow(max(_ROWS_MIN, self._top + fresh, len(self._live) * 3 // 2))
        slots = np.concatenate([reused, np.arange(self._top, self._top + fresh)]).astype(np.int32)
        self._top += fresh
        return slots

    def _grow(self, size: int) -> None:
        more = size - len(self._live)
        self._words = np.pad(self._words, ((0, more), (0, 0)))
        self._live = np.pad(self._live, (0, more))
        self._columns = {name: np.pad(c, (0, more)) for name, c in self._columns.items()}

    def _drop(self, slots: Slots) -> None:
        if not len(slots):
            return
        self._index.remove(self._words.take(slots, axis=0), slots)
        self._live[slots] = False
        # Taken from the end: what is done again after a rollback gets the same slots.
        self._free.extend(slots[::-1].tolist())
        self._count -= len(slots)


def _of_slab(saved: Saved) -> Rows:
    if isinstance(saved, Rows):
        return saved
    raise StateMismatchError(
        f"the checkpoint holds state of the kind {saved.kind!r}, and the operator keeps aggregates",
        remedy="run the topology that wrote it, or use another application id",
    )


def _joined(parts: Sequence[Slots]) -> Slots:
    return np.concatenate(parts).astype(np.int32) if parts else np.zeros(0, np.int32)
