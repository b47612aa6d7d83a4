"""The watermark that a topic's records carry, as its reader takes it.

A partition's watermark is the least that *all* writing tasks have told in it; one that has not been
heard of counts as minus infinity. So rows of several tasks may lie in any order::

    record of     task 0    task 1    task 0    task 1
    tells         0: 10:07            0: 10:20  1: 10:05
    watermark     none      none      none      none       then 10:05

A header holds for what comes after its record. What a partition has heard is state of its task, so
that a restart knows it; like lateness it is a function of the log alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np
import polars as pl

from processor.model.batch import Slice
from processor.model.headers import headers_of
from processor.model.watermark import HEADER, Told
from processor.operators.base import Heard, slab_of
from processor.plan.fingerprint import WATERMARKS
from processor.state.base import TaskState
from processor.state.cells import Cell
from processor.state.slab import Slab

LOWEST: Final = np.iinfo(np.int64).min

Note: TypeAlias = Callable[[str], None]
Writer: TypeAlias = tuple[str, int]
_KEYS: Final[Mapping[str, pl.DataType]] = {"by": pl.String(), "task": pl.Int64()}
_NEVER: Final = (LOWEST, 0)
_CELLS: Final = (Cell("at", "<i8", "max"), Cell("of", "<i8", "max"))


class Carried:
    """Hears watermarks; the state is the largest of each writing task.

    Args:
        column: the event time. What is told of other columns says nothing of it.
        unit_us: the microseconds that it counts: the watermark is as coarse.
        note: hears once that somebody tells of other columns.
        upstreams: the applications that write the topic, where it is known: nothing is over before
            each of them has been heard, and no other counts.
        sides: of a join, the applications that write each side.
    """

    name = WATERMARKS

    def __init__(
        self,
        column: str,
        unit_us: int = 1,
        note: Note = lambda _: None,
        upstreams: Sequence[str] = (),
        sides: Sequence[Collection[str]] = (),
    ) -> None:
        self._column, self._unit_us, self._note = column, unit_us, note
        self._upstreams = frozenset(upstreams)
        self._sides = sides
        self._noted = False

    def new_state(self) -> Slab:
        """Of a task that has heard nothing."""
        return Slab(_KEYS, _CELLS)

    def hear(self, slices: Sequence[Slice], states: Sequence[TaskState]) -> list[Heard]:
        """The watermarks of a batch, a `Heard` for each slice; state is left alone."""
        return [
            self._heard(part, slab_of(state, self.name))
            for part, state in zip(slices, states, strict=True)
        ]

    def fold(self, heard: Sequence[Heard], states: Sequence[TaskState]) -> None:
        """Take what a batch has told into the state."""
        for one, state in zip(heard, states, strict=True):
            if one.told:
                by, tasks = zip(*one.told, strict=True)
                at, of = zip(*one.told.values(), strict=True)
                keys = pl.DataFrame({"by": by, "task": tasks}, schema=dict(_KEYS))
                cells = {"at": np.array(at, np.int64), "of": np.array(of, np.int64)}
                slab_of(state, self.name).fold(keys, cells)

    def _told(self, part: Slice) -> list[tuple[int, Told]]:
        """The rows whose records tell something of the event time, and what."""
        found = [
            (row, Told.parse(value))
            for row, message in enumerate(part.messages)
            for name, value in headers_of(message)
            if name == HEADER
        ]
        others = {told.time for _, told in found if told and self._column not in told.time}
        if others and not self._noted:
            self._noted = True
            of = ", ".join(min(others)) or "none"
            self._note(
                f"{part.partition}: records carry a watermark of {of}, "
                f"and the event time is {self._column}: it is passed over, and windows stay open; "
                "name that column in event_time"
            )
        return [(row, told) for row, told in found if told and self._column in told.time]

    def _heard(self, part: Slice, slab: Slab) -> Heard:
        watermark = LOWEST if part.event_time_max is None else part.event_time_max
        found, size = self._told(part), len(part.messages)
        known = _known(slab) if found or self._sides else {}
        told: dict[Writer, tuple[int, int]] = {}
        rows, levels = [0], [watermark]
        for row, one in found:
            holds = False  # whether one that may hold the watermark back has moved
            for task, at in one.at:
                writer = one.by, task
                was = known.get(writer, _NEVER)
                if (now := (max(at, was[0]), max(one.of, was[1]))) != was:
                    known[writer] = told[writer] = now
                holds = holds or was[0] < watermark + self._unit_us
            if holds and (least := _least(known, self._upstreams)) != LOWEST:
                least = least // self._unit_us * self._unit_us
                if least > watermark:
                    watermark = least
                    rows.append(row + 1)
                    levels.append(least)
        before = np.repeat(np.array(levels, np.int64), np.diff([*rows, size]))
        sides = tuple(_least(known, side) for side in self._sides)
        return Heard(before, None if watermark == LOWEST else watermark, told, sides)


def _known(slab: Slab) -> dict[Writer, tuple[int, int]]:
    live = slab.live()
    cells = zip(slab.gather("at", live).tolist(), slab.gather("of", live).tolist(), strict=True)
    return dict(zip(slab.keys(live).iter_rows(), cells, strict=True))


def _least(known: Mapping[Writer, tuple[int, int]], upstreams: Collection[str]) -> int:
    """The least of all tasks of every application that counts; `LOWEST` while one is missing.

    Those are ``upstreams``, or without any of them all that were heard.
    """
    counts: dict[str, int] = dict.fromkeys(upstreams, 0)
    for by, _ in known:
        counts[by] = counts.get(by, 0) + 1
    if upstreams:
        known = {writer: told for writer, told in known.items() if writer[0] in upstreams}
        if not all(counts[by] for by in upstreams):
            return LOWEST
    for (by, _), (_, of) in known.items():
        if counts[by] < of:
            return LOWEST
    return min(at for at, _ in known.values())
