"""How far a feed has come in one partition, and the notes that it keeps in a topic.

The manifest of the group's committed offset has the place, the life of the notes and how many of it
there are; a note is a record of the ledger::

    APP.feed-NAME[p]:   {"life", note} …      in the transaction that commits the place

A reset, and notes that were gathered anew, begin another life; those of former ones are passed
over.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from processor.connectors.ports import Consumer, Log, Owner
from processor.engine.commit.checkpoint import Prepared
from processor.engine.commit.task import Task, task_name
from processor.errors import InputLostError, LogError, RetriableError, StateMismatchError
from processor.feeds.base import Feed, Piece, Place, Reading
from processor.model.log import Committed, Extent, Output, TopicPartition
from processor.model.manifest import LENGTH_MAX, Manifest
from processor.state.chain import Link

SPARE: Final = 1_000
ASK_S: Final = 10.0
_LOST: Final = (
    "begin anew with `processor reset`, which reads again what can be read again; or give another "
    "application id"
)


@dataclass(frozen=True, slots=True)
class Life:
    """Where the notes of a partition are: their ``life``, from which offset on, and how many."""

    name: str
    since: int = 0
    count: int = 0


@dataclass(slots=True, eq=False)
class Fed:
    """One partition of a feed that is loaded."""

    task: Task
    manifest: Manifest
    place: Place
    life: Life
    reading: Reading = field(init=False)

    def prepared(
        self, at: int, place: Place, notes: Noted, transactional_id: str, log: str
    ) -> Prepared:
        """The next head, of a new attempt; raises `LogError` for a place that is too long."""
        now = self.manifest
        manifest = Manifest(
            now.epoch + 1, secrets.token_hex(4), "", "", None, now.fingerprint, now.partitions,
            transactional_id, log=log, end=at, place=_told(place, notes.life),
        )  # fmt: skip
        text = str(manifest)
        if len(text) > LENGTH_MAX:
            raise LogError(
                f"{self.task.partition}: the place of the feed takes {len(text)} bytes, more than "
                f"{LENGTH_MAX}",
                remedy="shorten the names of files, or what a receiver has as its position",
            )
        return Prepared(self.task, Committed(at, text), manifest, (), self.task.link, {})

    def adopt(self, prepared: Prepared) -> None:
        """The head is committed."""
        self.task.base, self.task.epoch = prepared.head, prepared.manifest.epoch
        self.manifest = prepared.manifest
        self.place, self.life = _read(prepared.manifest)


def pinned(feed: Feed, at: int, notes_at: int, transactional_id: str, log: str) -> Committed:
    """The head of a feed that has given nothing: it begins, behind what its ledger holds."""
    life = Life(secrets.token_hex(4), notes_at)
    manifest = Manifest(
        0, "", "", "", None, _kind(feed), feed.partitions, transactional_id, log=log, end=at,
        place=_told({}, life),
    )  # fmt: skip
    return Committed(at, str(manifest))


def opened(head: Committed) -> Manifest:
    """The manifest of a head."""
    return Manifest.parse(head.metadata)


def _kind(feed: Feed) -> str:
    return f"feed-{feed.source.kind}"


def _told(place: Place, life: Life) -> str:
    return orjson.dumps({"n": [life.name, life.since, life.count], "at": place}).decode()


def _read(manifest: Manifest) -> tuple[Place, Life]:
    found = orjson.loads(manifest.place)
    return found["at"], Life(*found["n"])


def places(
    log: Log,
    consumer: Consumer,
    feed: Feed,
    heads: Mapping[TopicPartition, Committed | None],
    by: tuple[str, str],
) -> dict[TopicPartition, Fed]:
    """Where partitions go on; those of a feed that is new are pinned at its beginning.

    Raises `StateMismatchError` for a position that was lost, or is another feed's, `InputLostError`
    for a topic that was made anew, `RetriableError` while the log does not tell.
    """
    found = dict(heads)
    new = [partition for partition, head in heads.items() if head is None]
    if new:
        pins = {p: _pin(log, feed, p, by) for p in new}
        consumer.commit(pins, ASK_S)
        found |= pins
    return {p: _fed(consumer, feed, p, head) for p, head in found.items() if head is not None}


def _pin(log: Log, feed: Feed, partition: TopicPartition, by: tuple[str, str]) -> Committed:
    ends = extents(log, feed, partition.partition)
    for topic, extent in ends.items():
        if extent.high > extent.low:
            raise StateMismatchError(
                f"{partition}: the feed {feed.name} has no committed position, and there are "
                f"records in {topic} already: it had one, which was deleted or has expired",
                remedy=_LOST,
            )
    ledger = ends.get(feed.ledger or "")
    return pinned(feed, ends[feed.topic].high, ledger.high if ledger else 0, *by)


def extents(log: Log, feed: Feed, partition: int) -> dict[str, Extent]:
    """What a partition of the feed's topic holds, and that of its ledger; raises `RetriableError`.

    >>> from processor.connectors.memory.log import MemoryLog
    >>> from processor.feeds.rate import Rate
    >>> log = MemoryLog(); log.create({"app.ticks": 1})
    >>> extents(log, Feed("app", "ticks", Rate(1)), 0)
    {'app.ticks': Extent(low=0, high=0)}
    """
    topics = [feed.topic, *([feed.ledger] if feed.ledger else [])]
    described = log.describe(topics)
    if missing := [topic for topic in topics if topic not in described]:
        raise RetriableError(f"there is no topic {missing[0]} for now")
    return {topic: described[topic].extents[partition] for topic in topics}


def _fed(consumer: Consumer, feed: Feed, partition: TopicPartition, head: Committed) -> Fed:
    manifest = opened(head)
    if manifest.fingerprint != _kind(feed) or not manifest.place:
        raise StateMismatchError(
            f"{partition}: group {feed.group} has the position of another kind of feed "
            f"({manifest.fingerprint})",
            remedy='give the feed a name of its own, name="...", or begin anew with '
            "`processor reset`",
        )
    if manifest.partitions != feed.partitions:
        raise StateMismatchError(
            f"{partition}: the feed {feed.name} had {manifest.partitions} partitions, and has "
            f"{feed.partitions}: files would be in others than before",
            remedy=f"say partitions={manifest.partitions}, or give the feed another name",
        )
    extent = consumer.extent(partition, ASK_S)
    if head.offset > extent.high:
        raise InputLostError(
            f"{partition}: the feed {feed.name} has come to offset {head.offset}, beyond the "
            f"topic's end {extent.high}: the topic was made anew",
            remedy=_LOST,
        )
    owner = Owner("", manifest.transactional_id, 0)
    task = Task(
        task_name(feed.group, partition), partition, owner, {}, head, manifest.epoch, None, Link()
    )
    return Fed(task, manifest, *_read(manifest))


@dataclass(frozen=True, slots=True)
class Noted:
    """The notes of one batch, and the life that they belong to."""

    topic: str | None
    notes: Sequence[Place]
    life: Life

    def outputs(self, partition: int) -> list[Output]:
        """Their records."""
        if self.topic is None:
            return []
        values = [orjson.dumps({"life": self.life.name, **note}) for note in self.notes]
        return [Output(self.topic, values, partition=partition)]


class Notes:
    """The ledger of a feed."""

    def __init__(self, log: Log, feed: Feed) -> None:
        self._log, self._feed = log, feed
        self._former: dict[TopicPartition, int] = {}

    def read(self, partition: int, fed: Fed) -> list[dict[str, Any]]:
        """All notes of a partition's present life.

        Raises `RetriableError` while some are behind an open transaction, or have come since the
        position was read, `StateMismatchError` where they are gone.
        """
        topic = self._feed.ledger
        if topic is None:
            return []
        extent = extents(self._log, self._feed, partition)[topic]
        where = TopicPartition(topic, partition)
        start = max(extent.low, min(fed.life.since, extent.high))
        runs = self._log.scan(where, start, extent.high) if start < extent.high else ()
        told = [orjson.loads(message.value() or b"{}") for run in runs for message in run]
        found = [note for note in told if note.pop("life", None) == fed.life.name]
        if len(found) == fed.life.count:
            return found
        if len(found) > fed.life.count:
            raise RetriableError(
                f"{where}: {len(found)} notes of what was read, and the feed's position tells of "
                f"{fed.life.count}: it has changed meanwhile, or others have written some"
            )
        view = self._log.look([topic], [where], ASK_S)
        if where not in view.stable or view.tops[where] > view.stable[where]:
            raise RetriableError(f"{where}: an open transaction hides notes of the feed")
        raise StateMismatchError(
            f"{where}: the feed {self._feed.name} has made {fed.life.count} notes of what it has "
            f"read, and {len(found)} are there: others have deleted or written some",
            remedy=_LOST,
        )

    def of(self, fed: Fed, piece: Piece) -> Noted:
        """The notes of a piece; now and then all that count are written anew, as another life."""
        topic, life = self._feed.ledger, fed.life
        if topic is None:
            return Noted(None, (), life)
        count = life.count + len(piece.notes)
        live = list(fed.reading.notes()) if life.count > SPARE else []
        if piece.notes and life.count > SPARE + 2 * len(live):
            notes = [*live, *piece.notes]
            high = extents(self._log, self._feed, fed.task.partition.partition)[topic].high
            self._former[fed.task.partition] = high
            return Noted(topic, notes, Life(secrets.token_hex(4), high, len(notes)))
        return Noted(topic, piece.notes, Life(life.name, life.since, count))

    def tidy(self, fed: Fed) -> None:
        """Delete the notes of the life before; where that fails they are passed over."""
        high = self._former.pop(fed.task.partition, None)
        ledger = self._feed.ledger
        if high is not None and fed.life.since == high and ledger is not None:
            with contextlib.suppress(LogError):
                self._log.trim(TopicPartition(ledger, fed.task.partition.partition), high)
