"""What an operator is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from processor.model.batch import Result, Sample, Slice
from processor.state.base import State, TaskState
from processor.state.slab import Slab

TASK: Final = "__task"
"""The column that says which slice of the batch a row is of, where a later operator has state."""

ROW: Final = "__row"
"""The column that numbers a batch's rows, where those that a step refuses are looked for."""

HIDDEN: Final = (TASK, ROW)
"""Columns of the processor's own, which no expression of a user's sees."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a record is set aside, and by which step."""

    step: str
    reason: str


@dataclass(slots=True)
class Heard:
    """A partition's watermarks over a batch, in microseconds, where its records carry them.

    ``known`` is that before each record, the least number there is for none; ``after`` that behind
    the last one. ``told`` has what each writing task has said, and of how many it is. ``sides`` are
    the watermarks behind the last record of each side of a join, the least number for none.
    """

    known: npt.NDArray[np.int64]
    after: int | None
    told: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    sides: tuple[int, ...] = ()


@dataclass(slots=True)
class Context:
    """The batch that is running: its slices, the state of each, and what comes out.

    ``heard`` are the watermarks that its records carry, for each slice, where these count.
    ``begins`` is told of every step each time before it is done. Without ``publishes`` state alone
    is of interest, and what comes of groups is not computed.
    """

    slices: Sequence[Slice]
    states: Sequence[TaskState]
    result: Result
    heard: Sequence[Heard] = ()
    begins: Callable[[str], object] = lambda _: None
    publishes: bool = True


class KeyWatch(Protocol):
    """Looks at samples of a batch's keys."""

    def wanted(self, rows: int) -> int:
        """How many of a batch's rows it wants to see."""
        ...

    def look(self, samples: Sequence[Sample]) -> int:
        """How many of the samples lie in a partition that is not their key's."""
        ...


class Operator(Protocol):
    """One step: rows in, rows out. It may keep state in the context's states and nowhere else."""

    def process(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        """The rows that go on to the next step."""
        ...


class Keeps(Protocol):
    """What has a state of its own in each task."""

    @property
    def name(self) -> str:
        """Its name in checkpoints."""
        ...

    def new_state(self) -> State:
        """The state of a task that has seen nothing."""
        ...


def slab_of(state: TaskState, name: str) -> Slab:
    """The aggregates of an operator that keeps such."""
    found = state[name]
    if not isinstance(found, Slab):
        raise TypeError(f"{name} keeps no aggregates: {type(found).__name__}")
    return found
