"""What a row costs a join: found what it matches, kept, freed, and in the checkpoint."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl

from processor.formats.blocks import Blocks
from processor.model.batch import Result, Slice
from processor.model.log import TopicPartition
from processor.operators.base import TASK, Context, Heard
from processor.operators.join import Join
from processor.plan.nodes import Location, Source
from processor.plan.pairs import AT, SIDE, Joined
from processor.state import codec
from processor.state.base import TaskState

Step = Callable[[int], object]
USERS: Final = 100_000
MINUTE: Final = 60_000_000
WITHIN: Final = 10
KEPT: Final = 40
"""Batches before what is measured: what is kept stays as large from there on."""
LAYOUT: Final[Mapping[str, pl.DataType]] = {
    SIDE: pl.Boolean(), AT: pl.Datetime("us"), "k.user": pl.String(),
    "l.page": pl.Int64(), "l.n": pl.Int64(), "r.cents": pl.Int64(), "r.price": pl.Float64(),
}  # fmt: skip


class _Stream:
    """Batches of a minute each, half of either side; the watermark is half a minute behind."""

    def __init__(self, records: int) -> None:
        at = Location("", 0)
        source = Source("in", Blocks(LAYOUT), AT, ("k.user",), "fail", None, at)
        columns = tuple((name[2:], name) for name in LAYOUT if "." in name)
        bound = timedelta(minutes=WITHIN)
        node = Joined(source, columns, ("k.user",), -bound, bound, "left", ("at",), at)
        self.join = Join(node, LAYOUT)
        self.state: TaskState = {side.name: side.new_state() for side in self.join.sides}
        self._made, self._numbers = np.random.default_rng(1), itertools.count()
        self._records = records
        for _ in range(KEPT):
            self.step(0)

    def _batch(self, number: int) -> pl.DataFrame:
        made, size = self._made, self._records
        right = np.arange(size) % 2 == 1
        times = np.sort(made.integers(0, MINUTE, size)) + number * MINUTE
        values = pl.Series(made.integers(0, 1000, size))
        users = pl.Series(made.integers(0, USERS, size)).cast(pl.String).str.zfill(6)
        left = pl.when(~pl.Series(right)).then(values)
        ours = pl.when(pl.Series(right)).then(values)
        return pl.select(
            pl.Series(right).alias(SIDE), pl.Series(times).cast(pl.Datetime("us")).alias(AT),
            ("u" + users).alias("k.user"), left.alias("l.page"), left.alias("l.n"),
            ours.alias("r.cents"), ours.cast(pl.Float64).alias("r.price"),
            pl.lit(0, pl.UInt32).alias(TASK),
        )  # fmt: skip

    def step(self, _: int) -> object:
        """Batch and commit."""
        made = self._done()
        for kept in self.state.values():
            kept.commit()
        return made

    def delta(self, _: int) -> object:
        """Batch, the bytes of what it has changed, and commit."""
        self._done()
        saved = {name: kept.changed() for name, kept in self.state.items()}
        data = codec.encode(codec.Header(1, "0" * 8, "", "", 0, 0), saved)
        for name, kept in self.state.items():
            kept.commit(saved[name])
        return data

    def _done(self) -> pl.DataFrame:
        number = next(self._numbers)
        frame = self._batch(number)
        mark = number * MINUTE + MINUTE // 2
        part = Slice(TopicPartition("in", 0), (), (), 0, 0, None)
        heard = Heard(np.zeros(0, np.int64), mark, {}, (mark, mark))
        return self.join.process(frame, Context([part], [self.state], Result(), [heard]))


def join_steps(records: int) -> Mapping[str, Step]:
    """The steps, on a stream that goes on; the batch itself is made in each."""
    stream = _Stream(records)
    return {
        "join: a batch is made, nothing else": lambda _: stream._batch(0),  # noqa: SLF001
        "join: pairs, rows kept and freed (with that)": stream.step,
        "join: and the delta's bytes": stream.delta,
    }
