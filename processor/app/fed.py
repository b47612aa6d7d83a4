"""Which files a log that is kept on disk was fed: each once, whoever is killed meanwhile.

::

    processor-fed:   {topic, its id, digest of the file} …     in the transaction of its records

A file is known by what is in it. A topic that was made anew has another id, and is fed anew.
"""

from __future__ import annotations

import hashlib
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
        text: what is in the file.

    >>> from processor.connectors.memory.log import MemoryLog
    >>> log = MemoryLog(); log.create({"rides": 1})
    >>> Fed(log, "rides", b"a line").known()
    False
    """

    def __init__(self, log: Log, topic: str, text: bytes) -> None:
        self._log = log
        digest = hashlib.sha256(text).hexdigest()
        told = {"topic": topic, "id": log.identity(topic)(), "sha256": digest}
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
