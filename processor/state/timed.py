"""Rows by key and time: kept as they came, found by key within a stretch of time, freed by time.

Rows lie in runs, one for each batch at first; runs of like size become one, so that there are few.
A run has its rows in the order in which they came, and beside them an order by hash and time::

    rows      0: ann 10:07    1: bob 10:01    2: ann 10:02
    order     hash of ann: 2, 0               hash of bob: 1

A key's rows within a stretch of time follow each other there, and are found by two searches for all
keys at once. Keys are compared too, so a hash that two keys share does no harm; no hash is stored.

What a batch did is a run of its own, marks, and a time before which rows are gone.
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
from processor.state.timed_rows import AT, ID, MARK, TimedRows

Numbers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.intp]

FIRST: Final = np.iinfo(np.int64).min
LAST: Final = np.iinfo(np.int64).max
_BLOCK: Final = 1024


def hashes(keys: pl.DataFrame) -> Hashes:
    """A hash of each row, of this process only."""
    if keys.width == 1:
        found: Hashes = keys.to_series().hash().to_numpy()
        return found
    return keys.hash_rows().to_numpy()


@dataclass(slots=True, eq=False)
class _Run:
    """``order`` has the places of rows by hash and time, ``hashes`` the hashes in that order.

    ``oldest`` is the least time of each block of rows that is not ``before``.
    """

    frame: pl.DataFrame
    ids: Numbers
    at: Numbers
    marks: npt.NDArray[np.bool_]
    hashes: Hashes
    order: npt.NDArray[np.int32]
    before: int = FIRST
    oldest: Numbers = field(init=False)
    live: int = field(init=False)

    def __post_init__(self) -> None:
        self.live = int((self.at >= self.before).sum())
        self.oldest = _least(np.where(self.at >= self.before, self.at, LAST))

    def memory_bytes(self) -> int:
        arrays = (self.ids, self.at, self.marks, self.hashes, self.order, self.oldest)
        return int(self.frame.estimated_size()) + sum(array.nbytes for array in arrays)

    def between(self, keys: Hashes, low: Numbers, high: Numbers) -> tuple[Places, Places]:
        """Pairs of a key's place and that of a row of its hash with a time from low to high."""
        first = np.searchsorted(self.hashes, keys, "left")
        asked = np.flatnonzero(self.hashes[np.minimum(first, len(self.hashes) - 1)] == keys)
        first, end = first[asked], np.searchsorted(self.hashes, keys[asked], "right")
        start = self._search(first, end, low[asked], right=False)
        stop = self._search(start, end, high[asked], right=True)
        counts = stop - start
        total = int(counts.sum())
        # Each row's place among those of its key, counted on from the key's first.
        behind = np.cumsum(counts) - counts
        places = np.repeat(start - behind, counts) + np.arange(total)
        rows: Places = self.order[places].astype(np.intp)
        return np.repeat(asked, counts), rows

    def _search(self, first: Places, end: Places, bound: Numbers, *, right: bool) -> Places:
        """The first place of each stretch whose time is not before the bound, or is behind it."""
        low, high = first.copy(), end.copy()
        while len(left := np.flatnonzero(low < high)):
            middle = (low[left] + high[left]) >> 1
            times = self.at[self.order[middle]]
            less = times <= bound[left] if right else times < bound[left]
            low[left[less]] = middle[less] + 1
            high[left[~less]] = middle[~less]
        return low

    def free(self, before: int) -> Places:
        """The rows that are gone by now, and were not."""
        blocks = np.flatnonzero(self.oldest < before)
        if not len(blocks):
            self.before = max(self.before, before)
            return np.zeros(0, np.intp)
        spread = (blocks[:, None] * _BLOCK + np.arange(_BLOCK)).ravel()
        places: Places = spread[spread < len(self.at)]
        times = self.at[places]
        gone: Places = places[(times >= self.before) & (times < before)]
        oldest = self.oldest.copy()  # the former is a change's, which may be undone
        oldest[blocks] = _least(np.where(times >= before, times, LAST))
        self.oldest, self.before = oldest, before
        self.live -= len(gone)
        return gone

    def whole(self) -> pl.DataFrame:
        """Its live rows, as a checkpoint has them."""
        own = [pl.Series(ID, self.ids), pl.Series(AT, self.at), pl.Series(MARK, self.marks)]
        rows = pl.DataFrame(own).hstack(self.frame)
        return rows if self.live == len(self.at) else rows.filter(pl.Series(self.at >= self.before))


@dataclass(frozen=True, slots=True)
class Found:
    """Pairs of what was asked for and a row: the ``asked`` place of each.

    ``parts`` are the rows: a run and places in it, in the same order.
    """

    asked: Places
    parts: Sequence[tuple[_Run, Places]]


@dataclass(slots=True)
class _Changes:
    runs: list[_Run] = field(default_factory=list)
    marked: list[tuple[_Run, Places]] = field(default_factory=list)
    freed: list[tuple[_Run, int, Numbers, int]] = field(default_factory=list)


class Timed:
    """Rows of these keys and other columns, each with a time in microseconds, and maybe a mark.

    >>> rows = Timed({"user": pl.String()}, {"n": pl.Int64()})
    >>> frame = pl.DataFrame({"user": ["ann", "bob"], "n": [1, 2]})
    >>> rows.append(frame, np.array([5, 6]))
    >>> ask = pl.DataFrame({"user": ["bob", "bob"]})
    >>> found = rows.find(ask, np.array([0, 7]), np.array([6, 9]))
    >>> rows.take(found).rows(), found.asked.tolist(), rows.rows()
    ([('bob', 2)], [0], 2)
    """

    def __init__(self, keys: Mapping[str, pl.DataType], columns: Mapping[str, pl.DataType]) -> None:
        self._keys = tuple(keys)
        self._schema = pl.Schema({**keys, **columns})
        self._runs: list[_Run] = []
        self._changes = _Changes()
        self._before = self._base_before = FIRST
        self._number = self._base_number = 0
        self._loaded: list[TimedRows] = []

    def rows(self) -> int:
        """Rows that are not gone; of what was loaded and not asked for yet, all.

        Any thread may ask, and so nothing is put in its place here.
        """
        loaded = sum(one.frame.height for one in self._loaded)
        return loaded + sum(run.live for run in self._all())

    def memory_bytes(self) -> int:
        """Bytes of all runs, and of what was loaded. Any thread may ask."""
        loaded = sum(int(one.frame.estimated_size()) for one in self._loaded)
        return loaded + sum(run.memory_bytes() for run in self._all())

    def append(self, frame: pl.DataFrame, at: Numbers, keyed: Hashes | None = None) -> None:
        """Take rows in; ``keyed`` are the hashes of their keys, where they are known.

        One may lie before the time of those that are gone: then `free`, which comes after it in
        every batch, tells of it.
        """
        self._settle()
        if frame.is_empty():
            return
        rows = frame.select_seq(list(self._schema))
        ids = np.arange(self._number, self._number + rows.height)
        self._number += rows.height
        marks = np.zeros(rows.height, np.bool_)
        self._changes.runs.append(self._run(rows, ids, at, marks, keyed=keyed))

    def find(
        self, keys: pl.DataFrame, low: Numbers, high: Numbers, keyed: Hashes | None = None
    ) -> Found:
        """The rows of each key with a time from low to high, in no order.

        Those that are gone are not found, and neither are nulls.
        """
        self._settle()
        keyed = hashes(keys) if keyed is None else keyed
        order = np.argsort(keyed)  # one search after the other goes on where the last one ended
        low, high = np.maximum(low, self._before)[order], high[order]
        parts: list[tuple[Places, _Run, Places]] = []
        for run in self._all():
            found, places = run.between(keyed[order], low, high)
            if len(found):
                rows = order[found]
                same = self._same(keys, rows, run, places)
                parts.append((rows[same], run, places[same]))
        asked = [asked for asked, _, _ in parts] or [np.zeros(0, np.intp)]
        return Found(np.concatenate(asked), [(run, places) for _, run, places in parts])

    def take(self, found: Found) -> pl.DataFrame:
        """The rows that were found, keys and other columns."""
        frames = [run.frame[places] for run, places in found.parts]
        return pl.concat(frames) if frames else self._schema.to_frame()

    def mark(self, found: Found) -> None:
        """Mark the rows that were found."""
        for run, places in found.parts:
            new = np.unique(places[~run.marks[places]])
            run.marks[new] = True
            self._changes.marked.append((run, new))

    def mark_new(self, rows: Places) -> None:
        """Mark rows of the last `append`, by their places in it."""
        if len(rows):
            self._changes.runs[-1].marks[rows] = True

    def free(self, before: int) -> pl.DataFrame:
        """Give up the rows before this time; what comes back are those without a mark."""
        self._settle()
        before = self._before = max(self._before, before)
        gone: list[pl.DataFrame] = []
        for run in self._all():
            was = run, run.live, run.oldest, run.before
            places = run.free(before)
            if run.before != was[3]:
                self._changes.freed.append((was[0], was[1], was[2], was[3]))
            places = places[~run.marks[places]]
            if len(places):
                gone.append(run.frame[places])
        return pl.concat(gone) if gone else self._schema.to_frame()

    def changed(self) -> TimedRows:
        """The batch's rows, those of before that have been marked, and what is gone."""
        self._settle()
        new = set(map(id, self._changes.runs))
        marked = [
            run.ids[places[run.at[places] >= run.before]]
            for run, places in self._changes.marked
            if id(run) not in new
        ]
        rows = [run.whole() for run in self._changes.runs if run.live]
        return TimedRows(
            pl.concat(rows).rechunk() if rows else pl.DataFrame(),
            np.unique(np.concatenate(marked)) if marked else np.zeros(0, np.int64),
            self._before, self._number,
        )  # fmt: skip

    def frozen(self) -> Callable[[], TimedRows]:
        """Every live row as it is now: frames do not change, marks are copied."""
        self._settle()
        before, number = self._before, self._number
        held = [
            _Run(run.frame, run.ids, run.at, run.marks.copy(), run.hashes, run.order, run.before)
            for run in self._all()
        ]

        def rows() -> TimedRows:
            whole = [run.whole() for run in held if run.live]
            frame = pl.concat(whole).rechunk() if whole else pl.DataFrame()
            return TimedRows(frame, np.zeros(0, np.int64), before, number)

        return rows

    def commit(self, saved: Saved | None = None) -> None:  # noqa: ARG002 - nothing is told but once
        """The batch is part of the base; runs that are of like size, or half gone, become one."""
        self._settle()
        self._runs += self._changes.runs
        self._changes = _Changes()
        self._base_before, self._base_number = self._before, self._number
        kept: list[_Run] = []
        for run in self._runs:
            if not run.live:
                continue
            kept.append(run if 2 * run.live >= len(run.at) else self._merged([run]))
            while len(kept) > 1 and kept[-2].live < 2 * kept[-1].live:
                kept[-2:] = [self._merged(kept[-2:])]
        self._runs = kept

    def rollback(self) -> None:
        """Undo what was done since the last commit."""
        self._settle()
        for run, live, oldest, before in reversed(self._changes.freed):
            run.live, run.oldest, run.before = live, oldest, before
        for run, places in self._changes.marked:
            run.marks[places] = False
        self._changes = _Changes()
        self._before, self._number = self._base_before, self._base_number

    def restore(self, saved: Saved) -> None:
        """Apply what a checkpoint holds; it is put in its place when something is asked."""
        if not isinstance(saved, TimedRows):
            raise _mismatch(f"holds state of the kind {saved.kind!r}, not rows by key and time")
        wanted = pl.Schema({ID: pl.Int64(), AT: pl.Int64(), MARK: pl.Boolean(), **self._schema})
        if saved.frame.width and saved.frame.schema != wanted:
            raise _mismatch(f"has the columns {dict(saved.frame.schema)}, not {dict(wanted)}")
        self._loaded.append(saved)

    def prune(self) -> None:
        """What is gone is left out of snapshots as it is."""

    def dump(self) -> list[dict[str, Any]]:
        """Every live row with its time and its mark, in the order in which they came."""
        self._settle()
        rows = pl.concat([run.whole() for run in self._all()] or [pl.DataFrame({ID: []})])
        return rows.sort(ID).drop(ID).to_dicts()

    def _all(self) -> list[_Run]:
        return [*self._runs, *self._changes.runs]

    def _run(
        self,
        frame: pl.DataFrame,
        ids: Numbers,
        at: Numbers,
        marks: npt.NDArray[np.bool_],
        *,
        keyed: Hashes | None = None,
        before: int = FIRST,
    ) -> _Run:
        keyed = hashes(frame.select_seq(list(self._keys))) if keyed is None else keyed
        order = np.lexsort((at, keyed)).astype(np.int32)
        return _Run(frame, ids, at, marks, keyed[order], order, before)

    def _merged(self, runs: Sequence[_Run]) -> _Run:
        """The live rows of runs that follow each other, as one."""
        keeps = [run.at >= run.before for run in runs]
        parts = []
        for run, keep in zip(runs, keeps, strict=True):
            keyed = np.empty_like(run.hashes)
            keyed[run.order] = run.hashes
            columns = (run.ids[keep], run.at[keep], run.marks[keep], keyed[keep])
            frame = run.frame if run.live == len(run.at) else run.frame.filter(pl.Series(keep))
            parts.append((frame, *columns))
        frames, ids, at, marks, keyed_all = zip(*parts, strict=True)
        return self._run(
            pl.concat(frames, rechunk=True), np.concatenate(ids), np.concatenate(at),
            np.concatenate(marks), keyed=np.concatenate(keyed_all),
            before=max(run.before for run in runs),
        )  # fmt: skip

    def _same(self, keys: pl.DataFrame, asked: Places, run: _Run, places: Places) -> Places:
        """Which pairs have one key, and not only one hash of it."""
        equal = np.ones(len(places), np.bool_)
        for name in self._keys:
            one, other = keys[name].gather(asked), run.frame[name].gather(places)
            equal &= (one == other).fill_null(value=False).to_numpy()
        return np.flatnonzero(equal)

    def _settle(self) -> None:
        """Put what was loaded in its place, all at once."""
        if not self._loaded:
            return
        loaded, self._loaded = self._loaded, []
        self._before = self._base_before = max(self._before, *(one.before for one in loaded))
        self._number = self._base_number = max(self._number, *(one.number for one in loaded))
        frames = [*(run.whole() for run in self._runs), *(one.frame for one in loaded)]
        frames = [frame for frame in frames if frame.height]
        self._runs = []
        if not frames:
            return
        rows = pl.concat(frames).filter(pl.col(AT) >= self._before)
        rows = rows.unique(ID, keep="last").sort(ID).rechunk()
        ids = rows[ID].to_numpy()
        marked = np.isin(ids, np.concatenate([one.marked for one in loaded]))
        at, marks = rows[AT].to_numpy(), rows[MARK].to_numpy() | marked
        if rows.height:
            run = self._run(rows.drop(ID, AT, MARK), ids, at, marks, before=self._before)
            self._runs = [run]


def _least(times: Numbers) -> Numbers:
    """The least of each block."""
    if not len(times):
        return times
    return np.minimum.reduceat(times, np.arange(0, len(times), _BLOCK))


def _mismatch(what: str) -> StateMismatchError:
    return StateMismatchError(
        f"the checkpoint {what}",
        remedy="run the topology that wrote it, or use another application id",
    )
