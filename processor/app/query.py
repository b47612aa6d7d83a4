"""A run that Python has started: what it does, how it ends, and what it has broken by.

::

    starting ──► running ──► stopping ──► stopped        the interpreter's other threads go on
        └──► waiting ─┘          └──────► failed         (a server is away: `give_up_after`)
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, NoReturn, Self, TypeAlias
from uuid import uuid4

import polars as pl
import structlog

from processor.api import ways
from processor.api.running import Feed
from processor.app import active
from processor.app.health import Pulse
from processor.app.host import Host
from processor.app.run import run
from processor.app.sigterm import told_to_end
from processor.clock import SystemClock
from processor.engine.running.rubbish import left_alone
from processor.errors import ProcessorError, QueryError, ShutdownError
from processor.metrics.progress import BatchReport
from processor.model import location
from processor.plan.nodes import Plan
from processor.settings import Settings
from processor.sinks.tables import Tables

State: TypeAlias = Literal["starting", "waiting", "running", "stopping", "stopped", "failed"]
RECENT: Final = 100
# Beyond what a worker may take: log and store are let go of.
SPARE_S: Final = 15.0
WAIT_S: Final = 0.2
_ENDED: Final = ("stopped", "failed")

log_lines = structlog.get_logger("processor")


@dataclass(frozen=True, slots=True)
class Status:
    """How a query stands: a word for programs, and a message for people, which may be empty."""

    state: State
    message: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is run, as the settings say.

    ``fed`` are files and values by topic, for the embedded log; ``show`` prints what is published;
    ``on_progress`` hears of batches. Of ``host`` a query takes what happens to log and store.
    """

    plans: Sequence[Plan]
    settings: Settings
    fed: Mapping[str, Feed]
    show: bool = False
    on_progress: Callable[[BatchReport], object] | None = None
    host: Host = Host()  # noqa: RUF009 - it is frozen
    alone: bool = False


class Query:
    """One or several topologies at work in threads of this process; `start` makes one.

    >>> from processor import Text, Topology
    >>> topology = Topology("copy")
    >>> topology.read.kafka("from", format=Text()).write.kafka("to", format=Text())
    >>> with topology.start(feed={"from": ["a", "b"]}, until_caught_up=True) as query:
    ...     ended = query.await_termination(timeout=60)
    >>> ended, query.is_active, query.status.state
    (True, False, 'stopped')
    >>> sum(batch.records_in for batch in query.recent_progress)
    2
    """

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._name = ", ".join(plan.app for plan in asked.plans)
        self._run_id = str(uuid4())
        self._pid = os.getpid()
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._state: State = "starting"
        self._away = ""
        self._failure: tuple[str, BaseException] | None = None
        self._ready = self._begun = self._told = False
        self._awaiting = 0
        self._recent: deque[BatchReport] = deque(maxlen=RECENT)
        self._pulses: list[Pulse] = []
        self._own: set[int] = set()
        where = asked.settings.bootstrap_servers or ""
        self._tables = Tables(list(asked.plans))
        self._places = set() if asked.alone else {(plan.app, where) for plan in asked.plans}

    # What it is.

    @property
    def name(self) -> str:
        """The topology's application id; of several with commas between them."""
        return self._name

    @property
    def run_id(self) -> str:
        """Another one for each start."""
        return self._run_id

    @property
    def is_active(self) -> bool:
        """Whether it has not ended, in this process."""
        return os.getpid() == self._pid and self._state not in _ENDED

    @property
    def status(self) -> Status:
        """How it stands: ``running`` with a message is at work, and not ready."""
        with self._changed:
            state, failure, pulses = self._state, self._failure, list(self._pulses)
        if state == "waiting":
            return Status(state, self._away)
        if failure is not None:
            return Status(state, _told(*failure))
        reasons = (pulse.why() for pulse in pulses) if state == "running" else iter(())
        return Status(state, next(filter(None, reasons), ""))

    @property
    def last_progress(self) -> BatchReport | None:
        """The last batch that was committed; ``None`` before the first."""
        recent = self.recent_progress
        return recent[-1] if recent else None

    @property
    def recent_progress(self) -> tuple[BatchReport, ...]:
        """The last batches that were committed, 100 at most."""
        with self._changed:
            return tuple(self._recent)

    @property
    def exception(self) -> QueryError | None:
        """What it has ended by; ``None`` while it is active, and where it ended in order."""
        with self._changed:
            return self._error() if self._state == "failed" else None

    def table(self, name: str) -> pl.DataFrame:
        """What ``write.memory(name)`` has kept until now; also when it has ended."""
        return self._tables.table(name)

    def sql(self, query: str) -> pl.DataFrame:
        """What a query in SQL, as Polars has it, finds in these tables now.

        Raises `SinkError` for what is no query.
        """
        return self._tables.sql(query)

    # What can be done with it.

    def await_termination(self, timeout: float | None = None) -> bool:
        """Wait until it has ended, or for ``timeout`` seconds; whether it has ended.

        Raises `QueryError` when it has ended by an error. In the main thread ^C stops it in order
        and raises ``KeyboardInterrupt``; so does SIGTERM, with ``SystemExit``, where the program
        has no handler of its own.
        """
        self._here()
        if threading.get_ident() in self._own:
            raise ProcessorError(
                f"{self._name} cannot wait for itself to end",
                remedy="call stop() here, and await_termination() in another thread",
            )
        try:
            with told_to_end():
                ended = self._ended_within(timeout)
        except (KeyboardInterrupt, SystemExit):
            with suppress(ProcessorError):  # in `exception`, and in the log
                self.stop()
            raise
        self._raise()
        return ended

    def stop(self) -> None:
        """Finish the batch, commit, leave the group; returns when that is done.

        Called from the query's own threads, as by ``on_progress``, it returns at once. A second
        call does nothing. Raises `QueryError` when a worker has not ended within
        ``shutdown_timeout``; what else the query has ended by is in `exception`.
        """
        self._here()
        self._ask()
        if threading.get_ident() in self._own:
            return
        limit_s = self._asked.settings.shutdown_timeout.total_seconds() + SPARE_S
        if not self._ended_within(limit_s):
            raise QueryError(
                f"{self._name}: told to stop, and not done after {limit_s:g} s",
                remedy="a later start goes on from the last commit, and nothing is lost",
                topology=self._name,
            )
        if self._failure is not None and isinstance(self._failure[1], ShutdownError):
            self._raise()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if kind is None and not self._told:
            self._raise()

    def __repr__(self) -> str:
        return f"<query {self._name}: {self._state}>"

    if not TYPE_CHECKING:  # to a type checker there is no such name

        def __getattr__(self, name: str) -> NoReturn:
            at = location.caller(__file__)
            raise ways.missing("a query", name, ways.QUERY, ways.public(Query), at)

    # How it runs.

    def _begin(self) -> None:
        """Start, and return when workers start, or when a server has to be waited for.

        Raises what is wrong with the settings, the topologies or the topics.
        """
        active.enter(self)
        work = threading.Thread(target=self._work, name=f"query {self._name}", daemon=True)
        try:
            work.start()
        except BaseException:
            active.leave(self)
            raise
        try:
            self._until(lambda: self._state != "starting", None)
        except BaseException:  # ^C
            self.stop()
            raise
        with self._changed:
            ended, self._begun = self._state in _ENDED, True
        if self._failure is not None and not self._ready:
            self._told = True
            raise self._failure[1]
        if ended:
            self._tell()

    def _ask(self) -> None:
        """Ask it to stop, and do not wait for that."""
        self._stop.set()
        self._becomes("stopping")

    def _work(self) -> None:
        self._own.add(threading.get_ident())
        asked = self._asked
        host = replace(
            asked.host, line=_log_line, waits=self._waits, ready=self._runs,
            begins=self._begins, ends=self._ends, on_batch=self._batch, failed=self._fails,
            overdue=_let_go, collector=left_alone, shown=self._tables.show, own=self._own.add,
        )  # fmt: skip
        state: State = "stopped"
        try:
            run(asked.plans, asked.settings, asked.fed, self._stop, show=asked.show, host=host)
        except BaseException as error:  # noqa: BLE001 - it is raised where the query is awaited
            self._fails((self._name, error))
            state = "failed"
        active.leave(self)
        with self._changed:
            self._state = state
            alone = self._begun and not self._awaiting
            self._changed.notify_all()
        if alone:
            self._tell()

    def _tell(self) -> None:
        """Nobody waits for it, and somebody has to hear of it."""
        error = self.exception
        if error is not None:
            log_lines.error(
                "query failed", topology=error.topology, reason=error.message, remedy=error.remedy
            )

    def _becomes(self, state: State) -> None:
        with self._changed:
            if self._state not in _ENDED and self._state != "stopping":
                self._state = state
                self._changed.notify_all()

    def _waits(self, error: ProcessorError) -> None:
        self._away = error.message
        self._becomes("waiting")

    def _runs(self, _: object) -> None:
        self._ready = True
        self._becomes("running")

    def _begins(self, pulse: Pulse) -> None:
        with self._changed:
            self._own.add(threading.get_ident())
            self._pulses.append(pulse)

    def _ends(self, pulse: Pulse) -> None:
        with self._changed:
            self._own.discard(threading.get_ident())
            self._pulses = [one for one in self._pulses if one is not pulse]

    def _batch(self, report: BatchReport) -> None:
        with self._changed:
            self._recent.append(report)
        if self._asked.on_progress is None:
            return
        try:
            self._asked.on_progress(report)
        except Exception as error:
            raise ProcessorError(
                f"on_progress raised {type(error).__name__}: {error}",
                remedy="correct the function; what is committed counts, and a new start goes on",
            ) from error

    def _fails(self, failure: tuple[str, BaseException]) -> None:
        with self._changed:
            self._failure = self._failure or failure

    # How it ends.

    def _ended_within(self, timeout_s: float | None) -> bool:
        with self._changed:
            self._awaiting += 1
        try:
            return self._until(lambda: self._state in _ENDED, timeout_s)
        finally:
            with self._changed:
                self._awaiting -= 1

    def _until(self, true: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait for something, in short steps: a signal may come to another thread than this one."""
        clock = SystemClock()
        until_s = math.inf if timeout_s is None else clock.monotonic_s() + timeout_s
        with self._changed:
            while not true():
                left_s = until_s - clock.monotonic_s()
                if not left_s > 0:  # no number, where the timeout is none
                    return False
                self._changed.wait(min(left_s, WAIT_S))
        return True

    def _error(self) -> QueryError | None:
        if self._failure is None:
            return None
        app, cause = self._failure
        remedy = cause.remedy if isinstance(cause, ProcessorError) else _LOOK
        error = QueryError(_told(app, cause), remedy=remedy, topology=app)
        error.__cause__ = cause
        return error

    def _raise(self) -> None:
        """Raise what it has ended by, if it has."""
        error = self.exception
        if error is not None:
            self._told = True
            raise error

    def _here(self) -> None:
        if os.getpid() != self._pid:
            raise ProcessorError(
                f"{self._name} is at work in process {self._pid}, and this is a fork of it",
                remedy="use the query where it was started; start processes with spawn, not fork",
            )


_LOOK: Final = "see the error that this one comes from: its traceback has the line"


def _told(app: str, error: BaseException) -> str:
    what = (
        error.message if isinstance(error, ProcessorError) else f"{type(error).__name__}: {error}"
    )
    return what if what.startswith(f"{app}: ") else f"{app}: {what}"


def _log_line(text: str) -> None:
    log_lines.info("query starts", uses=text)


def _let_go(_: ProcessorError) -> None:
    """The process is the user's: a worker that hangs is left behind, and the query fails."""
