"""The campaign itself: one loop that draws faults, supervises the workers and watches progress.

::

    servers, topics, workers, feed ─► rounds of faults, each until all goes on again ─► the end:
    all faults lifted ─► feed ended ─► workers stopped ─► each topology run until caught up
"""

from __future__ import annotations

import itertools
import json
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import redis
from confluent_kafka.admin import AdminClient, NewTopic

from tests.campaign import child, faults
from tests.campaign.exits import Ended, broken, judged
from tests.campaign.fleet import Fleet
from tests.campaign.history import History
from tests.campaign.outages import Outages
from tests.campaign.progress import LOOK_S, Past, Seen, Stalls, Watch
from tests.campaign.servers import UP, begin
from tests.campaign.terms import PARTITIONS, RIDES, STAGES, Stage

TICK_S = 0.04
SAY_S = 30.0
STILL_S = 3.0
PAST_S = 8.0
RESTARTS_MOST = 3
OPTIONS = (
    "--session-timeout", "6s", "--transaction-timeout", "8s", "--interval", "150ms",
    "--batch-records-max", "3000", "--log-format", "json",
)  # fmt: skip
CONFIG = {"retention.ms": "-1", "retention.bytes": "-1"}


@dataclass(frozen=True)
class Form:
    """How long and how hard: the faults' time, their kinds, and how long progress may fail to come.

    ``kinds``: those of the deck, all of them where it is ``None``.
    """

    seconds: float
    deadline_s: float
    longest_s: float = 120.0
    kinds: list[str] | None = None
    each: tuple[int, int] = (1, 5)
    calm: tuple[float, float] = (1.0, 6.0)
    stops_each: int = 5
    often: float = 1.0


@dataclass
class Over:
    """What there is to judge when a campaign has ended."""

    sent: dict[str, object]
    stalls: Stalls


class Campaign:
    """Everything that runs; ``say`` is told how it goes."""

    def __init__(
        self, form: Form, seed: int, directory: Path, say: Callable[[str], None], stack: ExitStack
    ) -> None:
        self.form, self.seed, self.directory, self._say = form, seed, directory, say
        self.history = History(directory / "history.txt")
        self.outages, self.stalls = Outages(), Stalls()
        self.broker, self.store = begin()
        stack.callback(self.broker.close)
        stack.callback(self.store.close)
        self.servers = ["--bootstrap-servers", self.broker.bootstrap_servers]
        self.servers += ["--redis-url", self.store.url]
        self.fleet = Fleet(
            seed, STAGES, directory, options=[*OPTIONS, *self.servers], history=self.history,
            outages=self.outages,
        )  # fmt: skip
        self.fleet.stops_each, self.fleet.often = form.stops_each, form.often
        self.fleet.committed = self._committed
        stack.callback(self.fleet.end)
        self._stack = stack
        self._hindered = dict.fromkeys((stage.app for stage in STAGES), True)
        self._looked_s = self._said_s = self._ticked_s = 0.0
        self._standing: dict[str, dict[int, float]] = {}
        self.past, self._restarts = Past(), 0
        self._undo: list[tuple[float, Callable[[], object], str]] = []

    # From the beginning to the end.

    def run(self) -> Over:
        self._begin()
        self._until(self._going, "the first progress of all", 60 + self.form.deadline_s)
        self.history.tell("all partitions go on: the faults begin")
        self._faults(time.monotonic() + self.form.seconds)
        return self._end()

    def _begin(self) -> None:
        create(self.broker.bootstrap_servers, [RIDES, *(t for s in STAGES for t in s.topics())])
        servers = self.broker.bootstrap_servers
        self.watch = Watch(servers, [stage.app for stage in STAGES], RIDES)
        self._stack.callback(self.watch.close)
        self.watch.start()
        self._feed_log = self.directory / "feed.log"
        args = [servers, RIDES, f"{self.seed}:rides", 0]
        self._feed = child.start("tests.campaign.feed", args, self._feed_log, {})
        self._feeding = True
        self._stack.callback(_kill, self._feed)

    def _faults(self, until_s: float) -> None:
        form = self.form
        drawn = faults.rounds(self.seed, form.kinds, longest_s=form.longest_s, each=form.each)
        calm = random.Random(f"{self.seed}:calm")
        for number in itertools.count(1):
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return
            self.history.tell(f"round {number}")
            self._round(next(drawn), left_s)
            if not self._recovers(number):
                continue
            self._for(calm.uniform(*form.calm))

    def _round(self, cards: list[faults.Card], left_s: float) -> None:
        """All faults of a round, from the first's beginning to the last's end."""
        world = faults.World(self.fleet, self.broker, self.store, self.history)
        began = time.monotonic()
        waiting = sorted(cards, key=lambda card: card.at_s)
        while waiting or self._undo:
            now = time.monotonic()
            while waiting and now >= began + waiting[0].at_s:
                self._begin_fault(world, waiting.pop(0), left_s)
            for entry in [entry for entry in self._undo if now >= entry[0]]:
                self._undo.remove(entry)
                entry[1]()
                self.history.tell(f"lifted: {entry[2]}")
            self.tick()

    def _begin_fault(self, world: faults.World, card: faults.Card, left_s: float) -> None:
        seconds = min(card.seconds, max(1.0, left_s))
        done = card.kind.begin(world, random.Random(card.seed), seconds)
        if done is None:
            self.history.tell(f"left out: {card.kind.name}")
            return
        told, undo = done
        self.history.fault(card.kind.name, told)
        if undo is not None:
            self._undo.append((time.monotonic() + seconds, undo, told))

    def _end(self) -> Over:
        self.broker.heal()
        self.store.heal()
        self.fleet.hurry = True
        self._recovers(0)
        self.history.tell("the faults are over: the feed ends, the workers stop")
        self._feeding = False
        self._feed.send_signal(signal.SIGTERM)
        self._until(lambda: self._feed.poll() is not None, "the end of the feed", 200)
        for worker in self.fleet.workers:
            worker.leave()
        self._until(lambda: not any(w.alive() for w in self.fleet.workers), "all exits", 300)
        runs = [self._caught_up(stage) for stage in STAGES]
        for judge in runs:
            judge()
        return Over(self._sent(), self.stalls)

    def _sent(self) -> dict[str, object]:
        lines = self._feed_log.read_text().splitlines()
        if self._feed.poll() != 0:
            self.history.find("harness", f"the feed ended with {self._feed.poll()}: {lines[-3:]}")
        try:
            return json.loads(lines[-1])
        except (ValueError, IndexError):
            return {}

    def _caught_up(self, stage: Stage) -> Callable[[], None]:
        """One run to rest, and what is to be thought of it when it has ended."""
        process, log = self.fleet.run(stage, "a", 999, {}, "--until-caught-up")
        self._stack.callback(_kill, process)

        def judge() -> None:
            try:
                code = process.wait(max(180.0, self.form.deadline_s))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGUSR1)
                self.history.find("hung", f"{stage.app} --until-caught-up still runs, log {log}")
                return
            text = log.read_text(errors="replace")
            # To end by itself is what it is asked for.
            explained, words = judged(Ended(code, text, terminated=True, killed=False))
            if not explained:
                self.history.find("exit", f"{words}\n{stage.app} --until-caught-up, log {log}")
            if sign := broken(text):
                self.history.find("traceback", f"{stage.app} --until-caught-up, {log}\n{sign}")

        return judge

    # The turns.

    def tick(self) -> None:
        """One turn: the workers, the servers, the groups' progress."""
        time.sleep(TICK_S)
        self._look_at_the_clock()
        self._look_at_servers()
        self.fleet.tick()
        seen = self.watch.newest
        for app in self._hindered:
            self._hindered[app] |= any(self.outages.now()) or self.fleet.hindered(app)
        if seen is not None and seen.at_s > self._looked_s:
            self._looked_s = seen.at_s
            self._standing = self.stalls.look(seen, self._hindered)
            self._hindered = dict.fromkeys(self._hindered, False)
            self._judge_stalls()
            self._look_at_the_past(seen)
        if self._feeding and self._feed.poll() is not None:
            raise RuntimeError(f"the feed has ended: {self._feed_log.read_text()[-2000:]}")
        self._say_now_and_then()

    def _look_at_the_clock(self) -> None:
        """A machine that stood still, or gave us no time, hindered everybody."""
        before, self._ticked_s = self._ticked_s, time.monotonic()
        if before and self._ticked_s - before > STILL_S:
            self.history.tell(f"no turn for {self._ticked_s - before:.1f} s: a busy machine")
            self._hindered = dict.fromkeys(self._hindered, True)

    def _look_at_servers(self) -> None:
        """A server that came back is away until it has answered."""
        for server in (self.broker, self.store):
            if server.ended():
                self.history.tell(f"{type(server).__name__} ended by itself: started again")
                server.die()
                server.come_back()
        seen = self.watch.newest
        heard = seen is not None and seen.at_s > self.broker.changed_s
        broker_away = self.broker.state != UP or (self.outages.now()[0] and not heard)
        store_away = self.store.state != UP or (self.outages.now()[1] and not self._pong())
        self.outages.look(broker_away=broker_away, store_away=store_away)

    def _look_at_the_past(self, seen: Seen) -> None:
        """Do what the workers ask for where the broker tells old positions: restart it."""
        groups, lasts_s = self.past.look(seen)
        if not groups:
            self._restarts = 0
        self._hindered |= dict.fromkeys(groups, True)
        if lasts_s < PAST_S or self.broker.state != UP:
            return
        told = f"the broker tells {', '.join(groups)} of the past: restarted in order"
        if self._restarts == RESTARTS_MOST:
            self.history.find("positions", f"{told} {self._restarts} times, and still does")
        self._restarts += 1
        self.history.fault("broker tells of the past", told)
        self.broker.restart_in_order()
        self.past.begin_anew()

    def _pong(self) -> bool:
        try:
            with self.store.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def _judge_stalls(self) -> None:
        for app, standing in self._standing.items():
            stuck = {p: round(s) for p, s in standing.items() if s > self.form.deadline_s}
            if not stuck:
                continue
            self.history.find(
                "hung",
                f"{app}: no progress though nothing hinders it: seconds by partition {stuck}",
            )
            for worker in self.fleet.of(app):
                worker.where()
            time.sleep(1)  # for their last words
            for worker in self.fleet.of(app):
                worker.kill()
            self._hindered[app] = True

    def _committed(self, app: str) -> dict[int, int]:
        seen = self.watch.newest
        return dict(seen.committed[app]) if seen else {}

    def _going(self) -> bool:
        """Whether every partition of every group has committed something."""
        seen = self.watch.newest
        return seen is not None and all(
            at > 0 for committed in seen.committed.values() for at in committed.values()
        )

    def _recovers(self, number: int) -> bool:
        """Wait until every partition has gone on since now, or has nothing to do."""
        since, before = time.monotonic(), None

        def gone_on() -> bool:
            nonlocal before
            seen = self.watch.newest
            if seen is None or seen.at_s < since + LOOK_S or seen is before:
                return False
            # The first that was seen wholly after the faults is what is to be passed.
            before = before or seen
            return seen is not before and all(
                at > before.committed[app][p] or at >= seen.ends[p]
                for app, committed in seen.committed.items()
                for p, at in committed.items()
            )

        # What stands still is found, and killed, long before this is over.
        if not self._until(gone_on, f"progress after round {number}", self.form.deadline_s * 4):
            return False
        self.history.tell(f"all go on {time.monotonic() - since:.1f} s after round {number}")
        return True

    def _until(self, done: Callable[[], bool], what: str, limit_s: float) -> bool:
        deadline = time.monotonic() + limit_s
        while not done():
            self.tick()
            if any(self.outages.now()):
                deadline = max(deadline, time.monotonic() + 30)
            if time.monotonic() > deadline:
                self.history.find("hung", f"not within {limit_s:g} s: {what}")
                return False
        return True

    def _for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.tick()

    def _say_now_and_then(self) -> None:
        now = time.monotonic()
        if now - self._said_s < SAY_S:
            return
        self._said_s = now
        seen = self.watch.newest
        behind = {} if seen is None else {
            app: sum(seen.ends[p] - at for p, at in committed.items())
            for app, committed in seen.committed.items()
        }  # fmt: skip
        sent = 0 if seen is None else sum(seen.ends.values())
        last = self.history.events[-1] if self.history.events else ""
        self._say(
            f"{sent:,} records in, behind: {behind}; {self.history.faults.total()} faults, "
            f"{len(self.history.findings)} findings; {last}{self.watch.problem}"
        )


def create(bootstrap_servers: str, topics: list[str]) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 2})
    wanted = [NewTopic(t, PARTITIONS, replication_factor=1, config=CONFIG) for t in topics]
    for answer in admin.create_topics(wanted).values():
        answer.result(20)


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(10)
