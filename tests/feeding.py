"""Feeds, driven by steps: a folder of files or a receiver, a topology that copies, and what has
to come of it by plain Python.
"""

from __future__ import annotations

import csv
import io
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from processor import Csv, Topology
from processor.testing import Crash, TestDriver

COLUMNS = {"user": pl.String, "n": pl.Int64}
FEEDER = ("feed-in", 0)
STEPS = (
    "after:read", "before:stage", "after:guard", "before:begin", "after:begin", "before:produce",
    "after:produce", "before:send-offsets", "after:send-offsets", "before:flush", "after:flush",
    "before:commit", "after:commit", "after:adopt", "before:clean", "after:clean",
)  # fmt: skip


def text_of(rows: Sequence[tuple[str, int]], *, header: bool = True) -> bytes:
    """Rows as a file of CSV, quoted where that is needed."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    if header:
        writer.writerow(COLUMNS)
    writer.writerows(rows)
    return out.getvalue().encode()


def put(folder: Path, name: str, data: bytes, at: int = 0) -> Path:
    """A file that appears whole, written so many seconds after the others."""
    hidden = folder / f".{name}"
    hidden.write_bytes(data)
    os.utime(hidden, (1_700_000_000 + at, 1_700_000_000 + at))
    hidden.rename(folder / name)
    return folder / name


def copying(folder: Path, **options: Any) -> Topology:
    topology = Topology("app")
    options = {"format": Csv(COLUMNS, header=True), "name": "in", "file": "file", **options}
    topology.read.files(folder, **options).write.kafka("out")
    return topology


def rows_of(driver: TestDriver, topic: str = "out") -> list[tuple[str, int, str]]:
    return [(row["user"], row["n"], row["file"]) for row in driver.json(topic)]


def turned(driver: TestDriver, made: random.Random, turns: int, *, most: float = 0.5) -> int:
    """Turn anyone, and crash it at steps at random; how often it crashed."""
    crashed = 0
    for _ in range(turns):
        who = made.choice(driver.running())
        if made.random() < most:
            driver.crash_at(made.choice(STEPS), who)
        try:
            driver.turn(who)
        except Crash:
            crashed += 1
            if made.random() < 0.3:
                driver.expire(who)
            driver.restart(who)
        driver.spare()
    return crashed
