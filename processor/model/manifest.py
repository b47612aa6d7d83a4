"""The manifest: the metadata string of a committed input offset, and the only truth.

It names the checkpoint that belongs to the offset, so that offsets, outputs and state commit at one
point. Kafka takes up to 4,095 characters of it (measured; one more is refused).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

from processor.errors import StateMismatchError

FORMAT: Final = "1"
LENGTH_MAX: Final = 4_095
_NONE: Final = "-"
_TRAIL_MAX: Final = 32
_PLAIN: Final = ' /:,{}[]"'
_FIELDS: Final = (9, 11, *range(16, 25))
_LAST: Final = _FIELDS[-1]


@dataclass(frozen=True, slots=True)
class Intent:
    """What a sink outside Kafka is about to be shown: the next batch, and it alone.

    It ends before the offset ``end``, has ``records`` records, and is computed by the topology that
    ``plan`` names.

    >>> Intent.parse(str(Intent(1200, 40, "ab12")))
    Intent(end=1200, records=40, plan='ab12')
    """

    end: int
    records: int
    plan: str

    def __str__(self) -> str:
        return f"{self.end},{self.records},{self.plan}"

    @classmethod
    def parse(cls, text: str) -> Intent:
        """The inverse of ``str``; raises `ValueError` for what is none."""
        end, records, plan = text.split(",")
        return cls(int(end), int(records), plan)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a task's head is.

    ``epoch`` counts committed batches from 1; 0 pins the position where a new task began.
    ``attempt`` is random for every try. ``digest`` is the delta's blake2b in hex, empty where the
    batch has no state. ``snapshot`` is the ``epoch:attempt`` of the newest snapshot that the chain
    rests on, empty for none. ``event_time_max`` is the largest event time read from the partition,
    in microseconds since 1970, or ``None``. ``fingerprint`` names the plan's state layout,
    ``partitions`` the topic's partition count. ``origin`` is the offset at which the task began
    with nothing; ``trail`` names some of the deltas before, ``epoch:attempt:digest``, the newest
    first: what can be gone back to when checkpoints are lost. ``log`` is what the topic's log calls
    itself, ``plan`` names the whole topology. ``end`` is the offset that it was committed with,
    ``begun`` how many partitions of the topic have all been seen to have one, ``log_time`` the
    largest timestamp of a record that was looked at. Earlier manifests have none of these.
    ``rewound`` is the epoch at which the watermark was set back, 0 for never: no state up to it can
    be gone on from with the input, since it was made with another watermark. ``idle`` says that the
    partition stands still, and that its watermark is not only its own records'. ``stages`` are
    those that it has handed its rows on to. ``life`` is another one after each reset: epochs begin
    anew then, and whoever remembers them outside would take new ones for old. ``files`` names the
    directories to which the batch has given a file; of an earlier batch, which a reset or another
    number of partitions has come after, with ``@life.epoch.attempt`` behind it. With an ``intent``
    the offset has not moved, and the batch behind it is cut as that says, or not at all. ``place``
    is how far a feed has come, as JSON: of a group that reads no topic. ``former`` is how many
    partitions the topic had before it was given more, the least, and 0 where it always had as many.

    >>> m = Manifest(
    ...     7, "a1b2", "cafe", "3:ffee", 1406851200000000, "f00d", 4, "rides.0", 0, ("6:b:cc",),
    ...     "Cf8mznqgQF-QUjUVzRHyDQ", "ab12", 100, 4, 1406851200000000,
    ... )
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
    origin: int | None = None
    trail: tuple[str, ...] = ()
    log: str = ""
    plan: str = ""
    end: int | None = None
    begun: int = 0
    log_time: int | None = None
    rewound: int = 0
    idle: bool = False
    stages: tuple[str, ...] = ()
    life: int = 0
    files: tuple[str, ...] = ()
    intent: Intent | None = None
    place: str = ""
    former: int = 0

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
            _NONE if self.origin is None else str(self.origin),
            ",".join(self.trail) or _NONE,
            self.log or _NONE,
            self.plan or _NONE,
            _NONE if self.end is None else str(self.end),
            str(self.begun),
            _NONE if self.log_time is None else str(self.log_time),
        )
        # Seldom there, and not known to earlier versions: written up to the last that says a thing.
        seldom = [
            (str(self.rewound), "0"),
            (str(int(self.idle)), "0"),
            (",".join(self.stages) or _NONE, _NONE),
            (str(self.life), "0"),
            (",".join(self.files) or _NONE, _NONE),
            (_NONE if self.intent is None else str(self.intent), _NONE),
            (quote(self.place, safe=_PLAIN) or _NONE, _NONE),
            (str(self.former), "0"),
        ]
        while seldom and seldom[-1][0] == seldom[-1][1]:
            seldom.pop()
        return ";".join((*fields, *(text for text, _ in seldom)))

    def gave(self) -> dict[str, tuple[int, int, str]]:
        """By directory, the life, epoch and attempt of the batch whose file in it is committed."""
        found = {}
        for name in self.files:
            directory, _, batch = name.partition("@")
            life, epoch, attempt = batch.split(".") if batch else (self.life, self.epoch, "")
            found[directory] = int(life), int(epoch), attempt or self.attempt
        return found

    def owing(self) -> tuple[str, ...]:
        """The ``files`` of a manifest that comes in place of this one, and not of a batch.

        Who was killed behind the commit has not named them yet.

        >>> last = Manifest(7, "a1b2", "", "", None, "f00d", 4, "rides.0", life=3, files=("dir",))
        >>> last.owing(), last.gave()
        (('dir@3.7.a1b2',), {'dir': (3, 7, 'a1b2')})
        """
        return tuple(f"{of}@{life}.{epoch}.{by}" for of, (life, epoch, by) in self.gave().items())

    @classmethod
    @lru_cache(maxsize=1_024)  # a head is looked at several times in each batch
    def parse(cls, text: str) -> Manifest:
        """Read a manifest; raises `StateMismatchError` for what is none, or of another format."""
        fields = text.split(";")
        if fields[0] != FORMAT or len(fields) not in _FIELDS:
            raise StateMismatchError(
                f"the committed offset carries {text[:80]!r}, no manifest of format {FORMAT}",
                remedy="it was committed by another program, or by another version of this one: "
                "begin anew with `processor reset`, or use another application id",
            )
        _, epoch, attempt, digest, snapshot, time, fingerprint, partitions, owner = fields[:9]
        fields += [_NONE] * (_LAST - len(fields))
        origin, trail, log, plan, end, begun, log_time, rewound, idle, stages = fields[9:19]
        life, files, intent, place, former = fields[19:]
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
                None if origin == _NONE else int(origin),
                _several(trail),
                _value(log),
                _value(plan),
                None if end == _NONE else int(end),
                0 if begun == _NONE else int(begun),
                None if log_time == _NONE else int(log_time),
                0 if rewound == _NONE else int(rewound),
                idle == "1",
                _several(stages),
                0 if life == _NONE else int(life),
                _several(files),
                None if intent == _NONE else Intent.parse(intent),
                unquote(_value(place)),
                0 if former == _NONE else int(former),
            )
        except ValueError as error:
            raise StateMismatchError(
                f"the manifest {text[:80]!r} is damaged: {error}",
                remedy="begin anew with `processor reset`, or use another application id",
            ) from error


def trailed(trail: Sequence[str], head: str, epoch: int) -> tuple[str, ...]:
    """The trail of the manifest of ``epoch``, whose parent is ``head``.

    A delta stays on it for twice as many epochs as the largest power of two that divides its own:
    so there are few of them, and for any loss one that is at most four times as old.

    >>> trail = ()
    >>> for epoch in range(2, 102):
    ...     trail = trailed(trail, f"{epoch - 1}:a:d", epoch)
    >>> [int(name.split(":")[0]) for name in trail]
    [100, 99, 98, 96, 88, 80, 64]
    """
    names = (head, *trail) if head else tuple(trail)
    kept = [name for name in names if epoch - _epoch(name) <= 2 * (_epoch(name) & -_epoch(name))]
    return tuple(kept[:_TRAIL_MAX])


def _epoch(name: str) -> int:
    return int(name.partition(":")[0])


def _several(field: str) -> tuple[str, ...]:
    return () if field == _NONE else tuple(field.split(","))


def _value(field: str) -> str:
    return "" if field == _NONE else field
