"""A gather: the newest row of each group, and the whole of them in order.

::

    rows of changed groups, of all tasks in front ──► newest row of each group, in state
                                                         └── all of them, by key ──► sort ──► limit

Whenever a batch has brought a row, all groups go on: what is published is the whole, each time.
Rows that are equal in what they are sorted by stay in the order of their groups' keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from processor.operators.base import TASK, Context, slab_of
from processor.state.cells import Cell, Column
from processor.state.index import Slots
from processor.state.slab import Slab

_KNOWN: Final = "__known."


class Newest:
    """Keeps the newest row of each group.

    >>> Newest("newest-0", {"user": pl.String()}, {"n": pl.Int64()}).new_state().rows()
    0

    Args:
        name: the operator's name in checkpoints.
        keys: the columns that tell groups apart, with their types.
        values: the others: numbers, times and booleans.
        order: all of them, as rows have them; left out, keys come first.
    """

    def __init__(
        self,
        name: str,
        keys: Mapping[str, pl.DataType],
        values: Mapping[str, pl.DataType],
        order: Iterable[str] = (),
    ) -> None:
        self.name = name
        self._keys, self._values = dict(keys), dict(values)
        kinds = self._keys | self._values
        self._columns = {column: kinds[column] for column in tuple(order) or kinds}

    def new_state(self) -> Slab:
        """An empty slab."""
        return Slab(self._keys, cells_of(self._values))

    def process(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        """Take the rows in; all groups go on where there was one."""
        parts = [self._nothing()]
        for number, state in enumerate(context.states):
            rows = frame.filter(pl.col(TASK) == number)
            if rows.is_empty():
                continue
            slab = slab_of(state, self.name)
            self._fold(slab, rows.unique(list(self._keys), keep="last", maintain_order=True))
            if context.publishes:
                whole = self._whole(slab)
                parts.append(whole.with_columns_seq(pl.lit(number, pl.UInt32).alias(TASK)))
        return pl.concat(parts)

    def _fold(self, slab: Slab, rows: pl.DataFrame) -> None:
        partials: dict[str, Column] = {}
        for name in self._values:
            column = rows[name].to_physical()
            wide = column.cast(pl.Float64 if column.dtype.is_float() else pl.Int64)
            partials[name] = wide.fill_null(0).to_numpy()
            partials[_KNOWN + name] = column.is_not_null().cast(pl.UInt8).to_numpy()
        slab.fold(rows.select_seq(list(self._keys)), partials)

    def _whole(self, slab: Slab) -> pl.DataFrame:
        live = slab.live()
        rows = slab.keys(live).with_columns(
            [self._column(slab, live, name, kind) for name, kind in self._values.items()]
        )
        return rows.sort(list(self._keys)).select_seq(list(self._columns))

    @staticmethod
    def _column(slab: Slab, slots: Slots, name: str, kind: pl.DataType) -> pl.Series:
        values = pl.Series(name, slab.gather(name, slots))
        known = pl.Series(slab.gather(_KNOWN + name, slots) != 0)
        if not known.all():
            values = values.set(~known, None)
        return values.cast(kind)

    def _nothing(self) -> pl.DataFrame:
        return pl.DataFrame(schema={**self._columns, TASK: pl.UInt32()})


def cells_of(values: Mapping[str, pl.DataType]) -> list[Cell]:
    """What is stored of each column: its number, and whether there is one."""
    found: list[Cell] = []
    for name, kind in values.items():
        found += [
            Cell(name, "<f8" if kind.is_float() else "<i8", "set"),
            Cell(_KNOWN + name, "|u1", "set"),
        ]
    return found


@dataclass(frozen=True, slots=True)
class Sort:
    """All rows of a batch in order: those of a gather, which are all there are."""

    by: tuple[str, ...]
    descending: Sequence[bool]
    nulls_last: bool

    def process(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:  # noqa: ARG002 - as `Operator`
        """The rows in order; equal ones as they were."""
        return frame.sort(
            list(self.by), descending=list(self.descending), nulls_last=self.nulls_last,
            maintain_order=True,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limit:
    """The first rows of those that a gather has given."""

    count: int

    def process(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:  # noqa: ARG002 - as `Operator`
        """The rows that stay."""
        return frame.head(self.count)
