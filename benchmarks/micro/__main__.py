"""``python -m benchmarks.micro``: each step of a batch, in microseconds of CPU a record.

Batches of ``--records`` go through one step after the other, in turns, without a broker. A step's
time is that of the whole process, the column engine's threads with it; *this thread* is the part
of it that the loop waits with. *blocks* are Python's own allocations a record that are alive at
once; *peak* is the memory that Python and NumPy take on the way, in bytes a record (what Polars
takes is not in it).
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # as in a worker

import fastavro
import numpy as np
import polars as pl

from benchmarks.micro.every import every_steps
from benchmarks.micro.schemas import schema_steps
from benchmarks.work import MALFORMED, START_MS, work
from processor import Avro, Csv, Json
from processor.connectors.partitioner import partition as partition_of
from processor.engine.running.keys import SAMPLE_MAX
from processor.model.batch import Result, Slice
from processor.model.log import TopicPartition
from processor.operators.base import Context
from processor.operators.fit import fit_of
from processor.operators.pipeline import Pipeline
from processor.operators.stateless import Extend
from processor.plan.nodes import Location
from processor.state import codec
from processor.state.index import Index
from processor.state.keys import KeyCodec
from processor.state.slab import Cell, Slab
from topologies.spend.totals import PAYMENT, spend
from topologies.uber.enrich import ENRICHED, TRIP, enrich
from topologies.uber.formats import SCHEMAS
from topologies.uber.popular import TRIP as CLUSTERED
from topologies.uber.popular import popular

KNOWN: Final = 1_000_000
ITEM: Final = {
    "type": "record",
    "name": "Item",
    "fields": [
        {"name": "sku", "type": "string"},
        {"name": "price", "type": "double"},
        {"name": "n", "type": ["null", "long"]},
    ],
}
ORDER: Final = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "city", "type": "string"},
        {"name": "items", "type": {"type": "array", "items": ITEM}},
    ],
}
Step = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one step, for a record."""

    step: str
    cpu_us: float
    thread_us: float
    blocks: float
    peak_bytes: float


def _steps(records: int, batches: int) -> dict[str, Step]:
    """Each step as a function of the batch's number; what it needs is prepared before."""

    def cut(stage: int) -> list[list[bytes]]:
        values = work(stage, records * batches + 1000 * (stage == 2)).values
        return [values[i * records : (i + 1) * records] for i in range(batches)]

    trips, clusters, payments = cut(1), cut(2), cut(3)
    good = []
    for batch in trips:
        bad = TRIP.decode(batch).bad
        good.append([value for row, value in enumerate(batch) if row not in bad])
    frames = [PAYMENT.decode(values).frame for values in payments]
    enriched = _enriched(good[0])
    steps: dict[str, Step] = {
        "CSV to columns": lambda i: TRIP.decode(good[i]),
        f"CSV to columns, {MALFORMED:.1%} malformed": lambda i: TRIP.decode(trips[i]),
        "JSON to columns, trips": lambda i: CLUSTERED.decode(clusters[i]),
        "JSON to columns, payments": lambda i: PAYMENT.decode(payments[i]),
        "columns to JSON, trips": lambda _: ENRICHED.encode(enriched),
    }
    steps |= _odd_steps(good, payments)
    steps |= _state_steps(records, frames)
    steps |= {
        **_number_steps(records),
        "all operators, stage 1": _pipeline(enrich.build().plan(), trips),
        "all operators, stage 2": _pipeline(popular.build().plan(), clusters),
        "all operators, stage 3": _pipeline(spend.build().plan(), payments),
    }
    return steps


def _odd_steps(trips: list[list[bytes]], payments: list[list[bytes]]) -> dict[str, Step]:
    """What is not of the three stages, and may cost more."""
    later = [[value.replace(b" ", b"T", 1) for value in values] for values in trips]
    short = [[value[2:] for value in values] for values in trips]
    pattern = Csv(TRIP.columns, times=("%y-%m-%d %H:%M:%S",))
    text = Json({"user": pl.String, "amount": pl.String, "ts": pl.Int64})
    return {
        "CSV to columns, times of the second form": lambda i: TRIP.decode(later[i]),
        "CSV to columns, times by a pattern": lambda i: pattern.decode(short[i]),
        "JSON to columns, numbers as text": lambda i: text.decode(payments[i]),
        **_nested_steps(len(payments[0])),
        **_avro_steps(trips[0]),
        **schema_steps(len(trips[0])),
        **every_steps(len(trips[0])),
    }


def _avro_steps(trips: list[bytes]) -> dict[str, Step]:
    """Trips with their cluster, and orders of two items, beside the reader of one record."""
    schema = json.loads((SCHEMAS / "trip.avsc").read_text())
    form, parsed = Avro(schema), fastavro.parse_schema(schema)
    cluster = pl.Series(np.arange(len(trips)) % 10)
    frame = TRIP.decode(trips).frame.with_columns(cluster=cluster)
    values = form.encode(frame)
    few = [value[:-3] if row % 1_000 == 0 else value for row, value in enumerate(values)]
    rows = frame.to_dicts()
    orders = Avro(ORDER)
    items = [{"sku": "s1", "price": 1.25, "n": 1}, {"sku": "x", "price": 2.5, "n": 2}]
    nested = orders.records(
        [{"id": i, "city": f"city{i % 50}", "items": items} for i in range(500)]
    )
    nested = (nested * (len(trips) // 500 + 1))[: len(trips)]
    columns = orders.decode(nested).frame

    def one_by_one() -> list[Any]:
        return [fastavro.schemaless_reader(io.BytesIO(v), parsed, None) for v in values]

    def written() -> None:
        for row in rows:
            fastavro.schemaless_writer(io.BytesIO(), parsed, row)

    return {
        "Avro to columns, trips": lambda _: form.decode(values),
        f"Avro to columns, trips, {MALFORMED:.1%} cut": lambda _: form.decode(few),
        "Avro by fastavro, one by one": lambda _: one_by_one(),
        "columns to Avro, trips": lambda _: form.encode(frame),
        "Avro written by fastavro, one by one": lambda _: written(),
        "Avro to columns, nested orders": lambda _: orders.decode(nested),
        "columns to Avro, nested orders": lambda _: orders.encode(columns),
    }


def _nested_steps(records: int) -> dict[str, Step]:
    """An order with an address and two items, by columns of its own and by hand."""
    item = pl.Struct({"sku": pl.String, "price": pl.Float64, "n": pl.Int64})
    to = pl.Struct({"city": pl.String, "at": pl.Datetime("us")})
    form = Json({"id": pl.Int64, "to": to, "items": pl.List(item)})
    texts = Json({"id": pl.Int64, "to": pl.String, "items": pl.String})
    values = [
        b'{"id":%d,"to":{"city":"city%d","at":"2026-11-29T10:%02d:00"},"items":'
        b'[{"sku":"s%d","price":1.25,"n":1},{"sku":"x","price":%d.5,"n":2}]}'
        % (i, i % 50, i % 60, i % 900, i % 70)
        for i in range(records)
    ]
    frame = form.decode(values).frame
    columns = [
        pl.col("to").str.json_decode(pl.Struct({"city": pl.String, "at": pl.String})),
        pl.col("items").str.json_decode(pl.List(item)),
    ]
    return {
        "JSON to columns, nested orders": lambda _: form.decode(values),
        "JSON to columns, nested orders as text": lambda _: texts.decode(values),
        "JSON to columns, nested orders as text, taken apart": lambda _: texts.decode(
            values
        ).frame.with_columns(columns),
        "columns to JSON, nested orders": lambda _: form.encode(frame),
    }


def _number_steps(records: int) -> dict[str, Step]:
    """Whole numbers doubled, and looked at whether they fit; keys that are looked at."""
    frame = pl.DataFrame({"n": np.arange(records), "s": [f"u{i}" for i in range(records)]})
    doubled = [(pl.col("n") * 2).alias("twice")]
    fit, _ = fit_of(Location("micro", 1), doubled, frame.schema)
    context = Context([], [], Result())
    plain, looked = Extend(doubled), Extend(doubled, fit)
    keys = [b"u%d" % i for i in range(SAMPLE_MAX)]
    return {
        "integers doubled": lambda _: plain.process(frame, context),
        "integers doubled, and seen to fit": lambda _: looked.process(frame, context),
        f"{SAMPLE_MAX} keys by murmur2": lambda _: [
            partition_of.__wrapped__(key, 4) for key in keys
        ],
    }


def _enriched(values: list[bytes]) -> pl.DataFrame:
    frame = TRIP.decode(values).frame
    return frame.with_columns(cluster=pl.Series(np.arange(frame.height) % 10))


def _state_steps(records: int, frames: list[pl.DataFrame]) -> dict[str, Step]:
    start = pl.col("ts").dt.truncate("10m").alias("window_start")
    keys = {"window_start": pl.Datetime("us"), "user": pl.String()}
    groups = [
        f.group_by(start, "user", maintain_order=True).agg(
            sum=pl.col("amount").sum(), count=pl.len().cast(pl.Int64)
        )
        for f in frames
    ]
    encoder = KeyCodec(keys)
    words = [encoder.encode(g.select(*keys)) for g in groups]
    slab = Slab(keys, [Cell("sum", "<f8", "add"), Cell("count", "<i8", "add")])
    _fill(slab)
    index, stored = Index(), np.vstack(words)
    index.rebuild(stored, np.arange(0, dtype=np.int32), KNOWN)
    stored = np.unique(stored, axis=0)
    index.insert(stored, np.arange(len(stored), dtype=np.int32))

    def fold(i: int) -> object:
        group = groups[i]
        partials = {name: group[name].to_numpy() for name in ("sum", "count")}
        slab.rollback()
        return slab.fold(group.select(*keys), partials)

    def delta(i: int) -> object:
        header = codec.Header(1, "0" * 8, "", "", 0, records, {})
        fold(i)
        return codec.encode(header, {"aggregate-0": slab.changed()})

    return {
        "group by user and window": lambda i: (
            frames[i]
            .group_by(start, "user", maintain_order=True)
            .agg(sum=pl.col("amount").sum(), count=pl.len())
        ),
        "the same, the user as a category": lambda i: (
            frames[i]
            .with_columns(pl.col("user").cast(pl.Categorical))
            .group_by(start, "user", maintain_order=True)
            .agg(sum=pl.col("amount").sum(), count=pl.len())
        ),
        "keys to words": lambda i: encoder.encode(groups[i].select(*keys)),
        "words to slots, known keys": lambda i: index.find(words[i], stored),
        "fold (with both above)": fold,
        "fold, and the delta's bytes": delta,
    }


def _fill(slab: Slab) -> None:
    """A million rows that the batches do not touch: what they do must not depend on them."""
    size = 50_000
    for first in range(0, KNOWN, size):
        frame = pl.DataFrame(
            {
                "window_start": pl.Series([START_MS - 600_000] * size).cast(pl.Datetime("ms")),
                "user": [f"u{i:06d}" for i in range(first, first + size)],
            }
        ).with_columns(pl.col("window_start").cast(pl.Datetime("us")))
        slab.fold(frame, {"sum": np.ones(size), "count": np.ones(size, np.int64)})
        slab.commit({})


def _pipeline(plan: Any, batches: list[list[bytes]]) -> Step:
    pipeline = Pipeline(plan)
    partition = TopicPartition("input", 0)

    def run(i: int) -> object:
        values = batches[i]
        messages: Any = [_Message(partition, offset) for offset in range(len(values))]
        part = Slice(partition, messages, list(values), 0, len(values), None)
        return pipeline.run([part], [pipeline.new_state()])

    return run


@dataclass(slots=True)
class _Message:
    """What a dead letter is told of."""

    at: TopicPartition
    number: int

    def topic(self) -> str:
        return self.at.topic

    def partition(self) -> int:
        return self.at.partition

    def offset(self) -> int:
        return self.number

    def timestamp(self) -> tuple[int, int]:
        return 1, START_MS + 366 * 86_400_000  # behind every event, as a broker stamps them

    def key(self) -> None:
        return None

    headers = value = key


def _measure(steps: dict[str, Step], batches: int, records: int) -> list[Cost]:
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for i in range(batches):
        for name, step in steps.items():
            process, thread = time.process_time(), time.thread_time()
            step(i)
            taken = time.process_time() - process, time.thread_time() - thread
            times[name].append((1e6 * taken[0] / records, 1e6 * taken[1] / records))
    costs = []
    for name, step in steps.items():
        gc.collect()
        before = sys.getallocatedblocks()
        kept = step(0)
        blocks = sys.getallocatedblocks() - before
        del kept
        tracemalloc.start()
        step(0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        cpu, thread = (median(t[k] for t in times[name]) for k in (0, 1))
        costs.append(Cost(name, cpu, thread, blocks / records, peak / records))
    return costs


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.micro",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--records", type=int, default=20_000, help="in a batch")
    parser.add_argument("--batches", type=int, default=15)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    steps = _steps(options.records, options.batches)
    costs = _measure(steps, options.batches, options.records)
    print("| step | CPU us | of it this thread | blocks | peak bytes |")
    print("|---|---:|---:|---:|---:|")
    for cost in costs:
        print(f"| {cost.step} | {cost.cpu_us:.2f} | {cost.thread_us:.2f} | {cost.blocks:.1f} "
              f"| {cost.peak_bytes:,.0f} |")  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps([asdict(cost) for cost in costs], indent=1) + "\n")


if __name__ == "__main__":
    main()
