"""Group keys as rows of 64-bit words, so that they can be hashed, compared and stored by column.

A key of several columns becomes one row of words::

    | nulls? | window start | user: length and first 7 bytes | 8 more bytes | …

- A number, a time or a boolean is one word.
- Text is its UTF-8 bytes behind their length in one byte, padded with zeros to whole words. The
  width of a text column grows when a longer text comes, up to `TEXT_BYTES_MAX`; a text beyond that
  is kept once in a table, and the words hold its number there.
- The word of nulls is there from the first null on: a bit for every column.

Words are what checkpoints hold: the layout, not a hash of a library that may change, is the format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from processor.errors import StateMismatchError

Words: TypeAlias = npt.NDArray[np.uint64]
TEXT_BYTES_MAX: Final = 47
_LONG: Final = 255


@dataclass(slots=True)
class Layout:
    """How many words each column takes, and whether the word of nulls is there.

    >>> Layout([1, 3], nulls=True).words()
    5
    """

    widths: list[int]
    nulls: bool = False

    def words(self) -> int:
        """Words in a row."""
        return sum(self.widths) + self.nulls


@dataclass(slots=True)
class KeyCodec:
    """Turns key columns into words and back.

    >>> codec = KeyCodec({"user": pl.String(), "n": pl.Int64()})
    >>> words = codec.encode(pl.DataFrame({"user": ["ann", "bob"], "n": [1, 2]}))
    >>> words.shape, codec.decode(words).rows()
    ((2, 2), [('ann', 1), ('bob', 2)])
    """

    columns: Mapping[str, pl.DataType]
    layout: Layout = field(init=False)
    _ids: dict[bytes, int] = field(init=False, default_factory=dict)
    _texts: dict[int, bytes] = field(init=False, default_factory=dict)
    _text_bytes: int = field(init=False, default=0)
    _unsaved: dict[int, bytes] = field(init=False, default_factory=dict)
    _next_id: int = field(init=False, default=1)

    def __post_init__(self) -> None:
        self.layout = Layout([1] * len(self.columns))

    def encode(self, frame: pl.DataFrame) -> Words:
        """Rows of words, ``(rows, layout.words())``. May widen the layout: see `relayout`.

        Equal keys have equal words as long as the layout stays; a null equals a null.
        """
        parts: list[Words] = [np.zeros((frame.height, 0), np.uint64)]
        null_bits = np.zeros(frame.height, np.uint64)
        for i, name in enumerate(self.columns):
            column = frame[name]
            if column.null_count():
                null_bits |= column.is_null().to_numpy().astype(np.uint64) << np.uint64(i)
            if column.dtype == pl.String:
                parts.append(self._encode_text(i, column))
            elif column.dtype == pl.UInt64:
                parts.append(_filled(column, 0).to_numpy().reshape(-1, 1))
            else:
                numbers = _filled(_whole(column), 0).to_numpy()
                parts.append(numbers.view(np.uint64).reshape(-1, 1))
        if not self.layout.nulls and null_bits.any():
            self.layout.nulls = True
        if self.layout.nulls:
            parts.insert(0, null_bits.reshape(-1, 1))
        return np.ascontiguousarray(np.hstack(parts))

    def decode(self, words: Words) -> pl.DataFrame:
        """The key columns that rows of words stand for."""
        at = int(self.layout.nulls)
        columns: list[pl.Series] = []
        for i, (name, kind) in enumerate(self.columns.items()):
            width = self.layout.widths[i]
            part = words[:, at : at + width]
            at += width
            if kind == pl.String:
                column = pl.Series(name, self._decode_text(part), dtype=pl.String)
            elif kind == pl.UInt64:
                column = pl.Series(name, np.ascontiguousarray(part[:, 0]))
            else:
                column = pl.Series(name, np.ascontiguousarray(part[:, 0]).view(np.int64)).cast(kind)
            if self.layout.nulls:
                null = (words[:, 0] >> np.uint64(i)) & np.uint64(1)
                column = _with_nulls(column, null.astype(bool))
            columns.append(column)
        return pl.DataFrame(columns)

    def relayout(self, words: Words, old: Layout) -> Words:
        """Rows that were encoded under ``old`` as they would be now."""
        parts: list[Words] = [np.zeros((len(words), 0), np.uint64)]
        if self.layout.nulls:
            parts.append(words[:, :1] if old.nulls else np.zeros((len(words), 1), np.uint64))
        at = int(old.nulls)
        for before, now in zip(old.widths, self.layout.widths, strict=True):
            part = words[:, at : at + before]
            at += before
            parts.append(np.pad(part, ((0, 0), (0, now - before))))
        return np.ascontiguousarray(np.hstack(parts))

    def widen(self, layout: Layout) -> None:
        """Make the layout at least as wide as another.

        Raises `StateMismatchError` when that one is of another number of columns.
        """
        if len(layout.widths) != len(self.columns):
            raise StateMismatchError(
                f"the checkpoint has {len(layout.widths)} key columns, not {len(self.columns)}",
                remedy="run the topology that wrote it, or use another application id",
            )
        self.layout.widths = [
            max(a, b) for a, b in zip(self.layout.widths, layout.widths, strict=True)
        ]
        self.layout.nulls = self.layout.nulls or layout.nulls

    def unsaved(self) -> dict[int, bytes]:
        """Long texts that no checkpoint has yet."""
        return dict(self._unsaved)

    def saved(self, texts: Mapping[int, bytes]) -> None:
        """These are in a checkpoint that is committed."""
        for number in texts:
            self._unsaved.pop(number, None)

    def texts(self, words: Words) -> dict[int, bytes]:
        """The long texts that rows refer to."""
        at = int(self.layout.nulls)
        found: dict[int, bytes] = {}
        for width, kind in zip(self.layout.widths, self.columns.values(), strict=True):
            if kind == pl.String and self._texts:
                first = words[:, at]
                long = first[(first & np.uint64(0xFF)) == _LONG]
                found |= {n: self._texts[n] for n in np.unique(long >> np.uint64(8)).tolist()}
            at += width
        return found

    def table(self) -> dict[int, bytes]:
        """All long texts, those that no row refers to any more among them."""
        return dict(self._texts)

    def restore(self, texts: Mapping[int, bytes]) -> None:
        """Take long texts from a checkpoint."""
        for number, text in texts.items():
            self._keep(number, text)
            self._ids[text] = number
            self._next_id = max(self._next_id, number + 1)

    def prune(self, live: Mapping[int, bytes]) -> None:
        """Forget the long texts that no row refers to any more."""
        keep = {**live, **self._unsaved}
        self._texts = dict(keep)
        self._text_bytes = sum(map(_kept_bytes, keep.values()))
        self._ids = {text: number for number, text in keep.items()}

    def long_texts(self) -> int:
        """How many long texts are kept."""
        return len(self._texts)

    def memory_bytes(self) -> int:
        """What the long texts take, about."""
        return self._text_bytes

    def _keep(self, number: int, text: bytes) -> None:
        if number not in self._texts:
            self._text_bytes += _kept_bytes(text)
        self._texts[number] = text

    def _encode_text(self, i: int, column: pl.Series) -> Words:
        texts: Sequence[bytes] = _filled(column, "").cast(pl.Binary).to_list()
        sizes = np.fromiter(map(len, texts), np.int64, len(texts))
        longest = int(sizes.max()) if len(sizes) else 0
        width = max(self.layout.widths[i], (min(longest, TEXT_BYTES_MAX) + 1 + 7) // 8)
        self.layout.widths[i] = width
        rows = np.zeros((len(sizes), width * 8), np.uint8)
        body = np.array(texts, dtype=f"S{width * 8 - 1}")
        rows[:, 1:] = body.view(np.uint8).reshape(len(sizes), width * 8 - 1)
        rows[:, 0] = np.minimum(sizes, _LONG)
        words = rows.view("<u8")
        if longest > TEXT_BYTES_MAX:
            for row in np.flatnonzero(sizes > TEXT_BYTES_MAX).tolist():
                words[row] = 0
                words[row, 0] = (self._intern(texts[row]) << 8) | _LONG
        return words

    def _decode_text(self, words: Words) -> list[str]:
        # "S" drops trailing zeros, and a text may end in NULs: the length puts them back.
        rows = np.ascontiguousarray(words).view(np.uint8).reshape(len(words), 8 * words.shape[1])
        sizes = rows[:, 0].tolist()
        body = np.ascontiguousarray(rows[:, 1:]).view(f"S{rows.shape[1] - 1}")[:, 0].tolist()
        long = (words[:, 0] >> np.uint64(8)).tolist() if _LONG in sizes else []
        return [
            (self._texts[long[i]] if size == _LONG else text.ljust(size, b"\0")).decode()
            for i, (size, text) in enumerate(zip(sizes, body, strict=True))
        ]

    def _intern(self, text: bytes) -> int:
        number = self._ids.get(text)
        if number is None:
            number = self._ids[text] = self._next_id
            self._keep(number, text)
            self._unsaved[number] = text
            self._next_id += 1
        return number


def _kept_bytes(text: bytes) -> int:
    """A text with what two dictionaries take for it, about."""
    return len(text) + 200


def _filled(column: pl.Series, value: int | str) -> pl.Series:
    # The filling costs 30 us whatever the height, the count of nulls is known.
    return column.fill_null(value) if column.null_count() else column


def _whole(column: pl.Series) -> pl.Series:
    # What a time counts, by the cast alone: `to_physical` takes 55 us whatever the height.
    of = column if column.dtype.is_temporal() else column.to_physical()
    return of.cast(pl.Int64)


def _with_nulls(column: pl.Series, null: npt.NDArray[np.bool_]) -> pl.Series:
    if not null.any():
        return column
    keep = pl.Series("keep", ~null)
    return pl.select(pl.when(keep).then(column).otherwise(None).alias(column.name)).to_series()
