"""``python -m benchmarks.macro.snapshot``: does a snapshot of a large state hold the batches up?

Spend by user, exactly once, ``--keys`` keys of state in ``--partitions`` partitions (one: so that
one snapshot holds all of it), ``--rate`` payments a second of users taken at random. After 64
batches the chain of deltas is folded into a snapshot, beside the loop. A batch counts as *during*
a snapshot from the one in which it begins to the one after which what lies behind it is deleted.

Work is a batch's own time, without the wait for records. The pause is the time from one batch's
line in the log to the next one's: nothing that the loop does can hide from it. The stall is the
longest pause less the interval.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import redis

from benchmarks.macro.spend import Spend, Steady, fill, seconds, servers, topics, until

LOOK_S: Final = 0.02


class Folds(threading.Thread):
    """Looks at what Redis has of a task: when is a snapshot there, when is the old chain gone?"""

    def __init__(self, url: str, task: str) -> None:
        super().__init__(daemon=True)
        self._client: Any = redis.Redis.from_url(url)
        self._index = f"{{{task}}}:index"
        self.written: dict[int, float] = {}
        self.over: dict[int, float] = {}
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(LOOK_S):
            blobs = self._client.zrange(self._index, 0, -1, withscores=True)
            now = time.time()
            whole = [int(epoch) for key, epoch in blobs if key.count(b":") == 2 and key[:1] == b"s"]
            oldest = min((int(epoch) for key, epoch in blobs if key[:1] == b"d"), default=0)
            for epoch in whole:
                self.written.setdefault(epoch, now)
                if oldest > epoch and all(other >= epoch for other in whole):
                    self.over.setdefault(epoch, now)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=4_000)
    parser.add_argument("--interval", type=int, default=100, help="in milliseconds")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument("--processor", action="append", default=[], metavar="OPTION")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with servers() as (kafka, store):
        found = _measure(options, kafka.bootstrap_servers, store.url)
    print(_table(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def _measure(options: argparse.Namespace, address: str, url: str) -> dict[str, Any]:
    names = topics(address, options.partitions)
    fill(address, names["input"], range(options.keys), options.partitions)
    interval = f"{options.interval}ms"
    worker = Spend(address, url, names, "a", "--interval", interval, *options.processor)
    steady = Steady(
        address, names["input"], rate=options.rate, users=options.keys,
        partitions=options.partitions,
    )  # fmt: skip
    folds = [Folds(url, f"{names['app']}/{names['input']}/{n}") for n in range(options.partitions)]
    try:
        until(lambda: _caught_up(worker, options.keys))
        steady.start()
        time.sleep(2)
        # The snapshot that the filling began is over, so that each one that counts is seen whole.
        for each in folds:
            each.start()
        until(lambda: all(each.over for each in folds))
        started = time.time()
        time.sleep(options.seconds)
        worker.check()
        batches = [e for e in worker.events("batch") if seconds(e) > started]
    finally:
        for stopped in (steady.stopped, *(each.stopped for each in folds)):
            stopped.set()
        worker.stop()
    return _figures(options, batches, folds)


def _caught_up(worker: Spend, keys: int) -> bool:
    worker.check()
    last = worker.events("batch")[-1:]
    return bool(last) and last[0]["state_rows"] >= keys and last[0]["lag_records"] == 0


def _figures(
    options: argparse.Namespace, batches: list[dict[str, Any]], folds: list[Folds]
) -> dict[str, Any]:
    pauses = [seconds(b) - seconds(a) for a, b in pairwise(batches)]
    counted = batches[1:]
    begun = [seconds(b) for b in counted if b.get("snapshot_bytes")]
    ends = sorted(at for each in folds for at in each.over.values())
    during, written, each = [False] * len(counted), [], []
    for at in begun:
        over = next((end for end in ends if end > at), None)
        if over is None:
            continue  # it was still under way when the measuring ended
        marks = [at <= seconds(b) and seconds(b) - p <= over
                 for b, p in zip(counted, pauses, strict=True)]  # fmt: skip
        each.append([round(p * 1000) for p, mark in zip(pauses, marks, strict=True) if mark])
        during = [a or b for a, b in zip(during, marks, strict=True)]
        written.append(min(w for each in folds for w in each.written.values() if w > at) - at)
    rows = {}
    for name, wanted in (("without a snapshot", False), ("during a snapshot", True)):
        picked = [i for i, mark in enumerate(during) if mark == wanted]
        work = [counted[i]["seconds"] - counted[i].get("poll_s", 0.0) for i in picked]
        rows[name] = {
            "batches": len(picked),
            "work_ms": _summary(work),
            "pause_ms": _summary([pauses[i] for i in picked]),
        }
    longest = rows["during a snapshot"]["pause_ms"]["longest"]  # type: ignore[index]
    return {
        "keys": options.keys,
        "state_rows": counted[-1]["state_rows"],
        "state_mb": counted[-1]["state_bytes"] / 1e6,
        "rate": options.rate,
        "interval_ms": options.interval,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "snapshots": len(written),
        "written_s": median(written) if written else None,
        "pauses_ms_of_each": each,
        "rows": rows,
        "stall_intervals": max(0.0, longest - options.interval) / options.interval,
    }


def _summary(values: list[float]) -> dict[str, float]:
    if len(values) < 2:
        raise RuntimeError("too few batches: give more --seconds")
    return {
        "median": median(values) * 1000,
        "p99": quantiles(values, n=100, method="inclusive")[98] * 1000,
        "longest": max(values) * 1000,
    }


def _table(found: dict[str, Any]) -> str:
    head = (
        f"{found['state_rows']:,} keys, {found['state_mb']:.0f} MB, {found['rate']:,} records/s, "
        f"interval {found['interval_ms']} ms; {found['snapshots']} snapshots, each written in "
        f"{found['written_s']:.2f} s (median); {found['cores']} cores, load {found['load']:.1f}"
    )
    lines = [
        head,
        "",
        "| batches | number | work ms: median | p99 | longest | pause ms: median | p99 | longest |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in found["rows"].items():
        cells = [row[kind][what] for kind in ("work_ms", "pause_ms")
                 for what in ("median", "p99", "longest")]  # fmt: skip
        lines.append(f"| {name} | {row['batches']} | {' | '.join(f'{c:.0f}' for c in cells)} |")
    lines += ["", f"longest stall during a snapshot: {found['stall_intervals']:.2f} intervals"]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
