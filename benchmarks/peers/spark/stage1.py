"""CSV trips to JSON trips with the nearest cluster, in expressions only."""

import json
import os
from pathlib import Path

from job import read, run
from pyspark.sql import functions as F

CENTROIDS = json.loads(Path(os.environ["CENTROIDS"]).read_text())["centroids"]

source = read()  # first: expressions need a session
lat, lon = F.col("lat"), F.col("lon")
squares = [
    F.struct(((lat - a) * (lat - a) + (lon - b) * (lon - b)).alias("d"), F.lit(i).alias("n"))
    for i, (a, b) in enumerate(CENTROIDS)
]
parts = F.split(F.col("value").cast("string"), ",")
trips = (
    source.select(parts.alias("p"))
    .where("size(p) = 4")
    .select(
        F.col("p")[0].alias("dt"),
        F.col("p")[1].try_cast("double").alias("lat"),
        F.col("p")[2].try_cast("double").alias("lon"),
        F.col("p")[3].alias("base"),
    )
    .where("try_to_timestamp(dt) is not null and lat is not null and lon is not null")
    .where(~F.col("base").contains("\ufffd"))
    .withColumn("cluster", F.least(*squares)["n"])
)
run(trips, "append", F.col("cluster"), *(F.col(n) for n in ("dt", "lat", "lon", "base", "cluster")))
