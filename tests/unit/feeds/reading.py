"""Feeds without an engine: what a reading gives, piece by piece."""

from __future__ import annotations

from typing import Any

from processor.clock import ManualClock
from processor.feeds.base import Limit, Opening, Piece
from processor.formats.text import Text


class Turned:
    """A reading, its commits played; ``notes`` and ``place`` are what the log would have."""

    def __init__(self, source: Any, form: Any = None, *, clock: ManualClock | None = None,
                 **options: Any) -> None:  # fmt: skip
        self.clock = clock or ManualClock(4_000_000_000_000)
        self.told: list[str] = []
        self.steps: list[str] = []
        self.opening = Opening(
            options.pop("partition", 0), options.pop("partitions", 1), form or Text(),
            options.pop("on_error", "dead_letter"), self.clock, look_s=0.0, tell=self.told.append,
            probe=self.steps.append, **options,
        )  # fmt: skip
        self.source, self.place, self.notes = source, {}, []
        self.reading: Any = None
        self.open()

    def open(self) -> None:
        """As a process does that starts."""
        if self.reading is not None:
            self.reading.close()
        self.reading = self.source.open(self.opening)
        self.reading.begin(self.place, list(self.notes))

    def read(self, records: int = 100, size: int = 1 << 20) -> Piece | None:
        return self.reading.read(Limit(records, size))

    def commit(self, piece: Piece, *, kept: bool = True) -> None:
        self.place = piece.place
        self.notes += piece.notes
        if kept:
            self.reading.kept(piece)

    def all(self, records: int = 100) -> list[bytes]:
        """All that comes, committed piece by piece."""
        found: list[bytes] = []
        while (piece := self.read(records)) is not None:
            found += piece.values
            self.commit(piece)
        self.reading.close()
        return found
