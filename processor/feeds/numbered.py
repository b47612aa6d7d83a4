"""Records that come once: they are numbered, and held until they are committed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice

from processor.feeds.base import Limit, Piece, Place


class Numbered:
    """Records that cannot be asked for again. A place is ``{"n": number of the next one}``.

    >>> held = Numbered(); held.begin({"n": 7}); held.add([b"a", b"b"])
    >>> piece = held.piece(Limit(1, 100)); piece.values, piece.place
    ([b'a'], {'n': 8})
    >>> held.kept(piece); held.piece(Limit(9, 100)).values
    [b'b']
    """

    def __init__(self) -> None:
        self._held: deque[bytes] = deque()
        self._first: int | None = None

    def begin(self, place: Place) -> None:
        """Go on from a number: what was committed before is let go of.

        What comes first after a new start has the next number, whatever it was before.
        """
        number = int(place.get("n", 0))
        if self._first is not None:
            for _ in range(min(len(self._held), number - self._first)):
                self._held.popleft()
        self._first = number

    def add(self, values: Iterable[bytes]) -> None:
        """Hold more of them."""
        self._held.extend(values)

    def __len__(self) -> int:
        return len(self._held)

    def piece(self, limit: Limit) -> Piece | None:
        """The first of those that are held."""
        if not self._held:
            return None
        values: list[bytes] = []
        size = 0
        for value in islice(self._held, limit.records):
            if values and size + len(value) > limit.bytes:
                break
            values.append(value)
            size += len(value)
        return Piece(values, {"n": (self._first or 0) + len(values)})

    def kept(self, piece: Piece) -> None:
        """Those are committed."""
        self.begin(piece.place)
