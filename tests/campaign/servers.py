"""The campaign's own broker and Redis: processes that are killed, stopped, and come back."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path

import redis

from tests.campaign.commands import commands
from tests.services.kafka import LocalKafka
from tests.services.redis import LocalRedis

UP, PAUSED, DOWN = "up", "paused", "down"


class _Breakable:
    """What both servers can: it says how it is, and nothing here waits for an answer."""

    state, changed_s = UP, 0.0

    def _is(self, state: str) -> None:
        self.state, self.changed_s = state, time.monotonic()

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)
        self._is(PAUSED)

    def resume(self) -> None:
        if self.state == PAUSED:
            self._process.send_signal(signal.SIGCONT)
            self._is(UP)

    def die(self) -> None:
        self.kill()
        self._is(DOWN)

    def come_back(self) -> None:
        """Start again; who needs it sees when it answers."""
        if self.state == DOWN:
            answers, self._answers = self._answers, lambda _: None
            try:
                self._start()
            finally:
                self._answers = answers
            self._is(UP)

    def restart_in_order(self) -> None:
        """Stop as an operator does, who lets it write down what it holds, and start again."""
        self.stop()
        self._is(DOWN)
        self.come_back()

    def heal(self) -> None:
        self.resume()
        self.come_back()

    def ended(self) -> bool:
        """Whether it has ended by itself, which is nobody's plan."""
        return self.state != DOWN and self._process.poll() is not None


class Broker(_Breakable, LocalKafka):
    """One broker; what it holds is kept for as long as the campaign lasts."""

    def __init__(self) -> None:
        super().__init__({"log.retention.ms": "-1", "log.retention.bytes": "-1"})


class Store(_Breakable, LocalRedis):
    """One Redis, whose append-only file can be cut."""

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2)

    def cut(self, count: int, *, torn: bool) -> str:
        """While it is down: the last so many commands of its file are gone.

        With ``torn`` a half of the command before them is gone as well. Says what was cut.
        """
        path = self._newest()
        data = path.read_bytes()
        ends = [0, *(end for _, end, _ in whole_commands(data))]
        kept = max(0, len(ends) - 1 - count)
        end = ends[kept]
        if torn and kept:
            end = (ends[kept - 1] + ends[kept]) // 2
        with path.open("r+b") as file:
            file.truncate(end)
        return f"{len(ends) - 1 - kept} commands, {len(data) - end} bytes"

    def _newest(self) -> Path:
        found = Path(self._directory).glob("appendonlydir/*.incr.aof")
        return max(found, key=lambda path: int(path.name.split(".")[-3]))


def whole_commands(data: bytes) -> list[tuple[int, int, object]]:
    """The commands of an append-only file, up to the first that is not whole."""
    found = []
    with contextlib.suppress(ValueError):
        for entry in commands(data):
            found.append(entry)  # noqa: PERF402 - what came before a torn one stays
    return [entry for entry in found if entry[1] <= len(data)]


def begin() -> tuple[Broker, Store]:
    """Both; raises `Unavailable` where this machine has none."""
    broker = Broker()
    try:
        return broker, Store()
    except BaseException:
        broker.close()
        raise
