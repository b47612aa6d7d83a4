"""Where a worker stops itself: places, drawn anew for each start, and how they are written down.

::

    step before:stage                   a step of the commit protocol, as its probe names it
    redis before SET own                before a command that is sent to Redis, by its name and key
    redis after * delta                 behind one: it is sent, and not answered
    redis within EXISTS *               in the middle of its bytes

Each comes with a number: the how manieth time there it is. A worker has several at once, each with
its own count.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from processor.engine.commit.protocol import EXACTLY_ONCE, Outcome, Step
from processor.testing.simulator import STEPS

VARIABLE = "CAMPAIGN_STOPS"
SIDES = ("before", "after", "within")
# A key's class is told by what it ends with, or has in it.
CLASSES = {"own": b"}:own", "index": b"}:index", "delta": b"}:d:", "snapshot": b"}:s:"}


@dataclass(frozen=True)
class Stop:
    """The ``times``-th time that the worker comes to ``place``, it stops."""

    place: str
    times: int

    def __str__(self) -> str:
        return f"{self.place} #{self.times}"


def written(stops: Sequence[Stop]) -> str:
    return json.dumps([[stop.place, stop.times] for stop in stops])


def read(text: str) -> list[Stop]:
    return [Stop(place, times) for place, times in json.loads(text or "[]")]


def draw(choice: random.Random, shape: str, count: int, *, often: float = 1.0) -> list[Stop]:
    """Some stops for one life of a worker; ``often`` above 1 has them come sooner.

    As many again are at steps that few lives come to: one that waits in vain costs nothing.
    """
    seldom = [s for s in steps_of(shape) if s.partition(":")[2] not in _ALWAYS]
    found = [_draw(choice, shape, often) for _ in range(count)]
    return found + [Stop(f"step {choice.choice(seldom)}", choice.choice([1, 1, 2])) for _ in found]


def _draw(choice: random.Random, shape: str, often: float) -> Stop:
    kind = choice.random()
    if kind < 0.4:
        return _step(choice, shape, often)
    if kind < 0.7 or shape == "stateless":
        return _taking(choice)
    name, of, most = choice.choice(
        [
            ("SET", "delta", 400), ("ZADD", "index", 400), ("EXISTS", "delta", 400),
            ("GET", "own", 400), ("SET", "snapshot", 12), ("ZADD", "index", 30),
            ("UNLINK", "*", 8), ("ZREM", "index", 8), ("ZRANGE", "index", 8),
            ("MGET", "*", 20), ("*", "*", 1000), ("*", "own", 400), ("*", "delta", 800),
        ]
    )  # fmt: skip
    return Stop(f"redis {choice.choice(SIDES)} {name} {of}", _times(choice, most / often))


def _straight() -> set[str]:
    """The steps of a batch that nothing happens to."""
    steps, following = set(), Step.STAGE
    while isinstance(following, Step):
        steps.add(following.value)
        following = EXACTLY_ONCE[following][Outcome.DONE]
    return steps


_ALWAYS = _straight() | {"process", "adopt", "acquire"}


def _taking(choice: random.Random) -> Stop:
    """While a task is taken: between asking who has it and saying so above all."""
    name, most = choice.choice([("SET", 24), ("SET", 4), ("GET", 24), ("*", 48)])
    return Stop(f"redis {choice.choice(SIDES)} {name} own", _times(choice, most))


def _step(choice: random.Random, shape: str, often: float) -> Stop:
    step = choice.choice(steps_of(shape))
    name = step.partition(":")[2]
    if name in _ALWAYS and name != "acquire":
        return Stop(f"step {step}", _times(choice, 300 / often))
    most = {"acquire": 4, "snapshot": 6, "collect": 4}.get(name, 20 if step == "heal" else 1)
    return Stop(f"step {step}", _times(choice, most))


def steps_of(shape: str) -> list[str]:
    """The steps that a worker of this topology may come to under exactly once."""
    foreign = {step.value for step in Step if step not in EXACTLY_ONCE}
    if shape == "stateless":
        foreign |= {"snapshot", "collect"}
    return [
        step
        for step in STEPS
        if step.partition(":")[2] not in foreign and not (shape == "stateless" and step == "heal")
    ]


def _times(choice: random.Random, most: float) -> int:
    """Small numbers as often as large ones of ten times the size."""
    return max(1, round(most ** choice.random()))


class Counts:
    """Counts how often the places were come to, in the worker."""

    def __init__(self, stops: Sequence[Stop]) -> None:
        self._left = [[stop, stop.times] for stop in stops]

    def waits_for_redis(self) -> bool:
        return any(stop.place.startswith("redis") for stop, _ in self._left)

    def came(self, place: str) -> Stop | None:
        """The stop that is due here now."""
        return self._count(lambda stop: stop.place == place)

    def sent(self, name: str, keys: Sequence[bytes]) -> Iterator[tuple[Stop, str]]:
        """The stops that are due at this command, each with its side."""
        for side in SIDES:
            stop = self._count(lambda stop, side=side: _fits(stop, side, name, keys))
            if stop is not None:
                yield stop, side

    def _count(self, fits) -> Stop | None:
        due = None
        for entry in [entry for entry in self._left if fits(entry[0])]:
            # One at a time: a second that is due here has its turn the next time.
            if due is None or entry[1] > 1:
                entry[1] -= 1
            if not entry[1]:
                due = entry[0]
                self._left.remove(entry)
        return due


def _fits(stop: Stop, side: str, name: str, keys: Sequence[bytes]) -> bool:
    kind, _, rest = stop.place.partition(" ")
    if kind != "redis":
        return False
    wanted_side, wanted_name, wanted_class = rest.split(" ")
    return (
        wanted_side == side
        and wanted_name in ("*", name)
        and (wanted_class == "*" or any(CLASSES[wanted_class] in key for key in keys))
    )
