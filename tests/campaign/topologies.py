"""What the campaign runs, with the public interface only: one with state, one without."""

import polars as pl

from processor import Json, Topology
from processor import functions as F
from tests.campaign.terms import DELAY_S, WINDOW_S

RIDE = Json({"k": pl.String, "t": pl.Datetime("us"), "v": pl.Int64, "u": pl.Int64})


@Topology.define
def windowed(
    *,
    app: str = "windowed",
    input: str = "rides",  # noqa: A002 - what `--set input=...` is called
    output: str = "windowed-out",
    dead: str = "windowed-dead",
    late: str = "windowed-late",
) -> Topology:
    topology = Topology(app)
    rides = topology.read.kafka(
        input, format=RIDE, event_time="t", partitioned_by="k", dead_letters=dead
    )
    timely = rides.with_watermark(f"{DELAY_S}s", late=late)
    windows = timely.group_by(F.window("t", f"{WINDOW_S}s"), "k").agg(
        n=F.count(), total=F.sum("v"), low=F.min("v"), high=F.max("v")
    )
    windows.write.kafka(output, key="k", mode="update")
    return topology


@Topology.define
def stateless(
    *,
    app: str = "stateless",
    input: str = "rides",  # noqa: A002 - what `--set input=...` is called
    output: str = "stateless-out",
    dead: str = "stateless-dead",
) -> Topology:
    topology = Topology(app)
    rides = topology.read.kafka(input, format=RIDE, event_time="t", dead_letters=dead)
    rides.with_columns(twice=pl.col("v") * 2).write.kafka(output, key="k")
    return topology
