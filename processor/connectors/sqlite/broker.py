"""The in-memory broker, with its topics and its groups' positions in a database."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from processor.connectors.memory.broker import Broker, PartitionLog
from processor.connectors.sqlite.blocks import OFFSET_BITS
from processor.connectors.sqlite.partition import SqlitePartition
from processor.model.log import Committed, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from processor.clock import Clock
    from processor.connectors.sqlite.database import Database


class SqliteBroker(Broker):
    """What outlives the process: topics, records, committed positions.

    Who is a member, who has a transactional id and what is open in a transaction is of the process
    alone: all of it ends with it, since nobody else can be at work on the database.
    """

    def __init__(self, database: Database, clock: Clock, session_timeout_s: float) -> None:
        super().__init__(clock, session_timeout_s)
        self._database = database
        self._load()

    def _load(self) -> None:
        self.names = dict(self._database.all("SELECT name, identity FROM topics ORDER BY name"))
        self.topics = {name: [] for name in self.names}
        for number, topic, partition, low, end in self._database.all(
            "SELECT number, topic, partition, low, end FROM partitions ORDER BY topic, partition"
        ):
            name = TopicPartition(topic, partition)
            self.topics[topic].append(SqlitePartition(name, self._database, number, low, end))
        for group, topic, partition, offset, metadata in self._database.all(
            'SELECT "group", topic, partition, "offset", metadata FROM positions'
        ):
            name = TopicPartition(topic, partition)
            self.group(group).committed[name] = Committed(offset, metadata)

    def durably(self) -> AbstractContextManager[object]:
        """A block whose changes are on the disk together when it ends."""
        return self._database.transaction()

    def made(self, topic: str, partitions: int) -> list[PartitionLog]:
        """The partitions of a topic that is new."""
        self._database.execute("INSERT INTO topics VALUES (?, ?)", (topic, self.names[topic]))
        made: list[PartitionLog] = []
        for partition in range(partitions):
            number = self._database.execute(
                "INSERT INTO partitions (topic, partition, low, end) VALUES (?, ?, 0, 0)",
                (topic, partition),
            ).lastrowid
            assert number is not None  # noqa: S101 - an INSERT has one
            name = TopicPartition(topic, partition)
            made.append(SqlitePartition(name, self._database, number, 0, 0))
        return made

    def dropped(self, topic: str) -> None:
        """A topic is gone with all its records."""
        for (number,) in self._database.all(
            "SELECT number FROM partitions WHERE topic = ?", (topic,)
        ):
            ids = number << OFFSET_BITS, (number + 1) << OFFSET_BITS
            self._database.execute("DELETE FROM blocks WHERE id >= ? AND id < ?", ids)
        self._database.execute("DELETE FROM partitions WHERE topic = ?", (topic,))
        self._database.execute("DELETE FROM topics WHERE name = ?", (topic,))

    def noted(self, group: str, offsets: Mapping[TopicPartition, Committed]) -> None:
        """A group's positions are committed."""
        self._database.insert(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?)",
            ((group, *name, at.offset, at.metadata) for name, at in offsets.items()),
        )
