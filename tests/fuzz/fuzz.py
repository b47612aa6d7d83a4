"""Records that are broken at random: what any decoder promises of them.

- It raises nothing, and gives a row for every value.
- A record that is broken says why it is bad, or is read; what it says does not hang on neighbours.
- Its neighbours are what they are without it.
- What was read and can be written is read back as it was.
"""

from __future__ import annotations

from random import Random
from typing import Any

import polars as pl

from processor.formats.base import Decoded, WriteError
from tests.fuzz.cases import CASES, Case

ROWS_MAX = 40
GARBAGE = (b"", b"\0", b"\xff" * 20, b"{}", b"[" * 5_000, b'{"a":' * 3_000, b"\x80" * 11, b"\xc3(")


def broken(value: bytes, rng: Random) -> bytes | None:
    """A record that something has happened to."""
    at = rng.randrange(len(value) + 1)
    how = rng.randrange(8)
    if how == 0:
        return value[:at]
    if how == 1:
        return value + rng.randbytes(rng.randrange(1, 9))
    if how == 2:
        return value[:at] + rng.randbytes(rng.randrange(1, 4)) + value[at:]
    if how == 3:
        return rng.choice((*GARBAGE, None))
    if how == 4:
        return rng.randbytes(rng.choice((1, 10, 300)))
    if how == 5:
        return value[at:] + value[:at]
    if how == 6:
        return value[:at] + value[at + rng.randrange(1, 4) :]
    found = bytearray(value)
    for _ in range(rng.randrange(1, 4)):
        if found:
            found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def fuzz(name: str, seed: int) -> int:
    """One batch of a case; how many broken records there were. Raises `AssertionError`."""
    case, rng = CASES[name], Random(f"{name} {seed}")
    whole = _written(case, rng)
    values: list[bytes | None] = list(whole)
    changed = [row for row in range(len(whole)) if rng.random() < 0.4]
    for row in changed:
        values[row] = broken(whole[row], rng)
    expected, decoded = case.form.decode(whole), case.form.decode(values)
    assert expected.bad == {}, expected.bad
    assert decoded.frame.height == len(values)
    assert decoded.frame.schema == expected.frame.schema
    for row, value in enumerate(values):
        if value == whole[row]:
            assert row not in decoded.bad, decoded.bad[row]
            _same(decoded, row, expected, row)
        else:
            alone = case.form.decode([value])
            assert alone.bad.get(0) == decoded.bad.get(row)
            assert decoded.bad.get(row) != ""
            if not alone.bad:
                _same(decoded, row, alone, 0)
                _back(case, alone)
    return len(changed)


def _written(case: Case, rng: Random) -> list[bytes]:
    rows = [case.row(rng) for _ in range(rng.randrange(1, ROWS_MAX))]
    columns: dict[str, Any] = dict(case.form.columns or {})
    return case.form.encode(
        pl.DataFrame(
            [pl.Series(n, [r[n] for r in rows], dtype=kind) for n, kind in columns.items()]
        )
    )


def _same(one: Decoded, row: int, other: Decoded, at: int) -> None:
    a, b = one.frame[row], other.frame[at]
    assert a.equals(b, null_equal=True), f"{a.to_dicts()} is not {b.to_dicts()}"


def _back(case: Case, alone: Decoded) -> None:
    try:
        (value,) = case.form.encode(alone.frame)
    except WriteError:
        return
    again = case.form.decode([value])
    nulls = sum(column.null_count() for column in alone.frame.get_columns())
    # A float that is not finite is written as null in JSON, which a sink sets aside.
    if not again.bad:
        _same(again, 0, alone, 0)
    else:
        assert nulls or _empty(alone), (value, again.bad)


def _empty(alone: Decoded) -> bool:
    """Whether a cell is one that CSV and text have no way to tell from none."""
    return any(cell in ("", None) or str(cell) == "nan" for cell in alone.frame.row(0))
