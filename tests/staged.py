"""Topologies of several stages, and what each must come to by plain Python.

The second knows nothing of the processor: it goes over the records one by one with dictionaries. A
record is ``{"t": minutes, "user", "shop", "n", "flag"}`` and lies in a partition of its own topic.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import polars as pl

from processor import Frame, Json, Topology
from processor import functions as F

Record: TypeAlias = dict[str, Any]
Topics: TypeAlias = Mapping[str, Sequence[Sequence[Record]]]
"""By topic, for each of its partitions the records in order."""

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
COLUMNS = {
    "at": pl.Datetime("us"), "user": pl.String, "shop": pl.Int64, "n": pl.Int64, "flag": pl.Boolean,
}  # fmt: skip
OPTIONAL = frozenset({"user", "shop", "n", "flag"})
DELAY = 30
LISTED = ("the whole of the last list",)
"""In place of an output's keys: what counts are its last rows, in their order."""
END = 100_000
"""Minutes: a record of this time closes all windows, and belongs to no group that is compared."""


@dataclass(frozen=True)
class Case:
    """``build`` makes the topology, ``expected`` the rows of each output, as sorted tuples.

    ``keys`` are an output's columns whose last row counts; none: each row once. A ``brief`` one is
    like others in most, and tried less often.
    """

    build: Callable[[], Topology]
    expected: Callable[[Topics], Mapping[str, Sequence[tuple[Any, ...]]]]
    keys: Mapping[str, tuple[str, ...]]
    topics: tuple[str, ...] = ("in",)
    brief: bool = False


def read(app: Topology, topic: str = "in", **options: Any) -> Frame:
    options = {"event_time": "at", "partitioned_by": "shop", **options}
    return app.read.kafka(topic, format=Json(COLUMNS, optional=OPTIONAL), **options)


def timely(partitions: Sequence[Sequence[Record]]) -> list[Record]:
    """The records that are not late: none is behind its partition's largest by more than DELAY."""
    kept = []
    for records in partitions:
        largest = -(10**9)
        for record in records:
            largest = max(largest, record["t"])
            if record["t"] >= largest - DELAY:
                kept.append(record)
    return kept


def real(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record["t"] < END]


def folded(values: Sequence[int | None]) -> tuple[Any, ...]:
    """Count, sum, least and largest."""
    known = [value for value in values if value is not None]
    return (len(values), sum(known), min(known, default=None), max(known, default=None))


def grouped(
    records: Sequence[Record], key: Callable[[Record], tuple[Any, ...]]
) -> dict[tuple[Any, ...], list[Record]]:
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups


def summed(
    records: Sequence[Record], key: Callable[[Record], tuple[Any, ...]]
) -> list[tuple[Any, ...]]:
    found = grouped(records, key)
    return [(*name, *folded([r["n"] for r in of])) for name, of in found.items()]


def shown(minutes: int) -> str:
    return (EPOCH + timedelta(minutes=minutes)).replace(tzinfo=None).isoformat()


def start(minutes: int, size: int = 60) -> str:
    return shown(minutes // size * size)


def sliding(
    records: Sequence[Record], size: int, slide: int, first: int, *names: str
) -> list[tuple[Any, ...]]:
    """Groups by windows that begin each ``slide``, one of them at ``first``; all in minutes."""
    copies = [
        {**record, "w": begin}
        for record in records
        for begin in range(first - 10 * size, record["t"] + 1, slide)
        if begin <= record["t"] < begin + size
    ]
    return summed(copies, lambda r: (shown(r["w"]), *(r[name] for name in names)))


AGGREGATES: dict[str, Any] = {
    "c": F.count(), "s": F.sum("n"), "least": F.min("n"), "most": F.max("n"),
}  # fmt: skip
FOLDED = ("c", "s", "least", "most")


def _marked(rows: Frame) -> Frame:
    return rows.with_watermark(f"{DELAY} minutes")


def _timely_of(topics: Topics, *names: str) -> list[Record]:
    return [r for name in names or ("in",) for r in real(timely(topics[name]))]


def _windowed_by_user() -> Topology:
    app = Topology("app")
    rows = _marked(read(app)).group_by(F.window("at", "1 hour"), "user").agg(**AGGREGATES)
    rows.select("window_start", "user", *FOLDED).write.kafka("out")
    return app


def _by_user() -> Topology:
    app = Topology("app")
    read(app).group_by("user").agg(**AGGREGATES).write.kafka("out", key="user", mode="update")
    return app


def _complete() -> Topology:
    app = Topology("app")
    read(app).group_by("user", "flag").agg(**AGGREGATES).write.kafka(
        "out", key="user", mode="complete"
    )
    return app


def _all_windows() -> Topology:
    app = Topology("app")
    rows = _marked(read(app)).group_by(F.window("at", "1 hour")).agg(**AGGREGATES)
    rows.select("window_start", *FOLDED).write.kafka("out")
    return app


def _total() -> Topology:
    app = Topology("app")
    read(app).agg(**AGGREGATES).write.kafka("out", mode="update")
    return app


def _chain() -> Topology:
    app = Topology("app")
    per = _marked(read(app)).group_by(F.window("at", "1 hour"), "user", "shop").agg(n=F.sum("n"))
    days = per.group_by(F.window("window_start", "1 day"), "user").agg(**AGGREGATES)
    days.select("window_start", "user", *FOLDED).write.kafka("out")
    days.select("window_start", n=pl.col("s")).group_by(F.window("window_start", "1 day")).agg(
        **AGGREGATES
    ).select("window_start", *FOLDED).write.kafka("all")
    return app


def _union() -> Topology:
    app = Topology("app")
    left, right = _marked(read(app)), _marked(read(app, "other", partitioned_by=()))
    rows = left.union(right.filter(pl.col("n") > 3))
    rows.filter(pl.col("flag").fill_null(value=True)).select("user", "n").write.kafka("copy")
    rows.group_by(F.window("at", "1 hour"), "user").agg(**AGGREGATES).select(
        "window_start", "user", *FOLDED
    ).write.kafka("out")
    return app


def _with_itself() -> Topology:
    app = Topology("app")
    rows = _marked(read(app))
    few, many = rows.filter(pl.col("n") < 5), rows.filter(pl.col("n") >= 2)
    few.union(many).group_by(F.window("at", "1 hour"), "shop").agg(**AGGREGATES).select(
        "window_start", "shop", *FOLDED
    ).write.kafka("out")
    return app


def _computed() -> Topology:
    app = Topology("app")
    rows = read(app).filter(pl.col("n").is_not_null())
    rows = rows.with_columns(kind=pl.col("n") % 3, day=pl.col("at").dt.date())
    rows.select("shop", "n").write.kafka("seen")
    rows.group_by("kind", "day").agg(**AGGREGATES).write.kafka("out", key="kind", mode="update")
    return app


def _two_ways() -> Topology:
    app = Topology("app")
    rows = _marked(read(app))
    hours = rows.group_by(F.window("at", "1 hour"), "shop").agg(**AGGREGATES)
    hours.select("window_start", "shop", *FOLDED).write.kafka("shops")
    rows.group_by(F.window("at", "1 hour"), "user", name="people").agg(**AGGREGATES).select(
        "window_start", "user", *FOLDED
    ).write.kafka("out")
    hours.select("window_start", n=pl.col("s")).group_by(F.window("window_start", "1 day")).agg(
        **AGGREGATES
    ).select("window_start", *FOLDED).write.kafka("days")
    return app


def _two_queries() -> Topology:
    app = Topology("app")
    users = read(app).group_by("user").agg(**AGGREGATES)
    users.write.kafka("out", key="user", mode="update")
    flags = read(app, "other").group_by("flag").agg(**AGGREGATES)
    flags.write.kafka("flags", key="flag", mode="update")
    return app


def _one_place() -> Topology:
    app = Topology("app")
    rows = (
        _marked(read(app, partitioned_by=())).group_by(F.window("at", "1 hour")).agg(n=F.sum("n"))
    )
    rows.group_by(F.window("window_start", "1 day")).agg(**AGGREGATES).select(
        "window_start", *FOLDED
    ).write.kafka("out")
    return app


def _sliding(*window: str, mode: Any = "append") -> Topology:
    app = Topology("app")
    rows = _marked(read(app)).group_by(F.window("at", *window), "user").agg(**AGGREGATES)
    key = None if mode == "append" else "user"
    rows.select("window_start", "user", *FOLDED).write.kafka("out", mode=mode, key=key)
    return app


def _sliding_chain() -> Topology:
    app = Topology("app")
    per = _marked(read(app)).group_by(F.window("at", "1 hour", "20 minutes"), "user", "shop")
    sums = per.agg(n=F.sum("n"))
    sums.select("window_start", "user", "shop", "n").write.kafka("each")
    sums.group_by(F.window("window_start", "4 hours"), "user").agg(**AGGREGATES).select(
        "window_start", "user", *FOLDED
    ).write.kafka("out")
    return app


def _expected_sliding_chain(topics: Topics) -> dict[str, list[tuple[Any, ...]]]:
    hours = sliding(_timely_of(topics), 60, 20, 0, "user", "shop")
    each = [(begin, user, shop, row[1]) for begin, user, shop, *row in hours]
    # 2024-01-01T00:00 is a whole multiple of four hours since 1970.
    sums = [{"t": minutes(begin), "user": user, "n": n} for begin, user, _, n in each]
    return {"each": each, "out": summed(sums, lambda r: (start(r["t"], 240), r["user"]))}


def _ordered() -> Topology:
    app = Topology("app")
    groups = read(app).group_by("user").agg(**AGGREGATES)
    some = groups.filter(pl.col("user").is_null() | (pl.col("user") != "end"))
    some.order_by("s", descending=True).limit(3).select("user", *FOLDED).write.kafka(
        "out", mode="complete"
    )
    return app


def _repartitioned(*keys: str, partitions: int) -> Topology:
    app = Topology("app")
    rows = _marked(read(app)).filter(pl.col("n").is_not_null())
    dealt = rows.repartition(*keys, partitions=partitions)
    dealt.select("shop", "n").write.kafka("copy")
    dealt.group_by(F.window("at", "1 hour"), "user").agg(**AGGREGATES).select(
        "window_start", "user", *FOLDED
    ).write.kafka("out")
    return app


def _expected_repartitioned(topics: Topics) -> dict[str, list[tuple[Any, ...]]]:
    rows = [r for r in timely(topics["in"]) if r["n"] is not None]
    copy = [(r["shop"], r["n"]) for r in rows]
    return {"copy": copy, "out": _hourly(real(rows), "user")}


def _expected_ordered(topics: Topics) -> dict[str, list[tuple[Any, ...]]]:
    groups = summed(
        [r for r in _everything(topics, "in") if r["user"] != "end"], lambda r: (r["user"],)
    )
    ranked = sorted(groups, key=lambda row: (-row[2], row[0] is not None, row[0] or ""))
    return {"out": ranked[:3]}


def minutes(text: str) -> int:
    return (datetime.fromisoformat(text).replace(tzinfo=UTC) - EPOCH) // timedelta(minutes=1)


def _hourly(records: Sequence[Record], *names: str) -> list[tuple[Any, ...]]:
    return summed(records, lambda r: (start(r["t"]), *(r[name] for name in names)))


def _expected_chain(topics: Topics) -> dict[str, list[tuple[Any, ...]]]:
    hours = grouped(_timely_of(topics), lambda r: (r["t"] // 60 * 60, r["user"], r["shop"]))
    sums = [
        {"t": t, "user": user, "n": folded([r["n"] for r in of])[1]}
        for (t, user, _), of in hours.items()
    ]
    days = summed(sums, lambda r: (start(r["t"], 1440), r["user"]))
    totals = [{"t": day, "n": row[1]} for (day, _, *row) in days]
    return {"out": days, "all": summed(totals, lambda r: (r["t"],))}


def _expected_union(topics: Topics) -> dict[str, list[tuple[Any, ...]]]:
    left = timely(topics["in"])
    right = [r for r in timely(topics["other"]) if r["n"] is not None and r["n"] > 3]
    copy = [(r["user"], r["n"]) for r in [*left, *right] if r["flag"] is not False]
    return {"copy": copy, "out": _hourly(real([*left, *right]), "user")}


def _expected_itself(topics: Topics) -> dict[str, list[tuple[Any, ...]]]:
    rows = [r for r in _timely_of(topics) if r["n"] is not None]
    both = [r for r in rows if r["n"] < 5] + [r for r in rows if r["n"] >= 2]
    return {"out": _hourly(both, "shop")}


def _expected_computed(topics: Topics) -> dict[str, list[tuple[Any, ...]]]:
    rows = [r for part in topics["in"] for r in part if r["n"] is not None]
    days = summed(rows, lambda r: (r["n"] % 3, start(r["t"], 1440)[:10]))
    return {"seen": [(r["shop"], r["n"]) for r in rows], "out": days}


def _expected_two_ways(topics: Topics) -> dict[str, list[tuple[Any, ...]]]:
    rows = _timely_of(topics)
    hours = _hourly(rows, "shop")
    sums = [{"day": hour[0][:10] + "T00:00:00", "n": hour[3]} for hour in hours]
    return {
        "shops": hours, "out": _hourly(rows, "user"),
        "days": summed(sums, lambda r: (r["day"],)),
    }  # fmt: skip


def _expected_one_place(topics: Topics) -> dict[str, list[tuple[Any, ...]]]:
    hours = grouped(_timely_of(topics), lambda r: (r["t"] // 60 * 60,))
    sums = [{"t": t, "n": folded([r["n"] for r in of])[1]} for (t,), of in hours.items()]
    return {"out": summed(sums, lambda r: (start(r["t"], 1440),))}


def _everything(topics: Topics, *names: str) -> list[Record]:
    return [r for name in names for part in topics[name] for r in part]


CASES: dict[str, Case] = {
    "windows by another column": Case(
        _windowed_by_user, lambda t: {"out": _hourly(_timely_of(t), "user")}, {"out": ()}
    ),
    "by another column": Case(
        _by_user,
        lambda t: {"out": summed(_everything(t, "in"), lambda r: (r["user"],))},
        {"out": ("user",)},
    ),
    "complete": Case(
        _complete,
        lambda t: {"out": summed(_everything(t, "in"), lambda r: (r["user"], r["flag"]))},
        {"out": ("user", "flag")},
    ),
    "windows of all": Case(_all_windows, lambda t: {"out": _hourly(_timely_of(t))}, {"out": ()}),
    "a total": Case(
        _total, lambda t: {"out": summed(_everything(t, "in"), lambda _: ())}, {"out": ("none",)},
    ),
    "three in a row": Case(_chain, _expected_chain, {"out": (), "all": ()}),
    "two topics united": Case(_union, _expected_union, {"copy": (), "out": ()}, ("in", "other")),
    "united with itself": Case(_with_itself, _expected_itself, {"out": ()}),
    "computed keys": Case(_computed, _expected_computed, {"seen": (), "out": ("kind", "day")}),
    "two ways": Case(_two_ways, _expected_two_ways, {"out": (), "shops": (), "days": ()}),
    "two queries": Case(
        _two_queries,
        lambda t: {
            "out": summed(_everything(t, "in"), lambda r: (r["user"],)),
            "flags": summed(_everything(t, "other"), lambda r: (r["flag"],)),
        },
        {"out": ("user",), "flags": ("flag",)},
        ("in", "other"),
    ),
    "all in one place twice": Case(_one_place, _expected_one_place, {"out": ()}),
    "dealt out by a key": Case(
        lambda: _repartitioned("user", partitions=5),
        _expected_repartitioned, {"copy": (), "out": ()}, brief=True,
    ),
    "dealt out evenly": Case(
        lambda: _repartitioned(partitions=2), _expected_repartitioned, {"copy": (), "out": ()},
        brief=True,
    ),
    "the first in order": Case(_ordered, _expected_ordered, {"out": LISTED}, brief=True),
    "windows that slide": Case(
        lambda: _sliding("1 hour", "10 minutes"),
        lambda t: {"out": sliding(_timely_of(t), 60, 10, 0, "user")},
        {"out": ()}, brief=True,
    ),
    "windows that slide, updated": Case(
        lambda: _sliding("50 minutes", "20 minutes", "5 minutes", mode="update"),
        lambda t: {"out": sliding(_timely_of(t), 50, 20, 5, "user")},
        {"out": ("window_start", "user")}, brief=True,
    ),
    "windows that slide, complete": Case(
        lambda: _sliding("90 minutes", "1 hour", mode="complete"),
        lambda t: {"out": sliding(_timely_of(t), 90, 60, 0, "user")},
        {"out": ("window_start", "user")}, brief=True,
    ),
    "windows that slide, then tumble": Case(
        _sliding_chain, _expected_sliding_chain, {"each": (), "out": ()}, brief=True
    ),
}  # fmt: skip


def input_of(
    seed: int, names: Sequence[str], partitions: int, count: int
) -> dict[str, list[list[Record]]]:
    """Records for each partition, out of order by up to twice the delay; the last closes all."""
    made = random.Random(seed)
    topics: dict[str, list[list[Record]]] = {}
    for name in names:
        parts: list[list[Record]] = [[] for _ in range(partitions)]
        for number in range(count):
            shop = made.choice([None, *range(6)])
            record = {
                "t": max(0, number * 4 - made.randrange(2 * DELAY)),
                "user": made.choice([None, "ann", "bob", "Жанна", "eve", ""]),
                "shop": shop,
                "n": made.choice([None, *range(-3, 9)]),
                "flag": made.choice([None, True, False]),
            }
            parts[zlib.crc32(repr(shop).encode()) % partitions].append(record)
        for part in parts:
            part.append({"t": 2 * END, "user": "end", "shop": -1, "n": 0, "flag": False})
        topics[name] = parts
    return topics


def as_json(record: Record) -> Record:
    at = (EPOCH + timedelta(minutes=record["t"])).replace(tzinfo=None).isoformat()
    return {"at": at, **{name: record[name] for name in ("user", "shop", "n", "flag")}}
