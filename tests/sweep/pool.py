"""Several cases at a time, each pool process with its own connections and its own workers."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from tests.sweep.cases import Case
from tests.sweep.run import Servers, run_case

Done = tuple[Case, float, str | None]
_servers: list[Servers] = []


def _connect(bootstrap_servers: str, redis_url: str) -> None:
    _servers.append(Servers(bootstrap_servers, redis_url))


def _one(case: Case) -> Done:
    started, wrong = time.monotonic(), None
    try:
        run_case(case, _servers[0])
    except Exception as error:
        wrong = f"{type(error).__name__}: {error}"
    return case, time.monotonic() - started, wrong


def sweep(
    cases: Sequence[Case], bootstrap_servers: str, redis_url: str, jobs: int
) -> Iterator[Done]:
    """Run cases, several at a time, each as it ends."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _connect, (bootstrap_servers, redis_url)) as pool:
        yield from pool.map(_one, cases)
