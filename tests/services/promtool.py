"""Prometheus' own tool for rules: from the path, a container, or Debian's package unpacked here."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.services.handle import Unavailable
from tests.services.jars import CACHE

IMAGE = "prom/prometheus:v3"
LIMIT_S = 180


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
    target = CACHE / "promtool"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        # Several test runs may start at once; the first fetches, the others find it done.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _fetch(target)
    return Promtool([target])


def _fetch(target):
    for name in ("apt-get", "dpkg-deb"):
        if shutil.which(name) is None:
            raise Unavailable(f"no `{name}` on the path to fetch a package with")
    with tempfile.TemporaryDirectory(prefix="promtool-") as directory:
        for command in (
            ["apt-get", "download", "prometheus"],
            ["apt-get", "update", "--quiet"],
            ["apt-get", "download", "prometheus"],
        ):
            # Without the lists, which a fresh image lacks, the package is not known.
            subprocess.run(
                command, cwd=directory, capture_output=True, check=False, timeout=LIMIT_S
            )
            if packages := [*Path(directory).glob("prometheus_*.deb")]:
                break
        else:
            raise Unavailable("the package prometheus cannot be had")
        unpack = ["dpkg-deb", "--extract", packages[0], f"{directory}/all"]
        subprocess.run(unpack, check=True, capture_output=True, timeout=LIMIT_S)
        # Renamed when whole: an interrupted fetch is never taken for a finished one.
        partial = target.with_suffix(".partial")
        shutil.copy2(f"{directory}/all/usr/bin/promtool", partial)
        partial.rename(target)
