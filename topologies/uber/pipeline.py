"""Both stages in one topology: trips with their cluster, and the trips by cluster and hour.

The trips may be keyed by anything or by nothing: they are dealt out by cluster on the way.
"""

from pathlib import Path

import polars as pl

from processor import Json, Topology
from processor import functions as F  # noqa: N812 - as Spark's users write it
from topologies.uber.enrich import CENTROIDS, ENRICHED, TRIP
from topologies.uber.formats import chosen
from topologies.uber.popular import counted


@Topology.define
def pipeline(
    *,
    app: str = "uber",
    input: str = "trips",  # noqa: A002 - what `--set input=...` is called
    output: str = "trips-enriched",
    popular: str = "popular-clusters",
    dead_letters: str = "trips-dead-letters",
    centroids: Path = CENTROIDS,
    window: str = "1 hour",
    watermark: str = "31 days",
    on_error: str = "dead_letter",
    format: str = "json",  # noqa: A002 - what `--set format=...` is called
) -> Topology:
    """Publish each trip with its cluster, and each count whenever it changes.

    Trips that are late are in neither.
    """
    topology = Topology(app)
    trips = topology.read.kafka(
        input, format=TRIP, event_time="dt", on_error=on_error, dead_letters=dead_letters
    ).with_watermark(watermark)
    clustered = trips.with_columns(cluster=F.nearest("lat", "lon", F.centroids(centroids)))
    clustered.write.kafka(output, key="cluster", format=chosen(format, ENRICHED, "trip.avsc"))
    # As stage 2 reads them of JSON: whole numbers of 64 bits.
    numbered = clustered.with_columns(pl.col("cluster").cast(pl.Int64))
    counts = counted(numbered, window)
    written = chosen(format, Json(), "count.avsc")
    counts.write.kafka(popular, key="cluster", mode="update", format=written)
    return topology
