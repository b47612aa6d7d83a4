"""Trips, and the right answers, computed apart from both contenders."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import orjson
import polars as pl

SEED: Final = 20140801
START_US: Final = 1_406_851_200_000_000  # 2014-08-01
SPAN_S: Final = 31 * 86_400
LATE_S: Final = 60
MALFORMED: Final = 0.001
CENTROIDS: Final = [
    (40.7269, -73.9919),
    (40.7634, -73.9757),
    (40.6886, -73.9617),
    (40.7907, -73.8682),
    (40.6587, -73.7778),
    (40.7005, -74.1990),
    (40.8231, -73.9271),
    (40.7416, -74.0472),
    (40.6605, -73.9905),
    (40.7480, -73.8871),
]
_FORM: Final = "%Y-%m-%d %H:%M:%S"

Answer = Counter[Any]


@dataclass(frozen=True, slots=True)
class Work:
    """What one stage reads (keys or none, and values), and what must come of it.

    ``answer`` is the multiset of outputs of stage 1, the final count by key of stage 2.
    """

    stage: int
    keys: list[bytes] | None
    values: list[bytes]
    malformed: int
    answer: Answer


def works(records: int) -> dict[int, Work]:
    """The work of both stages; stage 2 reads the right answer of stage 1."""
    trips = _trips(records)
    good = trips.filter("good")
    lat, lon = good["lat"].to_numpy(), good["lon"].to_numpy()
    points = np.array(CENTROIDS)
    squares = (lat[:, None] - points[:, 0]) ** 2 + (lon[:, None] - points[:, 1]) ** 2
    good = good.with_columns(cluster=pl.Series(squares.argmin(axis=1)))
    rows = good.select("dt", "lat", "lon", "base", "cluster")
    hourly = good.group_by("cluster", pl.col("time").dt.truncate("1h")).len()
    return {
        1: Work(
            1,
            None,
            [line.encode() for line in trips["line"]],
            records - good.height,
            Counter(rows.iter_rows()),
        ),
        2: Work(
            2,
            [b"%d" % cluster for cluster in good["cluster"]],
            [orjson.dumps(row) for row in rows.iter_rows(named=True)],
            0,
            Counter({(cluster, start): count for cluster, start, count in hourly.iter_rows()}),
        ),
    }


def _trips(records: int) -> pl.DataFrame:
    """Times ascend over a month, each up to a minute late; one line in a thousand is broken."""
    random = np.random.default_rng(SEED)
    late = random.integers(0, LATE_S + 1, records)
    seconds = np.maximum(np.arange(records) * SPAN_S // records - late, 0)
    near = np.array(CENTROIDS)[random.integers(0, len(CENTROIDS), records)]
    places = np.round(near + random.normal(0, 0.02, (records, 2)), 4)
    bases = np.array(["B02512", "B02598", "B02617", "B02682", "B02764"])
    return (
        pl.DataFrame(
            {
                "time": START_US + seconds * 1_000_000,
                "lat": places[:, 0],
                "lon": places[:, 1],
                "base": bases[random.integers(0, len(bases), records)],
                "good": random.random(records) >= MALFORMED,
            }
        )
        .with_columns(pl.col("time").cast(pl.Datetime("us")))
        .with_columns(dt=pl.col("time").dt.strftime(_FORM))
        .with_columns(
            line=pl.when("good")
            .then(pl.concat_str("dt", "lat", "lon", "base", separator=","))
            .otherwise(pl.concat_str("dt", pl.lit("4o.7x"), "lon", "base", separator=","))
        )
    )


def answer(stage: int, values: list[bytes]) -> Answer:
    """What came out, in the form of the right answer; of stage 2 the last count of a key."""
    found = [orjson.loads(value) for value in values]
    if stage == 1:
        return Counter((r["dt"], r["lat"], r["lon"], r["base"], r["cluster"]) for r in found)
    last: Answer = Counter()
    for row in found:
        start = datetime.fromisoformat(row["window_start"]).replace(tzinfo=None)
        last[row["cluster"], start] = row["trips"]
    return last
