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
from collections.abc import Iterable, Mapping
from typing import Final

from processor.connectors.ports import Blob, Log
from processor.errors import LogError, SettingsError
from processor.model.log import Output, TopicPartition
from processor.model.manifest import Manifest
from processor.state import chain

PIECE_BYTES_MAX: Final = 900_000
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
            raise SettingsError(
                f"the changelog topic {topic} has {have} partitions; it needs {count}, as the "
                "input has",
                remedy="start with --create-topics, or create it with retention.ms=-1",
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
        """Write a snapshot, outside any transaction; it is there when this returns."""
        producer = self._log.producer(None)
        try:
            producer.start(self._timeout_s)
            for key, data in blobs.items():
                producer.produce(self._output(partition, key, data))
            producer.flush(max(self._timeout_s, 30.0))
        finally:
            producer.close()

    def load(self, partition: int, manifest: Manifest) -> dict[str, bytes]:
        """What the topic has of the blobs that this manifest may reach."""
        where = TopicPartition(self.topic, partition)
        extent = self._log.describe([self.topic])[self.topic].extents[partition]
        pieces: dict[str, dict[int, bytes]] = {}
        counts: dict[str, int] = {}
        for run in self._log.scan(where, extent.low, _ALL, committed=False):
            for message in run:
                key, number, count = (message.key() or b"").decode().split("/")
                if chain.reachable(key, manifest.snapshot):
                    pieces.setdefault(key, {})[int(number)] = message.value() or b""
                    counts[key] = int(count)
        return {
            key: b"".join(found[i] for i in range(counts[key]))
            for key, found in pieces.items()
            if len(found) == counts[key]
        }

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
