"""How late records are, and what another delay of the watermark would have made of them.

A record is late when it is behind its partition's largest event time, up to and with it, by more
than the delay. That maximum does not depend on the delay, so one pass over the input tells for
every delay which records would have been late: the prediction is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from processor.errors import SettingsError
from processor.model.batch import Result, Slice
from processor.model.log import Extent, Message, TopicPartition
from processor.operators.aggregate import WINDOW_START
from processor.operators.base import TASK, Context
from processor.operators.pipeline import Looked, Pipeline
from processor.operators.stateless import Extend, Filter, Select
from processor.operators.windows import MICROSECOND, Panes
from processor.plan import nodes

Scan: TypeAlias = Callable[[TopicPartition, int, int], Iterator[Sequence[Message]]]

SHARES: Final = (0.9, 0.99, 0.999, 1.0)
_BEHIND: Final = "__behind"
_LOWEST: Final = np.iinfo(np.int64).min
_NOTHING: Final = pl.DataFrame(schema={_BEHIND: pl.Int64})


@dataclass(frozen=True, slots=True)
class Loss:
    """What a delay loses: late records, and the windows (of each group) that miss some."""

    delay: timedelta
    late: int
    windows: int | None


class Lateness:
    """How far behind the records of an input are.

    ``records`` are all that could be read, ``behind`` those behind their partition's maximum at
    all, in microseconds and ascending.
    """

    def __init__(
        self, records: int, behind: npt.NDArray[np.int64], groups: pl.DataFrame | None
    ) -> None:
        self.records = records
        self.behind = np.sort(behind)
        self._groups = groups

    def loss(self, delay: timedelta) -> Loss:
        """What a delay would have lost.

        >>> Lateness(9, np.array([1_000_000, 5_000_000]), None).loss(timedelta(seconds=1)).late
        1
        """
        number = delay // MICROSECOND
        late = len(self.behind) - int(np.searchsorted(self.behind, number, side="right"))
        windows = None
        if self._groups is not None:
            lost = self._groups.filter(pl.col(_BEHIND) > number).drop(_BEHIND)
            windows = lost.n_unique() if lost.height else 0
        return Loss(delay, late, windows)

    def saving(self, share: float, delay: timedelta) -> timedelta:
        """The shortest delay that saves a share of the records that ``delay`` loses.

        >>> behind = np.array([1_000_000, 2_000_000, 9_000_000])
        >>> Lateness(9, behind, None).saving(0.5, timedelta(0))
        datetime.timedelta(seconds=2)
        """
        number = delay // MICROSECOND
        lost = self.behind[np.searchsorted(self.behind, number, side="right") :]
        if not len(lost):
            return delay
        needed = int(np.ceil(round(share * len(lost), 6)))
        return delay if needed == 0 else timedelta(microseconds=int(lost[needed - 1]))


def lateness(plan: nodes.Plan, scan: Scan, extents: Mapping[TopicPartition, Extent]) -> Lateness:
    """Look at the whole input; raises `SettingsError` for one without event times."""
    source = plan.source()
    if source.event_time is None:
        raise SettingsError(
            f"{plan.app} reads no event times, so nothing is ever late",
            remedy=f"say which column has them at {source.at}: event_time=...",
        )
    if source.clock:
        raise SettingsError(
            f"{plan.app} goes by the clock, so nothing is ever late",
            remedy="name a stage that has event times",
        )
    if source.watermark is not None:
        raise SettingsError(
            f"{plan.app} takes the watermark that its records carry: no delay makes it",
            remedy=f'leave watermark="carried" out at {source.at} to see what a delay would do',
        )
    pipeline = Pipeline(plan, lenient=True)
    grouped = _grouped(plan)
    records, found, groups = 0, [np.zeros(0, np.int64)], []
    for partition, extent in sorted(extents.items()):
        time: int | None = None
        log_time: int | None = None
        for messages in scan(partition, extent.low, extent.high):
            values = [message.value() for message in messages]
            looked = pipeline.look([Slice(partition, messages, values, 0, 0, time, log_time)])
            (log_time,) = looked.log_times
            behind, time = _behind(looked, time)
            records += int(looked.readable.sum())
            found.append(behind[behind > 0])
            rows = (behind > 0) & looked.usable
            if grouped is not None and rows.any():
                groups.append(_windows(grouped, looked.frame.filter(pl.Series(rows)), behind[rows]))
    return Lateness(
        records,
        np.concatenate(found),
        None if grouped is None else pl.concat(groups or [_NOTHING]),
    )


def _behind(looked: Looked, time: int | None) -> tuple[npt.NDArray[np.int64], int | None]:
    """By how much each record is behind the largest event time, 0 for none; and that time.

    A record that no step can compute says nothing of the time, but is late like any other.
    """
    moving = np.where(looked.usable, looked.times, _LOWEST if time is None else time)
    known = np.maximum.accumulate(moving if time is None else np.maximum(moving, time))
    late = looked.readable & (looked.times < known)
    behind = np.zeros(len(known), np.int64)
    behind[late] = known[late] - looked.times[late]
    last = int(known[-1]) if len(known) else _LOWEST
    return behind, time if last == _LOWEST else last


def _grouped(plan: nodes.Plan) -> nodes.Aggregate | None:
    """The first aggregate with a window."""
    aggregates = (node for node in plan.nodes() if isinstance(node, nodes.Aggregate))
    return next((node for node in aggregates if node.window), None)


def _windows(
    aggregate: nodes.Aggregate, frame: pl.DataFrame, behind: npt.NDArray[np.int64]
) -> pl.DataFrame:
    """The groups of each row that comes as far as the aggregate, and how far behind it is."""
    # The tag says which row it was: steps carry it along.
    rows = frame.with_columns(pl.Series(TASK, np.arange(len(behind), dtype=np.uint32)))
    path: list[nodes.Node] = [aggregate.parent]
    while not isinstance(path[-1], nodes.Source):
        path.append(path[-1].parent)
    context = Context([], [], Result())
    for node in reversed(path):
        if isinstance(node, nodes.Select):
            rows = Select(node.expressions).process(rows, context)
        elif isinstance(node, nodes.Extend):
            rows = Extend(node.expressions).process(rows, context)
        elif isinstance(node, nodes.Filter):
            rows = Filter(node.predicate, counted=False).process(rows, context)
    if aggregate.window is None:
        raise AssertionError
    panes = Panes(aggregate.window)
    numbers = behind[rows[TASK].to_numpy()]
    of = rows.select(panes.pane()).to_series().to_numpy()
    places, starts = panes.spread(of, _LOWEST, np.iinfo(np.int64).max)
    return rows[places].select(
        pl.Series(WINDOW_START, starts),
        *(pl.col(key) for key in aggregate.keys),
        pl.Series(_BEHIND, numbers[places], dtype=pl.Int64),
    )
