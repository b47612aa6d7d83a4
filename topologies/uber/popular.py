"""Stage 2: trips with clusters to the number of trips by cluster and hour."""

import polars as pl

from processor import Frame, Json, Topology
from processor import functions as F  # noqa: N812 - as Spark's users write it
from topologies.uber.formats import chosen

TRIP = Json({"dt": pl.Datetime("us"), "cluster": pl.Int64})


@Topology.define
def popular(
    *,
    app: str = "uber-popular",
    input: str = "trips-enriched",  # noqa: A002 - what `--set input=...` is called
    output: str = "popular-clusters",
    dead_letters: str = "trips-enriched-dead-letters",
    window: str = "1 hour",
    watermark: str = "31 days",
    on_error: str = "dead_letter",
    format: str = "json",  # noqa: A002 - what `--set format=...` is called
) -> Topology:
    """Count trips by cluster and window; the last record of a key and window is the right one."""
    topology = Topology(app)
    trips = topology.read.kafka(
        input,
        format=chosen(format, TRIP, "trip.avsc", select=tuple(TRIP.columns or ())),
        event_time="dt",
        partitioned_by="cluster",
        on_error=on_error,
        dead_letters=dead_letters,
    )
    counts = counted(trips.with_watermark(watermark), window)
    written = chosen(format, Json(), "count.avsc")
    counts.write.kafka(output, key="cluster", mode="update", format=written)
    return topology


def counted(trips: Frame, window: str) -> Frame:
    """The number of trips by cluster and window."""
    return (
        trips.group_by(F.window("dt", window), "cluster")
        .agg(trips=F.count())
        .select("cluster", "window_start", "window_end", "trips")
    )
