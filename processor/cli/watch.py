"""Watches over worker processes: those that a signal killed are started again, but not for ever.

::

    killed after a long life    started again at once
    after a short one           0.5 s later, then 1 s, 2 s, 4 s ... 30 s after each further one
    after ten short ones        the run stops by name: what kills it is in its input or its code

All the while the other workers are watched, and a stop is heard.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from typing import Final, Protocol

import structlog

from processor.clock import Clock
from processor.errors import ProcessorError

SHORT_S: Final = 60.0
FIRST_S: Final = 0.5
MOST_S: Final = 30.0
LIVES: Final = 10
# How a worker's process says that its work is done: 0 may be a step's own ``os._exit(0)``.
DONE: Final = 99
LOOK_S: Final = 0.1  # so soon a stop is heard


class Process(Protocol):
    """What is watched of `multiprocessing.Process`."""

    @property
    def exitcode(self) -> int | None: ...  # noqa: D102 - the names and meanings are those of Python
    @property
    def sentinel(self) -> int: ...  # noqa: D102
    def terminate(self) -> None: ...  # noqa: D102
    def kill(self) -> None: ...  # noqa: D102


Wait = Callable[[Sequence[Process], float], object]


def _wait(processes: Sequence[Process], limit_s: float) -> object:
    return connection.wait([process.sentinel for process in processes], limit_s)


@dataclass(slots=True, eq=False)
class _Worker:
    """``process`` is ``None`` while its next start is put off until ``due_s``."""

    name: str
    make: Callable[[], Process]
    process: Process | None = None
    begun_s: float = 0.0
    due_s: float = 0.0
    short: int = 0


class Watch:
    """Runs workers until all have ended.

    Args:
        stopped: whether the run is to end.
        stop: ends the run.
        clock: says how long a worker lived.
        wait: waits until one of the processes has ended, or so many seconds.
        grace_s: what a worker that was told to stop may take; then it is killed.

    Example::

        stop = threading.Event()
        watch = Watch(stop.is_set, stop.set, SystemClock())
        watch.add("worker 0 of rides", lambda: started(work, 0))
        watch.run()
    """

    def __init__(
        self,
        stopped: Callable[[], bool],
        stop: Callable[[], None],
        clock: Clock,
        wait: Wait = _wait,
        *,
        grace_s: float = math.inf,
    ) -> None:
        self._stopped, self._stop, self._clock, self._wait = stopped, stop, clock, wait
        self._workers: list[_Worker] = []
        self._grace_s = grace_s
        self._failed = 0
        self._told_s: float | None = None
        self._given_up: ProcessorError | None = None

    def add(self, name: str, make: Callable[[], Process]) -> None:
        """Start a worker; ``make`` is what starts it, each time."""
        worker = _Worker(name, make)
        self._workers.append(worker)
        self._start(worker)

    def run(self) -> None:
        """Watch until all have ended.

        Raises `ProcessorError` when a worker failed, which has said why, or was killed too often.
        """
        while self._workers:
            self._wait([w.process for w in self._workers if w.process], self._pause_s())
            for worker in list(self._workers):
                self._look(worker)
            if self._stopped():
                self._end()
        if self._given_up is not None:
            raise self._given_up
        if self._failed:
            raise ProcessorError(
                f"{self._failed} of the workers failed",
                remedy="each has said why, in the lines before this one",
            )

    def _end(self) -> None:
        """Tell the workers to end, and kill those that have not by their time."""
        now_s = self._clock.monotonic_s()
        if self._told_s is None:
            self._told_s = now_s
            for worker in self._workers:
                if worker.process is not None:
                    worker.process.terminate()
        elif now_s - self._told_s >= self._grace_s:
            for worker in self._workers:
                if worker.process is not None and worker.process.exitcode is None:
                    structlog.get_logger("processor").error(
                        "worker did not stop: killing it", worker=worker.name,
                        after_s=self._grace_s,
                    )  # fmt: skip
                    worker.process.kill()
            self._grace_s = math.inf

    def _pause_s(self) -> float:
        now = self._clock.monotonic_s()
        dues = [worker.due_s - now for worker in self._workers if worker.process is None]
        return max(0.0, min([LOOK_S, *dues]))

    def _start(self, worker: _Worker) -> None:
        worker.begun_s = self._clock.monotonic_s()
        try:
            worker.process = worker.make()
        except OSError as error:  # no memory or no process left, as it may be after a kill
            self._again(worker, f"could not be started: {error.strerror}")

    def _look(self, worker: _Worker) -> None:
        if worker.process is None:
            if self._stopped():
                self._workers.remove(worker)
            elif self._clock.monotonic_s() >= worker.due_s:
                self._start(worker)
            return
        code = worker.process.exitcode
        if code is None:
            return
        if code < 0 and not self._stopped():
            worker.process = None
            self._again(worker, f"was killed by {signal_name(-code)}", signal=-code)
            return
        if code == 0 and not self._stopped():
            worker.process = None
            self._again(worker, "was ended by its own code, with exit code 0")
            return
        self._workers.remove(worker)
        # Told to end, it may be before it has begun to listen, or when its work is done already.
        if code not in (0, DONE) and not (self._stopped() and code == -signal.SIGTERM):
            self._failed += 1
            self._stop()

    def _again(self, worker: _Worker, what: str, **fields: int) -> None:
        """Put off the next start of a worker, or give the run up."""
        now = self._clock.monotonic_s()
        worker.short = worker.short + 1 if now - worker.begun_s < SHORT_S else 0
        if worker.short >= LIVES:
            self._workers.remove(worker)
            self._given_up = ProcessorError(
                f"{worker.name} {what}, {worker.short} times in a row within {SHORT_S:g} s of its "
                "start",
                remedy="read its last log lines before each kill: a step or a library of the "
                "topology may end the process; after SIGKILL see whether the machine ran out of "
                "memory. Alone and with --workers 1 it runs in the command's own process",
            )
            self._stop()
            return
        pause_s = min(MOST_S, FIRST_S * 2 ** (worker.short - 1)) if worker.short else 0.0
        worker.due_s = now + pause_s
        structlog.get_logger("processor").warning(
            "worker was killed: starting it again", worker=worker.name, what=what,
            pause_s=pause_s, in_a_row=worker.short, **fields,
        )  # fmt: skip


def signal_name(number: int) -> str:
    """What a signal is called.

    >>> signal_name(9), signal_name(1000)
    ('SIGKILL', 'signal 1000')
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
