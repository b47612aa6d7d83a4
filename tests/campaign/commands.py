"""Redis commands as bytes: what a client sends, and what the append-only file has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def commands(data: bytes) -> Iterator[tuple[int, int, Sequence[bytes]]]:
    """The commands in what is sent to Redis: where each begins and ends, and its words.

    >>> list(commands(b"*1\\r\\n$4\\r\\nPING\\r\\n"))
    [(0, 14, [b'PING'])]
    """
    at = 0
    while at < len(data):
        start, line = at, data.index(b"\r\n", at)
        count, at = int(data[at + 1 : line]), line + 2
        words = []
        for _ in range(count):
            line = data.index(b"\r\n", at)
            size = int(data[at + 1 : line])
            words.append(data[line + 2 : line + 2 + size])
            at = line + 2 + size + 2
        yield start, at, words
