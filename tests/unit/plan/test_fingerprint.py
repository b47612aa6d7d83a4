from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from processor import Json, Topology
from processor import functions as F
from processor.plan.fingerprint import fingerprint


def make(
    *,
    window: str | None = "1h",
    keys: tuple[str, ...] = ("user",),
    kind: Any = pl.Int64,
    delay: str = "1s",
    topic: str = "out",
    limit: int = 0,
    **aggregates: Any,
) -> str:
    app = Topology("a")
    form = Json({"dt": pl.Datetime("us"), "user": pl.String, "city": pl.String, "n": kind})
    rows = app.read.kafka("in", format=form, event_time="dt", partitioned_by="user")
    rows = rows.with_watermark(delay).filter(pl.col("n") > limit)
    group = [F.window("dt", window)] if window else []
    totals = rows.group_by(*group, *keys).agg(**aggregates or {"c": F.sum("n")})
    totals.write.kafka(topic, mode="update")
    return fingerprint(app.plan())


def test_it_is_sixteen_hexadecimal_digits() -> None:
    assert len(make()) == 16
    assert int(make(), 16) >= 0


@pytest.mark.parametrize("change", [{"delay": "9s"}, {"topic": "other"}, {"limit": 5}])
def test_what_leaves_the_state_as_it_is_leaves_the_fingerprint(change: dict) -> None:
    assert make(**change) == make()


@pytest.mark.parametrize(
    "change",
    [
        {"window": "2h"},
        {"window": None},
        {"keys": ("user", "city")},
        {"keys": ("city", "user")},
        {"kind": pl.Float64},
        {"c": F.max("n")},
        {"d": F.sum("n")},
        {"c": F.sum("n"), "d": F.count()},
        {"c": F.count("n")},
        {"c": F.count()},
    ],
)
def test_what_changes_the_state_changes_the_fingerprint(change: dict) -> None:
    assert make(**change) != make()
