"""The steps of a batch that are measured, in groups: each is made only when it is come to."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import fastavro
import numpy as np
import polars as pl

from benchmarks.micro.every import every_steps
from benchmarks.micro.formats import format_steps, names
from benchmarks.micro.hop import hop_steps
from benchmarks.micro.join import join_steps
from benchmarks.micro.schemas import schema_steps
from benchmarks.micro.windows import window_steps
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
from processor.state.cells import Cell
from processor.state.index import Index
from processor.state.keys import KeyCodec
from processor.state.slab import Slab
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


def groups(records: int, batches: int) -> dict[str, Callable[[], Iterable[tuple[str, Step]]]]:
    """What makes the steps of each group, each a function of the batch's number."""
    cut = Cut(records, batches)
    made: dict[str, Callable[[], Mapping[str, Step]]] = {
        "the three stages' formats": lambda: _stage_formats(cut),
        "odd JSON and CSV": lambda: _odd_steps(cut),
        "nested orders": lambda: _nested_steps(records),
        "avro trips beside fastavro": lambda: _avro_steps(cut.good(0)),
        "schemas": lambda: schema_steps(records),
        "numbers": lambda: _number_steps(records),
        "state": lambda: _state_steps(records, cut.frames()),
        "hop": lambda: hop_steps(cut.frames()),
        "join": lambda: join_steps(records),
        "operators": lambda: _operators(cut),
        "windows": lambda: window_steps(cut.stage(3)),
        "fuzzed": lambda: every_steps(records),
    }
    tables = {name: partial(format_steps, name, records) for name in names()}
    return {**tables, **{name: _items(make) for name, make in made.items()}}


def _items(
    make: Callable[[], Mapping[str, Step]],
) -> Callable[[], Iterable[tuple[str, Step]]]:
    return lambda: make().items()


@dataclass(slots=True)
class Cut:
    """The records of the three stages, in batches, made when they are asked for."""

    records: int
    batches: int
    _made: dict[int, list[list[bytes]]] = field(default_factory=dict)

    def stage(self, number: int) -> list[list[bytes]]:
        """The batches of a stage."""
        if number not in self._made:
            size = self.records
            values = work(number, size * self.batches + 1000 * (number == 2)).values
            self._made[number] = [values[i * size : (i + 1) * size] for i in range(self.batches)]
        return self._made[number]

    def good(self, batch: int) -> list[bytes]:
        """The trips of a batch that can be read."""
        values = self.stage(1)[batch]
        bad = TRIP.decode(values).bad
        return [value for row, value in enumerate(values) if row not in bad]

    def frames(self) -> list[pl.DataFrame]:
        """The payments of each batch, as columns."""
        return [PAYMENT.decode(values).frame for values in self.stage(3)]


def _stage_formats(cut: Cut) -> dict[str, Step]:
    trips, clusters, payments = (cut.stage(number) for number in (1, 2, 3))
    good = [cut.good(batch) for batch in range(cut.batches)]
    enriched = _enriched(good[0])
    return {
        "CSV to columns": lambda i: TRIP.decode(good[i]),
        f"CSV to columns, {MALFORMED:.1%} malformed": lambda i: TRIP.decode(trips[i]),
        "JSON to columns, trips": lambda i: CLUSTERED.decode(clusters[i]),
        "JSON to columns, payments": lambda i: PAYMENT.decode(payments[i]),
        "columns to JSON, trips": lambda _: ENRICHED.encode(enriched),
    }


def _operators(cut: Cut) -> dict[str, Step]:
    return {
        "all operators, stage 1": _pipeline(enrich.build().plan(), cut.stage(1)),
        "all operators, stage 2": _pipeline(popular.build().plan(), cut.stage(2)),
        "all operators, stage 3": _pipeline(spend.build().plan(), cut.stage(3)),
    }


def _odd_steps(cut: Cut) -> dict[str, Step]:
    """What is not of the three stages, and may cost more."""
    trips, payments = [cut.good(batch) for batch in range(cut.batches)], cut.stage(3)
    later = [[value.replace(b" ", b"T", 1) for value in values] for values in trips]
    short = [[value[2:] for value in values] for values in trips]
    pattern = Csv(TRIP.columns, times=("%y-%m-%d %H:%M:%S",))
    text = Json({"user": pl.String, "amount": pl.String, "ts": pl.Int64})
    return {
        "CSV to columns, times of the second form": lambda i: TRIP.decode(later[i]),
        "CSV to columns, times by a pattern": lambda i: pattern.decode(short[i]),
        "JSON to columns, numbers as text": lambda i: text.decode(payments[i]),
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
        slab.commit()


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
