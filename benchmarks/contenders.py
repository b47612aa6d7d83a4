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
    4: "topologies.spend.by_user",
    5: "topologies.spend.paid",
}
JOIN: Final = 5  # the stage with two inputs
_PATIENCE_S: Final = 15


@dataclass(frozen=True, slots=True)
class Job:
    """Where one contender reads and writes. ``group`` is also its application's id.

    ``other`` is the second of two inputs. ``quick`` asks for outputs at once, where they would
    else be held back for a while to have fewer.
    """

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
    quick: bool = False

    @property
    def other(self) -> str:
        return f"{self.source}-other"

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source, self.other) if self.stage == JOIN else (self.source,)


@dataclass(frozen=True, slots=True)
class Peer:
    """How a contender is started, and what it promises. ``files`` must be there for it to run,
    and for a stage the ``program`` of its number.

    ``apart`` is a process for each worker, where the others have a thread. ``dead_letters`` are
    written by some; the others drop what is malformed. It runs in the folder ``root``.
    """

    command: Callable[[Job], list[str]]
    program: Callable[[int], Path]
    files: tuple[Path, ...] = ()
    promise: str = "at least once"
    apart: bool = False
    dead_letters: bool = False
    root: Path = ROOT

    @property
    def ready(self) -> bool:
        return all(path.exists() for path in self.files)

    def does(self, stage: int) -> bool:
        return self.ready and self.program(stage).exists()


def _processor(job: Job) -> list[str]:
    names = ("orders", "payments") if job.stage == JOIN else ("input",)
    parameters = {
        "app": job.group,
        **dict(zip(names, job.sources, strict=True)),
        "output": job.output,
        "dead_letters": job.dead_letters,
    }
    return [
        sys.executable, "-m", "processor", "run", TOPOLOGIES[job.stage],
        "--bootstrap-servers", job.bootstrap_servers, "--redis-url", job.redis_url,
        "--workers", str(job.workers), "--log-format", "json", *job.options,
        *(word for name, value in parameters.items() for word in ("--set", f"{name}={value}")),
    ]  # fmt: skip


def _topology(root: Path) -> Callable[[int], Path]:
    return lambda stage: root / f"{TOPOLOGIES[stage].replace('.', '/')}.py"


def _script(name: str) -> Callable[[int], Path]:
    return lambda stage: PEERS / name / f"stage{stage}.py"


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
    promise = promises.get(name, "at least once")
    return Peer(command, _script(name), tuple(files), promise, apart=name == "quix")


def _kafka_streams(promise: str) -> Peer:
    classes = MADE / "kstreams" / "classes"
    return Peer(_kstreams, lambda stage: classes / f"Stage{stage}.class", (classes,), promise)


CONTENDERS: Final = {
    "processor": Peer(_processor, _topology(ROOT), promise="exactly once", dead_letters=True),
    "before": Peer(
        _processor, _topology(BEFORE), (BEFORE / "processor",), "exactly once",
        dead_letters=True, root=BEFORE,
    ),
    "plain": Peer(
        lambda job: [sys.executable, "-m", f"benchmarks.peers.plain.stage{job.stage}"],
        _script("plain"), promise="no state kept", apart=True, dead_letters=True,
    ),
    "kstreams": _kafka_streams("at least once"),
    "kstreams-eos": _kafka_streams("exactly once"),
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
            "OTHER": job.other,
            "OUTPUT": job.output,
            "DEAD_LETTERS": job.dead_letters,
            "GROUP": job.group,
            "CENTROIDS": str(CENTROIDS),
            "TMPDIR": str(job.directory),
            "WORKERS": str(job.workers),
            "PARTITIONS": str(job.partitions),
            "EXACTLY_ONCE": "1" if peer.promise == "exactly once" else "",
            "QUICK": "1" if job.quick else "",
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
