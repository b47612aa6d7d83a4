"""What Redis may lose or have changed under the workers: owners, blobs, snapshots, indexes, all.

The keys are those of `processor.connectors.redis.store`; nothing of its code is used.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence

import redis

from tests.campaign.terms import PARTITIONS, Stage

Change = Callable[[redis.Redis, Sequence[Stage], random.Random], str]


def _task(stage: Stage, choice: random.Random) -> str:
    return f"{{{stage.app}/{stage.input}/{choice.randrange(PARTITIONS)}}}"


def _stateful(stages: Sequence[Stage]) -> Stage:
    return next(stage for stage in stages if stage.shape == "windowed")


def _owner(client: redis.Redis, stages: Sequence[Stage], choice: random.Random) -> str:
    """One record of who has a task: gone, garbage, another's, later than the group, a copy."""
    stage = choice.choice(stages)
    key, other = f"{_task(stage, choice)}:own", f"{_task(stage, choice)}:own"
    held = client.get(key)
    try:
        record = json.loads(held or b"{}")
    except ValueError:
        record = {}
    generation = record.get("generation", 1)
    kind = choice.choice(["deleted", "garbage", "another token", "a later generation", "a copy"])
    if kind == "deleted":
        client.delete(key)
    elif kind == "garbage":
        client.set(key, choice.choice([b"", b"\0\xff", b"[]", b"{}", b'{"token": 1}', b"x" * 5000]))
    elif kind == "another token":
        client.set(key, json.dumps(record | {"token": f"somebody;{generation}"}))
    elif kind == "a later generation":
        later = generation + choice.choice([1, 10, 1_000_000])
        token = choice.choice([f"somebody;{later}", record.get("token", "somebody")])
        client.set(key, json.dumps(record | {"token": token, "generation": later}))
    else:
        client.set(key, client.get(other) or b"")
        return f"{key}: a copy of {other}"
    return f"{key}: {kind}"


def _keys(client: redis.Redis, task: str, kind: str) -> list[bytes]:
    """The keys of a task's blobs, whatever the index says, oldest first."""
    found = client.scan_iter(f"{task}:{kind}:*", count=1000)
    return sorted(found, key=lambda key: (_epoch(key), key))


def _epoch(key: bytes) -> int:
    return int(key.partition(b"}:")[2].split(b":")[1])


def _chosen(
    client: redis.Redis, stages: Sequence[Stage], choice: random.Random, kind: str
) -> tuple[str, list[bytes]]:
    """A task, and some of its blobs: the newest, one, the newer ones, some, all."""
    task = _task(_stateful(stages), choice)
    keys = _keys(client, task, kind)
    how = choice.choice(["the newest", "one", "the newer", "some", "all"])
    if how == "the newest":
        keys = keys[-1:]
    elif how == "one" and keys:
        keys = [choice.choice(keys)]
    elif how == "the newer":
        keys = keys[round(len(keys) * choice.random()) :]
    elif how == "some":
        keys = [key for key in keys if choice.random() < 0.5]
    return f"{task}, {how} of its {'deltas' if kind == 'd' else 'snapshots'}", keys


def _delete(kind: str) -> Change:
    def change(client: redis.Redis, stages: Sequence[Stage], choice: random.Random) -> str:
        where, keys = _chosen(client, stages, choice, kind)
        if keys:
            client.delete(*keys)
        return f"{where}: {len(keys)} deleted"

    return change


def _alter(kind: str) -> Change:
    def change(client: redis.Redis, stages: Sequence[Stage], choice: random.Random) -> str:
        where, keys = _chosen(client, stages, choice, kind)
        for key in keys:
            data = bytearray(client.get(key) or b"")
            if data:
                bit = choice.randrange(len(data) * 8)
                data[bit // 8] ^= 1 << bit % 8
                client.set(key, bytes(data))
        return f"{where}: a bit of each of {len(keys)} altered"

    return change


def _index(client: redis.Redis, stages: Sequence[Stage], choice: random.Random) -> str:
    task = _task(_stateful(stages), choice)
    client.delete(f"{task}:index")
    return f"{task}: index deleted"


def _whole(client: redis.Redis, stages: Sequence[Stage], choice: random.Random) -> str:
    task = _task(_stateful(stages), choice)
    keys = list(client.scan_iter(f"{task}:*", count=1000))
    if keys:
        client.delete(*keys)
    return f"{task}: all {len(keys)} keys deleted"


def _flush(client: redis.Redis, stages: Sequence[Stage], choice: random.Random) -> str:
    del stages, choice
    client.flushall()
    return "FLUSHALL"


CHANGES: dict[str, Change] = {
    "owner changed": _owner,
    "deltas deleted": _delete("d"),
    "snapshots deleted": _delete("s"),
    "deltas altered": _alter("d"),
    "snapshots altered": _alter("s"),
    "index deleted": _index,
    "a task's keys deleted": _whole,
    "Redis flushed": _flush,
}
