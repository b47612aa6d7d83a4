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
from processor.operators.aggregate import MICROSECOND, WINDOW_START
from processor.operators.aside import Aside
from processor.operators.base import TASK, Context
from processor.operators.derived import derived_of
from processor.operators.source import Decode
from processor.operators.stateless import Extend, Filter, Select
from processor.plan import nodes

Scan: TypeAlias = Callable[[TopicPartition, int, int], Iterator[Sequence[Message]]]

SHARES: Final = (0.9, 0.99, 0.999, 1.0)
_BEHIND: Final = "__behind"
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
    if source.watermark is not None:
        raise SettingsError(
            f"{plan.app} takes the watermark that its records carry: no delay makes it",
            remedy=f'leave watermark="carried" out at {source.at} to see what a delay would do',
        )
    aside = Aside(plan.app, "skip", "")
    decode = Decode(
        source.format, source.event_time, 0, None, aside, tagged=False, source=source,
        derived=derived_of(source),
    )  # fmt: skip
    grouped = _grouped(plan)
    records, found, groups = 0, [np.zeros(0, np.int64)], []
    for partition, extent in sorted(extents.items()):
        time: int | None = None
        for messages in scan(partition, extent.low, extent.high):
            frame, behind, good, time = _behind(decode, partition, messages, time)
            records += good
            found.append(behind)
            if grouped is not None and len(behind):
                groups.append(_windows(grouped, frame, behind))
    return Lateness(
        records,
        np.concatenate(found),
        None if grouped is None else pl.concat(groups or [_NOTHING]),
    )


def _behind(
    decode: Decode, partition: TopicPartition, messages: Sequence[Message], time: int | None
) -> tuple[pl.DataFrame, npt.NDArray[np.int64], int, int | None]:
    """The rows that are behind, by how much; how many could be read; the maximum after them."""
    values = [message.value() for message in messages]
    part = Slice(partition, messages, values, 0, 0, time)
    decoded = decode.decode([part])
    good = np.ones(len(values), np.bool_)
    good[list(decoded.bad)] = False
    context = Context([part], [{}], Result())
    behind = decode.behind(decode.times(decoded.frame), [len(values)], good, context)
    late = behind != 0
    rows = decoded.frame.filter(pl.Series(late))
    return rows, behind[late], int(good.sum()), context.result.event_times_max[0]


def _grouped(plan: nodes.Plan) -> nodes.Aggregate | None:
    """The first aggregate with a window."""
    aggregates = (node for node in plan.nodes() if isinstance(node, nodes.Aggregate))
    return next((node for node in aggregates if node.window), None)


def _windows(
    aggregate: nodes.Aggregate, frame: pl.DataFrame, behind: npt.NDArray[np.int64]
) -> pl.DataFrame:
    """The group of each row that comes as far as the aggregate, and how far behind it is."""
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
    size = aggregate.window.size // MICROSECOND
    time = pl.col(aggregate.window.column).cast(pl.Datetime("us")).to_physical()
    numbers = behind[rows[TASK].to_numpy()]
    return rows.select(
        time.floordiv(size).alias(WINDOW_START),
        *(pl.col(key) for key in aggregate.keys),
        pl.Series(_BEHIND, numbers, dtype=pl.Int64),
    )
