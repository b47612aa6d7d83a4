"""What the stages share."""

import os
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

WORKERS, STATE = os.environ["WORKERS"], os.environ["STATE"]
SERVERS = "kafka.bootstrap.servers", os.environ["BOOTSTRAP"]


def read(topic: str = "INPUT") -> DataFrame:
    settings = {
        "spark.jars": ",".join(str(jar) for jar in Path(os.environ["JARS"]).glob("*.jar")),
        "spark.driver.memory": "4g",
        "spark.sql.shuffle.partitions": WORKERS,
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.enabled": "false",
        "spark.local.dir": STATE,
    }
    builder = SparkSession.builder.master(f"local[{WORKERS}]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("WARN")
    source = spark.readStream.format("kafka").option(*SERVERS)
    source = source.option("subscribe", os.environ[topic]).option("startingOffsets", "earliest")
    return source.option("kafka.isolation.level", "read_committed").load()


def run(rows: DataFrame, mode: str, key: Column, *fields: Column) -> None:
    rows = rows.select(key.cast("string").alias("key"), F.to_json(F.struct(*fields)).alias("value"))
    sink = rows.writeStream.format("kafka").option(*SERVERS).outputMode(mode)
    sink = sink.option("topic", os.environ["OUTPUT"])
    sink.option("checkpointLocation", f"{STATE}/checkpoint").start().awaitTermination()
