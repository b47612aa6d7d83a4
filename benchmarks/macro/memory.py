"""``python -m benchmarks.macro.memory``: a million keys, in memory, in Redis, and restored.

A count and a sum by a text key and a window. The keys are ten letters and digits at random, and so
are the sums: numbers in a row would be compressed to next to nothing. Bytes are given per key.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import psutil  # type: ignore[import-untyped]
import redis

from benchmarks.servers import servers
from processor.connectors.ports import Blob, Owner
from processor.connectors.redis.store import RedisStore
from processor.engine.restore.heal import restore
from processor.model.manifest import Manifest
from processor.state import chain, codec
from processor.state.cells import Cell
from processor.state.slab import Slab

BATCH: Final = 50_000
START: Final = datetime(2014, 8, 1)  # noqa: DTZ001 - event times have no zone
TASK: Final = "memory/payments/0"
LETTERS: Final = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz0123456789", np.uint8)


def new() -> Slab:
    cells = [Cell("count", "<i8", "add"), Cell("sum", "<f8", "add")]
    return Slab({"window_start": pl.Datetime("us"), "user": pl.String()}, cells)


def batches(keys: int) -> Iterator[tuple[pl.DataFrame, dict[str, Any]]]:
    rng = np.random.default_rng(1)
    for start in range(0, keys, BATCH):
        size = min(BATCH, keys - start)
        letters = LETTERS[rng.integers(0, len(LETTERS), (size, 10))]
        frame = pl.DataFrame(
            {
                "window_start": np.full(size, np.datetime64(START, "us")),
                "user": letters.view("S10")[:, 0].astype(str),
            },
            schema={"window_start": pl.Datetime("us"), "user": pl.String()},
        )
        partials = {"count": rng.integers(1, 50, size), "sum": rng.integers(1, 4000, size) / 4}
        yield frame, partials


def fill(slab: Slab, keys: int) -> None:
    for frame, partials in batches(keys):
        slab.fold(frame, partials)
        slab.commit()


def measure(keys: int, url: str) -> dict[str, float]:
    """Bytes per key, and seconds."""
    warm = new()
    fill(warm, BATCH)  # what the libraries take once is not the state's
    del warm
    gc.collect()
    process = psutil.Process()
    before = process.memory_info().rss
    slab = new()
    fill(slab, keys)
    gc.collect()
    resident = process.memory_info().rss - before
    assert slab.rows() == keys
    store, client = RedisStore(url), redis.Redis.from_url(url)
    used = client.info("memory")["used_memory"]
    header = codec.Header(1, "0" * 8, "", "", 0, keys, {"event_time_max": None})
    name, data = "", b""
    for name, data in chain.encode_snapshot(header, {"aggregate-0": slab.all()}):
        store.stage({TASK: [Blob(name, data, 1)]})
    in_redis = client.info("memory")["used_memory"] - used
    snapshot = chain.snapshot_name(name, codec.digest(data))
    delta = codec.encode(codec.Header(2, "1" * 8, "", "", 0, keys, {"snapshot": snapshot}), {})
    store.stage({TASK: [Blob(chain.delta_key(2, "1" * 8), delta, 2)]})
    manifest = Manifest(2, "1" * 8, codec.digest(delta), snapshot, None, "", 1, "", 0)
    restored = {"aggregate-0": new()}
    started, cpu = time.perf_counter(), time.process_time()
    restore(restored, chain.walk(TASK, manifest, lambda ks: store.load(TASK, ks)).states())
    taken, cpu = time.perf_counter() - started, time.process_time() - cpu
    assert restored["aggregate-0"].rows() == keys
    me = Owner("memory", "memory", 0)
    store.acquire({TASK: me})
    store.clear(TASK, me)
    return {
        "keys": keys,
        "slab_bytes": slab.memory_bytes() / keys,
        "rss_bytes": resident / keys,
        "redis_bytes": in_redis / keys,
        "restore_s": taken,
        "restore_cpu_s": cpu,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.macro.memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with servers() as found:
        row = measure(options.keys, found.redis_url)
    print("| keys | memory: by its own account | of the process | in Redis | restored in, s "
          "| CPU s |")  # fmt: skip
    print("|---:|---:|---:|---:|---:|---:|")
    print(f"| {row['keys']:,} | {row['slab_bytes']:.0f} | {row['rss_bytes']:.0f} "
          f"| {row['redis_bytes']:.0f} | {row['restore_s']:.2f} "
          f"| {row['restore_cpu_s']:.2f} |")  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(row, indent=1) + "\n")


if __name__ == "__main__":
    main()
