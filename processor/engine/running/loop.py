"""Keeps a worker going: turns, the ways back after being fenced, and the two ways to stop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Final, NoReturn, Protocol

from processor.clock import Clock
from processor.connectors.ports import Log
from processor.engine.running.patience import Patience
from processor.engine.running.rubbish import Collector, collected_between_batches
from processor.engine.running.succession import LOOK_S
from processor.engine.running.worker import Worker
from processor.errors import (
    FencedError,
    IdentityTakenError,
    RegistryAwayError,
    RetriableError,
    StandbyError,
    StoreAwayError,
)
from processor.model.log import TopicPartition

FENCED_MAX: Final = 10
FENCED_S: Final = 120.0
TAKEN_MAX: Final = 5
TAKEN_S: Final = 600.0
ASK_S: Final = 0.25
ADRIFT_S: Final = 45.0

Ends = Mapping[TopicPartition, int]


class Turning(Protocol):
    """Who is kept going: a worker, or a feeder.

    ``member``: whether its group counts it in; ``idle``: nothing waits to be done.
    """

    instance: str
    member: bool

    @property
    def idle(self) -> bool: ...  # noqa: D102 - told above

    def start(self) -> None:
        """Join the group."""
        ...

    def turn(self) -> bool:
        """One round; true when a batch was committed."""
        ...

    def rejoin(self) -> None:
        """Join the group anew."""
        ...

    def close(self, *, leave: bool) -> None:
        """Let go of the clients."""
        ...


def run(
    worker: Turning,
    clock: Clock,
    patience: Patience,
    *,
    stop: Callable[[], bool],
    done: Callable[[], bool] = lambda: False,
    alive: Callable[[], None] = lambda: None,
    collector: Collector = collected_between_batches,
) -> None:
    """Join the group and turn until ``stop`` or ``done``, then leave it.

    A worker whose identity or partitions were taken, or whom the log did not answer, or who has
    been in no group for `ADRIFT_S`, joins anew; one whose store or schema registry does not answer
    goes on polling and tries again. Both are borne by ``patience``. Who is fenced `FENCED_MAX`
    times within `FENCED_S`, or has lost its identity to another member `TAKEN_MAX` times within
    `TAKEN_S`, has a twin: that error goes up. ``alive`` is called with every turn; ``collector``
    sees to Python's garbage.
    """
    adrift = _Adrift(clock)
    twins = _Twins(clock, worker.instance)
    join: Callable[[], None] | None = worker.start
    with ExitStack() as stack:
        stack.callback(worker.close, leave=True)
        tidy = stack.enter_context(collector(clock))
        while not stop():
            try:
                if join is not None:
                    join()
                    join, adrift = None, _Adrift(clock)
                # To be done may take a commit, so that it fails in the same ways as a turn.
                if done():
                    break
                if worker.turn() or worker.idle:
                    patience.well()
                adrift.check(worker)
            except StandbyError:
                worker.close(leave=True)
                join = worker.start
                patience.well()
                patience.rest(LOOK_S)
            except (StoreAwayError, RegistryAwayError) as error:
                worker.member = False
                patience.bear(error)
            except (FencedError, RetriableError) as error:
                join, worker.member = worker.rejoin, False
                if isinstance(error, FencedError):
                    twins.check(error)
                patience.bear(error)
            tidy()
            alive()


class _Twins:
    """Sees that two workers run under one identity, and fence each other."""

    def __init__(self, clock: Clock, instance: str) -> None:
        self._clock, self._instance = clock, instance
        self._fenced: deque[float] = deque(maxlen=FENCED_MAX)
        self._taken: deque[float] = deque(maxlen=TAKEN_MAX)

    def check(self, error: FencedError) -> None:
        now_s = self._clock.monotonic_s()
        if isinstance(error, IdentityTakenError):
            # Nobody else than a twin does this; of the rest some may be by turns of the group.
            self._taken.append(now_s)
            if len(self._taken) == TAKEN_MAX and now_s - self._taken[0] < TAKEN_S:
                self._give_up(self._taken, error)
        if len(self._fenced) == FENCED_MAX and now_s - self._fenced[0] < FENCED_S:
            self._give_up(self._fenced, error)
        self._fenced.append(now_s)

    def _give_up(self, times: Sequence[float], error: FencedError) -> NoReturn:
        lasted_s = self._clock.monotonic_s() - times[0]
        raise FencedError(
            f"another worker runs under the identity {self._instance}, or takes all that it has: "
            f"{len(times)} times within {lasted_s:.0f} s "
            f"({error.message.removeprefix(f'{self._instance}: ')})",
            remedy=_TWINS,
        ) from error


_TWINS: Final = (
    "see that no two workers run under one identity: it is --instance, else the name of the host; "
    "give each machine or container one of its own, or stop the worker that is left over"
)


class _Adrift:
    """Sees that a worker has been in no group for too long.

    After a broker's restart the client was once seen to wait for a coordinator for ever.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._member_s = clock.monotonic_s()

    def check(self, worker: Turning) -> None:
        now_s = self._clock.monotonic_s()
        if worker.member:
            self._member_s = now_s
        elif now_s - self._member_s > ADRIFT_S:
            raise RetriableError(f"{worker.instance}: in no group for {ADRIFT_S:g} s")


class CaughtUp:
    """Whether a group has committed all that was in the topic when the run began.

    Call it after every turn: it lets the worker pass what follows its last record, and asks the log
    about the other workers' partitions now and then.
    """

    def __init__(self, worker: Worker, log: Log, clock: Clock, group: str, ends: Ends) -> None:
        self._worker = worker
        self._log = log
        self._clock = clock
        self._group = group
        self._ends = {partition: end for partition, end in ends.items() if end > 0}
        self._ask_at_s = 0.0

    def __call__(self) -> bool:
        """Whether the run may end: not before what was committed has been looked at."""
        if not self._worker.settled or not self._worker.caught_up(self._ends):
            return False
        if self._worker.tasks.keys() >= self._ends.keys():
            return True
        now_s = self._clock.monotonic_s()
        if now_s < self._ask_at_s:
            return False
        self._ask_at_s = now_s + ASK_S
        return self._group_has_committed()

    def _group_has_committed(self) -> bool:
        topics = {partition.topic for partition in self._ends}
        try:
            heads = {k: v for t in topics for k, v in self._log.committed(self._group, t).items()}
            return all(
                p in heads and self._nothing_left(p, heads[p].offset, end)
                for p, end in self._ends.items()
            )
        except RetriableError:
            return False

    def _nothing_left(self, partition: TopicPartition, offset: int, end: int) -> bool:
        """No record from ``offset`` to the end: a worker that stays does not pass the marks."""
        return offset >= end or next(self._log.scan(partition, offset, end), None) is None
