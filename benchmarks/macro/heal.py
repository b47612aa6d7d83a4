"""``python -m benchmarks.macro.heal``: what lost checkpoints cost, by what was lost and is kept.

Spend by user, exactly once, one partition, so that one task has all keys. For each number of keys
the input is read once; then, again and again: the worker commits a chain of ``--chain`` deltas of
``--delta`` payments each (of users taken at random), is stopped, some of its blobs are deleted from
Redis, and it is started again. The losses::

    nothing   what starting takes anyway: the whole chain is loaded from Redis
    newest    the newest delta
    half      the newer half of the deltas
    all       all that Redis has

Seconds are from the line in the log that the partition was assigned to the line that it is healed
(``nothing``: to the start of the first batch); medians of ``--repeat``, ``all`` is measured once.
Losses of several sizes are of the largest state.
They fall into two parts: loading what is whole, as ``nothing`` shows it, and what the loss adds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import redis
from confluent_kafka import Producer

from benchmarks.macro.spend import Spend, fill, payment, seconds, servers, topics, until

BATCHES_MAX: Final = 60
NOTHING, NEWEST, HALF, ALL = LOSSES = ("nothing", "newest", "half", "all")


@dataclass(frozen=True, slots=True)
class Figure:
    """One heal."""

    keys: int
    lost: str
    mode: str
    records: int
    bytes: int
    seconds: float


class Case:
    """One task: its input, its blobs, and the worker that is stopped and started."""

    def __init__(self, options: argparse.Namespace, address: str, url: str, keys: int) -> None:
        self._options, self._keys = options, keys
        self._address, self._url = address, url
        self._names = topics(address, 1)
        self._redis: Any = redis.Redis.from_url(url)
        self._task = f"{self._names['app']}/{self._names['input']}/0"
        self._producer = Producer({"bootstrap.servers": address, "linger.ms": 5})
        self._dice = random.Random(1)
        fill(address, self._names["input"], range(keys), 1)
        self._sent, self._before = keys, 0
        self._run("changelog", 20_000)

    def heal(self, lost: str, mode: str) -> Figure:
        """Lose something, start, heal; then commit the chain that the next loss is of."""
        size = self._lose(lost)
        for _ in range(self._options.chain * self._options.delta):
            value = payment(self._dice.randrange(self._keys))
            self._producer.produce(self._names["input"], value, partition=0)
            self._sent += 1
        self._producer.flush()
        worker = self._run(mode, self._options.delta)
        assigned = seconds(worker.events("partitions changed")[0])
        if lost == NOTHING:
            first = worker.events("batch")[0]
            took = seconds(first) - first["seconds"] + first["poll_s"] - assigned
            return Figure(self._keys, lost, "none", 0, size, took)
        (healed,) = worker.events("lost checkpoints healed")
        assert healed["how"] == mode
        return Figure(self._keys, lost, mode, healed["records"], size, seconds(healed) - assigned)

    def _run(self, mode: str, records_max: int) -> Spend:
        """Until all input is committed."""
        worker = Spend(
            self._address, self._url, self._names, "a", "--interval", "0ms",
            "--on-checkpoint-loss", mode, "--create-topics", "1",
            "--batch-records-max", str(records_max),
        )  # fmt: skip

        def done() -> bool:
            worker.check()
            read = sum(int(event["records_in"]) for event in worker.events("batch"))
            return self._before + read == self._sent

        try:
            until(done)
        finally:
            worker.stop()
        self._before = self._sent
        return worker

    def _lose(self, lost: str) -> int:
        """Delete blobs; gives the bytes of all that the committed state rested on."""
        index = f"{{{self._task}}}:index"
        blobs = {
            key.decode(): int(n) for key, n in self._redis.zrange(index, 0, -1, withscores=True)
        }
        size = sum(int(self._redis.strlen(f"{{{self._task}}}:{key}")) for key in blobs)
        deltas = sorted((key for key in blobs if key[0] == "d"), key=blobs.__getitem__)
        gone = {
            NOTHING: [], NEWEST: deltas[-1:], HALF: deltas[len(deltas) // 2 :], ALL: list(blobs)
        }[lost]  # fmt: skip
        if lost == ALL:
            self._redis.flushall()
        elif gone:
            self._redis.delete(*(f"{{{self._task}}}:{key}" for key in gone))
        return size


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--keys", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    add("--chain", type=int, default=20, help="deltas of which some are lost")
    add("--delta", type=int, default=1_000, help="payments in each")
    add("--repeat", type=int, default=3)
    add("--json", type=Path, metavar="FILE", help="all figures of all runs")
    options = parser.parse_args()
    with servers() as (kafka, store):
        figures = []
        for figure in _measured(options, kafka.bootstrap_servers, store.url):
            figures.append(figure)
            print(
                f"{figure.keys:,} keys, {figure.lost} lost, {figure.mode}: {figure.seconds:.2f} s",
                flush=True,
            )
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n\n{_table(figures)}")
    if options.json:
        found = {"cores": os.cpu_count(), "runs": [asdict(figure) for figure in figures]}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def _measured(options: argparse.Namespace, address: str, url: str) -> Iterator[Figure]:
    for keys in options.keys:
        case = Case(options, address, url, keys)
        # First all with the changelog: a worker that runs without one leaves gaps in it. What is
        # lost first rests on the snapshots of the reading; the chains of all others on the heal's.
        yield case.heal(ALL, "changelog")
        largest = keys == max(options.keys)
        for lost, mode in [
            (NEWEST, "changelog"), *([(HALF, "changelog")] if largest else []),
            (NOTHING, "replay"), (NEWEST, "replay"), *([(HALF, "replay")] if largest else []),
        ]:  # fmt: skip
            for _ in range(options.repeat):
                yield case.heal(lost, mode)
        if largest:
            yield case.heal(ALL, "replay")


def _table(figures: list[Figure]) -> str:
    names = (
        "keys", "lost", "mode", "records replayed", "bytes loaded", "seconds",
        "of it by the loss", "records/s",
    )  # fmt: skip
    lines = [f"| {' | '.join(names)} |", "|---:|---|---|---:|---:|---:|---:|---:|"]
    rows: dict[tuple[int, str, str], list[Figure]] = {}
    for figure in figures:
        rows.setdefault((figure.keys, figure.mode, figure.lost), []).append(figure)
    for (keys, mode, lost), found in sorted(
        rows.items(), key=lambda row: (row[0][0], row[0][1], LOSSES.index(row[0][2]))
    ):
        took = median(figure.seconds for figure in found)
        start = median(figure.seconds for figure in rows[keys, "none", NOTHING])
        records = median(figure.records for figure in found)
        loaded = median(figure.bytes for figure in found) if mode != "replay" else None
        extra = max(0.0, took - start)
        cells = [
            f"{keys:,}", lost, "" if mode == "none" else mode, f"{records:,.0f}",
            "" if loaded is None else f"{loaded:,.0f}", f"{took:.2f}",
            "" if mode == "none" else f"{extra:.2f}",
            f"{records / took:,.0f}" if records else "",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
