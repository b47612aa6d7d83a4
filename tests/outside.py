"""Topologies whose rows go elsewhere than to topics, and what was shown there."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from processor import Batch, Frame, Json, Topology
from processor import functions as F
from processor.clock import ManualClock
from processor.errors import AbortableError, FencedError, OutcomeUnknownError
from processor.testing import Crash, TestDriver
from processor.testing.driver import START_MS
from processor.testing.faults import FaultyLog

COLUMNS = {"at": pl.Datetime("us"), "user": pl.String, "n": pl.Int64}
DELAY = 30
END = 100_000

STEPS = (
    "before:process", "before:stage", "after:stage", "before:write", "after:write",
    "before:begin", "before:send-offsets", "after:send-offsets", "before:commit", "after:commit",
    "before:rename", "after:rename", "after:adopt", "before:intent", "after:intent",
    "before:intent-begin", "before:intent-commit", "after:intent-commit", "before:call",
    "after:call", "before:acquire", "after:acquire",
)  # fmt: skip


class Outside:
    """Stands for a database that is told of each call, and outlives the workers."""

    def __init__(self) -> None:
        self.calls: list[tuple[Batch, list[tuple[Any, ...]]]] = []

    def save(self, frame: pl.DataFrame, epoch: int, batch: Batch) -> None:
        assert epoch == batch.epoch
        self.calls.append((batch, frame.rows()))

    def shown(self) -> dict[Batch, Counter[Any]]:
        """Rows by key; an epoch that was shown again was shown with the same rows."""
        found: dict[Batch, Counter[Any]] = {}
        for batch, rows in self.calls:
            told = Counter(rows)
            assert found.setdefault(batch, told) == told, f"{batch}: other rows"
        return found

    def once(self) -> Counter[Any]:
        """The rows in a database that takes each key once."""
        return sum(self.shown().values(), Counter())

    def last(self, keys: int) -> dict[Any, Any]:
        """In a table that is upserted, epoch by epoch: each group's last row."""
        found: dict[Any, Any] = {}
        for batch in sorted(self.shown(), key=lambda b: b.epoch):
            for row in self.shown()[batch]:
                found[row[:keys]] = row
        return found


def read(app: Topology, topic: str = "in") -> Frame:
    rows = app.read.kafka(topic, format=Json(COLUMNS), event_time="at", partitioned_by="user")
    return rows.with_watermark(f"{DELAY} minutes")


class Rig:
    """One topology with every kind of sink, and what each must come to by plain Python."""

    def __init__(self, folder: Path, only: str = "") -> None:
        self.folder, self.only = folder, only
        self.batches, self.tasks, self.groups = Outside(), Outside(), Outside()
        self.rows: list[Any] = []

    def topology(self) -> Topology:
        app = Topology("app")
        rows = read(app)
        if self.only != "calls":
            self.to_files(rows)
        if self.only != "files":
            self.to_functions(rows)
        if not self.only:
            rows.select("user", "n").write.kafka("out")
            totals = rows.group_by("user", name="table").agg(s=F.sum("n"))
            totals.write.memory("totals", mode="update")
        return app

    def to_files(self, rows: Frame) -> None:
        rows.select("user", "n").write.files(self.folder / "rows")
        hours = rows.group_by(F.window("at", "1 hour"), "user").agg(s=F.sum("n"))
        hours.select("window_start", "user", "s").write.files(self.folder / "hours")

    def to_functions(self, rows: Frame) -> None:
        rows.select("user", "n").write.foreach_batch(self.batches.save, name="batches")
        rows.select("user", "n").write.foreach_batch(self.tasks.save, per="task", name="tasks")
        rows.write.foreach(lambda row: self.rows.append((row["user"], row["n"])), name="row")
        totals = rows.group_by("user", name="totals").agg(s=F.sum("n"))
        totals.write.foreach_batch(self.groups.save, mode="update", name="groups")

    def check(self, driver: Any, records: Iterable[dict[str, Any]]) -> None:
        records = list(records)
        rows = Counter((r["user"], r["n"]) for r in records)
        if not self.only:
            assert Counter((r["user"], r["n"]) for r in driver.json("out")) == rows
        if self.only != "calls":
            self.check_files(records, rows)
        if self.only == "files":
            return
        assert self.batches.once() == rows
        assert self.tasks.once() == rows
        assert set(self.rows) == set(rows)
        assert Counter(self.rows) >= rows
        totals: Counter[Any] = Counter()
        for r in records:
            totals[r["user"]] += r["n"]
        assert self.groups.last(1) == {(user,): (user, s) for user, s in totals.items()}

    def check_files(self, records: list[dict[str, Any]], rows: Counter[Any]) -> None:
        assert Counter((r["user"], r["n"]) for r in in_files(self.folder / "rows")) == rows
        hours: Counter[Any] = Counter()
        for r in records:
            if r["t"] < END:
                hours[r["at"][:13], r["user"]] += r["n"]
        told = [
            (r["window_start"][:13], r["user"], r["s"])
            for r in in_files(self.folder / "hours") if r["user"] != "end"
        ]  # fmt: skip
        assert sorted(told) == sorted((*key, s) for key, s in hours.items())


def fed(rig: Rig, parts: list[list[dict[str, Any]]], **options: Any) -> TestDriver:
    driver = TestDriver(rig.topology(), partitions=len(parts), **options)
    for number, records in enumerate(parts):
        feed(driver, number, records)
    return driver


def feed(driver: TestDriver, partition: int, records: list[dict[str, Any]]) -> None:
    rows = [{name: record[name] for name in ("at", "user", "n")} for record in records]
    driver.feed(rows, topic="in", partition=partition)


def shaken(folder: Path, seed: int, only: str = "") -> int:
    """Runs all of it with crashes, moves, aborts and unknown outcomes; how many were killed."""
    made = random.Random(seed)
    rig, parts = Rig(folder, only), records_of(made, 3, 60)
    log = FaultyLog(ManualClock(START_MS))
    options: dict[str, Any] = {"workers": 2, "batch_records_max": made.choice([5, 20]), "log": log}
    driver = fed(rig, [part[:2] for part in parts], **options)
    left = [part[2:] for part in parts]
    crashed = 0
    for _ in range(250):
        number, count = made.randrange(len(left)), made.randrange(3)
        feed(driver, number, left[number][:count])
        left[number] = left[number][count:]
        who = made.choice(driver.running())
        if made.random() < 0.4:
            driver.crash_at(made.choice(STEPS), who)
        if made.random() < 0.2:
            call, error, faults = made.choice([
                ("send_offsets", AbortableError, log.before),
                ("commit", AbortableError, log.before), ("commit", OutcomeUnknownError, log.before),
                ("commit", OutcomeUnknownError, log.after), ("commit", FencedError, log.before),
            ])  # fmt: skip
            faults.setdefault(call, []).append(error("planted"))
        if made.random() < 0.1:
            driver.evict(who, told=made.random() < 0.5)
        try:
            driver.turn(who)
        except Crash:
            crashed += 1
            driver.spare()
            if made.random() < 0.4:
                driver.expire(who)
            driver.restart(who)
    log.heal()
    driver.spare()
    for number, records in enumerate(left):
        feed(driver, number, records)
    driver.run()
    rig.check(driver, (r for part in parts for r in part))
    assert not driver.dead_letters()
    return crashed


def in_files(folder: Path) -> list[dict[str, Any]]:
    """What a reader sees: files that have their names."""
    return [
        json.loads(line) for path in sorted(folder.glob("*.json"))
        for line in path.read_text().splitlines()
    ]  # fmt: skip


def records_of(made: random.Random, partitions: int, count: int) -> list[list[dict[str, Any]]]:
    """Records for each partition, none late; the last of each closes all windows."""
    parts: list[list[dict[str, Any]]] = [[] for _ in range(partitions)]
    for number in range(count):
        t = max(0, number * 4 - made.randrange(DELAY))
        parts[number % partitions].append(
            {"t": t, "at": clock(t), "user": f"u{number % partitions}-{made.randrange(3)}",
             "n": number}
        )  # fmt: skip
    for part in parts:
        part.append({"t": 2 * END, "at": clock(2 * END), "user": "end", "n": 0})
    return parts


def clock(minutes: int) -> str:
    days, rest = divmod(minutes, 1440)
    day = pl.select(pl.date(2024, 1, 1) + pl.duration(days=days)).item()
    return f"{day.isoformat()}T{rest // 60:02d}:{rest % 60:02d}:00"
