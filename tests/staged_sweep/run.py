"""The points of stages, joins, feeds of files, files and functions: one case.

Each is a run that dies at a point of one stage, the second time it comes there, and a run behind it
that takes all to the end. What comes out is compared with plain Python.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias
from uuid import uuid4

from processor.engine.commit.protocol import EXACTLY_ONCE, Step
from tests.integration.running import Topics
from tests.sweep.cases import straight
from tests.sweep.worker import start

CRASHED, LIMIT_S = 70, 120.0
PARTITIONS, COUNT = 2, 120
BEGIN: Final = datetime(2024, 1, 1)
Row: TypeAlias = dict[str, Any]

_STEPS: Final = [step.value for step in straight(EXACTLY_ONCE)]
_COMMIT: Final = [f"{when}:{step}" for step in _STEPS for when in ("before", "after")]
_WORKER: Final = ["before:process", *_COMMIT, "after:adopt"]
_FILED: Final = [f"{when}:{step}" for step in ("write", "rename") for when in ("before", "after")]
_PROMISED: Final = [
    f"{when}:intent-{step.value}"
    for step in (Step.GUARD, Step.BEGIN, Step.SEND_OFFSETS, Step.COMMIT)
    for when in ("before", "after")
]
_CALLED: Final = ["before:intent", *_PROMISED, "after:intent", "before:call", "after:call"]
_FEEDER: Final = [
    "after:read",
    *(point for point in _COMMIT if not point.endswith(":stage")),
    "after:adopt",
    "before:clean",
    "after:clean",
]

# By shape: the stages, by what stands behind the application's name, with their points.
SHAPES: Final[dict[str, dict[str, list[str]]]] = {
    "dealt": {"": _WORKER, ".by-user": _WORKER},
    "joined": {"": _WORKER, ".join-user": _WORKER},
    "fed": {".feed-in": _FEEDER},
    "filed": {"": [*_WORKER, *_FILED]},
    "called": {"": [*_WORKER, *_CALLED]},
}


@dataclass(frozen=True)
class Case:
    shape: str
    stage: str
    point: str

    def __str__(self) -> str:
        return f"{self.shape}{self.stage}: {self.point}"


CASES: Final = [
    Case(shape, stage, point)
    for shape, stages in SHAPES.items()
    for stage, points in stages.items()
    for point in points
]


def rows(seed: int) -> list[Row]:
    """Every five minutes one of some users, in order of time; the last closes all windows."""
    found = []
    for number in range(COUNT):
        at = BEGIN + timedelta(minutes=5 * number + seed)
        user = f"u{number * 7 % 5}"
        found.append({"user": user, "shop": number % 3, "n": number, "t": at.isoformat()})
    return found


def closing(partition: int) -> Row:
    at = BEGIN + timedelta(days=30)
    return {"user": "end", "shop": partition, "n": -1, "t": at.isoformat()}


class Bench:
    """One case's topics, directory and processes."""

    def __init__(self, case: Case, bootstrap_servers: str, redis_url: str, root: Path) -> None:
        id_ = uuid4().hex[:8]
        self.case, self.app, self.root = case, f"{case.shape}-{id_}", root
        self.topics = Topics(bootstrap_servers)
        self.source, self.other, self.out = (f"{w}-{id_}" for w in ("in", "on", "out"))
        named = [self.source, self.other, self.out, f"{self.app}-dead"]
        self.topics.create(*named, partitions=PARTITIONS)
        self.servers = ["--bootstrap-servers", bootstrap_servers, "--redis-url", redis_url]
        self.rows, self.others = rows(0), rows(3)

    def prepare(self) -> None:
        """Put the input where it belongs."""
        shape = self.case.shape
        if shape == "fed":
            folder = self.root / "in"
            folder.mkdir()
            for number in range(0, COUNT, 12):
                lines = [",".join(map(str, r.values())) for r in self.rows[number : number + 12]]
                (folder / f"{number:03}.csv").write_text("".join(f"{x}\n" for x in lines))
            self.source = str(folder)
            return
        for topic, given in ((self.source, self.rows), (self.other, self.others)):
            for number in range(PARTITIONS):
                mine = [row for row in given if row["shop"] % PARTITIONS == number]
                values = [json.dumps(row).encode() for row in [*mine, closing(number)]]
                self.topics.fill(topic, values, partition=number)
        if shape == "filed":
            self.out = str(self.root / "out")
        if shape == "called":
            self.out = str(self.root / "out.db")
            with sqlite3.connect(self.out) as database:
                database.execute(
                    "create table rows (life int, task text, epoch int, user text, n int)"
                )
                database.execute("create table others (epoch int)")

    def run(self, crash_at: str | None, code: int) -> None:
        """A run to the end of the input, which has to end with this exit code."""
        log = self.root / f"{uuid4().hex[:8]}.log"
        log.touch()
        places = {"app": self.app, "source": self.source, "other": self.other, "out": self.out}
        sets = [part for name, at in places.items() for part in ("--set", f"{name}={at}")]
        process = start(
            [f"tests.staged_sweep.topologies:{self.case.shape}", *sets, *self.servers,
             "--instance", "a", "--until-caught-up", "--batch-records-max", 20, "--interval", "5ms",
             "--session-timeout", "6s", "--log-format", "json"],
            log, crash_at, None,
        )  # fmt: skip
        process.join(LIMIT_S)
        found = process.exitcode
        if found is None:
            process.kill()
            process.join(10)
        tail = "\n".join(line[:500] for line in log.read_text().splitlines()[-25:])
        assert found == code, f"a run ended with {found}, not with {code}\n{tail}"

    def found(self) -> Counter[Any]:
        """What came out."""
        if self.case.shape == "called":
            with sqlite3.connect(self.out) as database:
                others = database.execute("select epoch from others").fetchall()
                assert not others, f"epochs that were shown with other rows: {others}"
                return Counter(database.execute("select user, n from rows").fetchall())
        if self.case.shape == "filed":
            lines = [x for f in Path(self.out).glob("*.json") for x in f.read_text().splitlines()]
        else:
            lines = [message.value().decode() for message in self.topics.read(self.out)]
        return Counter(tuple(WANTED[self.case.shape][1](json.loads(line))) for line in lines)

    def wanted(self) -> Counter[Any]:
        """What has to come out."""
        return Counter(map(tuple, WANTED[self.case.shape][0](self)))


def _hours(bench: Bench) -> Iterator[Sequence[Any]]:
    groups: dict[tuple[str, str], list[int]] = {}
    for row in bench.rows:
        hour = datetime.fromisoformat(row["t"]).replace(minute=0).isoformat()
        groups.setdefault((hour, row["user"]), []).append(row["n"])
    return ((*key, len(ns), sum(ns)) for key, ns in groups.items())


def _pairs(bench: Bench) -> Iterator[Sequence[Any]]:
    ends = [closing(number) for number in range(PARTITIONS)]
    for left in [*bench.rows, *ends]:
        at = datetime.fromisoformat(left["t"])
        low, high = at - timedelta(minutes=10), at + timedelta(minutes=20)
        matched = [
            right["n"]
            for right in [*bench.others, *ends]
            if right["user"] == left["user"] and low <= datetime.fromisoformat(right["t"]) <= high
        ]
        yield from ((left["user"], left["n"], n) for n in matched or [None])


def _copied(bench: Bench) -> Iterator[Sequence[Any]]:
    ends = [] if bench.case.shape == "fed" else [closing(n) for n in range(PARTITIONS)]
    return ((row["user"], row["n"]) for row in [*bench.rows, *ends])


def _user_and_n(row: Row) -> Sequence[Any]:
    return row["user"], row["n"]


WANTED: Final[
    dict[str, tuple[Callable[[Bench], Iterator[Sequence[Any]]], Callable[[Row], Sequence[Any]]]]
] = {
    "dealt": (_hours, lambda r: (r["window_start"][:19], r["user"], r["c"], r["s"])),
    "joined": (_pairs, lambda r: (r["user"], r["n"], r["right"])),
    "fed": (_copied, _user_and_n),
    "filed": (_copied, _user_and_n),
    "called": (_copied, _user_and_n),
}


def run_case(case: Case, bootstrap_servers: str, redis_url: str) -> None:
    """Run a case; raises `AssertionError` that tells what came out wrong."""
    with tempfile.TemporaryDirectory(prefix="sweep-") as directory:
        bench = Bench(case, bootstrap_servers, redis_url, Path(directory))
        bench.prepare()
        bench.run(f"{case.point}#2@{bench.app}{case.stage}", CRASHED)
        bench.run(None, 0)
        found, wanted = bench.found(), bench.wanted()
        assert found == wanted, f"missing {wanted - found}, surplus {found - wanted}"
