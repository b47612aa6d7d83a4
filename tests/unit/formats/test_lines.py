import json

import numpy as np
import polars as pl
import pytest

from processor.formats.lines import join_rows


def written(frame: pl.DataFrame) -> list[bytes]:
    return frame.write_ndjson().encode().split(b"\n")[:-1]


def test_joined_rows_are_byte_for_byte_those_of_the_writer():
    dice = np.random.default_rng(3)
    bits = np.frombuffer(dice.bytes(80_000), np.float64)
    floats = np.where(np.isfinite(bits), bits, 0.5)
    edges = [0.0, -0.0, 1e15, 1e16, 1e17, 5e-324, 1.7976931348623157e308, 40.0, 0.1]
    floats[: len(edges)] = edges
    frame = pl.DataFrame({
        "text": [f"é{i}\u2028/<&>" for i in range(len(floats))],
        "float": floats,
        "single": dice.normal(size=len(floats)).astype(np.float32),
        "integer": dice.integers(-(2**63), 2**63 - 1, len(floats)),
        "flag": dice.random(len(floats)) < 0.5,
    })  # fmt: skip
    assert join_rows(frame) == written(frame)


@pytest.mark.parametrize(
    "cells",
    [['a"'], ["a\\"], ["a\nb"], ["\0"], ["\x1f"], [None], [float("nan")], [float("inf")], [[1]]],
    ids=repr,
)
def test_a_cell_that_needs_more_is_left_to_the_writer(cells):
    assert join_rows(pl.DataFrame({"cell": cells})) is None


def test_a_name_that_needs_more_is_left_to_the_writer():
    assert join_rows(pl.DataFrame({'say "n"': [1]})) is None


def test_every_character_that_is_joined_is_written_the_same():
    characters = [chr(c) for c in range(0x20, 0x500) if chr(c) not in '"\\']
    frame = pl.DataFrame({"c": characters})
    rows = join_rows(frame)
    assert rows == written(frame)
    assert [json.loads(row)["c"] for row in rows] == characters


def test_names_of_any_alphabet_are_members():
    assert join_rows(pl.DataFrame({"größe": [1], "名": ["a"]})) == ['{"größe":1,"名":"a"}'.encode()]
