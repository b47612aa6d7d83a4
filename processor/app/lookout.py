"""Asks the two servers whether they answer, beside the worker and never through its clients.

::

    every 1.5 s      each server is asked, in a thread of its own: one that hangs hides no other
    6 s no answer    it is down: not ready, a metric, a line in the log
    twice missing    a topic is gone: a broker that has just started may not know it yet

Where there are so many partitions that asking for their ends takes time, it is done less often.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, Protocol

import structlog

from processor.clock import Clock
from processor.connectors.ports import Log, Store
from processor.errors import ProcessorError, RetriableError, StoreAwayError, TopicGoneError
from processor.metrics.standing import Role, Standing, Topic
from processor.model.log import TopicPartition, View

PERIOD_S: Final = 1.5
BOUND_S: Final = 6.0
# With the pause less than the bound: a slow answer is no silence.
LIMIT_S: Final = 3.6
# Asking for ends takes this part of a processor at most; their age has a limit all the same.
ENDS_PART: Final = 1 / 200
ENDS_OLD_S: Final = 30.0
AGAIN_S: Final = 60.0
JOIN_S: Final = 1.0

log_lines = structlog.get_logger("processor")


class Stands(Protocol):
    """Whoever says how it stands; a worker does."""

    def standing(self) -> Standing:
        """How it stands now."""
        ...


class Server:
    """One server: when it last answered.

    >>> from processor.clock import ManualClock
    >>> clock = ManualClock(); server = Server("Redis at cache:6379", clock)
    >>> server.ask(lambda: None); server.up()
    True
    >>> clock.advance(6); server.up(), server.silent()
    (False, 'Redis at cache:6379 has not answered for 6 s')
    """

    def __init__(self, name: str, clock: Clock) -> None:
        self.name: Final = name
        self._clock = clock
        self._heard_s = clock.monotonic_s()
        self._heard = False
        self.problem, self._refuses = "", False
        # Set where the next question is not to wait.
        self.hurry: Final = threading.Event()

    def ask(self, question: Callable[[], object]) -> None:
        """Ask, and note whether an answer came."""
        try:
            question()
        except Exception as error:  # noqa: BLE001 - a question that breaks has no answer either
            self.problem = str(getattr(error, "message", error))
            away = isinstance(error, RetriableError | StoreAwayError)
            self._refuses = isinstance(error, ProcessorError) and not away
            return
        self.problem, self._refuses = "", False
        self._heard_s, self._heard = self._clock.monotonic_s(), True

    def up(self) -> bool:
        """Whether it has answered within the bound."""
        return self._heard and self._silent_s() < BOUND_S

    def overdue(self) -> bool:
        """Whether the bound is over without an answer."""
        return self._silent_s() >= BOUND_S

    def silent(self) -> str:
        """For how long it has not answered, or refused to."""
        if not self._heard and not self.overdue():
            return f"{self.name} has not answered yet"
        if self._refuses:
            return f"{self.name} has refused for {self._silent_s():.0f} s: {self.problem}"
        return f"{self.name} has not answered for {self._silent_s():.0f} s"

    def _silent_s(self) -> float:
        return self._clock.monotonic_s() - self._heard_s


class Lookout:
    """What is known of the servers and of the topics that a worker needs.

    Args:
        roles: the topics, and what each is for.
        names: what the log and the store are called.
    """

    def __init__(
        self,
        app: str,
        roles: Mapping[str, Role],
        log: Log,
        store: Store,
        clock: Clock,
        *,
        names: tuple[str, str],
        worker: Stands,
    ) -> None:
        self._app, self._roles = app, roles
        self._log, self._store, self._clock = log, store, clock
        self._worker = worker
        self.broker, self.store = (Server(name, clock) for name in names)
        self._view = View()
        self._suspects: Mapping[str, str] = {}
        # Topics that cannot be used: what is wrong with each, and since when.
        self._wrong: Mapping[str, tuple[str, float]] = {}
        self._told: dict[str, float] = {}
        self._ends_due_s = clock.monotonic_s()
        self._has: Collection[TopicPartition] = frozenset()
        self._ended = False
        self.standby = False

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask both servers again and again, until it is left."""
        questions = ((self.broker, self.ask_broker), (self.store, self.ask_store))
        threads = [
            threading.Thread(target=self._keep_asking, args=question, daemon=True)
            for question in questions
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ended = True
            for server, _ in questions:
                server.hurry.set()
            for thread in threads:
                # One that waits for a server that is away is left to its time-out.
                thread.join(JOIN_S)

    def _keep_asking(self, server: Server, ask: Callable[[], None]) -> None:
        while not self._ended:
            server.ask(ask)
            server.hurry.wait(PERIOD_S)
            server.hurry.clear()

    def has(self, partitions: Collection[TopicPartition]) -> None:
        """The worker has these partitions: the ends of new ones are asked for at once."""
        if partitions != self._has:
            self._has = frozenset(partitions)
            self.broker.hurry.set()

    def ask_store(self) -> None:
        """Ask the store; raises `StoreError` where it does not answer."""
        self._store.ping()

    def ask_broker(self) -> None:
        """Ask for the topics and the ends; raises `RetriableError` where no answer comes."""
        standing = self._worker.standing()
        view = self._look(standing)
        self.standby = not standing.assigned and self._all_held(view)
        problems = _problems(view)
        now_s = self._clock.monotonic_s()
        seen_twice = problems.keys() & self._suspects.keys()
        self._wrong = {
            topic: (problems[topic], self._wrong[topic][1] if topic in self._wrong else now_s)
            for topic in seen_twice
        }
        self._suspects, self._view = problems, view

    def _look(self, standing: Standing) -> View:
        asked_s, began_s = self._clock.monotonic_s(), time.thread_time()
        known = standing.positions.keys() <= self._view.stable.keys()
        if known and asked_s < self._ends_due_s:
            view = self._log.look(self._roles, (), LIMIT_S)
            return replace(view, stable=self._view.stable, tops=self._view.tops)
        view = self._log.look(self._roles, standing.positions, LIMIT_S)
        took_s = time.thread_time() - began_s
        self._ends_due_s = asked_s + min(ENDS_OLD_S, took_s / ENDS_PART)
        return view

    def _all_held(self, view: View) -> bool:
        """Whether members of the group have all of the input, so that one without has to wait."""
        wanted = {
            TopicPartition(topic, number)
            for topic, role in self._roles.items()
            if role == "input"
            for number in range(view.partitions.get(topic, 0))
        }
        try:
            held = self._log.held(self._app, LIMIT_S)
        except RetriableError:  # a broker has answered, but not the one that knows the group
            return False
        # Where nobody tells, to be a member has to do.
        return bool(wanted) and (held is None or wanted <= held)

    def troubles(self) -> Iterator[tuple[str, str]]:
        """What is wrong with the servers and the topics: a name and a sentence for each."""
        for server in (self.broker, self.store):
            if not server.up():
                yield server.name, server.silent()
        if self.broker.up():
            for topic, (problem, _) in self._wrong.items():
                yield topic, f"{self._roles[topic].replace('_', ' ')} topic {topic} {problem}"

    def topics(self) -> tuple[Topic, ...]:
        """The topics as they stand; none while no broker answers."""
        if not self.broker.up():
            return ()
        wrong, counts = self._wrong, self._view.partitions
        return tuple(
            Topic(name, role, name not in wrong, counts.get(name, 0))
            for name, role in self._roles.items()
        )

    def lag(self, standing: Standing) -> dict[TopicPartition, int]:
        """Offsets from where the worker is to the last stable one, as far as it is known."""
        stable = self._view.stable if self.broker.up() else {}
        return {p: max(0, stable[p] - at) for p, at in standing.positions.items() if p in stable}

    def held(self, standing: Standing) -> dict[TopicPartition, int]:
        """Offsets behind the last stable one: of open transactions, and what follows them."""
        view = self._view if self.broker.up() else View()
        known = standing.positions.keys() & view.stable.keys() & view.tops.keys()
        return {p: max(0, view.tops[p] - view.stable[p]) for p in known}

    def tell(self) -> None:
        """A warning for what has begun to be wrong, again each minute, and a line when it ends."""
        now_s = self._clock.monotonic_s()
        servers = {server.name: server for server in (self.broker, self.store)}
        wrong = {
            name: what
            for name, what in self.troubles()
            if name not in servers or servers[name].overdue()
        }
        for name, what in wrong.items():
            if now_s - self._told.get(name, -AGAIN_S) >= AGAIN_S:
                self._told[name] = now_s
                problem = servers[name].problem if name in servers else ""
                more = {"reason": problem} if problem else {}
                log_lines.warning("not well", topology=self._app, what=what, **more)
        for name in self._told.keys() - wrong.keys():
            del self._told[name]
            log_lines.info("well again", topology=self._app, what=name)

    def check(self, give_up_after_s: float) -> None:
        """Raise `TopicGoneError` when a topic has been unusable for so long."""
        now_s = self._clock.monotonic_s()
        for topic, (problem, since_s) in self._wrong.items():
            lasted_s = now_s - since_s
            if lasted_s >= give_up_after_s and self.broker.up():
                raise TopicGoneError(
                    f"{self._roles[topic].replace('_', ' ')} topic {topic} {problem}; given up "
                    f"after {lasted_s:.0f} s",
                    remedy="see who deleted it or stopped its brokers; a topic that is made anew "
                    "is another one: begin anew with `processor reset`",
                )


def _problems(view: View) -> dict[str, str]:
    found = {
        partition.topic: f"has no leader for partition {partition.partition}"
        for partition in sorted(view.leaderless, reverse=True)
    }
    return found | dict.fromkeys(sorted(view.gone), "is not there")
