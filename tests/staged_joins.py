"""Joins, and what each must come to by plain Python: cases as those of `tests.staged`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import polars as pl

from processor import Frame, Topology
from processor import functions as F
from tests.staged import END, EPOCH, Case, Record, Topics, grouped, read, start, summed, timely
from tests.staged import _marked as marked


def _sides(app: Topology, **options: Any) -> tuple[Frame, Frame]:
    """Two topics as the sides of a join, each with names of its own but for the key."""
    left, right = marked(read(app, **options)), marked(read(app, "other", **options))
    return left.select("at", "user", "shop", "n"), right.select("at", "user", m=pl.col("n"))


def _joined() -> Topology:
    app = Topology("app")
    left, right = _sides(app)
    pairs = left.join(right, on="user", between=("-20 minutes", "45 minutes"))
    pairs.select("at", "at_right", "user", "shop", "n", "m").write.kafka("out")
    return app


def _left_joined() -> Topology:
    app = Topology("app")
    left, right = _sides(app)
    pairs = left.join(right, on=["user"], how="left", between=("8 minutes", "24 minutes"))
    pairs.select("at", "at_right", "user", "shop", "n", "m").write.kafka("out")
    return app


def _joined_with_itself() -> Topology:
    app = Topology("app")
    rows = marked(read(app))
    few = rows.filter(pl.col("n") < 4).select("at", "user", "flag", "n")
    pairs = few.join(rows.select("at", "user", "flag", "shop"), ["user", "flag"], within="0 s")
    pairs.select("at", "user", "flag", "n", "shop").write.kafka("out")
    return app


def _joined_then_counted() -> Topology:
    app = Topology("app")
    left, right = _sides(app)
    pairs = left.join(right, on="user", how="left", between=("-12 minutes", "16 minutes"))
    pairs.group_by(F.window("at", "1 hour"), "shop").agg(c=F.count(), s=F.sum("m")).select(
        "window_start", "shop", "c", "s"
    ).write.kafka("out")
    return app


def _joined_twice() -> Topology:
    app = Topology("app")
    left, right = _sides(app)
    both = left.union(right.select("at", "user", shop=pl.lit(9, pl.Int64), n=pl.col("m")))
    pairs = both.join(right, on="user", between=("0 s", "12 minutes")).select(
        "at", "user", "n", "m"
    )
    hours = left.group_by(F.window("at", "1 hour"), "user").agg(c=F.count())
    hours = hours.select("window_start", "user", "c")
    three = pairs.join(hours, on="user", how="left", between=("-1 hour", "0 s"))
    three.select("at", "user", "n", "m", "c", "window_start").write.kafka("out")
    return app


def clock(minutes: int) -> str:
    return (EPOCH + timedelta(minutes=minutes)).replace(tzinfo=None).isoformat()


def matched(
    left: Sequence[Record], right: Sequence[Record], lower: int, upper: int, *, outer: bool = False
) -> list[tuple[Record, Record | None]]:
    """Pairs of one user and near in time; every record of the left at least once, where asked."""
    found: list[tuple[Record, Record | None]] = []
    for one in left:
        same = [
            other for other in right
            if one["user"] is not None and one["user"] == other["user"]
            and lower <= other["t"] - one["t"] <= upper
        ]  # fmt: skip
        found += [(one, other) for other in same or ([None] if outer else [])]
    return found


def _two(topics: Topics) -> tuple[list[Record], list[Record]]:
    return timely(topics["in"]), timely(topics["other"])


def _expected_joined(topics: Topics, lower: int, upper: int, *, outer: bool) -> list[Any]:
    return [
        (clock(a["t"]), b and clock(b["t"]), a["user"], a["shop"], a["n"], b and b["n"])
        for a, b in matched(*_two(topics), lower, upper, outer=outer)
        if a["t"] < END or b is not None
    ]


def _expected_with_itself(topics: Topics) -> list[tuple[Any, ...]]:
    rows = timely(topics["in"])
    few = [r for r in rows if r["n"] is not None and r["n"] < 4]
    return [
        (clock(a["t"]), a["user"], a["flag"], a["n"], b["shop"])
        for a, b in matched(few, rows, 0, 0)
        if b is not None and a["flag"] is not None and a["flag"] == b["flag"]
    ]


def _expected_counted(topics: Topics) -> list[tuple[Any, ...]]:
    pairs = matched(*_two(topics), -12, 16, outer=True)
    rows = [{"t": a["t"], "shop": a["shop"], "n": b and b["n"]} for a, b in pairs if a["t"] < END]
    return [row[:4] for row in summed(rows, lambda r: (start(r["t"]), r["shop"]))]


def _expected_twice(topics: Topics) -> list[tuple[Any, ...]]:
    left, right = _two(topics)
    pairs = [{**a, "m": b["n"]} for a, b in matched([*left, *right], right, 0, 12) if b is not None]
    hours = [
        {"t": t, "user": user, "c": len(of)}
        for (t, user), of in grouped(left, lambda r: (r["t"] // 60 * 60, r["user"])).items()
    ]
    return [
        (clock(a["t"]), a["user"], a["n"], a["m"], b and b["c"], b and clock(b["t"]))
        for a, b in matched(pairs, hours, -60, 0, outer=True)
        if a["t"] < END
    ]


JOINS: dict[str, Case] = {
    "joined": Case(
        _joined, lambda t: {"out": _expected_joined(t, -20, 45, outer=False)}, {"out": ()},
        ("in", "other"), brief=True,
    ),
    "left joined": Case(
        _left_joined, lambda t: {"out": _expected_joined(t, 8, 24, outer=True)}, {"out": ()},
        ("in", "other"), brief=True,
    ),
    "joined with itself": Case(
        _joined_with_itself, lambda t: {"out": _expected_with_itself(t)}, {"out": ()}, brief=True
    ),
    "joined, then counted": Case(
        _joined_then_counted, lambda t: {"out": _expected_counted(t)}, {"out": ()},
        ("in", "other"), brief=True,
    ),
    "joined twice": Case(
        _joined_twice, lambda t: {"out": _expected_twice(t)}, {"out": ()},
        ("in", "other"), brief=True,
    ),
}  # fmt: skip
