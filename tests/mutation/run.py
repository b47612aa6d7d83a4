"""Which tests a mutant meets, and workers that try them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import PurePath
from queue import SimpleQueue
from typing import Any

from tests.mutation.mutants import ROOT, Mutant

TESTS = (
    "tests/unit/state", "tests/unit/operators", "tests/unit/engine", "tests/unit/connectors",
    "tests/unit/app", "tests/unit/testing", "tests/unit/test_doctests.py", "tests/contract",
    "tests/property", "tests/unit/cli/test_late.py", "tests/unit/cli/test_verify.py",
    "tests/simulation/test_chain.py", "tests/simulation/test_crash_sweep.py",
    "tests/simulation/test_simulator.py",
)  # fmt: skip
WITH_SERVICES = ("tests/integration/test_kafka_connector.py",)
# So many tests on a server that fail without a fault, at one mutant, are no chance.
ILL_MAX = 3
# By test: seconds (of the processor, or of the clock with a server), and the functions it comes to.
Reach = Mapping[str, tuple[float, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a mutant: ``killed``, ``hung``, ``survived``, or ``unreached`` by any test."""

    mutant: Mutant
    outcome: str
    by: str = ""

    def found(self) -> bool:
        return self.outcome in ("killed", "hung")


class Worker:
    """A process that has all tests collected: see `tests.mutation.worker`."""

    def __init__(self, seeds: int, *, services: bool, paths: Sequence[str] | None = None) -> None:
        # One thread of the column engine, and none of the linear algebra: the process will fork.
        fewer = {"OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
        marks = [] if services else ["-m", "not kafka and not redis"]
        paths = paths or ([*TESTS, *WITH_SERVICES] if services else TESTS)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.mutation.worker", *marks, *paths],
            cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, **fewer, "MUTATION_SEEDS": str(seeds)},
        )  # fmt: skip

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a worker ended: its tests could not be collected")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> int:
        """Let it end; its exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        code = self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code


def order(mutant: Mutant, reach: Reach, budget_s: float) -> list[str]:
    """The tests of a mutant: quick first, those of its room; then the others, up to the budget.

    Among the quick the mirrored file comes first; else the fastest do.
    """
    path = PurePath(mutant.module)
    room = str(PurePath("tests/unit", *path.parts[1:-1]))
    mirrored = f"{room}/test_{path.stem}.py"
    name = f"{mutant.module}:{mutant.function.rstrip(chr(39))}"
    ours = [test for test, (_, functions) in reach.items() if name in functions]
    ours.sort(key=lambda t: (not t.startswith(room), not t.startswith(mirrored), reach[t][0]))
    taken, left_s = [], budget_s
    for test in ours:
        if reach[test][0] <= left_s:
            taken.append(test)
            left_s -= reach[test][0]
    return taken


def attempt(mutant: Mutant, worker: Worker, reach: Reach, budget_s: float) -> Tried:
    tests = order(mutant, reach, budget_s)
    if not tests:
        return Tried(mutant, "unreached")
    ill = []
    while tests and len(ill) < ILL_MAX:
        seconds = [reach[test][0] for test in tests]
        answer = worker.ask({
            "module": mutant.module, "function": mutant.function, "code": mutant.code(),
            "tests": tests, "cpu_s": 2 + 4 * max(seconds), "wall_s": 60 + 10 * max(seconds),
        })  # fmt: skip
        if not answer.get("ill"):
            return Tried(mutant, answer["outcome"], answer["by"])
        # What fails without the fault too finds nothing; the others are asked.
        ill.append(answer["by"])
        tests.remove(answer["by"])
    if len(ill) == ILL_MAX:
        raise SystemExit(f"these fail without any fault too, is their server well? {ill}")
    return Tried(mutant, "survived")


def attempts(
    mutants: Sequence[Mutant], workers: Sequence[Worker], reach: Reach, budget_s: float
) -> Iterator[Tried]:
    """Every mutant once, as they are done."""
    free: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        free.put(worker)
    stop = threading.Event()

    def one(mutant: Mutant) -> Tried | None:
        if stop.is_set():
            return None
        worker = free.get()
        try:
            return attempt(mutant, worker, reach, budget_s)
        finally:
            free.put(worker)

    with ThreadPoolExecutor(len(workers)) as pool:
        try:
            for done in as_completed([pool.submit(one, mutant) for mutant in mutants]):
                tried = done.result()
                if tried is not None:
                    yield tried
        finally:
            stop.set()
