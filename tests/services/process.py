"""A server as a child process that cannot outlive the tests."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.services.handle import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

PR_SET_PDEATHSIG = 1


def _die_with_parent() -> Callable[[], None] | None:
    """What the child does before it becomes the server, where the kernel offers it."""
    if not sys.platform.startswith("linux"):
        return None
    # Looked up here, not in the child: between fork and exec nothing may be loaded.
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel was asked
            os._exit(1)

    return ask


class Process:
    """One server process, started again by the same command."""

    rung = "local process"

    def __init__(
        self,
        address: str,
        command: Sequence[str],
        directory: Path,
        answers: Callable[[str], None],
        *,
        limit_s: float = 60,
    ) -> None:
        self.address = address
        self._command = list(command)
        self._directory = directory
        self._answers = answers
        self._limit_s = limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._start()

    def _start(self) -> None:
        with (self._directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509 - no other thread forks here
            )
        deadline = time.monotonic() + self._limit_s
        problem: Exception | None = None
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self._answers(self.address)
            except Exception as error:
                problem = error
                time.sleep(0.05)
            else:
                return
        code = self._process.poll()
        state = f"ended with {code}" if code is not None else f"gave no answer: {problem}"
        self.kill()
        raise Unavailable(f"{self._command[0]} {state}; the end of its log:\n{self.tail()}")

    def tail(self, lines: int = 25) -> str:
        """The last lines that the server wrote."""
        text = (self._directory / "server.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def _end(self, number: signal.Signals, limit_s: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def stop(self) -> None:
        """End in good order."""
        self._end(signal.SIGTERM, 20)

    def kill(self) -> None:
        """End with SIGKILL."""
        self._end(signal.SIGKILL, 10)

    def restart(self) -> None:
        """Start again; a server still running is stopped first."""
        self.stop()
        self._start()

    def close(self) -> None:
        """End for good: the data is thrown away with its directory, so there is nothing to save."""
        self.kill()
