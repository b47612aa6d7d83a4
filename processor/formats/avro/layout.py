"""Bytes of cells, measured first and then put where they belong, for all rows at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from processor.formats.avro.batch import Bools, Cells, Ints
from processor.formats.avro.single import NOTHING_MAX
from processor.formats.base import WriteError

Out: TypeAlias = npt.NDArray[np.uint8]
Put: TypeAlias = Callable[[Out, Ints], None]

_PART: Final = 1 << 20
ROOM: Final = 16
"""Bytes behind the last row's: a word may be put over the end."""
_U64 = np.uint64


@dataclass(frozen=True, slots=True)
class Plan:
    """How many bytes each cell takes, and what puts them where the cells begin."""

    sizes: Ints
    put: Put


def numbers(cells: Ints) -> Plan:
    """Numbers of variable length.

    >>> numbers(np.array([0, -1, 64])).sizes.tolist()
    [1, 1, 2]
    """
    folded = (cells << 1) ^ (cells >> 63)
    word = folded.view(_U64)
    sizes = np.ones(len(word), np.int64)
    if not len(word):
        return Plan(sizes, _put_nothing)
    most = max(1, -(-int(word.max()).bit_length() // 7))
    for k in range(1, most):
        sizes += word >= _U64(1 << (7 * k))
    least = int(sizes.min())

    def put(out: Out, pos: Ints) -> None:
        for k in range(most):
            part, at, size = word, pos, sizes
            if k >= least:
                which = np.flatnonzero(sizes > k)
                part, at, size = word[which], pos[which], sizes[which]
            byte = ((part >> _U64(7 * k)) & _U64(0x7F)).astype(np.uint8)
            if k + 1 < least:
                byte |= np.uint8(0x80)
            elif k + 1 < most:
                byte |= (size > k + 1).astype(np.uint8) << np.uint8(7)
            out[at + k] = byte

    return Plan(sizes, put)


def _put_nothing(out: Out, pos: Ints) -> None:
    del out, pos


def words(cells: Cells) -> Plan:
    """Numbers of a fixed width, the lowest byte first."""
    width = cells.dtype.itemsize

    def put(out: Out, pos: Ints) -> None:
        view = np.ndarray((len(out) - width + 1,), cells.dtype, out, strides=(1,))
        view[pos] = cells

    return Plan(np.full(len(cells), width, np.int64), put)


def pieces(column: pl.Series, sizes: Ints) -> Plan:
    """Bytes as they are."""
    joined = np.frombuffer(b"".join(column.to_list()), np.uint8)

    ends = np.cumsum(sizes)

    def put(out: Out, pos: Ints) -> None:
        # A place takes eight times what it holds, so that what is long is put part by part.
        cuts = np.searchsorted(ends, np.arange(_PART, len(joined), _PART), side="right")
        for first, last in pairwise([0, *np.unique(cuts).tolist(), len(sizes)]):
            rows = slice(first, last)
            starts = ends[rows] - sizes[rows]
            if last - first == 1:
                out[pos[first] : pos[first] + sizes[first]] = joined[starts[0] : ends[first]]
            elif last > first:
                places = np.repeat(pos[rows] - starts, sizes[rows])
                places += np.arange(starts[0], ends[last - 1])
                out[places] = joined[starts[0] : ends[last - 1]]

    return Plan(sizes, put)


def in_turn(plans: Sequence[Plan], count: int) -> Plan:
    """One behind the other."""
    sizes = np.zeros(count, np.int64)
    for plan in plans:
        sizes = sizes + plan.sizes

    def put(out: Out, pos: Ints) -> None:
        for plan in plans:
            plan.put(out, pos)
            pos = pos + plan.sizes

    return Plan(sizes, put)


def constant(data: bytes, count: int) -> Plan:
    """The same bytes for each."""
    cells = np.frombuffer(data, np.uint8)

    def put(out: Out, pos: Ints) -> None:
        out[pos[:, None] + np.arange(len(cells))] = cells

    return Plan(np.full(count, len(cells), np.int64), put)


def branches(index: Ints, plans: Sequence[tuple[Bools, Plan]]) -> Plan:
    """Branches of a union: its number, then what the branch's own rows have."""
    head = numbers(index)
    sizes = head.sizes.copy()
    for mask, plan in plans:
        sizes[mask] += plan.sizes

    def put(out: Out, pos: Ints) -> None:
        head.put(out, pos)
        for mask, plan in plans:
            plan.put(out, (pos + head.sizes)[mask])

    return Plan(sizes, put)


def items(counts: Ints, plan: Plan) -> Plan:
    """Arrays: one block of all items, if there are any, and the block of none."""
    if len(counts) and not plan.sizes.any() and counts.max() > NOTHING_MAX:
        raise WriteError(f"{counts.max()} items that take no bytes, more than {NOTHING_MAX}")
    there = counts > 0
    head = numbers(counts)
    ends = np.concatenate(([0], np.cumsum(plan.sizes)))
    last = np.cumsum(counts)
    first = last - counts
    sizes = np.where(there, head.sizes + ends[last] - ends[first] + 1, 1)

    def put(out: Out, pos: Ints) -> None:
        # An array of none has a head of zero, which is its end as well.
        head.put(out, pos)
        begin = pos + head.sizes - ends[first]
        plan.put(out, np.repeat(begin, counts) + ends[:-1])
        out[(pos + sizes - 1)[there]] = 0

    return Plan(sizes, put)


def rows(plan: Plan) -> list[bytes]:
    """The rows' bytes."""
    ends = np.cumsum(plan.sizes)
    starts = ends - plan.sizes
    out: Any = np.empty(int(ends[-1]) + ROOM if len(ends) else ROOM, np.uint8)
    plan.put(out, starts)
    data = out.tobytes()
    return [data[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
