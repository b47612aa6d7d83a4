"""The contenders: how each is started, and as processes of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]

from topologies.uber.enrich import CENTROIDS

ROOT: Final = Path(__file__).parents[1]
PEERS: Final = ROOT / "benchmarks" / "peers"
MADE: Final = ROOT / ".peers"
# An earlier revision of the processor, checked out: `git worktree add .peers/before REVISION`.
BEFORE: Final = MADE / "before"
TOPOLOGIES: Final = {
    1: "topologies.uber.enrich",
    2: "topologies.uber.popular",
    3: "topologies.spend.totals",
}
_PATIENCE_S: Final = 15


@dataclass(frozen=True, slots=True)
class Job:
    """Where one contender reads and writes. ``group`` is also its application's id."""

    stage: int
    bootstrap_servers: str
    redis_url: str
    source: str
    output: str
    dead_letters: str
    group: str
    workers: int
    directory: Path
    partitions: int = 4
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Peer:
    """How a contender is started, and what it promises. ``files`` must be there for it to run.

    ``apart`` is a process for each worker, where the others have a thread. ``dead_letters`` are
    written by some; the others drop what is malformed. It runs in the folder ``root``.
    """

    command: Callable[[Job], list[str]]
    files: tuple[Path, ...] = ()
    promise: str = "at least once"
    apart: bool = False
    dead_letters: bool = False
    root: Path = ROOT

    @property
    def ready(self) -> bool:
        return all(path.exists() for path in self.files)


def _processor(job: Job) -> list[str]:
    parameters = {
        "app": job.group,
        "input": job.source,
        "output": job.output,
        "dead_letters": job.dead_letters,
    }
    return [
        sys.executable, "-m", "processor", "run", TOPOLOGIES[job.stage],
        "--bootstrap-servers", job.bootstrap_servers, "--redis-url", job.redis_url,
        "--workers", str(job.workers), "--log-format", "json", *job.options,
        *(word for name, value in parameters.items() for word in ("--set", f"{name}={value}")),
    ]  # fmt: skip


def _kstreams(job: Job) -> list[str]:
    made = MADE / "kstreams"
    classes = f"{made}/classes:{made}/lib/*"
    return ["java", "-Xmx2g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp", classes, f"Stage{job.stage}"]  # fmt: skip


def _python(name: str) -> Peer:
    """A peer with a virtual environment of its own, and perhaps jars."""
    python = MADE / name / "venv" / "bin" / "python"
    files = [python]
    if (PEERS / name / "pom.xml").exists():
        files.append(MADE / name / "jars")

    def command(job: Job) -> list[str]:
        return [str(python), str(PEERS / name / f"stage{job.stage}.py")]

    promises = {"pathway": "no state kept"}
    return Peer(command, tuple(files), promises.get(name, "at least once"), apart=name == "quix")


CONTENDERS: Final = {
    "processor": Peer(_processor, promise="exactly once", dead_letters=True),
    "before": Peer(
        _processor, (BEFORE / "processor",), "exactly once", dead_letters=True, root=BEFORE
    ),
    "plain": Peer(
        lambda job: [sys.executable, "-m", f"benchmarks.peers.plain.stage{job.stage}"],
        promise="no state kept", apart=True, dead_letters=True,
    ),
    "kstreams": Peer(_kstreams, (MADE / "kstreams" / "classes",)),
    "kstreams-eos": Peer(_kstreams, (MADE / "kstreams" / "classes",), "exactly once"),
    "flink": _python("flink"),
    "spark": _python("spark"),
    "pathway": _python("pathway"),
    "quix": _python("quix"),
}  # fmt: skip


class Contender:
    """A running contender: one process or several, with their children."""

    def __init__(self, name: str, job: Job) -> None:
        self.name = name
        self._log = job.directory / f"{job.group}.log"
        peer = CONTENDERS[name]
        environment = os.environ | {
            "BOOTSTRAP": job.bootstrap_servers,
            "INPUT": job.source,
            "OUTPUT": job.output,
            "DEAD_LETTERS": job.dead_letters,
            "GROUP": job.group,
            "CENTROIDS": str(CENTROIDS),
            "TMPDIR": str(job.directory),
            "WORKERS": str(job.workers),
            "PARTITIONS": str(job.partitions),
            "EXACTLY_ONCE": "1" if peer.promise == "exactly once" else "",
            "JARS": str(MADE / name / "jars"),
            "PATHWAY_THREADS": str(job.workers),
        }
        self.processes = []
        with self._log.open("w") as log:
            for worker in range(job.workers if peer.apart else 1):
                state = job.directory / f"{job.group}-{worker}"
                state.mkdir()
                self.processes.append(
                    psutil.Popen(
                        peer.command(job), cwd=peer.root, stdout=log, stderr=log,
                        env=environment | {"STATE": str(state), "WORKER": str(worker)},
                    )
                )  # fmt: skip

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
