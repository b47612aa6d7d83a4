"""Receivers of a user's own: whatever can say what comes behind a position."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import orjson

from processor.errors import FeedError, ProcessorError
from processor.feeds.base import RECORD_BYTES_MAX, Limit, Opening, Piece, Place
from processor.feeds.values import Values, encoded

Position: TypeAlias = Any
"""Whatever JSON can hold; ``None`` before the first record."""
POSITION_BYTES_MAX = 1_000


@runtime_checkable
class Receiver(Protocol):
    """Where records come from, by a position that the receiver itself understands.

    >>> class Squares:
    ...     def read(self, position, limit):
    ...         start = position or 0
    ...         return [{"n": n * n} for n in range(start, start + limit)], start + limit
    >>> isinstance(Squares(), Receiver)
    True
    """

    def read(self, position: Position, limit: int) -> tuple[Values, Position]:
        """Up to ``limit`` records behind a position, and the position behind them.

        Returns soon, within a second: no records, with the same position, where there are none now.
        The position is committed with the records, so after a crash the same one is asked for
        again: what always gives the same records for it gives each exactly once. One that ends
        is at its end in a bounded run when it gives nothing.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Received:
    """A receiver as a feed."""

    receiver: Receiver

    kind = "receiver"
    waits = False
    noted = False
    again = False
    endless = ""

    def open(self, opening: Opening) -> ReceiverReading:
        """Begin to read."""
        return ReceiverReading(self.receiver, opening)

    def untouched(self) -> Received:
        """The same: reading is no trace."""
        return self

    def describe(self) -> str:
        """``receiver Squares``."""
        return f"receiver {type(self.receiver).__name__}"


class ReceiverReading:
    """Implements `processor.feeds.base.Reading`. A place is ``{"p": position}``."""

    def __init__(self, receiver: Receiver, opening: Opening) -> None:
        self._receiver, self._opening = receiver, opening
        self._name = type(receiver).__name__
        self._position: Position = None
        self._ended = False

    def begin(self, place: Place, notes: Iterable[Place]) -> None:
        """Go on from a position."""
        del notes
        self._position = place.get("p")

    def read(self, limit: Limit) -> Piece | None:
        """What the receiver gives; what it raises is told with its name."""
        try:
            given, position = self._receiver.read(self._position, limit.records)
            values = encoded(self._opening.format, given)
            json.dumps(position, allow_nan=False)  # orjson makes null of what is no number
            held = orjson.dumps(position)
            position = orjson.loads(held)  # as it is after a restart
        except ProcessorError:
            raise
        except Exception as error:
            raise FeedError(
                f"{self._name}.read({self._position!r}) raised {type(error).__name__}: {error}",
                remedy="it returns records (text, bytes or rows) and a position that JSON can hold;"
                " raise processor.errors.RetriableError for what passes by itself",
            ) from error
        if len(held) > POSITION_BYTES_MAX:
            raise FeedError(
                f"{self._name}.read: a position of {len(held)} bytes, more than "
                f"{POSITION_BYTES_MAX}",
                remedy="keep it short: a number, a time, a name",
            )
        kept = [value for value in values if len(value) <= RECORD_BYTES_MAX]
        skipped = len(values) - len(kept)
        if skipped:
            what = f"{self._name}: {skipped} records of more than {RECORD_BYTES_MAX} bytes"
            if self._opening.on_error == "fail":
                raise FeedError(what, remedy="give shorter ones, or say on_error='skip'")
            self._opening.tell(f"{what}: they have no room in a topic, and are left out")
        self._ended = not values and position == self._position
        return None if self._ended else Piece(kept, {"p": position}, skipped=skipped)

    def kept(self, piece: Piece) -> None:
        """Go on from there."""
        self._position = piece.place["p"]

    def at_end(self) -> bool:
        """Whether it gave nothing when it was asked last."""
        return self._ended

    def notes(self) -> Iterable[Place]:
        """None."""
        return ()

    def close(self) -> None:
        """Close the receiver too, where it can be."""
        close = getattr(self._receiver, "close", None)
        if callable(close):
            close()
