"""What the sweep over stages runs: each shape is one topology, with parameters for its places."""

import sqlite3
from pathlib import Path

import polars as pl

from processor import Batch, Csv, Json, Topology
from processor import functions as F

ROW = Json({"user": pl.String, "shop": pl.Int64, "n": pl.Int64, "t": pl.Datetime("us")})
LINE = Csv({"user": pl.String, "shop": pl.Int64, "n": pl.Int64, "t": pl.Datetime("us")})


@Topology.define
def dealt(*, app: str = "a", source: str = "in", other: str = "", out: str = "out") -> Topology:
    topology = Topology(app)
    rows = topology.read.kafka(
        source, format=ROW, event_time="t", partitioned_by="shop", dead_letters=f"{app}-dead"
    )
    hours = rows.with_watermark("10 minutes").group_by(F.window("t", "1 hour"), "user")
    hours.agg(c=F.count(), s=F.sum("n")).write.kafka(out, key="user")
    return topology


@Topology.define
def joined(*, app: str = "a", source: str = "in", other: str = "on", out: str = "out") -> Topology:
    topology = Topology(app)
    left, right = (
        topology.read.kafka(
            topic, format=ROW, event_time="t", dead_letters=f"{app}-dead"
        ).with_watermark("10 minutes")
        for topic in (source, other)
    )
    pairs = left.join(right, on="user", how="left", between=("-10 minutes", "20 minutes"))
    pairs.select("user", "n", right=pl.col("n_right")).write.kafka(out, key="user")
    return topology


@Topology.define
def fed(*, app: str = "a", source: str = "in", other: str = "", out: str = "out") -> Topology:
    topology = Topology(app)
    rows = topology.read.files(
        source, format=LINE, name="in", max_files_per_trigger=2, clean_source="delete",
        dead_letters=f"{app}-dead",
    )  # fmt: skip
    rows.write.kafka(out)
    return topology


@Topology.define
def filed(*, app: str = "a", source: str = "in", other: str = "", out: str = "out") -> Topology:
    topology = Topology(app)
    rows = topology.read.kafka(source, format=ROW, dead_letters=f"{app}-dead")
    rows.write.files(out)
    return topology


@Topology.define
def called(*, app: str = "a", source: str = "in", other: str = "", out: str = "out") -> Topology:
    def save(frame: pl.DataFrame, epoch: int, batch: Batch) -> None:
        rows = [(batch.life, batch.task, epoch, *row) for row in frame.select("user", "n").rows()]
        with sqlite3.connect(Path(out), timeout=30) as database:
            old = database.execute(
                "select * from rows where life = ? and task = ? and epoch = ?",
                (batch.life, batch.task, epoch),
            ).fetchall()
            if old and sorted(old) != sorted(rows):
                database.execute("insert into others values (?)", (epoch,))
            elif not old:
                database.executemany("insert into rows values (?, ?, ?, ?, ?)", rows)
        database.close()

    topology = Topology(app)
    rows = topology.read.kafka(source, format=ROW, dead_letters=f"{app}-dead")
    rows.write.foreach_batch(save, per="task")
    return topology
