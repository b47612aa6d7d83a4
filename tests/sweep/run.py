"""Runs one case: workers as processes on a broker and a Redis, one of them killed, all compared.

::

    1 worker:   feed ─► each stage until it has caught up; the victim dies, and is run again
    2 workers:  all stages live ─► feed ─► the victim dies ─► it is run again until caught up

One that is to die while it joins is started last.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from processor.connectors.kafka.log import KafkaLog
from processor.connectors.ports import Owner
from processor.connectors.redis.store import RedisStore
from processor.engine.commit.task import task_name
from processor.model.log import TopicPartition
from tests.integration.running import Topics, until
from tests.sweep.cases import STAGES, Case, joins, kept
from tests.sweep.expected import PARTITIONS, RECORDS, Stage, check, rides
from tests.sweep.worker import DISOWNED, Disowned, start

CRASHED = 70
LIMIT_S = 60.0


class Servers:
    """Where cases run: connected to once, used by one case after the other."""

    def __init__(self, bootstrap_servers: str, redis_url: str) -> None:
        self.bootstrap_servers, self.redis_url = bootstrap_servers, redis_url
        self.topics = Topics(bootstrap_servers)
        self.log = KafkaLog(bootstrap_servers)
        self.store = RedisStore(redis_url)

    def delete(self, *topics: str) -> None:
        """So many partitions as all cases have are more than a small broker can hold."""
        for answer in self.topics._admin.delete_topics([*topics]).values():
            answer.result(20)

    def close(self) -> None:
        self.log.close()
        self.store.close()


class Run:
    """One worker of a stage."""

    def __init__(self, bench: Bench, stage: Stage, instance: str, *args: str, **crash: Any) -> None:
        self._log = bench.directory / f"{uuid4().hex[:8]}.log"
        self._log.touch()
        servers = bench.servers
        self.args = [
            stage.name, *stage.sets(), "--instance", instance, *args, *bench.options,
            "--bootstrap-servers", servers.bootstrap_servers, "--redis-url", servers.redis_url,
            "--batch-records-max", 5 if kept(bench.case.point) else 20, "--interval", "5ms",
            "--session-timeout", "6s",
            "--log-format", "json",
        ]  # fmt: skip
        self.process = start(
            self.args, self._log, crash.get("crash_at"), crash.get("fault"), crash.get("disown")
        )

    def owned(self) -> set[str]:
        """The partitions that it has now, as far as its log tells."""
        held: set[str] = set()
        for line in self._log.read_text().splitlines():
            with suppress(ValueError):
                event = json.loads(line)
                if event.get("event") == "partitions changed":
                    named = set(event["partitions"])
                    held = held | named if event["kind"] == "assigned" else held - named
        return held

    def ends(self, code: int, why: str) -> None:
        """Wait for its end, which is with this exit code."""
        self.process.join(LIMIT_S)
        found = self.process.exitcode
        shown = f"still runs after {LIMIT_S:g} s" if found is None else f"ended with {found}"
        assert found == code, f"{why}: {shown}, not with {code}\n{self.tail()}"

    def stop(self) -> None:
        """Ask it to stop; it has to do so in good order."""
        os.kill(self.process.pid or 0, signal.SIGTERM)
        self.ends(0, "a worker that nothing happened to")

    def said(self, text: str) -> bool:
        """Whether it has said this; it must not have ended before."""
        found = text in self._log.read_text(errors="replace")
        assert found or self.process.is_alive(), f"ended without: {text}\n{self.tail()}"
        return found

    def tail(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-40:]
        return "\n".join(line[:600] for line in lines)

    def close(self) -> None:
        if self.process.is_alive():
            self.process.kill()
        self.process.join(10)
        self.process.close()


class Bench:
    """A case's own topics, names and processes."""

    def __init__(self, case: Case, servers: Servers, directory: Path) -> None:
        self.case, self.servers, self.directory = case, servers, directory
        self.options = ["--guarantee", case.guarantee]
        if case.loss:
            self.options += ["--on-checkpoint-loss", "replay"]
        id_ = uuid4().hex[:8]
        self.stages = [
            Stage(
                topology, f"{topology}-{id_}", f"t{number}-{id_}", f"t{number + 1}-{id_}",
                f"dead{number}-{id_}", f"late{number}-{id_}",
            )
            for number, topology in enumerate(STAGES[case.shape])
        ]  # fmt: skip
        self.names = sorted({name for stage in self.stages for name in stage.topics()})
        servers.topics.create(*self.names, partitions=PARTITIONS)
        self._runs: list[Run] = []

    def feed(self) -> None:
        """All of the input, or a half where the other half is to follow a loss."""
        self._fill(0, RECORDS // 2 if self.case.loss else RECORDS)

    def _fill(self, first: int, end: int) -> None:
        keys, values = zip(*(r for part in rides() for r in part[first:end]), strict=True)
        self.servers.topics.fill(self.stages[0].input, values, keys=keys)

    def run(self, stage: Stage, instance: str, *args: str, **crash: Any) -> Run:
        made = Run(self, stage, instance, *args, **crash)
        self._runs.append(made)
        return made

    def done(self, stage: Stage) -> None:
        """One worker takes the stage to its input's end."""
        self.run(stage, "a", "--until-caught-up").ends(0, f"{stage.topology}, run again")

    def dies(self, stage: Stage, *args: str) -> Run:
        """The victim, which is to be killed at the case's point."""
        case = self.case
        if case.disown:
            url = self.servers.redis_url
            disown = Disowned(case.point, case.times, case.disown, stage.app, url)
            return self.run(stage, "a", *args, disown=disown)
        at = "after:adopt#2" if case.loss else f"{case.point}#{case.times}"
        return self.run(stage, "a", *args, crash_at=at, fault=case.fault)

    def made_good(self, stage: Stage, victim: Run) -> None:
        """The victim has died; another in its place takes the stage to its input's end."""
        case = self.case
        if case.disown:
            until(lambda: victim.said(DISOWNED), "the point", LIMIT_S)
            if case.workers == 1:
                victim.ends(0, "a worker whose records were changed")
            else:
                victim.stop()
            self.done(stage)
            return
        victim.ends(CRASHED, "the point was not come to")
        if case.loss:
            self._lose(stage, victim)
            again = self.run(stage, "a", "--until-caught-up", crash_at=f"{case.point}#{case.times}")
            again.ends(CRASHED, "the point was not come to")
        self.done(stage)

    def _lose(self, stage: Stage, victim: Run) -> None:
        """The store loses what the victim had; then the input goes on in every partition."""
        for name in victim.owned():
            number = int(name.rpartition("[")[2].rstrip("]"))
            task = task_name(stage.app, TopicPartition(stage.input, number))
            me = Owner("sweep", f"{stage.app}.sweep", 0)
            former = self.servers.store.acquire({task: me})[task]
            self.servers.store.clear(task, me)
            self.servers.store.begin({task: former.newest})
        self._fill(RECORDS // 2, RECORDS)
        for before in self.stages[: self.case.victim]:
            self.done(before)

    def close(self) -> None:
        for run in self._runs:
            run.close()
        self.servers.delete(*self.names)


def run_case(case: Case, servers: Servers) -> None:
    """Run a case; raises `AssertionError` that tells what came out wrong."""
    with _bench(case, servers) as bench:
        (_live if case.workers > 1 else _in_turn)(bench)
        read = {name: servers.topics.read(name) for name in bench.names}
        for stage in bench.stages:
            once = case.guarantee == "exactly-once"
            check(stage, read, servers.log, servers.store, once=once)


@contextmanager
def _bench(case: Case, servers: Servers) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="sweep-") as directory:
        bench = Bench(case, servers, Path(directory))
        try:
            yield bench
        finally:
            bench.close()


def _in_turn(bench: Bench) -> None:
    bench.feed()
    for number, stage in enumerate(bench.stages):
        if number == bench.case.victim:
            bench.made_good(stage, bench.dies(stage, "--until-caught-up"))
        else:
            bench.done(stage)


def _live(bench: Bench) -> None:
    runs: list[list[Run]] = []
    later = joins(bench.case.point)
    for number, stage in enumerate(bench.stages):
        dies = number == bench.case.victim
        runs.append([bench.run(stage, "b")])
        if not (dies and later):
            runs[-1].insert(0, bench.dies(stage) if dies else bench.run(stage, "a"))
    for workers in runs:
        until(lambda workers=workers: _shared(workers), "each its share")
    bench.feed()
    if later:
        runs[bench.case.victim].insert(0, bench.dies(bench.stages[bench.case.victim]))
    # What is behind the victim goes on without it; what is before it is waited for.
    for number, stage in enumerate(bench.stages):
        first, second = runs[number]
        if number == bench.case.victim:
            bench.made_good(stage, first)
            second.stop()
        else:
            if number < bench.case.victim:
                runs[bench.case.victim][0].ends(CRASHED, "the point was not come to")
            first.stop()
            second.stop()
            bench.done(stage)


def _shared(workers: list[Run]) -> bool:
    for run in workers:
        assert run.process.is_alive(), f"ended before it had its share\n{run.tail()}"
    shares = [len(run.owned()) for run in workers]
    return all(shares) and sum(shares) == PARTITIONS
