"""The campaign's own processes: none outlives it, none is set by the shell of whoever starts it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.services.process import PR_SET_PDEATHSIG

ROOT = Path(__file__).resolve().parents[2]


def die_with_parent() -> None:
    """Called in the child first of all: so nothing has to run between fork and exec."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def start(
    module: str, args: Sequence[object], log: Path, env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """``python -m module args``; what it says goes to a file."""
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith(("PROCESSOR_", "CAMPAIGN_"))
    }
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with log.open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", module, *map(str, args)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=inherited | {"PYTHONPATH": python_path, "POLARS_MAX_THREADS": "1"} | dict(env),
            cwd=ROOT,
            # Else the end of the shell that started it all would wake whoever is stopped.
            start_new_session=True,
        )


def stands(pid: int) -> bool:
    """Whether a process is stopped by a signal, as the kernel tells."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    # The name, in brackets, may have anything in it.
    return text.rpartition(")")[2].split()[0] == "T"
