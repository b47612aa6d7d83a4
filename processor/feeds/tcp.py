"""Lines of a TCP socket. What was sent cannot be asked for again.

::

    connect ──► bytes ──► whole lines, numbered ──► committed
       ▲          │ the other side ends, or does not answer
       └── pause ─┘   0.1 s, 0.2 s … 5 s; a line that was cut off is left out, and told
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from processor.errors import FeedError
from processor.feeds.base import RECORD_BYTES_MAX, Limit, Opening, Piece, Place
from processor.feeds.numbered import Numbered

CONNECT_S = 5.0
FIRST_S, MOST_S = 0.1, 5.0
_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Socket:
    """A server that sends lines."""

    host: str
    port: int

    kind = "socket"
    waits = True
    noted = False
    again = False
    endless = "a socket has no end: run it without until_caught_up"

    def open(self, opening: Opening) -> SocketReading:
        """Begin to read; the connection is made with the first piece."""
        return SocketReading(self, opening)

    def untouched(self) -> Socket:
        """The same."""
        return self

    def describe(self) -> str:
        """``socket host:port``."""
        return f"socket {self.host}:{self.port}"


class SocketReading:
    """Implements `processor.feeds.base.Reading`."""

    def __init__(self, source: Socket, opening: Opening) -> None:
        self._source, self._opening = source, opening
        self._numbered = Numbered()
        self._connection: socket.socket | None = None
        self._rest = b""
        self._passing = False  # the rest of a line that is too long
        self._pause_s = 0.0
        self._again_s = 0.0
        self._told = False

    def begin(self, place: Place, notes: Iterable[Place]) -> None:
        """Go on with the next number; lines that were not committed before a crash are gone."""
        del notes
        self._numbered.begin(place)

    def read(self, limit: Limit) -> Piece | None:
        """The lines that have come; waits for the first as long as the limit says."""
        if not self._numbered:
            self._receive(limit.wait_s)
        return self._numbered.piece(limit)

    def _receive(self, wait_s: float) -> None:
        connection = self._connected(wait_s)
        if connection is None:
            return
        try:
            if not select.select([connection], [], [], wait_s)[0]:
                return
            data = connection.recv(_BYTES)
        except OSError as error:
            self._lost(error.strerror or str(error))
            return
        if not data:
            self._lost("the other side has ended the connection")
            return
        self._pause_s, self._told = 0.0, False
        self._numbered.add(self._lines(data))

    def _lines(self, data: bytes) -> list[bytes]:
        """The lines that are whole now and have room in a topic; of a longer one nothing is."""
        if self._passing:
            _, end, data = data.partition(b"\n")
            if not end:
                return []
            self._passing = False
        *lines, self._rest = (self._rest + data).split(b"\n")
        lines = [line.removesuffix(b"\r") for line in lines]
        kept = [line for line in lines if len(line) <= RECORD_BYTES_MAX]
        self._passing = len(self._rest) > RECORD_BYTES_MAX + 1  # one for the end of its line
        if self._passing:
            self._rest = b""
        for _ in range(len(lines) - len(kept) + self._passing):
            self._too_long()
        return kept

    def _too_long(self) -> None:
        what = f"{self._source.describe()}: a line of more than {RECORD_BYTES_MAX} bytes came"
        if self._opening.on_error == "fail":
            raise FeedError(what, remedy="let shorter lines be sent, or say on_error='skip'")
        self._opening.tell(f"{what}: it has no room in a topic, and is left out")

    def _connected(self, wait_s: float) -> socket.socket | None:
        """The connection; ``None`` while there is none."""
        if self._connection is not None:
            return self._connection
        now_s = self._opening.clock.monotonic_s()
        if now_s < self._again_s:
            select.select([], [], [], min(wait_s, self._again_s - now_s))
            return None
        address = (self._source.host, self._source.port)
        try:
            self._connection = socket.create_connection(address, timeout=CONNECT_S)
        except OSError as error:
            self._lost(error.strerror or str(error))
        return self._connection

    def _lost(self, why: str) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        cut = f", in the middle of a line: {len(self._rest)} bytes are left out"
        told = f"{self._source.describe()}: {why}{cut if self._rest else ''}; it is tried again"
        if not self._told or self._rest:
            self._opening.tell(told)
        self._told, self._rest, self._passing = True, b"", False
        self._again_s = self._opening.clock.monotonic_s() + self._pause_s
        self._pause_s = min(MOST_S, 2 * self._pause_s or FIRST_S)

    def kept(self, piece: Piece) -> None:
        """Those lines are let go of."""
        self._numbered.kept(piece)

    def at_end(self) -> bool:
        """Never."""
        return False

    def notes(self) -> Iterable[Place]:
        """None."""
        return ()

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
