"""A client that publishes wrongly, while all is committed as if nothing were: for the controls."""

from __future__ import annotations

import json
from collections import Counter

import confluent_kafka

VARIABLE = "CAMPAIGN_MUTATE"
HOWS = ("lost", "doubled", "changed")


def plant(text: str) -> None:
    """Have every producer that is made from now on do so; nothing where nothing is asked for."""
    if not text:
        return
    # By topic: how, and the number of the record.
    wanted: dict[str, dict[str, int]] = json.loads(text)
    seen: Counter[str] = Counter()
    lost: set[tuple[str, object]] = set()

    class Mutant(confluent_kafka.Producer):
        def produce(self, topic, value=None, key=None, *args, **kwargs):
            here = wanted.get(topic, {})
            seen[topic] += 1
            number, one = seen[topic], (topic, identity(value, key))
            if number == here.get("lost"):
                lost.add(one)
            if one in lost:
                return
            if number == here.get("changed"):
                value = changed(value)
            super().produce(topic, value, key, *args, **kwargs)
            if number == here.get("doubled"):
                super().produce(topic, value, key, *args, **kwargs)

    confluent_kafka.Producer = Mutant


def identity(value: bytes | None, key: bytes | None) -> object:
    """What is lost together: of an update all that follow, else the record alone."""
    try:
        row = json.loads(value or b"")
        return row["window_start"], row["k"]
    except (ValueError, KeyError, TypeError):
        return value, key


def changed(value: bytes | None) -> bytes:
    """The value, another one: a number of a row by one, or a byte more."""
    try:
        row = json.loads(value or b"")
    except ValueError:
        row = None
    for name in ("twice", "total"):
        if isinstance(row, dict) and name in row:
            row[name] += 1
            return json.dumps(row).encode()
    return (value or b"") + b"!"
