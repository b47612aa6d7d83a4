"""A watermark that records carry: what those who write a topic tell those who read it.

A *writing task* is a partition of the input of the topology that writes. Behind its last record of
a batch in a partition stands, in a header, how far it has come: it writes no record of an earlier
time there any more. A batch is of several tasks, and the header tells of all that its worker has::

    processor.watermark: {"by":"rekey","of":2,"time":["ts"],"at":[[0,1406851200000000]]}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import orjson

HEADER: Final = "processor.watermark"
_BOUND: Final = 2**63


@dataclass(frozen=True, slots=True)
class Told:
    """What one header tells: application, number of its tasks, and watermarks of some of them.

    ``time`` are the columns that they hold for. ``at`` pairs a task's number, from 0 on, with its
    watermark in microseconds since 1970.

    >>> told = Told("rekey", 2, ("ts",), ((0, 5), (1, -7)))
    >>> Told.parse(told.encode()) == told
    True
    """

    by: str
    of: int
    time: tuple[str, ...]
    at: tuple[tuple[int, int], ...]

    def encode(self) -> bytes:
        """The header's value."""
        return orjson.dumps({"by": self.by, "of": self.of, "time": self.time, "at": self.at})

    @classmethod
    def parse(cls, value: bytes | None) -> Told | None:
        """The inverse; ``None`` for what is none.

        >>> Told.parse(b'{"by":"rekey","of":2,"time":[],"at":[[2,0]]}')
        """
        try:
            found = orjson.loads(value or b"")
            by, of, at = found["by"], found["of"], found["at"]
            told = cls(by, of, tuple(found["time"]), tuple((task, time) for task, time in at))
        except (ValueError, TypeError, KeyError):
            return None
        numbers = [of, *(number for pair in told.at for number in pair)]
        right = isinstance(by, str) and all(type(number) is int for number in numbers)
        if not right or not all(0 <= t < of and -_BOUND < us < _BOUND for t, us in told.at):
            return None
        return told
