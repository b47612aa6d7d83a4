"""What the model of time is made of: sources, workers, blocks, the task behind; and a broker.

See `stages_time`, which has the rules. A transaction is known by its worker, who has one at most.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

EARLIEST, LATEST = -99, 99
WINDOW = 2
STABLE = -1

Row: TypeAlias = tuple[int, int]


class Block(NamedTuple):
    """A message of the internal topic: rows of [start, end), and the watermark if it is told."""

    task: int
    rows: tuple[Row, ...]
    start: int
    end: int
    mark: int | None
    idle: bool = False


class Source(NamedTuple):
    """A task of the source stage: its manifest, and who owns it."""

    owner: int
    generation: int = 0
    offset: int = 0
    highest: int = EARLIEST
    told: int = EARLIEST
    idle: bool = False
    raises: int = 0


class Part(NamedTuple):
    """What a transaction commits of one task."""

    task: int
    generation: int
    offset: int
    highest: int
    told: int
    idle: bool
    late: frozenset[Row] = frozenset()


class Transaction(NamedTuple):
    """An open one: what it would commit, and the blocks that are still to be written."""

    parts: tuple[Part, ...]
    unwritten: tuple[Block, ...]


class Worker(NamedTuple):
    """A process."""

    alive: bool = True
    open: Transaction | None = None


class Stage(NamedTuple):
    """The task behind: how far it has heard of each task, and its windows' rows."""

    read: tuple[int, ...]
    marks: tuple[int | None, ...]
    idle: tuple[bool, ...]
    watermark: int = EARLIEST
    open: frozenset[Row] = frozenset()
    closed: frozenset[Row] = frozenset()
    late: frozenset[Row] = frozenset()


class State(NamedTuple):
    """Everything there is. ``topic`` holds what was not read: the writer, or `STABLE`; a block."""

    sources: tuple[Source, ...]
    workers: tuple[Worker, ...]
    topic: tuple[tuple[int, Block], ...]
    stage: Stage
    late: frozenset[Row] = frozenset()
    crashes: int = 0
    moves: int = 0
    aborts: int = 0


def at(values: tuple, number: int, value) -> tuple:
    """The same with one value replaced."""
    return (*values[:number], value, *values[number + 1 :])


def working(s: State, w: int, worker: Worker) -> State:
    """After a worker has come to this."""
    return s._replace(workers=at(s.workers, w, worker))


def aborted(s: State, w: int, *, alive: bool = True) -> State:
    """After the end of a worker's transaction: its blocks are as if they had never been."""
    topic = tuple(entry for entry in s.topic if entry[0] != w)
    return working(s, w, Worker(alive=alive))._replace(topic=topic)


def committed(s: State, w: int, open_: Transaction) -> State:
    """After its commit: blocks are stable, manifests are the new ones."""
    sources = s.sources
    for part in open_.parts:
        changes = {name: getattr(part, name) for name in ("offset", "highest", "told", "idle")}
        sources = at(sources, part.task, sources[part.task]._replace(**changes))
    topic = tuple((STABLE if writer == w else writer, block) for writer, block in s.topic)
    late = s.late.union(*(part.late for part in open_.parts))
    return working(s, w, Worker())._replace(sources=sources, topic=topic, late=late)
