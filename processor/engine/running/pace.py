"""How long the steps of a batch take, and how many records the next batch may have.

A group gives up a member that does not poll for too long, and there is no poll while a batch is
computed. A batch that took longer than that is not committed: others may have its partitions. So
the first batch is small, and the next ones are as large as what the last one took allows::

    the first                          a record for each ten seconds, 32 at most

    took less than a quarter of it     as many as a quarter would do for, sixteen times at most,
                                       up to what was set
    took less than half of it          half as many more: perhaps it is not their number that takes
                                       the time, as with one request for all
    took more than half of it          so many that a quarter would do
    took more than all of it           the same; if that was one record, it stops by name
    and so did the one before          a sixteenth: one record takes the time, not their number
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from processor.clock import Clock
from processor.errors import ProcessorError
from processor.model.batch import Slice

FIRST: Final = 32
_FIRST_S: Final = 10.0
_MOST: Final = 1 / 2
_AIM: Final = 1 / 4
_FACTOR: Final = 16
_STUCK: Final = 3


class TooSlowError(ProcessorError):
    """One record took longer than the group waits for a member to poll."""

    code = "too_slow"


class OverdueError(ProcessorError):
    """A batch has taken so long that it must not be committed: what is left of it is not done."""


class Pace:
    """Watches the steps of a batch.

    Args:
        records_max: the largest batch.
        limit_s: how long the group waits for a poll; infinity: it does not.

    ``records_max`` is how many records the next batch may have. ``running`` and ``since_s`` are the
    step that is being computed and when it began, for another thread to look at; the step is empty
    between batches.

    >>> from processor.clock import ManualClock
    >>> clock = ManualClock(); pace = Pace(clock, records_max=1000, limit_s=60)
    >>> pace.begin([]); pace.step("decode"); clock.advance(45)
    >>> pace.done(32), pace.records_max
    (True, 10)
    """

    def __init__(self, clock: Clock, *, records_max: int, limit_s: float) -> None:
        self._clock = clock
        self._most = self.records_max = records_max
        self.limit_s = 0.0
        self.waits(limit_s)
        self.running = ""
        self._over = 0
        self.begin(())

    def waits(self, limit_s: float) -> None:
        """The group waits so long for a poll; where that is new, the next batch is the first."""
        if limit_s != self.limit_s:
            self.limit_s = limit_s
            self.records_max = max(1, int(min(FIRST, self._most, limit_s / _FIRST_S)))

    def begin(self, slices: Sequence[Slice]) -> None:
        """A batch is to be computed."""
        self._slices: Sequence[Slice] = slices
        self._longest = ("", 0.0)
        self._begun_s = self.since_s = self._clock.monotonic_s()

    def step(self, name: str) -> None:
        """A step begins, and the one before it is over.

        Raises `OverdueError` where the batch has taken its time by now, and then no step runs.
        """
        now_s = self._clock.monotonic_s()
        overdue = name and now_s - self._begun_s > self.limit_s
        if now_s - self.since_s > self._longest[1]:
            self._longest = (self.running, now_s - self.since_s)
        self.running, self.since_s = "" if overdue else name, now_s
        if overdue:
            raise OverdueError(f"a batch took more than {self.limit_s:g} s before {name}")

    def done(self, records: int) -> bool:
        """The batch is computed; false where it took so long that it must not be committed.

        Raises `TooSlowError` where that was a single record's doing.
        """
        self.step("")
        took_s = self.since_s - self._begun_s
        over = took_s > self.limit_s
        if over and records <= 1:
            raise self.too_slow()
        self._over = self._over + 1 if over else 0
        if self._over > 1:
            self.records_max = max(1, records // _FACTOR)
            return False
        most = self.records_max * _FACTOR
        fit = int(min(most, records * self.limit_s * _AIM / took_s)) if took_s > 0 else most
        if took_s > self.limit_s * _MOST:
            self.records_max = max(1, fit)
            return not over
        if took_s > self.limit_s * _AIM:
            fit = records + (records + 1) // 2
        self.records_max = min(self._most, max(self.records_max, fit))
        return True

    def call(self, name: str) -> None:
        """A function of the user's begins, with rows of a batch that is computed."""
        self.running, self.since_s = name, self._clock.monotonic_s()

    def called(self, records: int, *, again: bool) -> None:
        """The functions are done with so many records: if that took long, the next are fewer.

        Raises `TooSlowError` where a batch that had to be shown ``again``, and as it was, took
        longer than the group waits: it would for ever.
        """
        now_s = self._clock.monotonic_s()
        took_s, since_s = now_s - self._begun_s, self.since_s
        if took_s > self.limit_s * _AIM:
            self.records_max = max(1, int(records * self.limit_s * _AIM / took_s))
        if took_s > self.limit_s and again:
            self._longest = (self.running, now_s - since_s)
            self.running = ""
            raise self.too_slow()
        self.running, self.since_s = "", now_s

    def stuck(self) -> bool:
        """Whether a step has taken thrice as long as the group waits: it may never end."""
        took_s = self._clock.monotonic_s() - self.since_s
        return bool(self.running) and took_s > _STUCK * self.limit_s

    def too_slow(self) -> TooSlowError:
        """The error that tells the step that takes so long, and the records that it is at."""
        (step, step_s), all_s = self._longest, self._clock.monotonic_s() - self._begun_s
        took = f"took {step_s:.1f} s"
        if self.running:
            took = f"has not ended after {self._clock.monotonic_s() - self.since_s:.1f} s"
        elif step_s < self.limit_s:
            took += f", and all that the batch took {all_s:.1f} s"
        where = ", ".join(_named(part) for part in self._slices if part.messages)
        return TooSlowError(
            f"{where}: step {self.running or step} {took}; the group gives up a worker that "
            f"does not poll for {self.limit_s:g} s",
            remedy="make the step faster for such a record, filter the record out before it, or "
            "raise --kafka consumer.max.poll.interval.ms",
        )


def _named(part: Slice) -> str:
    first, last = part.messages[0].offset(), part.messages[-1].offset()
    return f"{part.partition} offset {first}" + (f" to {last}" if last != first else "")
