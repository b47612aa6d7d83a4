"""Each order with each payment of its user from its own time up to ten minutes later."""

from job import read, run
from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def rows(topic: str, fields: str, *names: str) -> DataFrame:
    source = read(topic)  # first: expressions need a session
    row = F.from_json(F.col("value").cast("string"), f"user string, ts long, {fields}")
    return source.select(row.alias("r")).select(
        F.col("r.user").alias(f"{names[0]}_user"),
        F.timestamp_millis("r.ts").alias(f"{names[0]}_at"),
        F.col("r.ts").alias(names[0]),
        *(f"r.{name}" for name in names[1:]),
    ).withWatermark(f"{names[0]}_at", "1 hour")  # fmt: skip


orders = rows("INPUT", "order long", "ordered", "order")
payments = rows("OTHER", "payment long, amount double", "paid", "payment", "amount")
pairs = orders.join(
    payments,
    F.expr(
        "ordered_user = paid_user AND paid_at >= ordered_at "
        "AND paid_at <= ordered_at + INTERVAL 10 MINUTES"
    ),
).withColumnRenamed("ordered_user", "user")
names = ("user", "order", "ordered", "payment", "amount", "paid")
run(pairs, "append", F.col("user"), *(F.col(name) for name in names))
