"""The number of trips by cluster and hour."""

from job import read, run
from pyspark.sql import functions as F

FORM = {"timestampFormat": "yyyy-MM-dd HH:mm:ss"}

source = read()  # first: expressions need a session
trip = F.from_json(F.col("value").cast("string"), "dt timestamp, cluster int", FORM)
counts = (
    source.select(trip.alias("trip"))
    .select("trip.*")
    .withWatermark("dt", "1 hour")
    .groupBy(F.window("dt", "1 hour").alias("w"), "cluster")
    .count()
)
start, end = F.col("w.start").alias("start"), F.col("w.end").alias("end")
run(counts, "update", F.col("cluster"), F.col("cluster"), start, end, F.col("count"))
