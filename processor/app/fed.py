"""What a log that is kept on disk was fed: each file once, whoever is killed meanwhile.

::

    processor-fed:   {topic, its id, digest of the records} …     in the transaction of its records

A file, or values of Python, are known by the records that they make. A topic that was made anew
has another id, and is fed anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import orjson

from processor.connectors.ports import Log
from processor.model.log import Output, TopicPartition

TOPIC: Final = "processor-fed"
FEEDER: Final = "processor-feed"


class Fed:
    """One file, and whether it is in its topic already.

    Args:
        log: where the topic is.
        topic: which the file is for.
        values: the records' values.

    >>> from processor.connectors.memory.log import MemoryLog
    >>> log = MemoryLog(); log.create({"rides": 1})
    >>> Fed(log, "rides", [b"a line"]).known()
    False
    """

    def __init__(self, log: Log, topic: str, values: Sequence[bytes]) -> None:
        self._log = log
        digest = hashlib.sha256()
        for value in values:
            digest.update(b"%d:" % len(value))
            digest.update(value)
        identity = log.identity(topic)()
        told = {"topic": topic, "id": identity, "sha256": digest.hexdigest()}
        self._note: bytes = orjson.dumps(told)

    def known(self) -> bool:
        """Whether its records are in the topic."""
        self._log.create({TOPIC: 1}, forever=True)
        extent = self._log.describe([TOPIC])[TOPIC].extents[0]
        runs = self._log.scan(TopicPartition(TOPIC, 0), extent.low, extent.high)
        return any(message.value() == self._note for run in runs for message in run)

    def output(self) -> Output:
        """The record that says so."""
        return Output(TOPIC, [self._note], partition=0)
