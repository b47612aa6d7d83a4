from __future__ import annotations

import random
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from processor.formats.base import WriteError
from processor.formats.blocks import Blocks

KINDS: dict[str, pl.DataType] = {
    "i": pl.Int8(), "u": pl.UInt64(), "f": pl.Float32(), "s": pl.String(), "b": pl.Boolean(),
    "y": pl.Binary(), "d": pl.Date(), "t": pl.Time(), "at": pl.Datetime("ns", "UTC"),
    "ms": pl.Datetime("ms"), "for": pl.Duration("us"), "dec": pl.Decimal(20, 3),
    "e": pl.Enum(["a", "b"]), "l": pl.List(pl.Struct({"k": pl.String(), "v": pl.Int64()})),
    "o": pl.Struct({"n": pl.Int32(), "m": pl.List(pl.Float64())}),
}  # fmt: skip
ROW: dict[str, Any] = {
    "i": -1, "u": 2**64 - 1, "f": 0.5, "s": "ß", "b": True, "y": b"\x00\xff",
    "d": date(2024, 2, 29), "t": time(23, 59, 59, 999999), "at": datetime(2024, 1, 1),
    "ms": datetime(1999, 1, 1), "for": timedelta(microseconds=-7), "dec": Decimal("-1.125"),
    "e": "b", "l": [{"k": "x", "v": None}], "o": {"n": 3, "m": [1.5, None]},
}  # fmt: skip


def test_every_type_comes_back_as_it_went_nulls_too() -> None:
    rows = pl.DataFrame([ROW, dict.fromkeys(ROW)], schema=KINDS)
    form = Blocks(KINDS)
    decoded = form.decode([value for _, value in form.pack(rows)])
    assert_frame_equal(decoded.frame, rows)
    assert not decoded.bad


def test_rows_of_several_blocks_come_in_order_and_markers_are_no_rows() -> None:
    form = Blocks({"n": pl.Int64()})
    ((_, one),), ((_, two),) = (form.pack(pl.DataFrame({"n": n})) for n in ([1, 2], [3]))
    decoded = form.decode([None, one, b"", two, None])
    assert decoded.frame["n"].to_list() == [1, 2, 3]
    assert decoded.records is not None
    assert decoded.records.tolist() == [1, 1, 3]
    empty = form.decode([None, b""])
    assert (empty.frame.height, empty.frame.schema, dict(empty.bad)) == (0, {"n": pl.Int64()}, {})


def test_no_block_is_longer_than_it_may_be_and_a_row_that_is_has_a_name() -> None:
    form = Blocks({"s": pl.String()}, bytes_max=20_000)
    made = random.Random(1)
    rows = pl.DataFrame({"s": ["".join(made.choices("abcdefgh", k=500)) for _ in range(300)]})
    packed = form.pack(rows)
    assert max(len(value) for _, value in packed) <= 20_000
    assert sum(count for count, _ in packed) == 300
    assert_frame_equal(form.decode([value for _, value in packed]).frame, rows)
    with pytest.raises(WriteError, match="more than 20000"):
        form.pack(pl.DataFrame({"s": ["".join(made.choices("abcdefgh", k=90_000))]}))


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        (pl.List(pl.String()), lambda text: [text, None]),
        (pl.Struct({"a": pl.Binary()}), lambda text: {"a": text.encode()}),
        (pl.List(pl.Struct({"a": pl.String()})), lambda text: [{"a": text}]),
        (pl.Array(pl.String(), 1), lambda text: [text]),
    ],
)
def test_a_block_has_the_text_of_its_own_rows_alone_inside_of_lists_and_structs_too(kind, cell):
    form = Blocks({"v": kind}, bytes_max=20_000)
    made = random.Random(1)
    texts = ["".join(made.choices("abcdefgh", k=500)) for _ in range(300)]
    rows = pl.DataFrame({"v": [cell(text) for text in texts]}, schema={"v": kind})
    some = rows[list(range(299, -1, -3))]
    packed = form.pack(some)
    assert max(len(value) for _, value in packed) <= 20_000
    assert len(packed) < 8
    assert_frame_equal(form.decode([value for _, value in packed]).frame, some)


def test_a_row_that_is_too_long_goes_compressed_where_that_is_short_enough() -> None:
    form = Blocks({"s": pl.String()}, bytes_max=20_000)
    rows = pl.DataFrame({"s": ["short", "x" * 90_000]})
    packed = form.pack(rows)
    assert [count for count, _ in packed] == [1, 1]
    assert_frame_equal(form.decode([value for _, value in packed]).frame, rows)


@pytest.mark.parametrize("seed", range(20))
def test_a_block_whose_bytes_were_changed_is_bad_and_harms_no_other(seed) -> None:
    form, made = Blocks({"s": pl.String(), "n": pl.Int64()}), random.Random(seed)
    ((_, good),) = form.pack(pl.DataFrame({"s": ["a", None], "n": [1, 2]}))
    broken = bytearray(good)
    for _ in range(made.randrange(1, 4)):
        broken[made.randrange(len(broken))] ^= made.randrange(1, 256)
    cut = good[: made.randrange(1, len(good))]
    decoded = form.decode([bytes(broken), good, cut])
    assert decoded.frame["n"].to_list()[1:3] == [1, 2]
    assert set(decoded.bad) == {0, 3}


def test_a_block_of_another_layout_is_bad_and_tells_both() -> None:
    ((_, other),) = Blocks({"n": pl.Int32()}).pack(pl.DataFrame({"n": [1]}, schema={"n": pl.Int32}))
    decoded = Blocks({"n": pl.Int64()}).decode([other])
    assert decoded.bad == {0: "its columns are n Int32, not n Int64"}
