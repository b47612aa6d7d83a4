"""A queue that Python fills: for notebooks and tests."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

from processor.errors import FeedError
from processor.feeds.base import RECORD_BYTES_MAX, Limit, Opening, Piece, Place
from processor.feeds.numbered import Numbered
from processor.feeds.values import Value, Values, encoded

_CALL: Final = 'call it as in queue.put([{"user": "ann"}]), with text, bytes or rows'


class Queue:
    """Rows for a topology that reads this queue. Any thread may put them in.

    What is in it lives in this process alone: rows that were not committed when the process ends
    are gone.

    >>> queue = Queue()
    >>> queue.put([{"user": "ann"}, {"user": "bob"}])
    >>> len(queue)
    2
    """

    kind: Final = "queue"
    waits: Final = True
    noted: Final = False
    again: Final = False
    endless: Final = ""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._given: list[Value] = []
        self._numbered = Numbered()
        self._closed = False

    def put(self, rows: Values) -> None:
        """Add rows: text or bytes as the topic's format reads them, ``{column: cell}``, or a frame.

        Raises `FeedError` for one row by itself, and behind `close`.
        """
        if isinstance(rows, str | bytes | dict):
            raise FeedError(f"{rows!r} is one row, and no list of rows", remedy=_CALL)
        try:
            given = list(rows.rows(named=True)) if hasattr(rows, "rows") else list(rows)
        except TypeError as error:
            raise FeedError(f"{rows!r} is no list of rows", remedy=_CALL) from error
        with self._changed:
            if self._closed:
                raise FeedError("the queue is closed", remedy="make another one")
            self._given += given
            self._changed.notify_all()

    def close(self) -> None:
        """No more rows will come; what is there is still read."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __len__(self) -> int:
        with self._changed:
            return len(self._given) + len(self._numbered)

    def open(self, opening: Opening) -> QueueReading:
        """Begin to read."""
        return QueueReading(self, opening)

    def untouched(self) -> Queue:
        """The same: rows are taken out when they are committed."""
        return self

    def describe(self) -> str:
        """``a queue of this process``."""
        return "a queue of this process"

    def _take(self, opening: Opening, limit: Limit) -> Piece | None:
        with self._changed:
            if not self._given and not self._numbered and limit.wait_s > 0:
                self._changed.wait(limit.wait_s)
            given, self._given = self._given, []
            self._numbered.add(self._encoded(opening, given))
            return self._numbered.piece(limit)

    @staticmethod
    def _encoded(opening: Opening, given: Iterable[Value]) -> list[bytes]:
        found: list[bytes] = []
        for row in given:
            try:
                (value,) = encoded(opening.format, [row])
                if len(value) > RECORD_BYTES_MAX:
                    raise ValueError(f"it has {len(value)} bytes, more than {RECORD_BYTES_MAX}")
            except (ValueError, TypeError) as error:
                what = f"a row that was put into the queue cannot be written: {error}"
                if opening.on_error == "fail":
                    raise FeedError(what, remedy=_CALL) from error
                opening.tell(f"{what}: it is left out")
            else:
                found.append(value)
        return found


class QueueReading:
    """Implements `processor.feeds.base.Reading`."""

    def __init__(self, queue: Queue, opening: Opening) -> None:
        self._queue, self._opening = queue, opening

    def begin(self, place: Place, notes: Iterable[Place]) -> None:
        """Go on with what is in the queue and was not committed."""
        del notes
        with self._queue._changed:  # noqa: SLF001 - this class is a part of a queue
            self._queue._numbered.begin(place)  # noqa: SLF001

    def read(self, limit: Limit) -> Piece | None:
        """The first rows."""
        return self._queue._take(self._opening, limit)  # noqa: SLF001

    def kept(self, piece: Piece) -> None:
        """Those rows leave the queue."""
        with self._queue._changed:  # noqa: SLF001
            self._queue._numbered.kept(piece)  # noqa: SLF001

    def at_end(self) -> bool:
        """Whether the queue is empty."""
        return not len(self._queue)

    def notes(self) -> Iterable[Place]:
        """None."""
        return ()

    def close(self) -> None:
        """The queue stays."""
