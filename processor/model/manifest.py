"""The manifest: the metadata string of a committed input offset, and the only truth.

It names the checkpoint that belongs to the offset, so that offsets, outputs and state commit at one
point. Kafka takes up to 4,095 characters of it (measured; one more is refused).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from processor.errors import StateMismatchError

FORMAT: Final = "1"
LENGTH_MAX: Final = 4_095
_NONE: Final = "-"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a task's head is.

    ``epoch`` counts committed batches from 1; 0 pins the position where a new task began.
    ``attempt`` is random for every try. ``digest`` is the delta's blake2b in hex, empty where the
    batch has no state. ``snapshot`` is the ``epoch:attempt`` of the newest snapshot that the chain
    rests on, empty for none. ``event_time_max`` is the largest event time read from the partition,
    in microseconds since 1970, or ``None``. ``fingerprint`` names the plan's state layout,
    ``partitions`` the topic's partition count.

    >>> m = Manifest(7, "a1b2", "cafe", "3:ffee", 1406851200000000, "f00d", 4, "rides.0")
    >>> Manifest.parse(str(m)) == m
    True
    """

    epoch: int
    attempt: str
    digest: str
    snapshot: str
    event_time_max: int | None
    fingerprint: str
    partitions: int
    transactional_id: str

    def __str__(self) -> str:
        time = _NONE if self.event_time_max is None else str(self.event_time_max)
        fields = (
            FORMAT,
            str(self.epoch),
            self.attempt or _NONE,
            self.digest or _NONE,
            self.snapshot or _NONE,
            time,
            self.fingerprint,
            str(self.partitions),
            self.transactional_id,
        )
        return ";".join(fields)

    @classmethod
    def parse(cls, text: str) -> Manifest:
        """Read a manifest; raises `StateMismatchError` for what is none, or of another format."""
        fields = text.split(";")
        if fields[0] != FORMAT or len(fields) != 9:
            raise StateMismatchError(
                f"the committed offset carries {text[:80]!r}, no manifest of format {FORMAT}",
                remedy="use another application id, or reset the group's offsets: they were "
                "committed by another program or another version of this one",
            )
        _, epoch, attempt, digest, snapshot, time, fingerprint, partitions, owner = fields
        try:
            return cls(
                int(epoch),
                _value(attempt),
                _value(digest),
                _value(snapshot),
                None if time == _NONE else int(time),
                fingerprint,
                int(partitions),
                owner,
            )
        except ValueError as error:
            raise StateMismatchError(
                f"the manifest {text[:80]!r} is damaged: {error}",
                remedy="reset the group's offsets to where it should go on",
            ) from error


def _value(field: str) -> str:
    return "" if field == _NONE else field
