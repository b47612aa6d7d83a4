"""What a test driver reads from its log."""

from __future__ import annotations

from typing import Any

import orjson

from processor.connectors.memory.log import MemoryLog
from processor.connectors.memory.records import StoredMessage


class Reads:
    """The committed records of topics, as they are."""

    log: MemoryLog
    _dead_letters: str

    def read(self, topic: str) -> list[StoredMessage]:
        """The committed records of a topic, by partition and offset."""
        return self.log.read(topic)

    def values(self, topic: str) -> list[bytes | None]:
        """The values of a topic's committed records."""
        return [message.value() for message in self.read(topic)]

    def json(self, topic: str) -> list[Any]:
        """The same, parsed."""
        return [orjson.loads(value) for value in self.values(topic) if value is not None]

    def dead_letters(self) -> list[StoredMessage]:
        """What could not be read."""
        return self.read(self._dead_letters)
