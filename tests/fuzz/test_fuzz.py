"""A little of the nightly fuzzing, and that it finds what is planted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest

from processor import Text
from processor.formats.base import Decoded
from tests.fuzz import cases
from tests.fuzz.fuzz import fuzz


@pytest.mark.parametrize("name", cases.CASES)
def test_a_broken_record_is_bad_or_read_and_never_its_neighbours_fault(name: str) -> None:
    assert sum(fuzz(name, seed) for seed in range(6)) > 10


@dataclass(frozen=True)
class Planted:
    """A decoder of lines with a fault."""

    fault: str
    columns: Any = None

    def decode(self, values: Any) -> Decoded:
        decoded = Text().decode(values)
        if self.fault == "raises" and decoded.bad:
            raise ValueError
        if self.fault == "shifts" and decoded.bad:
            frame = decoded.frame.select(pl.all().shift(1, fill_value="xxx"))
            return Decoded(frame, decoded.bad)
        if self.fault == "drops" and decoded.bad:
            return Decoded(decoded.frame[1:], decoded.bad)
        if self.fault == "blames" and len(decoded.bad) > 1:
            return Decoded(decoded.frame, decoded.bad | {0: "it was another"})
        return decoded

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        return Text().encode(frame)


@pytest.mark.parametrize("fault", ["raises", "shifts", "drops", "blames"])
def test_a_planted_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = cases.Case(Planted(fault, {"value": pl.String}), cases.CASES["text"].row)
    monkeypatch.setitem(cases.CASES, "planted", planted)
    with pytest.raises((AssertionError, ValueError)):
        for seed in range(60):
            fuzz("planted", seed)
