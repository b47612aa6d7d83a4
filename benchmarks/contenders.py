"""The contenders as processes of their own."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]

from topologies.uber.enrich import CENTROIDS

ROOT: Final = Path(__file__).parents[1]
NAMES: Final = ("processor", "plain")
_TOPOLOGIES: Final = {1: "topologies.uber.enrich", 2: "topologies.uber.popular"}
_PATIENCE_S: Final = 15


@dataclass(frozen=True, slots=True)
class Job:
    """Where one contender reads and writes. ``group`` is also the processor's application id."""

    stage: int
    bootstrap_servers: str
    redis_url: str
    source: str
    output: str
    dead_letters: str
    group: str
    workers: int
    directory: Path
    options: tuple[str, ...] = ()


def _processor(job: Job) -> list[list[str]]:
    parameters = {
        "app": job.group,
        "input": job.source,
        "output": job.output,
        "dead_letters": job.dead_letters,
    }
    return [
        [
            sys.executable, "-m", "processor", "run", _TOPOLOGIES[job.stage],
            "--bootstrap-servers", job.bootstrap_servers, "--redis-url", job.redis_url,
            "--workers", str(job.workers), "--log-format", "json", *job.options,
            *(word for name, value in parameters.items() for word in ("--set", f"{name}={value}")),
        ]
    ]  # fmt: skip


def _plain(job: Job) -> list[list[str]]:
    return [[sys.executable, "-m", f"benchmarks.plain.stage{job.stage}"]] * job.workers


class Contender:
    """A running contender: one process or several, with their children."""

    def __init__(self, name: str, job: Job) -> None:
        self.name = name
        self._log = job.directory / f"{job.group}.log"
        commands = _processor(job) if name == "processor" else _plain(job)
        environment = os.environ | {
            "BOOTSTRAP": job.bootstrap_servers,
            "INPUT": job.source,
            "OUTPUT": job.output,
            "DEAD_LETTERS": job.dead_letters,
            "GROUP": job.group,
            "CENTROIDS": str(CENTROIDS),
            "TMPDIR": str(job.directory),
        }
        with self._log.open("w") as log:
            self.processes = [
                psutil.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
                for command in commands
            ]

    def tree(self) -> list[psutil.Process]:
        """Every process of it that there is now."""
        found: list[psutil.Process] = []
        for process in self.processes:
            try:
                found += [process, *process.children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
        return found

    def check(self) -> None:
        """Raise when a process of it has ended by itself."""
        codes = [process.poll() for process in self.processes]
        if any(code is not None for code in codes):
            raise RuntimeError(f"{self.name} ended by itself: {codes}\n{self.tail()}")

    def tail(self) -> str:
        """The end of what it said."""
        return self._log.read_text(errors="replace")[-3000:]

    def stop(self) -> None:
        """End it, at first with words."""
        tree = self.tree()
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        _, alive = psutil.wait_procs(tree, timeout=_PATIENCE_S)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=_PATIENCE_S)
