"""Stage 1: CSV trips to JSON trips with the nearest cluster."""

from pathlib import Path

import polars as pl

from processor import Csv, Json, Topology
from processor import functions as F  # noqa: N812 - as Spark's users write it
from topologies.uber.formats import chosen

TRIP = Csv({"dt": pl.Datetime("us"), "lat": pl.Float64, "lon": pl.Float64, "base": pl.String})
ENRICHED = Json(time_form="%Y-%m-%d %H:%M:%S")
CENTROIDS = Path(__file__).with_name("centroids.json")


@Topology.define
def enrich(
    *,
    app: str = "uber-enrich",
    input: str = "trips",  # noqa: A002 - what `--set input=...` is called
    output: str = "trips-enriched",
    dead_letters: str = "trips-dead-letters",
    centroids: Path = CENTROIDS,
    on_error: str = "dead_letter",
    format: str = "json",  # noqa: A002 - what `--set format=...` is called
) -> Topology:
    """Assign each trip to the nearest of the k-means centroids."""
    topology = Topology(app)
    trips = topology.read.kafka(
        input, format=TRIP, event_time="dt", on_error=on_error, dead_letters=dead_letters
    )
    clustered = trips.with_columns(cluster=F.nearest("lat", "lon", F.centroids(centroids)))
    clustered.write.kafka(output, key="cluster", format=chosen(format, ENRICHED, "trip.avsc"))
    return topology
