"""A partition of the log on disk: what is committed in the database, what is open in memory."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from heapq import merge
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from processor.connectors.memory.broker import PartitionLog, Transaction
from processor.connectors.sqlite.blocks import OFFSET_BITS, Block, blocks

if TYPE_CHECKING:
    from processor.connectors.memory.records import Columns, StoredMessage
    from processor.connectors.sqlite.database import Database
    from processor.model.log import TopicPartition

# So much is read in one piece, if not less was asked for: records may be large.
BYTES_READ: Final = 16 * 1024 * 1024
_COLUMNS: Final = ", ".join(Block._fields)
_INSERT: Final = f"INSERT INTO blocks ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
# From the block that holds the position, wherever that begins, up to an end.
_READ: Final = (
    f"SELECT {_COLUMNS} FROM blocks "  # noqa: S608 - the names are our own
    "WHERE id >= coalesce((SELECT max(id) FROM blocks WHERE id BETWEEN :base AND :at), :at) "
    "AND id < :end AND aborted <= :aborted AND newest_ms >= :ms ORDER BY id"
)
_TRIM: Final = "DELETE FROM blocks WHERE id >= :base AND id < :low AND id + records <= :low"
_EVER: Final = -(1 << 62)


class _Run(NamedTuple):
    """Records at consecutive offsets, from ``first`` on."""

    first: int
    size: int
    messages: list[StoredMessage]

    def of(self, position: int, limit: int) -> list[StoredMessage]:
        """Up to ``limit`` of them from a position on."""
        start = max(0, position - self.first)
        return self.messages[start : start + limit]


class SqlitePartition(PartitionLog):
    """A partition whose offsets and records outlive the process; `PartitionLog` says the rest.

    An open transaction's records have their offsets at once, and come into the database when it
    ends. Should the process die before, they have never been.
    """

    __slots__ = ("_base", "_database", "_end", "_held", "_last")

    def __init__(
        self, name: TopicPartition, database: Database, number: int, low: int, end: int
    ) -> None:
        super().__init__(name)
        self.low = low
        self._end = end
        self._database = database
        self._base = number << OFFSET_BITS
        self._held: dict[Transaction, list[tuple[int, Columns]]] = {}
        # A block that was read in part is read on next.
        self._last = _Run(-1, 0, [])

    @property
    def end(self) -> int:
        """One past the last offset that was given to a record or a mark."""
        return self._end

    def append(self, columns: Columns, transaction: Transaction | None) -> None:
        """Append records, visible at once or with their transaction."""
        start = self._end
        self._end += len(columns.values)
        if transaction is None:
            self._write(start, columns, aborted=False)
            self._note()
            return
        self._open.setdefault(transaction, start)
        self._held.setdefault(transaction, []).append((start, columns))
        transaction.appended.setdefault(self.name, []).append(range(start, self._end))

    def finish(self, transaction: Transaction, *, commit: bool) -> None:
        """End a transaction here: its records and its mark come into the database."""
        for start, columns in self._held.pop(transaction):
            self._write(start, columns, aborted=not commit)
        del self._open[transaction]
        self._end += 1
        self._note()

    def _write(self, start: int, columns: Columns, *, aborted: bool) -> None:
        self._database.insert(_INSERT, blocks(self._base + start, columns, aborted=aborted))

    def _note(self) -> None:
        """Note the ends in the database: an offset that somebody has seen is given once only."""
        self._database.execute(
            "UPDATE partitions SET low = ?, end = ? WHERE number = ?",
            (self.low, self._end, self._base >> OFFSET_BITS),
        )

    def read(
        self, position: int, limit: int, *, committed: bool = True
    ) -> tuple[list[StoredMessage], int]:
        """Up to ``limit`` records from ``position`` on, and where to go on; fewer of large ones."""
        end = self.stable if committed else self._end
        found: list[StoredMessage] = []
        if position >= end or limit <= 0:
            return found, position
        size = 0
        with closing(self._runs(position, end, committed=committed)) as runs:
            for run in runs:
                found += run.of(position, limit - len(found))
                size += run.size
                if len(found) >= limit or (found and size >= BYTES_READ):
                    return found, found[-1].offset() + 1
        return found, end

    def _runs(
        self, position: int, end: int, *, committed: bool, ms: int = _EVER
    ) -> Generator[_Run, None, None]:
        """What there is from a position on, in order, with all that is in one block with it."""
        kept = self._kept(position, end, committed=committed, ms=ms)
        held = () if committed else sorted(self._unfinished(end), key=itemgetter(0))
        with closing(kept):
            yield from merge(kept, held, key=itemgetter(0))

    def _kept(
        self, position: int, end: int, *, committed: bool, ms: int
    ) -> Generator[_Run, None, None]:
        base = self._base
        asked = {
            "base": base, "at": base + position, "end": base + end,
            "aborted": not committed, "ms": ms,
        }  # fmt: skip
        with closing(self._database.execute(_READ, asked)) as rows:
            for row in self._database.rows(rows):
                block = Block(*row)
                if block.first != self._last.first:
                    if not block.whole():
                        raise self._database.damaged(f"{self.name} offset {block.first}")
                    self._last = _Run(block.first, block.size, block.messages(self.name))
                yield self._last

    def _unfinished(self, end: int) -> Iterator[_Run]:
        for parts in self._held.values():
            for start, columns in parts:
                if start < end:
                    yield _Run(start, 0, list(columns.messages(*self.name, start)))

    def offset_at(self, ms: int) -> int:
        """The offset of the first record with that timestamp or a later one, or the end."""
        stable = self.stable
        with closing(self._runs(self.low, stable, committed=False, ms=ms)) as runs:
            for run in runs:
                for message in run.of(self.low, len(run.messages)):
                    if message.timestamp()[1] >= ms:
                        return min(message.offset(), stable)
        return stable

    def trim(self, low: int) -> None:
        """Forget what is below ``low``; the file does not shrink, what comes takes the room."""
        self.low = min(max(low, self.low), self._end)
        self._database.execute(_TRIM, {"base": self._base, "low": self._base + self.low})
        self._note()
