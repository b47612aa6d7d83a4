"""Orders and the payments that their users made soon after: a join of two streams."""

import polars as pl

from processor import Json, Topology

MILLIS = frozenset({"ts"})
ORDER = Json({"user": pl.String, "order": pl.Int64, "ts": pl.Datetime("us")}, millis=MILLIS)
PAYMENT = Json(
    {"user": pl.String, "payment": pl.Int64, "amount": pl.Float64, "ts": pl.Datetime("us")},
    millis=MILLIS,
)


@Topology.define
def paid_orders(
    *,
    app: str = "paid-orders",
    orders: str = "orders",
    payments: str = "payments",
    output: str = "paid-orders",
    dead_letters: str = "paid-dead-letters",
    within: str = "10 minutes",
    watermark: str = "1 hour",
) -> Topology:
    """Each order with each payment of its user from its own time up to ``within`` later."""
    topology = Topology(app)
    ordered, paid = (
        topology.read.kafka(
            topic, format=form, event_time="ts", partitioned_by="user", dead_letters=dead_letters
        ).with_watermark(watermark)
        for topic, form in ((orders, ORDER), (payments, PAYMENT))
    )
    pairs = ordered.join(paid, on="user", between=("0 s", within)).select(
        "user",
        "order",
        pl.col("ts").dt.epoch("ms").alias("ordered"),
        "payment",
        "amount",
        pl.col("ts_right").dt.epoch("ms").alias("paid"),
    )
    pairs.write.kafka(output, key="user")
    return topology
