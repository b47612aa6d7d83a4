"""Trips, and the right answers, computed apart from both contenders."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, Final

import numpy as np
import orjson
import polars as pl

from topologies.uber.enrich import CENTROIDS
from topologies.uber.generate import trips

SEED: Final = 20140801
MALFORMED: Final = 0.001

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
    lines = list(chain.from_iterable(trips(records, SEED, MALFORMED)))
    whole = list(chain.from_iterable(trips(records, SEED)))
    good = [line for line, other in zip(whole, lines, strict=True) if line == other]
    table = pl.read_csv(
        b"\n".join(good), has_header=False, new_columns=["dt", "lat", "lon", "base"]
    )
    lat, lon = table["lat"].to_numpy(), table["lon"].to_numpy()
    points = np.array(orjson.loads(CENTROIDS.read_bytes())["centroids"])
    squares = (lat[:, None] - points[:, 0]) ** 2 + (lon[:, None] - points[:, 1]) ** 2
    table = table.with_columns(cluster=pl.Series(squares.argmin(axis=1)))
    hour = pl.col("dt").str.to_datetime("%Y-%m-%d %H:%M:%S").dt.truncate("1h")
    hourly = table.group_by("cluster", hour).len()
    return {
        1: Work(
            1,
            None,
            lines,
            records - len(good),
            Counter(table.iter_rows()),
        ),
        2: Work(
            2,
            [b"%d" % cluster for cluster in table["cluster"]],
            [orjson.dumps(row) for row in table.iter_rows(named=True)],
            0,
            Counter({(cluster, start): count for cluster, start, count in hourly.iter_rows()}),
        ),
    }


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
