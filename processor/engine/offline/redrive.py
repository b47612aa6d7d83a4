"""Sends dead letters to the input again, each once.

::

    take the identity ──► read the ledger ──► of each partition of letters, batch by batch:
            ▲                                 begin, records, ledger, flush, commit
            └────────── anything but a commit that is certain ──────────┘

One transaction has the records and what the ledger notes of them, so that the ledger is the only
truth about what was sent: who is killed begins with it again, and so does who does not know what
became of a commit. To take the identity ends what its former holder has left open, and shuts him
out. So two that run at once send each letter once, and the older one ends by name.

Only letters that were there at the beginning are sent: one that fails again waits for the next
redrive.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from processor.clock import Clock
from processor.connectors.ports import Log, Producer
from processor.engine.offline.batches import MOST, Batch, Cutter
from processor.engine.offline.ledger import Ledger
from processor.engine.offline.letters import Scan, Wanted, spans_of
from processor.errors import (
    AbortableError,
    FencedError,
    LogError,
    OutcomeUnknownError,
    RetriableError,
    SettingsError,
)
from processor.model.letters import Letter
from processor.model.log import TopicPartition
from processor.model.offsets import NONE, Offsets

Stamp: TypeAlias = Literal["original", "now"]
Stay: TypeAlias = Literal[
    "attempts", "foreign", "group", "late", "app", "topic", "partition", "old", "refused"
]

STAYS: Final[Mapping[Stay, str]] = {
    "attempts": "were sent as often as --attempts allows",
    "foreign": "have not the headers of a dead letter: others wrote them",
    "group": "are groups of an aggregate, which no input has",
    "late": "are late records, and would be late again",
    "app": "are of another application",
    "topic": "are of another topic than the input",
    "partition": "are of a partition that the input has not",
    "old": "are older than what the input keeps (retention.ms): --timestamps now sends them",
    "refused": "are refused by Kafka",
}
ATTEMPTS: Final = 3
# The way from a full batch to the one record that is refused, and as much again.
_FAILURES_MAX: Final = 30
# A letter alone may have failed by chance, so that it is not its record that is refused.
_TRIES: Final = 3
_REASONS_MAX: Final = 5
_ABORT_S: Final = 5.0
_LOOK_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Route:
    """The letters of an application: the topic that they are in, and the input they go to."""

    app: str
    letters: str
    input: str


@dataclass(frozen=True, slots=True)
class Terms:
    """What is to be sent, and how.

    Args:
        wanted: which letters.
        attempts: a letter that was sent so often stays.
        stamp: the timestamps of what is sent: the records' own, or the time of sending.
    """

    wanted: Wanted = field(default_factory=Wanted)
    attempts: int = ATTEMPTS
    stamp: Stamp = "original"


@dataclass(slots=True)
class Redriven:
    """What came of it.

    ``sent`` letters, ``doubles`` that are of a record which was sent already, those that stay by
    reason, those that were not wanted, and what else is to be said.
    """

    sent: int = 0
    doubles: int = 0
    stays: Counter[Stay] = field(default_factory=Counter)
    unwanted: int = 0
    notes: list[str] = field(default_factory=list)


def identity_of(app: str) -> str:
    """The transactional id of a redrive; a worker's has one colon.

    >>> identity_of("rides")
    'rides::redrive'
    """
    return f"{app}::redrive"


class Redrive:
    """One redrive.

    Args:
        route: from where to where.
        terms: what, and how.
        log: has the topics, all of which have to be there.
        clock: tells how old a letter is.
        timeout_s: what one call of the log may take.
        probe: called with the steps' names; tests crash there.

    ``spans`` is what there is to look at, ``scan`` reads it. Raises `SettingsError` for topics that
    cannot do.
    """

    def __init__(
        self,
        route: Route,
        terms: Terms,
        log: Log,
        clock: Clock,
        *,
        timeout_s: float,
        probe: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._route, self._terms, self._log = route, terms, log
        self._timeout_s, self._probe = timeout_s, probe
        self.spans = spans_of(log, route.letters)
        self._partitions = len(spans_of(log, route.input))
        if log.compacted([route.input]):
            raise SettingsError(
                f"{route.input} is compacted: an old record would take the place of a newer one "
                "of its key",
                remedy="have its producer write the record anew, as it is to be now",
            )
        kept_ms = log.kept_ms(route.input) if terms.stamp == "original" else None
        self._oldest_ms = None if kept_ms is None else clock.now_ms() - kept_ms
        self._ledger = Ledger(log, route.app, route.letters, route.input)
        self.scan: Scan = log.scan
        self._outcome = Redriven()
        self._pending: Batch | None = None
        self._most = MOST
        self._failures = 0
        self._refused: dict[tuple[TopicPartition, int], str] = {}
        self._tried: Counter[tuple[TopicPartition, int]] = Counter()

    def look(self) -> Redriven:
        """What `run` would do now; changes nothing."""
        noted = self._ledger.read()
        self._begin_counting(noted)
        for batch in self._batches(noted):
            self._count(batch)
        return self._told()

    def run(self) -> Redriven:
        """Send.

        Raises `FencedError` when another redrive of the application has begun, `LogError` for what
        nothing can be done about; run again, it goes on where it was.
        """
        self._ledger.prepare()
        while not self._passed():
            pass
        return self._told()

    def _passed(self) -> bool:
        """Go through all letters once; false if that was broken off, and has to begin again."""
        producer = self._log.producer(identity_of(self._route.app))
        try:
            self._pass(producer)
        except FencedError as error:
            _let_go(producer)
            raise FencedError(
                f"another redrive of {self._route.app} has begun, or a transaction took too long: "
                f"{error.message}",
                remedy="let the other one end; run it again to go on where it was "
                "(--transaction-timeout gives a transaction more time)",
            ) from error
        except (AbortableError, OutcomeUnknownError, RetriableError) as error:
            _let_go(producer)
            self._failed(error)
            return False
        except (Exception, KeyboardInterrupt, SystemExit):
            _let_go(producer)
            raise
        producer.close()
        return True

    def _pass(self, producer: Producer) -> None:
        self._probe("before:start")
        producer.start(self._timeout_s)
        self._probe("after:start")
        self._ledger.settled(max(self._timeout_s, _LOOK_S))
        noted = self._ledger.read()
        self._settle(noted)
        self._begin_counting(noted)
        with contextlib.closing(self._batches(noted)) as batches:
            for batch in batches:
                self._send(producer, batch)

    def _send(self, producer: Producer, batch: Batch) -> None:
        self._pending = batch
        self._probe("before:begin")
        producer.begin()
        self._probe("before:produce")
        for output in batch.outputs(self._route.input, stamped=self._terms.stamp == "original"):
            producer.produce(output)
        self._probe("before:ledger")
        producer.produce(self._ledger.output(batch.noted(self._route.input)))
        self._probe("before:flush")
        producer.flush(self._timeout_s)
        self._probe("before:commit")
        producer.commit(self._timeout_s)
        self._probe("after:commit")
        self._done(batch)

    def _done(self, batch: Batch) -> None:
        self._count(batch)
        self._pending, self._failures = None, 0
        self._most = min(MOST, 2 * self._most)

    def _count(self, batch: Batch) -> None:
        self._outcome.sent += batch.sent
        self._outcome.doubles += batch.doubles

    def _settle(self, noted: Mapping[TopicPartition, Offsets]) -> None:
        """What became of the batch whose commit has had no answer: the ledger has it or not."""
        batch = self._pending
        if batch is not None and batch.first() in noted.get(batch.partition, NONE):
            self._done(batch)
        self._pending = None

    def _failed(self, error: LogError) -> None:
        """Try again, with less: so that a record which is refused stays alone in the end."""
        self._failures += 1
        if self._failures > _FAILURES_MAX:
            raise error
        batch = self._pending
        if batch is None or not isinstance(error, AbortableError):
            return
        self._most = max(1, len(batch) // 2)
        if len(batch) == 1:
            alone = batch.partition, batch.first()
            self._tried[alone] += 1
            if self._tried[alone] == _TRIES:
                self._refused[alone] = error.message

    def _begin_counting(self, noted: Mapping[TopicPartition, Offsets]) -> None:
        self._outcome.stays.clear()
        self._outcome.unwanted = 0
        self._outcome.notes = [
            f"{partition}: what was before offset {extent.low} is gone (retention), and from "
            f"offset {gap} on not all of it was sent"
            for partition, extent in self.spans.items()
            if (gap := noted.get(partition, NONE).gap(0)) < extent.low
        ]
        ends = {p: noted[p].end() for p, extent in self.spans.items()
                if p in noted and noted[p].end() > extent.high}  # fmt: skip
        # There is more by now, or it is another topic, and has no id to tell by.
        now = spans_of(self._log, self._route.letters) if ends else {}
        for partition, end in ends.items():
            if end > now[partition].high:
                raise SettingsError(
                    f"{partition} ends at offset {now[partition].high}, and letters up to {end} "
                    "were sent: it was made anew, or has lost its end",
                    remedy=f"delete the topic {self._ledger.topic} to send all that is there",
                )

    def _batches(self, noted: dict[TopicPartition, Offsets]) -> Generator[Batch]:
        """What is to be sent, cut into transactions; ``noted`` is kept up to date."""
        for partition, extent in self.spans.items():
            done = noted.get(partition, NONE)
            start = done.gap(extent.low)
            if start >= extent.high:
                continue
            # What is before it is done, or gone.
            span = range(done.gap(0), extent.high)
            cutter = Cutter(
                partition, span, done, noted, self._route.input,
                self._stays, lambda: self._most,
            )  # fmt: skip
            for batch in cutter.batches(self.scan(partition, start, extent.high)):
                yield batch
                for where, offsets in batch.noted(self._route.input).items():
                    if where.topic == self._route.input:
                        noted[where] = Offsets.union([noted.get(where, NONE), offsets])

    def _stays(self, partition: TopicPartition, letter: Letter) -> bool:
        """Whether a letter is not sent; counts it then."""
        if not self._terms.wanted.takes(letter):
            self._outcome.unwanted += 1
            return True
        why = self._why(partition, letter)
        if why is not None:
            self._outcome.stays[why] += 1
        return why is not None

    def _why(self, partition: TopicPartition, letter: Letter) -> Stay | None:
        """Why a letter that is wanted stays; ``None`` for one that is sent."""
        if letter.kind != "record":
            return letter.kind
        if letter.app != self._route.app:
            return "app"
        if letter.topic != self._route.input or letter.partition >= self._partitions:
            return "topic" if letter.topic != self._route.input else "partition"
        if letter.attempts >= self._terms.attempts:
            return "attempts"
        at_ms, oldest_ms = letter.timestamp_ms, self._oldest_ms
        old = at_ms is not None and oldest_ms is not None and at_ms < oldest_ms
        refused = (partition, letter.message.offset()) in self._refused
        return "old" if old else "refused" if refused else None

    def _told(self) -> Redriven:
        refused = [*self._refused.items()]
        self._outcome.notes += [
            f"{partition} offset {offset} is refused: {why}"
            for (partition, offset), why in refused[:_REASONS_MAX]
        ]
        return self._outcome


def _let_go(producer: Producer) -> None:
    with contextlib.suppress(LogError):  # none is open, or it is not ours any more
        producer.abort(_ABORT_S)
    producer.close()
