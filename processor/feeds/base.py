"""What a feed is: it turns something outside the log into records, from a place on.

::

    begin(place, notes) ──► read(limit) ──► a piece: records, notes, the place behind them
                               ▲                │
                               │           committed with the piece, or taken back
                               └── kept(piece) ─┘

A place is what the feed has to know to go on: a mapping of JSON. It is committed together with the
records. Notes are what does not fit into it: they are kept in a topic, and are given back when the
feed is opened again. `Reading.read` changes nothing that counts: the same piece, or another one
from the same place, may be asked for again until `Reading.kept` says that it is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, TypeAlias

from processor.clock import Clock
from processor.formats.base import Format
from processor.model.log import Headers

Place: TypeAlias = Mapping[str, Any]
OnError: TypeAlias = Literal["dead_letter", "fail", "skip"]
RECORD_BYTES_MAX: Final = 1_000_000
"""A longer record has no room in a topic of Kafka's own settings."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How much a piece may be: so many records, so many bytes, and how long to wait for the first.

    ``stop`` says that nobody waits for the answer any more.
    """

    records: int
    bytes: int
    wait_s: float = 0.0
    stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Piece:
    """Records for the topic, and the place behind them.

    ``headers`` are as many as ``values``, or ``None``. ``told`` is for the person who runs it:
    what was passed over, and why. ``skipped`` counts records that were.
    """

    values: Sequence[bytes]
    place: Place
    headers: Sequence[Headers] | None = None
    notes: Sequence[Place] = ()
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Opening:
    """What a feed is opened with: one of its ``partitions``, and how it is run.

    ``bounded``: what is there now is all, and then it is at its end. ``tell`` hears of what was
    passed over. ``probe`` is called before and after steps that leave traces; tests crash there.
    ``look_s`` is how often it looks for something new.
    """

    partition: int
    partitions: int
    format: Format
    on_error: OnError
    clock: Clock
    bounded: bool = False
    look_s: float = 1.0
    tell: Callable[[str], None] = field(default=lambda _: None)
    probe: Callable[[str], None] = field(default=lambda _: None)


class Reading(Protocol):
    """A feed that is opened."""

    def begin(self, place: Place, notes: Iterable[Place]) -> None:
        """Go on from a place that was committed (empty: from the beginning), with all notes."""
        ...

    def read(self, limit: Limit) -> Piece | None:
        """What comes next; ``None`` where there is nothing now.

        Raises `FeedError` for what stops the run, `RetriableError` for what passes by itself.
        """
        ...

    def kept(self, piece: Piece) -> None:
        """That piece is committed: what it left behind outside may be cleared away."""
        ...

    def at_end(self) -> bool:
        """Whether a bounded reading has given all."""
        ...

    def notes(self) -> Iterable[Place]:
        """The notes that are still of use: fewer than were written."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


class Source(Protocol):
    """Where a feed reads from.

    ``kind`` is one word, ``waits`` says that `Reading.read` waits for a record by itself,
    ``noted`` that there are notes to keep, ``again`` that it can be read from the beginning again.
    """

    @property
    def kind(self) -> str: ...  # noqa: D102 - told above
    @property
    def waits(self) -> bool: ...  # noqa: D102
    @property
    def noted(self) -> bool: ...  # noqa: D102
    @property
    def again(self) -> bool: ...  # noqa: D102
    @property
    def endless(self) -> str:
        """Why it has no end, so that no bounded run can come to one; empty: it has."""
        ...

    def open(self, opening: Opening) -> Reading:
        """Begin to read a partition's share."""
        ...

    def untouched(self) -> Source:
        """The same, without any trace that it leaves outside."""
        ...

    def describe(self) -> str:
        """In a few words, for people, and for the plan's identity."""
        ...


@dataclass(frozen=True, slots=True)
class Feed:
    """A source outside the log, by the name that its topic and its position have.

    >>> from processor.feeds.rate import Rate
    >>> feed = Feed("shop", "ticks", Rate(10))
    >>> feed.topic, feed.group
    ('shop.ticks', 'shop.feed-ticks')
    """

    app: str
    name: str
    source: Source
    partitions: int = 1

    @property
    def topic(self) -> str:
        """The topic of its records."""
        return f"{self.app}.{self.name}"

    @property
    def group(self) -> str:
        """The group whose members own its partitions, and whose position is its own."""
        return f"{self.app}.feed-{self.name}"

    @property
    def ledger(self) -> str | None:
        """The topic of its notes, if it has any: called as the group."""
        return self.group if self.source.noted else None

    def describe(self) -> str:
        """In a few words."""
        several = f", {self.partitions} partitions" if self.partitions > 1 else ""
        return f"{self.source.describe()}{several}"
