"""What the sweep runs: a stateless topology, a windowed one; the second also reads the first's."""

import polars as pl

from processor import Json, Text, Topology
from processor import functions as F

RIDE = Json({"k": pl.String, "t": pl.Datetime("us"), "v": pl.Int64})
WINDOW_S, DELAY_S = 3600, 1800


@Topology.define
def stateless(
    *,
    app: str = "copy",
    input: str = "rides",  # noqa: A002 - what `--set input=...` is called
    output: str = "copies",
    dead: str = "dead",
) -> Topology:
    topology = Topology(app)
    rides = topology.read.kafka(input, format=RIDE, event_time="t", dead_letters=dead)
    rides.with_columns(twice=pl.col("v") * 2).write.kafka(output, key="k")
    return topology


@Topology.define
def windowed(
    *,
    app: str = "hours",
    input: str = "rides",  # noqa: A002 - what `--set input=...` is called
    output: str = "hours",
    dead: str = "dead",
    late: str = "late",
) -> Topology:
    topology = Topology(app)
    rides = topology.read.kafka(
        input, format=RIDE, event_time="t", partitioned_by="k", dead_letters=dead
    )
    hours = rides.with_watermark(f"{DELAY_S}s", late=late)
    grouped = hours.group_by(F.window("t", f"{WINDOW_S}s"), "k")
    grouped.agg(n=F.count(), total=F.sum("v")).write.kafka(output, key="k", mode="update")
    return topology


@Topology.define
def kept(
    *,
    app: str = "kept",
    input: str = "rides",  # noqa: A002 - what `--set input=...` is called
    output: str = "kept",
) -> Topology:
    """Each record as it came: not a part of the sweep."""
    topology = Topology(app)
    rows = topology.read.kafka(input, format=Text(), key="k", headers="h", timestamp="at")
    rows.write.kafka(output, format=Text(), key="k", headers="h", timestamp="at")
    return topology
