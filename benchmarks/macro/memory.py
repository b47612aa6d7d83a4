"""Memory of state: a count and a sum by a text key and a window, for a million keys."""

from __future__ import annotations

import gc
import json
import sys
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl
import psutil  # type: ignore[import-untyped]

from processor.state.slab import Cell, Slab

BATCH: Final = 50_000
START: Final = datetime(2014, 8, 1)  # noqa: DTZ001 - event times have no zone


def _keys(start: int, count: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user": [f"user{i:06d}" for i in range(start, start + count)],
            "window_start": np.full(count, np.datetime64(START, "us")),
        },
        schema={"user": pl.String(), "window_start": pl.Datetime("us")},
    )


def main(keys: int) -> None:
    cells = [Cell("trips", "<i8", "add"), Cell("amount", "<f8", "add")]
    process = psutil.Process()

    def fill(slab: Slab, count: int) -> None:
        for start in range(0, count, BATCH):
            size = min(BATCH, count - start)
            partials = {"trips": np.ones(size, np.int64), "amount": np.ones(size)}
            slab.fold(_keys(start, size), partials)
            slab.commit({})

    def new() -> Slab:
        return Slab({"user": pl.String(), "window_start": pl.Datetime("us")}, cells)

    fill(new(), BATCH)  # what the libraries take once is not the state's
    gc.collect()
    before = process.memory_info().rss
    slab = new()
    fill(slab, keys)
    gc.collect()
    resident = process.memory_info().rss - before
    assert slab.rows() == keys
    json.dump(
        {"keys": keys, "slab_bytes": slab.memory_bytes() / keys, "rss_bytes": resident / keys},
        sys.stdout,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
