"""Sum and number of payments by user and ten minutes."""

from job import read, run
from pyspark.sql import functions as F

source = read()  # first: expressions need a session
payment = F.from_json(F.col("value").cast("string"), "user string, amount double, ts long")
totals = (
    source.select(payment.alias("p"))
    .select("p.user", "p.amount", F.timestamp_millis("p.ts").alias("ts"))
    .withWatermark("ts", "10 minutes")
    .groupBy(F.window("ts", "10 minutes").alias("w"), "user")
    .agg(F.sum("amount").alias("sum"), F.count("*").alias("count"))
)
start, end = F.col("w.start").alias("start"), F.col("w.end").alias("end")
run(totals, "update", F.col("user"), F.col("user"), start, end, F.col("sum"), F.col("count"))
