"""What has to come out, computed from scratch by the reference; and what came out, read again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import Message

from processor.app import load_topology
from processor.connectors.partitioner import partition
from processor.connectors.ports import Log, Store
from processor.engine.commit.task import task_name
from processor.engine.restore.heal import restore
from processor.model.log import TopicPartition
from processor.model.manifest import Manifest
from processor.operators.pipeline import Pipeline
from processor.state import chain
from tests.reference import Outcome, interpret
from tests.sweep.topologies import DELAY_S, WINDOW_S

PARTITIONS = 4
RECORDS = 30  # of each partition
START = datetime(2024, 1, 1, tzinfo=UTC)


def rides() -> list[list[tuple[bytes, bytes]]]:
    """The input of every case: keys and values by partition.

    Each partition has two keys, a record that is none, and one that is late.
    """
    keys: list[list[str]] = [[] for _ in range(PARTITIONS)]
    number = 0
    while any(len(names) < 2 for names in keys):
        names = keys[partition(b"k%d" % number, PARTITIONS)]
        if len(names) < 2:
            names.append(f"k{number}")
        number += 1
    return [[_ride(names, i) for i in range(RECORDS)] for names in keys]


def _ride(keys: Sequence[str], number: int) -> tuple[bytes, bytes]:
    key = keys[number % 2]
    if number == 11:
        return key.encode(), b"{no ride, %s" % key.encode()
    # Every ten minutes; one is two hours behind the others.
    time = START + timedelta(minutes=10 * number - 120 * (number == 17))
    ride = {"k": key, "t": time.strftime("%Y-%m-%dT%H:%M:%S"), "v": number + 1}
    return key.encode(), json.dumps(ride).encode()


@dataclass
class Stage:
    """One topology of a case with its topics."""

    topology: str
    app: str
    input: str
    output: str
    dead: str
    late: str

    def sets(self) -> list[str]:
        names = ["app", "input", "output", "dead"] + ["late"] * (self.topology == "windowed")
        return [part for name in names for part in ("--set", f"{name}={getattr(self, name)}")]

    def topics(self) -> list[str]:
        late = [self.late] if self.topology == "windowed" else []
        return [self.input, self.output, self.dead, *late]

    @property
    def name(self) -> str:
        return f"tests.sweep.topologies:{self.topology}"


Read = Mapping[str, Sequence[Message]]


def check(stage: Stage, read: Read, log: Log, store: Store, *, once: bool) -> None:
    """Compare all that a stage wrote, and its state, with what its input makes."""
    values: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
    for message in read[stage.input]:
        values[message.partition()].append(message.value())
    junk = Counter(v for part in values for v in part if _row(v) is None)
    same(f"{stage.app}: dead letters", _bodies(read[stage.dead]), junk, once=once)
    made = [_interpreted(stage, part) for part in values]
    if stage.topology == "stateless":
        wanted = Counter(
            (row["k"], row["t"][:19], row["v"], 2 * row["v"])
            for part in values
            for row in map(_row, part)
            if row is not None
        )
        rows = map(_published, read[stage.output])
        got = Counter((row["k"], row["t"][:19], row["v"], row["twice"]) for row in rows)
        same(f"{stage.app}: outputs", got, wanted, once=once)
    else:
        same(f"{stage.app}: late records", _bodies(read[stage.late]), _late(values), once=once)
        _check_groups(stage, read[stage.output], made, once=once)
    _check_state(stage, values, made, log, store)


def same(what: str, got: Counter[Any], wanted: Counter[Any], *, once: bool) -> None:
    """Exactly what is wanted; at least once, some of it more often."""
    missing, surplus = wanted - got, got - wanted
    if not once:
        surplus = Counter({key: n for key, n in surplus.items() if key not in wanted})
    assert not missing, f"{what}: missing {missing}"
    assert not surplus, f"{what}: surplus {surplus}"


def _row(value: bytes) -> dict[str, Any] | None:
    try:
        return json.loads(value)
    except ValueError:
        return None


def _published(message: Message) -> dict[str, Any]:
    row = json.loads(message.value())
    assert message.key() == row["k"].encode()
    return row


def _bodies(messages: Sequence[Message]) -> Counter[bytes]:
    return Counter(message.value() for message in messages)


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text[:19]).replace(tzinfo=UTC).timestamp())


def _plain(value: bytes) -> bytes:
    """A ride as the reference reads it: its time is a number."""
    row = _row(value)
    return value if row is None else json.dumps(row | {"t": _seconds(row["t"])}).encode()


def _interpreted(stage: Stage, values: Sequence[bytes]) -> Outcome:
    delay = DELAY_S if stage.topology == "windowed" else None
    return interpret([*map(_plain, values)], window=WINDOW_S, delay=delay)


def _late(values: Sequence[Sequence[bytes]]) -> Counter[bytes]:
    late: Counter[bytes] = Counter()
    for part in values:
        last = None
        for value in part:
            row = _row(value)
            if row is None:
                continue
            time = _seconds(row["t"])
            last = time if last is None else max(last, time)
            if time < last - DELAY_S:
                late[value] += 1
    return late


def _check_groups(
    stage: Stage, messages: Sequence[Message], made: Sequence[Outcome], *, once: bool
) -> None:
    told: dict[tuple[int, str], list[tuple[int, int]]] = {}
    for row in map(_published, messages):
        group = _seconds(row["window_start"]), row["k"]
        told.setdefault(group, []).append((row["n"], row["total"]))
    wanted = {g: (n["n"], n["sum"]) for part in made for g, n in part.groups.items()}
    last = {group: pairs[-1] for group, pairs in told.items()}
    assert last == wanted, f"{stage.app}: the last word on each group: {last}, not {wanted}"
    for group, pairs in told.items():
        counts = [n for n, _ in pairs]
        assert max(counts) == wanted[group][0], f"{stage.app}: {group} was over-counted: {pairs}"
        assert not once or counts == sorted(set(counts)), f"{stage.app}: {group} again: {pairs}"


def _check_state(
    stage: Stage,
    values: Sequence[Sequence[bytes]],
    made: Sequence[Outcome],
    log: Log,
    store: Store,
) -> None:
    """The committed state, loaded as a worker would load it."""
    heads = log.committed(stage.app, stage.input)
    parameters = dict(part.split("=", 1) for part in stage.sets()[1::2])
    pipeline = Pipeline(load_topology(stage.name, parameters))
    for number, (part, outcome) in enumerate(zip(values, made, strict=True)):
        where = TopicPartition(stage.input, number)
        manifest = Manifest.parse(heads[where].metadata)
        assert heads[where].offset >= len(part), f"{where}: committed {heads[where].offset} only"
        time = None if outcome.time_max is None else outcome.time_max * 1_000_000
        assert manifest.event_time_max == time, f"{where}: {manifest}, not {time}"
        if stage.topology == "stateless":
            continue
        task, state = task_name(stage.app, where), pipeline.new_state()
        loaded = chain.load(task, manifest, lambda keys, task=task: store.load(task, keys))
        restore(state, loaded.states)
        (slab,) = state.values()
        got = sorted(_group(row) for row in slab.dump())
        wanted = sorted(
            (*group, row["n"], row["sum"])
            for group, row in outcome.groups.items()
            if group not in outcome.closed
        )
        assert got == wanted, f"{where}: state {got}, not {wanted}"


def _group(row: Mapping[str, Any]) -> tuple[int, str, int, int]:
    start = row["window_start"]
    seconds = start // 1_000_000 if isinstance(start, int) else _seconds(str(start))
    return seconds, row["k"], row["n"], row["total"]
