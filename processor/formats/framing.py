"""Which schema each record of a batch was written with, and its bytes without the number.

A number stands before the record (the byte 0, then four of the number), or in a header: there as
such, or as a guid (the byte 1, then sixteen).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from processor.formats.base import DataType, Values
from processor.formats.registry import Part

HEADERS: Final[Mapping[Part, str]] = {"value": "__value_schema_id", "key": "__key_schema_id"}
HEADER: Final = HEADERS["value"]
Headers: TypeAlias = Sequence[tuple[str, bytes | None]]
Rows: TypeAlias = npt.NDArray[np.int64]
_SIZE: Final = 5
_GUID: Final = 17


NUMBER_MAX: Final = 2**31 - 1


def number_of(text: bytes) -> int | None:
    """The number of a schema that stands before a record, if one does.

    A number of 8 bytes, as Java's clients write one, begins with zeros: no schema has the number 0.

    >>> number_of(bytes([0, 0, 0, 0, 7, 2])), number_of((7).to_bytes(8)), number_of(b"{}")
    (7, None, None)
    """
    there = text[:1] == b"\0" and len(text) > _SIZE
    number = int.from_bytes(text[1:_SIZE]) if there else 0
    return number if 0 < number <= NUMBER_MAX else None


@dataclass(frozen=True)
class Framed:
    """A batch taken apart: ``rows`` of each schema, by its number or guid, and why others are bad.

    ``headed`` has the bytes of the records whose header told.
    """

    column: pl.Series
    rows: Mapping[int | str, Rows]
    bad: Mapping[int, str]
    headed: Mapping[int, bytes]

    def payloads(self, one: int | str) -> list[bytes]:
        """The records of a schema, without what tells it."""
        rows = self.rows[one]
        column = self.column if len(rows) == len(self.column) else self.column.gather(rows)
        bare: list[bytes] = column.bin.slice(_SIZE).to_list()
        if not self.headed:
            return bare
        return [self.headed.get(row, value) for row, value in zip(rows.tolist(), bare, strict=True)]


def apart(values: Values, headers: Sequence[Headers] | None, header: str = HEADER) -> Framed:
    r"""Take a batch apart; ``headers`` of each record, where these count, and which of them tells.

    >>> found = apart([b"\0\0\0\0\7ab", b"{}", b"\0\0\0\0\7cd"], None)
    >>> found.payloads(7), found.bad
    ([b'ab', b'cd'], {1: "it begins with '{', as JSON does, and not with 0 and a schema's number"})
    """
    column = pl.Series(values, dtype=pl.Binary)
    rows: dict[int | str, list[Rows]] = {}
    bad: dict[int, str] = {}
    headed: dict[int, bytes] = {}
    if headers is not None:
        _by_header(values, headers, header, (rows, headed, bad))
    _by_prefix(column, {*headed, *bad}, rows, bad)
    joined = {one: np.sort(np.concatenate(found)) for one, found in rows.items()}
    return Framed(column, joined, bad, headed)


def _by_header(
    values: Values,
    headers: Sequence[Headers],
    header: str,
    to: tuple[dict[int | str, list[Rows]], dict[int, bytes], dict[int, str]],
) -> None:
    found, headed, bad = to
    rows: dict[int | str, list[int]] = {}
    for row, (value, pairs) in enumerate(zip(values, headers, strict=True)):
        told = next((text or b"" for name, text in pairs if name == header), None)
        if told is None or value is None:
            continue
        if told[:1] == b"\1" and len(told) >= _GUID:
            rows.setdefault(told[1:_GUID].hex(), []).append(row)
            # Of a message of a file, which one it is stands in the header too.
            headed[row] = told[_GUID:] + value
        elif told[:1] == b"\0" and len(told) >= _SIZE:
            rows.setdefault(int.from_bytes(told[1:_SIZE], "big"), []).append(row)
            headed[row] = told[_SIZE:] + value
        else:
            bad[row] = f"its header {header} holds no number and no guid of a schema"
    for one, each in rows.items():
        found[one] = [np.array(each, np.int64)]


def _by_prefix(
    column: pl.Series,
    done: set[int],
    found: dict[int | str, list[Rows]],
    bad: dict[int, str],
) -> None:
    good = column.bin.starts_with(b"\0") & (column.bin.size() >= _SIZE)
    rows = np.arange(len(column))
    if done or not good.all(ignore_nulls=False):
        keep = good.fill_null(value=False).to_numpy().copy()
        bad |= {
            row: _without(column[row]) for row in np.flatnonzero(~keep).tolist() if row not in done
        }
        keep[list(done)] = False
        rows = np.flatnonzero(keep)
        column = column.gather(rows)
    if not len(rows):
        return
    numbers = column.bin.slice(1, 4).bin.reinterpret(dtype=pl.UInt32, endianness="big").to_numpy()
    if numbers.max() > NUMBER_MAX:
        # A registry cannot even be asked for one: it answers as if there were no such page.
        over = numbers > NUMBER_MAX
        for row, number in zip(rows[over].tolist(), numbers[over].tolist(), strict=True):
            bad[row] = f"its schema's number is {number}, and {NUMBER_MAX} is the largest there is"
        rows, numbers = rows[~over], numbers[~over]
        if not len(rows):
            return
    if numbers.min() == numbers.max():
        found.setdefault(int(numbers[0]), []).append(rows)
        return
    order = np.argsort(numbers, kind="stable")
    firsts = np.flatnonzero(np.diff(numbers[order])) + 1
    for part in np.split(order, firsts):
        found.setdefault(int(numbers[part[0]]), []).append(rows[part])


def _without(value: bytes | None) -> str:
    if value is None:
        return "the record has no value"
    if not value:
        return "the record is empty"
    if value[0]:
        first = "'{', as JSON does" if value[:1] == b"{" else f"the byte {value[0]}"
        return f"it begins with {first}, and not with 0 and a schema's number"
    return f"it ends within the schema's number, after {len(value)} bytes"


def together(
    parts: Sequence[tuple[Rows, pl.DataFrame]], columns: Mapping[str, DataType], count: int
) -> pl.DataFrame:
    """Parts of a batch in its order; rows of no part are null.

    >>> parts = [(np.array([2, 0]), pl.DataFrame({"n": [1, 2]}))]
    >>> together(parts, {"n": pl.Int64}, 3)["n"].to_list()
    [2, None, 1]
    """
    if len(parts) == 1 and parts[0][1].height == count:
        return parts[0][1]
    order = np.concatenate([*(rows for rows, _ in parts), np.zeros(0, np.int64)]).astype(np.int64)
    places = np.full(count, len(order), np.int64)
    places[order] = np.arange(len(order))
    nothing = pl.DataFrame(schema=dict(columns)).clear(1)
    return pl.concat([*(frame for _, frame in parts), nothing]).select(pl.all().gather(places))
