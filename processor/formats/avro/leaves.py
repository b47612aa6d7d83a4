"""What numbers and bytes of Avro become: columns of the type that the schema says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import polars as pl

from processor.formats.avro.batch import PAD, Bools, Bytes, Cells, Ints, Why
from processor.formats.avro.kinds import DURATION
from processor.formats.base import shown

INT: Final = (-(2**31), 2**31 - 1)
LONG: Final = (-(2**63), 2**63 - 1)
DAYS: Final = (-719_162, 2_932_896)
"""The first day of the year 1 and the last of 9999, since 1970: what Python's dates know."""
_DAY_MS: Final = 86_400_000
_PER_MS: Final = {"millis": 1, "micros": 1_000, "nanos": 1_000_000}
_WIDEST: Final = 64
_WORD: Final = 8


class Store(Protocol):
    """Where cells come from, and where the wrong ones are told."""

    source: Bytes
    cut: dict[int, pl.Series]

    def cells(self, node: int, *kinds: str) -> tuple[Cells, ...]:
        """The rows of a node's cells, and the cells."""
        ...

    def count(self, node: int) -> int:
        """How many times a node was met."""
        ...

    def trusted(self, rows: Ints) -> Bools | None:
        """Which rows are not doubted; ``None``: all."""
        ...

    def refuse(self, rows: Ints, wrong: Bools, cells: Cells, why: Why) -> None:
        """Tell the wrong cells."""
        ...


@dataclass(frozen=True, slots=True)
class Number:
    """How a number becomes a cell: within bounds, times a factor, of a type.

    >>> Number((0, 10), 1_000, pl.Time(), "time of day").of(np.array([7])).item()
    datetime.time(0, 0, 0, 7)
    """

    bounds: tuple[int, int] | None
    factor: int
    kind: pl.DataType
    word: str

    def wrong(self, cells: Cells) -> Bools | None:
        """Which numbers are out of bounds; ``None``: none."""
        if self.bounds is None or not len(cells):
            return None
        low, high = self.bounds
        if low <= cells.min() and cells.max() <= high:
            return None
        return (cells < low) | (cells > high)

    def of(self, cells: Cells) -> pl.Series:
        """The column."""
        column = pl.Series(cells * self.factor if self.factor != 1 else cells)
        return column if column.dtype == self.kind else column.cast(self.kind)

    def why(self, cell: Any) -> str:
        """Why a number is none."""
        return f"{shown(cell.item())} is no {self.word}"


def time_bounds(unit: str, to: str) -> tuple[int, int]:
    """The times of a unit that Python knows, and a column of another unit holds.

    >>> time_bounds("millis", "micros")
    (-62135596800000, 253402300799999)
    """
    if "nanos" in (unit, to):
        factor = _PER_MS[to] // _PER_MS[unit]
        return -(2**63 // factor), (2**63 - 1) // factor
    per_day = _DAY_MS * _PER_MS[unit]
    return DAYS[0] * per_day, (DAYS[1] + 1) * per_day - 1


def day_bounds(unit: str) -> tuple[int, int]:
    """The times of day in a unit."""
    return 0, _DAY_MS * _PER_MS[unit] - 1


@dataclass(frozen=True, slots=True)
class Found:
    """Pieces of bytes of a node: their rows, where they begin, their sizes; and its place."""

    store: Store
    number: int
    where: str
    rows: Ints
    starts: Ints
    sizes: Ints

    def pieces(self) -> pl.Series:
        """The pieces as they are."""
        cut = self.store.cut.get(self.number)
        return self.store.source.parts(self.starts, self.sizes) if cut is None else cut

    def refuse(self, wrong: Bools, cells: Cells, why: Why) -> None:
        """Tell the wrong ones, and where they are."""
        self.store.refuse(self.rows, wrong, cells, lambda cell: f"{self.where}: {why(cell)}")


Piece = Callable[[Found], pl.Series]
"""Makes a column of pieces."""


def binary(found: Found) -> pl.Series:
    """Pieces as they are."""
    return found.pieces()


def text(found: Found) -> pl.Series:
    """Pieces as text; what is not UTF-8 is refused."""
    pieces = found.pieces()
    try:
        return pieces.cast(pl.String)
    except pl.exceptions.ComputeError:
        cells = pieces.to_list()
    texts = [_decoded(cell) for cell in cells]
    wrong = np.array([not isinstance(each, str) for each in texts])
    found.refuse(wrong, np.array(texts, object), _not_text)
    return pl.Series([each if isinstance(each, str) else "" for each in texts], dtype=pl.String)


def _not_text(error: UnicodeDecodeError) -> str:
    return f"not UTF-8: {error.reason} at its byte {error.start}"


def _decoded(cell: bytes) -> str | UnicodeDecodeError:
    try:
        return cell.decode()
    except UnicodeDecodeError as error:
        return error


def identifier(found: Found) -> pl.Series:
    """Pieces of 16 bytes as a UUID's text."""
    digits = found.pieces().bin.encode("hex")
    cuts = [digits.str.slice(at, n) for at, n in ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))]
    return pl.select(pl.concat_str([pl.lit(cut) for cut in cuts], separator="-")).to_series()


def duration(found: Found) -> pl.Series:
    """Pieces of 12 bytes as months, days and milliseconds."""
    words = found.store.source.view("<u4")
    names = [field.name for field in DURATION.fields]
    columns = [pl.Series(name, words[found.starts + 4 * i]) for i, name in enumerate(names)]
    return pl.DataFrame(columns).to_struct()


def decimal(precision: int, scale: int) -> Piece:
    """Pieces as decimals: whole numbers of two's complement, the highest byte first."""
    most = 10**precision - 1

    def made(found: Found) -> pl.Series:
        source, starts, sizes = found.store.source, found.starts, found.sizes
        words = source.view(">u8")
        low = _word(words, starts + sizes, np.minimum(sizes, _WORD))
        if not len(sizes) or sizes.max() <= _WORD:
            whole = pl.Series(low).cast(pl.Int128)
            fits = np.ones(len(sizes), np.bool_)
        else:
            whole, fits = _wide(source, starts, sizes, low)
        if len(sizes):
            beyond = pl.select(
                (pl.lit(whole) > pl.lit(most, pl.Int128))
                | (pl.lit(whole) < pl.lit(-most, pl.Int128))
            ).to_series()
            if beyond.any() or not fits.all():
                wrong = beyond.to_numpy() | ~fits
                found.refuse(wrong, sizes, lambda size: _too_large(size, precision))
                kept = pl.when(pl.lit(pl.Series(~wrong))).then(whole).otherwise(0)
                whole = pl.select(kept.cast(pl.Int128)).to_series()
        return whole.reinterpret(dtype=pl.Decimal(precision, scale))

    return made


def _too_large(size: int, precision: int) -> str:
    return f"a decimal of {size} bytes has more than {precision} digits"


def _word(words: Cells, ends: Ints, sizes: Ints) -> Ints:
    """Up to eight bytes that end there, as a number with its sign; 0 for none."""
    found = words[np.maximum(ends - _WORD, 0)].astype(np.uint64).view(np.int64)
    shift = (_WORD - np.maximum(sizes, 1)) * 8
    return np.where(sizes == 0, 0, (found << shift) >> shift)


def _wide(source: Bytes, starts: Ints, sizes: Ints, low: Ints) -> tuple[pl.Series, Bools]:
    """Numbers of up to 16 bytes, and those of more that begin with nothing but their sign."""
    ends = starts + sizes
    words = source.view(">u8")
    wide = sizes > _WORD
    high = np.where(
        wide,
        _word(words, ends - _WORD, np.clip(sizes - _WORD, 1, _WORD)),
        low >> 63,
    )
    fits = sizes <= _WIDEST
    sign = (high >> 63).astype(np.uint8)
    for k in range(min(int(sizes.max()), _WIDEST) - PAD):
        beyond = sizes - PAD > k
        fits &= ~beyond | (source.bytes[np.minimum(starts + k, source.last)] == sign)
    # The lower half has no sign of its own, whatever its highest bit says.
    whole = pl.lit(pl.Series(high)).cast(pl.Int128) * pl.lit(2**64, pl.Int128) + pl.lit(
        pl.Series(low.view(np.uint64))
    ).cast(pl.Int128)
    return pl.select(whole).to_series(), fits
