"""A worker's process: ``processor run``, with a fault in its commits where a case asks for one."""

from __future__ import annotations

import ctypes
import faulthandler
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

import redis

from processor.app import worker
from processor.engine.commit import checkpoint
from processor.engine.commit.committer import Committer, Work
from processor.engine.commit.protocol import Outcome
from processor.errors import AbortableError, OutcomeUnknownError
from tests.services.process import PR_SET_PDEATHSIG
from tests.sweep.cases import Disown, Fault

# What takes a second to import, once for all workers: they are forked from a process that has it.
PRELOADED = [
    "processor.cli.run",
    "processor.cli.work",
    "processor.cli.logs",
    "processor.engine.running.worker",
    "processor.connectors.kafka.log",
    "processor.connectors.redis.store",
    "processor.metrics.server",
    "tests.sweep.worker",
    "tests.sweep.topologies",
]
# One that still runs after so long says where it stands.
STUCK_S = 40
_ERRORS = {Outcome.REFUSED: AbortableError, Outcome.UNKNOWN: OutcomeUnknownError}


def start(
    args: Sequence[object],
    log: Path,
    crash_at: str | None,
    fault: Fault | None,
    disown: Disowned | None = None,
) -> BaseProcess:
    """Start ``processor run`` with these arguments; what it says goes to a file."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    had = os.environ.get("POLARS_MAX_THREADS")
    os.environ["POLARS_MAX_THREADS"] = "1"  # it is read at the import, in the process forked from
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("POLARS_MAX_THREADS")
        if had is not None:
            os.environ["POLARS_MAX_THREADS"] = had
    process = context.Process(target=_work, args=([*map(str, args)], log, crash_at, fault, disown))
    process.start()
    return process


def _work(
    args: Sequence[str],
    log: Path,
    crash_at: str | None,
    fault: Fault | None,
    disown: Disowned | None,
) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    to = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(to, 1)
    os.dup2(to, 2)
    faulthandler.dump_traceback_later(STUCK_S)
    for name in [name for name in os.environ if name.startswith("PROCESSOR_")]:
        del os.environ[name]
    if crash_at is not None:
        os.environ["PROCESSOR_CRASH_AT"] = crash_at
    # So short that a case's few batches come to snapshots and to what they make superfluous.
    checkpoint.CHAIN_LENGTH_MAX = 2
    if fault is not None:
        plant(fault)
    if disown is not None:
        plant_disowning(disown)
    from processor.__main__ import main

    sys.argv = ["processor", "run", *args]
    main()


DISOWNED = "owners' records are changed"


@dataclass(frozen=True)
class Disowned:
    """At a point, the ``times``-th time, the records of all tasks of an application change."""

    point: str
    times: int
    how: Disown
    app: str
    redis_url: str


def plant_disowning(disown: Disowned) -> None:
    """Let the worker's probe do it."""
    left = disown.times

    def probe(step: str) -> None:
        nonlocal left
        left -= step == disown.point
        if step == disown.point and not left:
            with redis.Redis.from_url(disown.redis_url) as client:
                for key in client.scan_iter(f"{{{disown.app}/*}}:own"):
                    change_owner(client, key, disown.how, disown.app)
            print(DISOWNED, flush=True)  # noqa: T201 - the sweep reads it

    worker.crash_probe = lambda app="": probe


def change_owner(client: redis.Redis, key: bytes, how: Disown, app: str) -> None:
    """Write into an owner's record."""
    client.delete(key)
    if how in ("another worker", "a later generation"):
        generation = 1 if how == "another worker" else 10**9
        owner = {"token": "x", "transactional_id": f"{app}:x-9", "generation": generation}
        client.set(key, json.dumps(owner))
    elif how == "no text":
        client.set(key, b"\xff\x00{")
    elif how == "a list":
        client.rpush(key, b"a")


def plant(fault: Fault) -> None:
    """Let every committer of this process know the fault; the process has it once."""
    made = Committer.__init__
    times = 0

    def faulty(act: Callable[[Work], Outcome]) -> Callable[[Work], Outcome]:
        def act_once_wrongly(work: Work) -> Outcome:
            nonlocal times
            times += 1
            if times != 2:
                return act(work)
            if fault.done:
                act(work)
            if fault.outcome in _ERRORS:
                raise _ERRORS[fault.outcome](f"planted: {fault}")
            return fault.outcome

        return act_once_wrongly

    def make(self, *args, **kwargs):
        made(self, *args, **kwargs)
        self._steps = {**self._steps, fault.step: faulty(self._steps[fault.step])}

    Committer.__init__ = make
