"""The changelog: a topic that holds the checkpoints too, so that the store may lose all of them.

::

    partition p of APP-changelog:   d:1  d:2  s:2:0 s:2  d:3  d:4 …   (each in pieces)

The deltas are part of the batch's transaction; snapshots are written beside it, before a manifest
names them. Nothing in the topic is believed for lying there: a chain is walked from the manifest as
it is in the store, every digest checked. So it is read up to the very end, aborted and open
transactions among it: neither does harm, and no committed delta can be missed.

What is before the deltas that continue a snapshot is deleted once that snapshot is named.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from processor.connectors.ports import Blob, Log
from processor.errors import LogError, SettingsError
from processor.model.log import Message, Output, TopicPartition
from processor.model.manifest import Manifest
from processor.state import chain

PIECE_BYTES_MAX: Final = 900_000
WINDOW_BYTES: Final = 16 * 1024 * 1024
_ALL: Final = 2**62


def topic_of(app: str) -> str:
    """The changelog topic of an application.

    >>> topic_of("rides")
    'rides-changelog'
    """
    return f"{app}-changelog"


def prepare(log: Log, partitions: Mapping[str, int], *, create: bool) -> None:
    """See that each application's topic is there, with as many partitions as its input."""
    wanted = {topic_of(app): count for app, count in partitions.items()}
    if create:
        log.create(wanted, forever=True)
    found = log.describe(wanted)
    for topic, count in wanted.items():
        have = len(found[topic].extents) if topic in found else 0
        if have != count:
            more = f"give it more: kafka-topics.sh --alter --topic {topic} --partitions {count}"
            made = "start with --create-topics, or create it with retention.ms=-1"
            raise SettingsError(
                f"the changelog topic {topic} has {have} partitions; it needs {count}, as the "
                "input has",
                remedy=more if 0 < have < count else made,
            )


class Changelog:
    """The changelog of one application."""

    def __init__(self, log: Log, app: str, timeout_s: float) -> None:
        self._log = log
        self.topic = topic_of(app)
        self._timeout_s = timeout_s

    def outputs(self, partition: int, blobs: Iterable[Blob]) -> list[Output]:
        """The records of a task's deltas, for the batch's transaction."""
        return [self._output(partition, blob.key, blob.data) for blob in blobs]

    def write(self, partition: int, blobs: Mapping[str, bytes]) -> None:
        """Write blobs outside any transaction; they are there when this returns."""
        with self.writing() as write:
            for key, data in blobs.items():
                write(partition, key, data)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Callable[[int, str, bytes], None]]:
        """Write blobs one after the other; they are all there when the block ends."""
        producer = self._log.producer(None)
        try:
            producer.start(self._timeout_s)
            yield lambda partition, key, data: producer.produce(self._output(partition, key, data))
            producer.flush(max(self._timeout_s, 30.0))
        finally:
            producer.close()

    def loader(self, partition: int, manifest: Manifest) -> chain.Loader:
        """Gives what the topic has of the blobs that this manifest may reach."""
        where = TopicPartition(self.topic, partition)
        low = self._log.describe([self.topic])[self.topic].extents[partition].low
        return _Windows(self._log, where, low, manifest.snapshot)

    def end(self, partition: int) -> int:
        """Behind every committed delta; 0 where the log does not answer."""
        with contextlib.suppress(LogError):
            return self._log.describe([self.topic])[self.topic].extents[partition].high
        return 0

    def trim(self, partition: int, low: int) -> None:
        """Delete what is before; if that fails, the next time will do."""
        if low:
            with contextlib.suppress(LogError):
                self._log.trim(TopicPartition(self.topic, partition), low)

    def _output(self, partition: int, key: str, data: bytes) -> Output:
        starts = range(0, len(data), PIECE_BYTES_MAX)
        keys = [f"{key}/{i}/{len(starts)}".encode() for i in range(len(starts))]
        values = [data[start : start + PIECE_BYTES_MAX] for start in starts]
        return Output(self.topic, values, keys, partition=partition)


@dataclass(slots=True)
class _Place:
    """Where the pieces of a blob lie, by their number."""

    count: int
    bytes: int = 0
    offsets: dict[int, int] = field(default_factory=dict)

    def whole(self) -> bool:
        return len(self.offsets) == self.count

    def first(self) -> int:
        return min(self.offsets.values())

    def end(self) -> int:
        return max(self.offsets.values()) + 1


class _Windows:
    """A `processor.state.chain.Loader` over a partition, one window of blobs at a time."""

    def __init__(self, log: Log, where: TopicPartition, low: int, snapshot: str) -> None:
        self._log, self._where = log, where
        places: dict[str, _Place] = {}
        for message in self._messages(low, _ALL):
            key, number, count = _piece(message)
            if key and chain.reachable(key, snapshot):
                place = places.setdefault(key, _Place(count))
                place.offsets[number] = message.offset() or 0
                place.bytes += len(message.value() or b"")
        found = [(key, place) for key, place in places.items() if place.whole()]
        self._places = dict(sorted(found, key=lambda pair: pair[1].first()))
        self._order = list(self._places)
        self._asked = len(self._order)
        self._held: dict[str, bytes] = {}

    def __call__(self, keys: Sequence[str]) -> list[bytes | None]:
        return [self._blob(key) for key in keys]

    def _blob(self, key: str) -> bytes | None:
        if key not in self._places:
            return None
        if key not in self._held:
            self._held = {}
            self._held = self._read(self._window(key))
        return self._held[key]

    def _window(self, key: str) -> list[str]:
        """The blob with its neighbours in the direction that the walk goes in."""
        at = self._order.index(key)
        step = -1 if at < self._asked else 1
        self._asked = at
        window = [key]
        size, at = self._places[key].bytes, at + step
        while 0 <= at < len(self._order):
            size += self._places[self._order[at]].bytes
            if size > WINDOW_BYTES:
                break
            window.append(self._order[at])
            at += step
        return window

    def _read(self, window: Sequence[str]) -> dict[str, bytes]:
        pieces: dict[str, dict[int, bytes]] = {key: {} for key in window}
        start = min(self._places[key].first() for key in window)
        end = max(self._places[key].end() for key in window)
        for message in self._messages(start, end):
            key, number, _ = _piece(message)
            if key in pieces:
                pieces[key][number] = message.value() or b""
        blobs: dict[str, bytes] = {}
        while pieces:
            key, parts = pieces.popitem()
            blobs[key] = b"".join(parts[number] for number in sorted(parts))
        return blobs

    def _messages(self, start: int, end: int) -> Iterator[Message]:
        for run in self._log.scan(self._where, start, end, committed=False):
            yield from run


def _piece(message: Message) -> tuple[str, int, int]:
    """Of which blob, which piece, of how many; of none, where somebody else wrote it."""
    try:
        key, number, count = (message.key() or b"").decode().split("/")
        return key, int(number), int(count)
    except ValueError:
        return "", 0, 0
