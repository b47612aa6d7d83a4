"""Inputs of the five stages, and the right answers, computed apart from all contenders.

| stage | input | job |
|---|---|---|
| 1 | CSV lines without a key, one in a thousand malformed | the nearest of the centroids |
| 2 | the right answer of stage 1 as JSON, by cluster | count by cluster and hour, updates |
| 3 | JSON payments by user | sum and count by user and 10 minutes, updates |
| 4 | those of stage 3 by shop, which their key alone names | as stage 3 |
| 5 | JSON orders and JSON payments by user, a topic each | pairs within 10 minutes |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from itertools import chain
from typing import Any, Final

import numpy as np
import orjson
import polars as pl

from topologies.uber.enrich import CENTROIDS
from topologies.uber.generate import trips

SEED: Final = 20140801
MALFORMED: Final = 0.001
USERS: Final = 100_000
START_MS: Final = 1_406_851_200_000
SPAN_S: Final = 3600
DISORDER_S: Final = 60
SHOPS: Final = 500
# With as many users to the records, a record has as many pairs, however many records there are.
RECORDS_PER_USER: Final = 10
HOUR_MS: Final = 3_600_000
TEN_MINUTES_MS: Final = 600_000

PAIR: Final = ["user", "order", "ordered", "payment", "amount", "paid"]
# The columns of stages where every output is part of the answer.
EVERY: Final = {1: ["dt", "lat", "lon", "base", "cluster"], 5: PAIR}

Answer = pl.DataFrame


@dataclass(frozen=True, slots=True)
class Work:
    """What one stage reads, and what must come of it.

    ``spread`` says the partition of a record, once it is taken modulo their number. ``answer`` is
    sorted by all of its columns: every output of stages 1 and 5, the last update of each key and
    window of the others. ``least(n)`` is how many outputs the first n records give at the least.
    With several ``topics`` records go to each in turn.
    """

    stage: int
    keys: list[bytes] | None
    values: list[bytes]
    spread: list[int]
    malformed: int
    answer: Answer
    least: Callable[[int], int]
    topics: int = 1


def work(stage: int, records: int) -> Work:
    """The work of one stage; stage 2 reads the right answer of stage 1."""
    makers = {1: _trips, 2: _clusters, 3: _payments, 4: _by_shop, 5: _orders}
    return makers[stage](records)


@cache
def _enriched(records: int) -> tuple[list[bytes], pl.DataFrame]:
    lines = list(chain.from_iterable(trips(records, SEED, MALFORMED)))
    whole = list(chain.from_iterable(trips(records, SEED)))
    good = [line == other for line, other in zip(whole, lines, strict=True)]
    table = pl.read_csv(
        b"\n".join(whole), has_header=False, new_columns=["dt", "lat", "lon", "base"]
    ).filter(pl.Series(good))
    points = np.array(orjson.loads(CENTROIDS.read_bytes())["centroids"])
    lat, lon = table["lat"].to_numpy(), table["lon"].to_numpy()
    squares = (lat[:, None] - points[:, 0]) ** 2 + (lon[:, None] - points[:, 1]) ** 2
    return lines, table.with_columns(cluster=pl.Series(squares.argmin(axis=1)))


def _trips(records: int) -> Work:
    lines, table = _enriched(records)
    bad = records - table.height
    answer = table.sort(table.columns)
    return Work(1, None, lines, list(range(records)), bad, answer, lambda n: n - bad)


def _clusters(records: int) -> Work:
    _, table = _enriched(records)
    start = pl.col("dt").str.to_datetime("%Y-%m-%d %H:%M:%S").dt.epoch("ms") // HOUR_MS * HOUR_MS
    groups = table.select("cluster", start.alias("start"))
    counts = groups.group_by("cluster", "start").agg(count=pl.len().cast(pl.Int64))
    clusters = table["cluster"].to_list()
    return Work(
        2,
        [b"%d" % cluster for cluster in clusters],
        [orjson.dumps(row) for row in table.iter_rows(named=True)],
        clusters,
        0,
        counts.sort(counts.columns),
        lambda n: groups.head(n).n_unique(),
    )


def _paid(rng: np.random.Generator, records: int, users: int) -> pl.DataFrame:
    late_s = rng.integers(0, DISORDER_S + 1, records)
    seconds = np.maximum(np.arange(records) * (SPAN_S / records) - late_s, 0).astype(np.int64)
    return pl.DataFrame(
        {
            "number": rng.integers(0, users, records),
            "amount": rng.integers(1, 400, records) / 4,  # quarters: their sums are exact
            "ts": START_MS + 1000 * seconds,
        }
    ).with_columns(user=pl.format("u{}", pl.col("number").cast(pl.String).str.zfill(6)))


def _payments(records: int) -> Work:
    table = _paid(np.random.default_rng(SEED), records, USERS)
    start = pl.col("ts") // TEN_MINUTES_MS * TEN_MINUTES_MS
    groups = table.select("user", start.alias("start"), "amount")
    sums = groups.group_by("user", "start").agg(
        sum=pl.col("amount").sum(), count=pl.len().cast(pl.Int64)
    )
    rows = table.select("user", "amount", "ts").iter_rows(named=True)
    return Work(
        3,
        [user.encode() for user in table["user"]],
        [orjson.dumps(row) for row in rows],
        table["number"].to_list(),
        0,
        sums.sort(sums.columns),
        lambda n: groups.head(n).select("user", "start").n_unique(),
    )


def _by_shop(records: int) -> Work:
    shops = np.random.default_rng(SEED + 1).integers(0, SHOPS, records).tolist()
    keys = [b"s%03d" % shop for shop in shops]
    return replace(_payments(records), stage=4, keys=keys, spread=shops)


def _orders(records: int) -> Work:
    """Even records are orders, odd ones payments; one's number is that of the record."""
    table = _paid(np.random.default_rng(SEED + 2), records, max(1, records // RECORDS_PER_USER))
    table = table.with_row_index("record").cast({"record": pl.Int64})
    orders = table.gather_every(2).select("user", order="record", ordered="ts")
    payments = table.gather_every(2, offset=1)
    payments = payments.select("user", "amount", payment="record", paid="ts")
    behind = pl.col("paid") - pl.col("ordered")
    pairs = orders.join(payments, on="user").filter(behind.is_between(0, TEN_MINUTES_MS))
    pairs = pairs.select(PAIR).sort(PAIR)
    known = pairs.select(pl.max_horizontal("order", "payment")).to_series().sort()
    values = [
        orjson.dumps(
            {"user": user, "payment": i, "amount": amount, "ts": ts}
            if i % 2
            else {"user": user, "order": i, "ts": ts}
        )
        for i, user, amount, ts in table.select("record", "user", "amount", "ts").iter_rows()
    ]
    return Work(
        5,
        [user.encode() for user in table["user"]],
        values,
        table["number"].to_list(),
        0,
        pairs,
        lambda n: int(known.search_sorted(n)),
        topics=2,
    )


def answer(stage: int, values: Iterable[bytes]) -> Answer:
    """What came out, in the form of the right answer. A key's values must be in order."""
    found = [orjson.loads(value) for value in values if value]
    if stage in EVERY:
        names = EVERY[stage]
        rows = [[r[name] for r in found] for name in names]
        table = pl.DataFrame(dict(zip(names, rows, strict=True)))
        return table.sort(names)
    last: dict[tuple[Any, int], tuple[Any, ...]] = {}
    for row in found:
        if row.get("diff", 1) < 0:  # Pathway takes an old row back before it gives the new one
            continue
        start = _ms(row["start"] if "start" in row else row["window_start"])
        if stage == 2:
            last[row["cluster"], start] = (row["count"] if "count" in row else row["trips"],)
        else:
            last[row["user"], start] = float(row["sum"]), row["count"]
    names = ["cluster", "start", "count"] if stage == 2 else ["user", "start", "sum", "count"]
    return pl.DataFrame(
        [(*key, *values) for key, values in last.items()], schema=names, orient="row"
    ).sort(names)


@cache
def _ms(value: float | str) -> int:
    """Milliseconds since 1970, of such or of text in ISO 8601; without a zone it is UTC."""
    if not isinstance(value, str):
        return int(value)
    return round(datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp() * 1000)


def difference(want: Answer, found: Answer) -> str:
    """Empty when they are equal."""
    found = found.cast(want.schema)
    if want.equals(found):
        return ""
    missing = want.join(found, on=want.columns, how="anti")
    extra = found.join(want, on=want.columns, how="anti")
    return (
        f"{found.height} rows, not {want.height}; {missing.height} missing, as "
        f"{missing.head(2).rows()}; {extra.height} that should not be, as {extra.head(2).rows()}"
    )
