"""Prometheus' own tool for rules: from the path, a container, or Debian's package unpacked here."""

from __future__ import annotations

import shutil
import subprocess

from tests.services.debian import LIMIT_S, kept
from tests.services.handle import Unavailable

IMAGE = "prom/prometheus:v3"


class Promtool:
    """Runs ``promtool``; ``command`` comes before its arguments."""

    def __init__(self, command):
        self._command = [*map(str, command)]

    def run(self, directory, *args):
        """What it says about files of a directory, and its exit code."""
        command = [part.replace("{}", str(directory)) for part in self._command]
        done = subprocess.run(
            [*command, *args], cwd=directory, capture_output=True, text=True, check=False,
            timeout=LIMIT_S,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr


def promtool():
    """The tool from the first place that has it; raises `Unavailable` with every reason."""
    if found := shutil.which("promtool"):
        return Promtool([found])
    reasons = []
    for rung in (_container, _package):
        try:
            return rung()
        except (Unavailable, OSError, subprocess.SubprocessError) as error:
            reasons.append(str(error))
    raise Unavailable(f"no promtool on the path; {'; '.join(reasons)}")


def _container():
    engine = shutil.which("docker")
    if engine is None or subprocess.run(
        [engine, "info"], capture_output=True, check=False, timeout=30
    ).returncode:  # fmt: skip
        raise Unavailable("no container engine answers")
    subprocess.run(
        [engine, "pull", "--quiet", IMAGE], capture_output=True, check=True, timeout=LIMIT_S
    )
    mount = ["--volume", "{}:/rules:ro", "--workdir", "/rules", "--entrypoint", "promtool"]
    return Promtool([engine, "run", "--rm", "--network", "none", *mount, IMAGE])


def _package():
    return Promtool([kept("promtool", ["prometheus"], _take)])


def _take(whole, target):
    shutil.copy2(whole / "usr/bin/promtool", target)
