"""What reads types that are made of others: records, unions, arrays and maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from processor.formats.avro.batch import Batch, Ints
from processor.formats.avro.leaves import Store
from processor.formats.avro.nodes import DEPTH_MAX, UNSEEN, Node
from processor.formats.avro.single import RecordError, Single


@dataclass(slots=True, eq=False)
class Record:
    """Fields, in the writer's order; ``columns`` are those that are wanted, in the reader's.

    ``lowest`` is worked out when the fields are there: a record may be met inside itself.
    """

    fields: Sequence[Node] = ()
    columns: Sequence[tuple[str, Node]] = ()
    lowest: int = 1

    @property
    def step(self) -> int | None:
        """The sum of the fields', where it is known of each."""
        steps = [each.step for each in self.fields]
        return sum(filter(None, steps)) if all(steps) else None

    def scan(self, batch: Batch, rows: Ints, pos: Ints) -> Ints:
        """Read a record at each cursor."""
        for each in self.fields:
            pos = each.scan(batch, rows, pos)
        return pos

    def one(self, single: Single, at: int) -> int:
        """Read the record at the cursor."""
        for each in self.fields:
            at = each.one(single, at)
        return at

    def frame(self, store: Store) -> pl.DataFrame:
        """The fields as columns."""
        return pl.DataFrame([node.build(store).alias(name) for name, node in self.columns])

    def build(self, store: Store) -> pl.Series:
        """The column of objects."""
        return self.frame(store).to_struct()


@dataclass(frozen=True, slots=True, eq=False)
class Again:
    """A record inside itself, which is passed over: its depth is bounded."""

    where: str
    of: Node
    lowest: int = 1
    step: None = None

    def scan(self, batch: Batch, rows: Ints, pos: Ints) -> Ints:
        """Pass over a record at each cursor, unless it lies too deep."""
        if batch.depth == DEPTH_MAX:
            batch.doubt[rows] = True
            return pos
        batch.depth += 1
        pos = self.of.scan(batch, rows, pos)
        batch.depth -= 1
        return pos

    def one(self, single: Single, at: int) -> int:
        """Pass over the record at the cursor; raises `RecordError` if it lies too deep."""
        if single.depth == DEPTH_MAX:
            raise RecordError(f"{self.where}: it is nested deeper than {DEPTH_MAX}")
        single.depth += 1
        at = self.of.one(single, at)
        single.depth -= 1
        return at

    def build(self, store: Store) -> pl.Series:
        """No column has these."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """A branch of the writer's union: what reads it, and which of the reader's members it is.

    Args:
        node: reads it.
        member: the number of the member; ``None`` for null.
        misfit: what the writer has there, if the reader has nothing for it.
    """

    node: Node
    member: int | None
    misfit: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Union:
    """A union: a branch's number and a cell of it.

    With one member the column is that member's, null where no branch is; with several it is an
    object of them all.
    """

    number: int
    where: str
    branches: Sequence[Branch]
    members: Sequence[tuple[str, pl.DataType]]
    lowest: int = field(default=1, init=False)
    step: None = field(default=None, init=False)

    def scan(self, batch: Batch, rows: Ints, pos: Ints) -> Ints:
        """Read a cell at each cursor, branch by branch."""
        index, pos = batch.short(rows, pos)
        if not len(index):
            return pos
        low, high = int(index.min()), int(index.max())
        if low < 0 or high >= len(self.branches):
            wrong = (index < 0) | (index >= len(self.branches))
            batch.doubt[rows[wrong]] = True
            index[wrong] = -1
            low, high = int(index.min()), int(index.max())
        for number in range(max(low, 0), high + 1):
            branch = self.branches[number]
            if low == high:
                here, cursors = rows, pos
            else:
                which = np.flatnonzero(index == number)
                here, cursors = rows[which], pos[which]
            if branch.misfit:
                batch.doubt[here] = True
            cursors = branch.node.scan(batch, here, cursors)
            if low == high:
                pos = cursors
            else:
                pos[which] = cursors
        if self.number != UNSEEN:
            batch.put(self.number, rows, index)
        return pos

    def one(self, single: Single, at: int) -> int:
        """Read the cell at the cursor."""
        begin = at
        index, at = single.long(at, self.where)
        if not 0 <= index < len(self.branches):
            raise RecordError(
                f"{self.where}: the union has {len(self.branches)} branches, and none {index}, at "
                f"byte {single.byte(begin)}"
            )
        branch = self.branches[index]
        if branch.misfit:
            raise RecordError(f"{self.where}: it is {branch.misfit}, which the reader has not")
        if self.number != UNSEEN:
            single.put(self.number, index)
        return branch.node.one(single, at)

    def build(self, store: Store) -> pl.Series:
        """The column of the one member, or of objects of them all."""
        _, index = store.cells(self.number, "i8", "i8")
        if not self.members:
            return pl.repeat(None, len(index), dtype=pl.Null, eager=True)
        made = [
            self._member(store, index, member, kind)
            for member, (_, kind) in enumerate(self.members)
        ]
        if len(made) == 1:
            return made[0]
        names = [name for name, _ in self.members]
        columns = pl.DataFrame([c.alias(n) for n, c in zip(names, made, strict=True)]).to_struct()
        there = np.isin(index, [i for i, b in enumerate(self.branches) if b.member is not None])
        if there.all():
            return columns
        return pl.select(pl.when(pl.lit(pl.Series(there))).then(pl.lit(columns))).to_series()

    def _member(self, store: Store, index: Ints, member: int, kind: pl.DataType) -> pl.Series:
        """The cells of a member, null where it is another's turn."""
        cells: list[pl.Series] = []
        place = np.full(len(index), -1, np.int64)
        count = 0
        for number, branch in enumerate(self.branches):
            if branch.member != member or branch.misfit:
                continue
            which = index == number
            found = int(which.sum())
            if found:
                place[which] = np.arange(count, count + found)
                cells.append(branch.node.build(store))
                count += found
        if not count:
            return pl.repeat(None, len(index), dtype=kind, eager=True)
        if count == len(index) and len(cells) == 1:
            return cells[0]
        # The null that stands for the others' turn is the last cell.
        null = pl.Series([None], dtype=kind)
        return pl.concat([*(cell.alias("") for cell in cells), null]).gather(
            np.where(place < 0, count, place)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """What the writer has is always the one member of the reader's union."""

    node: Node
    member: int
    members: Sequence[tuple[str, pl.DataType]]
    step: None = field(default=None, init=False)

    @property
    def lowest(self) -> int:
        """That of the member."""
        return self.node.lowest

    def scan(self, batch: Batch, rows: Ints, pos: Ints) -> Ints:
        """Read the member at each cursor."""
        return self.node.scan(batch, rows, pos)

    def one(self, single: Single, at: int) -> int:
        """Read the member at the cursor."""
        return self.node.one(single, at)

    def build(self, store: Store) -> pl.Series:
        """The column of objects."""
        found = self.node.build(store)
        return pl.DataFrame(
            [
                found.alias(name)
                if number == self.member
                else pl.repeat(None, len(found), dtype=kind, eager=True).alias(name)
                for number, (name, kind) in enumerate(self.members)
            ]
        ).to_struct()


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """An array, or a map as one of pairs: blocks of items, the last of none."""

    number: int
    where: str
    item: Node
    kind: pl.DataType
    lowest: int = field(default=1, init=False)
    step: None = field(default=None, init=False)

    def scan(self, batch: Batch, rows: Ints, pos: Ints) -> Ints:
        """Read an array at each cursor.

        Of all arrays that have one more item, that item is read at once; where items have a
        length that is known without reading them, all items of their blocks.
        """
        first = batch.number(self.number, len(rows))
        pos = pos.copy()
        left = np.zeros(len(rows), np.int64)
        live = np.arange(len(rows))
        step = self.item.step
        while True:
            live = self._blocks(batch, rows, pos, left, live)
            if not len(live):
                return pos
            if not batch.round(len(live)):
                batch.doubt[rows[live]] = True
                return pos
            if step is None:
                if self.number != UNSEEN:
                    batch.put(self.number, rows[live], first + live)
                pos[live] = self.item.scan(batch, rows[live], pos[live])
                left[live] -= 1
                continue
            counts = left[live]
            starts, pos[live] = batch.run(pos[live], counts, step)
            arrays = np.repeat(live, counts)
            if self.number != UNSEEN:
                batch.put(self.number, rows[arrays], first + arrays)
            self.item.scan(batch, rows[arrays], starts)
            left[live] = 0

    def _blocks(self, batch: Batch, rows: Ints, pos: Ints, left: Ints, live: Ints) -> Ints:
        """Read on where a block is over; which arrays go on."""
        over = live[left[live] == 0]
        if len(over):
            here = rows[over]
            counts, cursors = batch.short(here, pos[over])
            sized = np.flatnonzero(counts < 0)
            if len(sized):
                # A negative count has the block's size in bytes behind it, which nobody needs.
                counts[sized] = -counts[sized]
                _, cursors[sized] = batch.long(here[sized], cursors[sized])
            room = batch.ends[here] - cursors
            wrong = (counts < 0) | (counts > (room // self.item.lowest if self.item.lowest else 0))
            if wrong.any():
                batch.doubt[here[wrong]] = True
                counts[wrong] = 0
            pos[over] = cursors
            left[over] = counts
        live = live[left[live] > 0]
        beyond = pos[live] > batch.ends[rows[live]]
        if beyond.any():
            batch.doubt[rows[live[beyond]]] = True
            live = live[~beyond]
        return live

    def one(self, single: Single, at: int) -> int:
        """Read the array at the cursor."""
        array = single.number(self.number, 1)
        while True:
            begin = at
            count, at = single.long(at, self.where)
            if count == 0:
                return at
            if count < 0:
                count = -count
                _, at = single.long(at, self.where)
            if self.item.lowest == 0:
                single.nothing(count, self.where)
            elif count > single.left(at) // self.item.lowest:
                raise RecordError(
                    f"{self.where}: {count} items are due at byte {single.byte(begin)}, and the "
                    f"record has {single.left(at)} bytes more"
                )
            for _ in range(count):
                if self.number != UNSEEN:
                    single.put(self.number, array)
                at = self.item.one(single, at)

    def build(self, store: Store) -> pl.Series:
        """The column of lists."""
        _, arrays = store.cells(self.number, "i8", "i8")
        count = store.count(self.number)
        if not count:
            return pl.Series([], dtype=self.kind)
        items = self.item.build(store)
        if len(arrays) and (arrays[1:] < arrays[:-1]).any():
            order = np.argsort(arrays, kind="stable")
            items, arrays = items.gather(order), arrays[order]
        # By groups: slices of one long list have lost the logical types of what is in them.
        frame = pl.DataFrame([pl.Series("array", arrays).set_sorted(), items.alias("item")])
        lists = frame.group_by("array", maintain_order=True).agg("item")
        filled = lists["array"].to_numpy()
        if len(filled) == count:
            return lists["item"]
        place = np.full(count, len(filled), np.int64)
        place[filled] = np.arange(len(filled))
        return pl.concat([lists["item"], pl.Series("item", [[]], dtype=self.kind)]).gather(place)


def lowest(fields: Sequence[Node]) -> int:
    """The least bytes of a record of these fields."""
    return sum(each.lowest for each in fields)
