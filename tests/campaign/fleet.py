"""The workers and their supervisor: started, stopped at places, woken, and started again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.campaign import child, exits, stops
from tests.campaign.history import History
from tests.campaign.outages import Outages
from tests.campaign.terms import Stage
from tests.campaign.worker import SAID

INSTANCES = ("a", "b", "c")
STOPS_EACH = 5
TERM_S = 60.0
RECENTLY_S = 60.0
BACKOFF_S = (0.2, 1.0, 2.0, 5.0)


class Worker:
    """One place in a group: a process at a time, started anew when it has ended."""

    def __init__(self, fleet: Fleet, stage: Stage, instance: str, *, wanted: bool) -> None:
        self.stage, self.instance, self.wanted = stage, instance, wanted
        self.name = f"{stage.app}-{instance}"
        self.process: subprocess.Popen[bytes] | None = None
        self.log: Path | None = None
        self.plan: Sequence[stops.Stop] = ()
        self._fleet, self._starts, self._quick = fleet, 0, 0
        self._start_at = self._began = 0.0
        self._terminated: float | None = None
        self._killed = False
        self._wake_at: float | None = None
        self._woken = 0

    # What the faults do.

    def kill(self) -> None:
        if self.process is not None:
            self._killed = True
            self.process.kill()

    def terminate(self) -> None:
        if self.process is not None and self._terminated is None:
            self._terminated = time.monotonic()
            self.process.send_signal(signal.SIGTERM)

    def stop(self, seconds: float) -> None:
        """Stand still for so long; one that has stopped itself stands as long as it would."""
        if self.process is not None and self._wake_at is None:
            self.process.send_signal(signal.SIGSTOP)
            self._wake_at = time.monotonic() + seconds

    def leave(self) -> None:
        self.wanted = False
        self.terminate()

    def come(self, after_s: float = 0.0) -> None:
        self.wanted = True
        self._start_at = time.monotonic() + after_s

    # How it is.

    def alive(self) -> bool:
        return self.process is not None

    def working(self) -> bool:
        """Whether it runs, stands nowhere, and is not about to end."""
        return self.process is not None and self._wake_at is None and self._terminated is None

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log and self.log.exists() else ""

    def where(self) -> None:
        """Have it write down where its threads stand."""
        if self.process is not None:
            self.process.send_signal(signal.SIGUSR1)

    # The supervisor.

    def tick(self, now: float) -> None:
        if self.process is None:
            if self.wanted and now >= self._start_at:
                self._start(now)
            return
        code = self.process.poll()
        if code is not None:
            self._ended(code, now)
        elif self._wake_at is None and child.stands(self.process.pid):
            self._stands(now)
        elif self._wake_at is not None:
            self._maybe_wake(now)
        elif self._terminated is not None:
            self._maybe_stuck(now)

    def _start(self, now: float) -> None:
        fleet = self._fleet
        self._starts += 1
        choice = random.Random(f"{fleet.seed}:{self.name}:{self._starts}")
        self.plan = stops.draw(choice, self.stage.shape, fleet.stops_each, often=fleet.often)
        env = {
            stops.VARIABLE: stops.written(self.plan),
            "CAMPAIGN_CHAIN": str(choice.choice([4, 8, 16, 64])),
        }
        self._terminated, self._killed, self._woken = None, False, 0
        self._began = now
        self.process, self.log = fleet.run(self.stage, self.instance, self._starts, env)
        fleet.history.tell(f"{self.name} starts ({self._starts}), pid {self.process.pid}")

    def _ended(self, code: int, now: float) -> None:
        outages, history = self._fleet.outages, self._fleet.history
        recently, ever = outages.longest_since(now - RECENTLY_S), outages.longest_since(self._began)
        asked = self._terminated is not None
        ended = exits.Ended(code, self.text(), asked, self._killed, recently, ever)
        explained, words = exits.judged(ended)
        history.exits[("" if explained else "UNEXPLAINED ") + words] += 1
        history.tell(f"{self.name} ended: {words}")
        if not explained:
            history.find("exit", f"{words}\n{self.name}, log {self.log}\n{'; '.join(ended.error)}")
        if sign := exits.broken(ended.text):
            history.find("traceback", f"{self.stage.app}\n{self.name}, log {self.log}\n{sign}")
        # One that ends soon is started after longer and longer waits.
        self._quick = self._quick + 1 if now - self._began < 30 and code > 0 else 0
        self.process, self._wake_at = None, None
        wait = BACKOFF_S[min(self._quick, len(BACKOFF_S) - 1)]
        self._start_at = max(self._start_at, now + wait)

    def _stands(self, now: float) -> None:
        """It has stopped itself: how long it stays so is drawn, or depends on the others."""
        place = self.text().rpartition(SAID)[2].partition("\n")[0] or "(unknown)"
        self._woken += 1
        choice = random.Random(f"{self._fleet.seed}:{self.name}:{self._starts}:{self._woken}")
        seconds, until = self._fleet.pause_of(choice, self.stage, now)
        self._wake_at, self._until, self._stood = now + seconds, until, now
        history = self._fleet.history
        history.places[place.partition(" #")[0]] += 1
        history.fault("worker stopped at a place", f"{self.name} stands at {place}")

    _until: Callable[[], bool] | None = None
    _stood = 0.0

    def _maybe_wake(self, now: float) -> None:
        over = self._until is not None and self._until()
        if over or now >= self._wake_at or self._fleet.hurry:
            why = " (the others have gone on)" if over else ""
            self._until = None
            self.wake(why)

    def wake(self, why: str = "") -> None:
        if self.process is not None and self._wake_at is not None:
            self._wake_at = None
            self.process.send_signal(signal.SIGCONT)
            self._fleet.history.tell(f"{self.name} goes on{why}")
            if self._terminated is not None:
                self._terminated = time.monotonic()

    def _maybe_stuck(self, now: float) -> None:
        if any(self._fleet.outages.now()):
            self._terminated = now
        elif now - self._terminated > TERM_S:
            self._fleet.history.find(
                "hung", f"{self.name} still runs {TERM_S:g} s after SIGTERM, log {self.log}"
            )
            self.where()
            time.sleep(0.5)  # for its last words
            self.kill()

    def end(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait(10)


class Fleet:
    """All workers: three of each topology, and a fourth that comes and goes.

    ``often`` and ``stops_each``: how soon and how many places each start is to stop at.
    ``hurry``: nobody stands for longer than it takes to see it, since the end has come.
    """

    hurry = False

    def __init__(
        self,
        seed: int,
        stages: Sequence[Stage],
        directory: Path,
        *,
        options: Sequence[object],
        history: History,
        outages: Outages,
    ) -> None:
        self.seed, self.history, self.outages = seed, history, outages
        self.often, self.stops_each = 1.0, STOPS_EACH
        self._directory, self._options = directory, [*options]
        self.committed: Callable[[str], dict[int, int]] = lambda _: {}
        self.workers = [
            Worker(self, stage, instance, wanted=instance in INSTANCES)
            for stage in stages
            for instance in (*INSTANCES, "d")
        ]

    def run(
        self, stage: Stage, instance: str, start: int, env: dict[str, str], *args: object
    ) -> tuple[subprocess.Popen[bytes], Path]:
        """A worker's process, and where its log is."""
        log = self._directory / f"{stage.app}-{instance}-{start:03}.log"
        topology = f"tests.campaign.topologies:{stage.shape}"
        loss = ["--on-checkpoint-loss", "replay"] if stage.shape == "windowed" else []
        given = ["run", topology, *stage.sets(), "--instance", instance, *loss, *self._options]
        slots = {"TMPDIR": os.fspath(self._directory)}
        return child.start("tests.campaign.worker", [*given, *args], log, slots | env), log

    def of(self, app: str) -> list[Worker]:
        return [worker for worker in self.workers if worker.stage.app == app]

    def tick(self) -> None:
        now = time.monotonic()
        for worker in self.workers:
            worker.tick(now)

    def hindered(self, app: str) -> bool:
        """Whether nobody of a group can work."""
        return not any(worker.working() for worker in self.of(app))

    def pause_of(
        self, choice: random.Random, stage: Stage, now: float
    ) -> tuple[float, Callable[[], bool] | None]:
        """For how long one that has stopped itself is let stand, and what ends it before.

        Most of all it is of interest what happens when the others have taken over and gone on.
        """
        kind, most = choice.random(), choice.uniform(14, 28)
        if kind < 0.25:
            return choice.uniform(0.05, 1), None
        if kind < 0.45:
            return choice.uniform(1, 8), None
        before, least = self.committed(stage.app), now + choice.uniform(0, 9)

        def gone_on() -> bool:
            at = self.committed(stage.app)
            return time.monotonic() > least and at and all(at[p] > before.get(p, 0) for p in at)

        return most, gone_on

    def settled(self) -> bool:
        """Whether every worker is as it is wanted."""
        return all(worker.working() == worker.wanted for worker in self.workers)

    def end(self) -> None:
        for worker in self.workers:
            worker.end()
