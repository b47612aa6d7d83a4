"""Payments to the sum and the number of each user's payments by window of event time."""

import polars as pl

from processor import Frame, Json, Topology
from processor import functions as F  # noqa: N812 - as Spark's users write it

PAYMENT = Json(
    {"user": pl.String, "amount": pl.Float64, "ts": pl.Datetime("us")}, millis=frozenset({"ts"})
)


def totalled(payments: Frame, window: str, watermark: str) -> Frame:
    """Sum and count by user and window, whatever the payments are keyed by."""
    return (
        payments.with_watermark(watermark)
        .group_by(F.window("ts", window), "user")
        .agg(sum=F.sum("amount"), count=F.count())
        .select(
            "user",
            pl.col("window_start").dt.epoch("ms").alias("start"),
            pl.col("window_end").dt.epoch("ms").alias("end"),
            "sum",
            "count",
        )
    )


@Topology.define
def spend(
    *,
    app: str = "spend",
    input: str = "payments",  # noqa: A002 - what `--set input=...` is called
    output: str = "spend-by-user",
    dead_letters: str = "payments-dead-letters",
    window: str = "10 minutes",
    watermark: str = "1 hour",
) -> Topology:
    """Sum and count by user and window; the last record of a user and window is the right one."""
    topology = Topology(app)
    payments = topology.read.kafka(
        input, format=PAYMENT, event_time="ts", partitioned_by="user", dead_letters=dead_letters
    )
    totals = totalled(payments, window, watermark)
    totals.write.kafka(output, key="user", mode="update")
    return topology
