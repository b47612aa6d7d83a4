"""A topology whose step takes as long as its records say."""

import time

import polars as pl

from processor import Json, Topology


def wait(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@Topology.define
def slow(
    *,
    app: str = "slow",
    input: str = "in",  # noqa: A002 - what `--set input=...` is called
    output: str = "out",
    dead: str = "dead",
) -> Topology:
    topology = Topology(app)
    rows = topology.read.kafka(
        input, format=Json({"n": pl.Int64, "s": pl.Float64}), dead_letters=dead
    )
    waited = pl.col("s").map_elements(wait, return_dtype=pl.Float64)
    rows.with_columns(waited=waited).write.kafka(output)
    return topology
