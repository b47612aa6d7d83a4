"""Keeps a worker going: turns, the ways back after being fenced, and the two ways to stop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Final

from processor.clock import Clock
from processor.connectors.ports import Log
from processor.engine.rubbish import collected_between_batches
from processor.engine.worker import Worker
from processor.errors import FencedError, LogError, RetriableError
from processor.model.log import TopicPartition

REJOINS_MAX: Final = 5
REJOINS_S: Final = 120.0
ASK_S: Final = 0.25
ADRIFT_S: Final = 45.0

Ends = Mapping[TopicPartition, int]


def run(
    worker: Worker,
    clock: Clock,
    *,
    stop: Callable[[], bool],
    done: Callable[[], bool] = lambda: False,
    alive: Callable[[], None] = lambda: None,
) -> None:
    """Turn until ``stop`` or ``done``, then leave the group.

    A worker whose identity or partitions were taken, or whom the log did not answer, or who has
    been in no group for `ADRIFT_S`, joins anew; five times in two minutes is once too often, and
    the last error goes up. ``alive`` is called with every turn.
    """
    adrift = _Adrift(clock)
    rejoined: deque[float] = deque(maxlen=REJOINS_MAX)

    def rejoin(error: LogError) -> None:
        while True:
            now_s = clock.monotonic_s()
            if len(rejoined) == REJOINS_MAX and now_s - rejoined[0] < REJOINS_S:
                raise error
            rejoined.append(now_s)
            try:
                return worker.rejoin()
            except (FencedError, RetriableError) as another:
                if stop():
                    return None
                error = another

    worker.start()
    with ExitStack() as stack:
        stack.callback(worker.close, leave=True)
        tidy = stack.enter_context(collected_between_batches(clock))
        while not stop():
            try:
                # To be done may take a commit, so that it fails in the same ways as a turn.
                if done():
                    break
                worker.turn()
                adrift.check(worker)
            except (FencedError, RetriableError) as error:
                rejoin(error)
                adrift = _Adrift(clock)
            tidy()
            alive()


class _Adrift:
    """Sees that a worker has been in no group for too long.

    After a broker's restart the client was once seen to wait for a coordinator for ever.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._member_s = clock.monotonic_s()

    def check(self, worker: Worker) -> None:
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
        """Whether the run may end."""
        if not self._worker.caught_up(self._ends):
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
