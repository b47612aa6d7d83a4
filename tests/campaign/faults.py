"""The kinds of fault, and a deck that a seed shuffles: all are drawn before any comes again.

A fault has a beginning, and where it lasts an end; several may be under way at once. What it needs
to choose comes from a stream of its own, so that the seed says it whatever the clock does.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import redis

from tests.campaign.fleet import Fleet, Worker
from tests.campaign.history import History
from tests.campaign.losses import CHANGES
from tests.campaign.servers import DOWN, UP, Broker, Store
from tests.campaign.terms import STAGES

Undo = Callable[[], object] | None


@dataclass
class World:
    """What there is to break."""

    fleet: Fleet
    broker: Broker
    store: Store
    history: History


@dataclass(frozen=True)
class Kind:
    """A kind of fault: how often it is in the deck, how long it lasts in seconds."""

    name: str
    copies: int
    lasts: tuple[float, float]
    begin: Callable[[World, random.Random, float], tuple[str, Undo] | None]


@dataclass(frozen=True)
class Card:
    """A fault that has been drawn: ``at_s`` after the round's beginning, for so long."""

    kind: Kind
    at_s: float
    seconds: float
    seed: str


KINDS: dict[str, Kind] = {}


def _kind(name: str, copies: int, lasts: tuple[float, float] = (0, 0)):
    def add(begin):
        KINDS[name] = Kind(name, copies, lasts, begin)
        return begin

    return add


def _pick(world: World, choice: random.Random) -> Worker | None:
    alive = [worker for worker in world.fleet.workers if worker.alive()]
    return choice.choice(alive) if alive else None


# Workers.


@_kind("worker killed", 8)
def _killed(world, choice, seconds):
    worker = _pick(world, choice)
    if worker is None:
        return None
    worker.kill()
    return f"SIGKILL of {worker.name}", None


@_kind("worker stopped", 8, (0.1, 14))
def _stopped(world, choice, seconds):
    worker = _pick(world, choice)
    if worker is None or not worker.working():
        return None
    worker.stop(seconds)
    return f"SIGSTOP of {worker.name} for {seconds:.1f} s", None


@_kind("worker leaves and comes back", 4, (0.5, 15))
def _leaves(world, choice, seconds):
    worker = _pick(world, choice)
    if worker is None:
        return None
    worker.leave()
    return f"SIGTERM of {worker.name}, back after {seconds:.1f} s", worker.come


@_kind("a fourth worker comes and goes", 4, (5, 30))
def _fourth(world, choice, seconds):
    worker = choice.choice([w for w in world.fleet.workers if w.instance == "d"])
    if worker.wanted or worker.alive():
        return None
    worker.come()
    return f"{worker.name} comes for {seconds:.1f} s", worker.leave


@_kind("all workers stopped and started", 2, (0.5, 10))
def _all(world, choice, seconds):
    group = _group(world, choice)
    for worker in group:
        worker.leave()
    return f"SIGTERM of {_names(group)}, back after {seconds:.1f} s", lambda: _come(group)


@_kind("all workers killed", 2)
def _all_killed(world, choice, seconds):
    group = _group(world, choice)
    for worker in group:
        worker.kill()
    return f"SIGKILL of {_names(group)}", None


@_kind("all workers stand still", 1, (1, 20))
def _all_stand(world, choice, seconds):
    group = [worker for worker in _group(world, choice) if worker.working()]
    for worker in group:
        worker.stop(seconds)
    return f"SIGSTOP of {_names(group)} for {seconds:.1f} s", None


@_kind("data lost while nobody has it", 3)
def _lost_at_rest(world, choice, seconds):
    """All who hold the state are killed, and what they wrote is gone or altered."""
    group = [w for w in world.fleet.workers if w.stage.shape == "windowed" and w.alive()]
    for worker in group:
        worker.kill()
    names = [name for name in CHANGES if name != "owner changed"]
    told = _change(world, choice, choice.choice(names))
    return None if told is None else (f"SIGKILL of {_names(group)}; {told}", None)


def _group(world, choice):
    shape = choice.choice(["windowed", "stateless", "both"])
    return [w for w in world.fleet.workers if shape in ("both", w.stage.shape)]


def _names(group):
    return ", ".join(worker.name for worker in group if worker.alive()) or "nobody"


def _come(group):
    for worker in group:
        if worker.instance != "d":
            worker.come()


# What Redis holds.


def _change(world: World, choice: random.Random, name: str) -> str | None:
    if world.store.state != UP:
        return None
    try:
        with world.store.client() as client:
            return CHANGES[name](client, STAGES, choice)
    except redis.RedisError:  # it is just coming back
        return None


def _changes(name: str):
    def begin(world, choice, seconds):
        told = _change(world, choice, name)
        return None if told is None else (told, None)

    return begin


for _name, _copies in {
    "owner changed": 8, "deltas deleted": 3, "snapshots deleted": 2, "deltas altered": 3,
    "snapshots altered": 2, "index deleted": 2, "a task's keys deleted": 1, "Redis flushed": 1,
}.items():  # fmt: skip
    _kind(_name, _copies)(_changes(_name))


# The servers.


@_kind("Redis killed, its file's tail cut", 3, (0.1, 3))
def _cut(world, choice, seconds):
    store = world.store
    if store.state != UP:
        return None
    store.die()
    told = store.cut(round(300 ** choice.random()), torn=choice.random() < 0.4)
    return f"Redis killed for {seconds:.1f} s, cut by {told}", store.come_back


@_kind("Redis killed", 3, (0.1, 40))
def _store_killed(world, choice, seconds):
    if world.store.state != UP:
        return None
    world.store.die()
    return f"Redis killed for {seconds:.1f} s", world.store.come_back


@_kind("Redis stands still", 4, (0.2, 120))
def _store_paused(world, choice, seconds):
    if world.store.state != UP:
        return None
    world.store.pause()
    return f"Redis stands still for {seconds:.1f} s", world.store.resume


@_kind("broker killed", 3, (0.2, 75))
def _broker_killed(world, choice, seconds):
    if world.broker.state != UP:
        return None
    world.broker.die()
    return f"broker killed for {seconds:.1f} s", world.broker.come_back


@_kind("broker stands still", 4, (0.2, 120))
def _broker_paused(world, choice, seconds):
    if world.broker.state == DOWN or world.broker.state != UP:
        return None
    world.broker.pause()
    return f"broker stands still for {seconds:.1f} s", world.broker.resume


# The deck.


def deck(choice: random.Random, names: list[str] | None = None) -> Iterator[Kind]:
    """Kinds without end: all copies of each in a drawn order, and again."""
    cards = [KINDS[n] for n in names or KINDS for _ in range(1 if names else KINDS[n].copies)]
    while True:
        choice.shuffle(cards)
        yield from cards


def rounds(
    seed: int,
    names: list[str] | None = None,
    *,
    longest_s: float = 120,
    each: tuple[int, int] = (1, 5),
) -> Iterator[list[Card]]:
    """Rounds of faults that overlap; as many last one to ten seconds as ten to a hundred."""
    choice = random.Random(f"{seed}:faults")
    kinds = deck(choice, names)
    number = 0
    while True:
        number += 1
        cards = []
        for i in range(choice.randrange(*each)):
            kind = next(kinds)
            low, high = kind.lasts
            seconds = low * (high / low) ** choice.random() if high else 0.0
            at_s = choice.uniform(0, 12) if i else 0.0
            cards.append(Card(kind, at_s, min(seconds, longest_s), f"{seed}:{number}:{i}"))
        yield cards
