"""Small topologies that several tests run."""

import polars as pl

from processor import Json, Topology
from processor import functions as F
from processor.api.frame import Frame

RIDE = Json({"k": pl.String, "t": pl.Datetime("us"), "n": pl.Int64})


def rides(app: str, **source: str) -> tuple[Topology, Frame]:
    topology = Topology(app)
    frame = topology.read.kafka(
        "rides", format=RIDE, event_time="t", partitioned_by="k", dead_letters="dead", **source
    )
    return topology, frame


def stateless(app: str = "copy") -> Topology:
    topology, frame = rides(app)
    frame.with_columns(twice=pl.col("n") * 2).write.kafka("out", key="k")
    return topology


def totals(app: str = "totals") -> Topology:
    topology, frame = rides(app)
    frame.group_by("k").agg(n=F.count(), total=F.sum("n")).write.kafka(
        "out", key="k", mode="update"
    )
    return topology


def windowed(
    app: str = "hours", mode: str = "update", delay: str = "30 minutes", late: str | None = None
) -> Topology:
    topology, frame = rides(app)
    grouped = frame.with_watermark(delay, late=late).group_by(F.window("t", "1 hour"), "k")
    grouped.agg(n=F.count(), total=F.sum("n")).write.kafka("out", key="k", mode=mode)
    return topology


def dealt(app: str = "dealt", delay: str | None = None, mode: str = "update") -> Topology:
    """Groups by another column than the topic is keyed by: two stages."""
    topology, frame = rides(app)
    rows = frame.with_columns(digit=pl.col("n") % 5)
    if delay is None:
        groups = rows.group_by("digit", name="digits").agg(n=F.count(), total=F.sum("n"))
    else:
        rows = rows.with_watermark(delay)
        groups = rows.group_by(F.window("t", "1 hour"), "digit", name="digits").agg(n=F.count())
    groups.write.kafka("out", key="digit", mode=mode)
    return topology


def paired(app: str = "paired") -> Topology:
    """Even rides with odd ones and those that three divides, of one key and near in time."""
    topology, frame = rides(app)
    rows = frame.with_watermark("5 hours")
    even, odd = rows.filter(pl.col("n") % 2 == 0), rows.filter(pl.col("n") % 6 != 2)
    both = even.join(odd, on="k", how="left", between=("-1 hour", "2 hours"), name="pairs")
    both.write.kafka("out", key="k")
    return topology


def ride(number: int, keys: int = 5) -> dict[str, object]:
    """The numbered ride: a minute after the one before."""
    return {
        "k": f"k{number % keys}",
        "t": f"2024-01-01T{number // 60 % 24:02d}:{number % 60:02d}:00",
        "n": number,
    }
