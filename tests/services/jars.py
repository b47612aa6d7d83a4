"""Kafka's jars, fetched once per checkout through Maven."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
from pathlib import Path

from tests.services.handle import Unavailable

POM = Path(__file__).with_name("pom.xml")
CACHE = Path(__file__).parents[2] / ".services"
ATTEMPTS = 3
LIMIT_S = 240
JAVA_MIN = 17


def java() -> str:
    """The Java command, new enough for a broker."""
    command = shutil.which("java")
    if command is None:
        raise Unavailable("no `java` on the path")
    shown = subprocess.run(
        [command, "-version"], capture_output=True, check=False, text=True, timeout=30
    )
    found = re.search(r'version "(\d+)', shown.stderr + shown.stdout)
    if found is None or int(found[1]) < JAVA_MIN:
        raise Unavailable(f"`java` is older than {JAVA_MIN}")
    return command


def jars() -> Path:
    """The directory of jars; fetches them if this checkout has none yet."""
    version = re.search(r"kafka_2\.13</artifactId>\s*<version>([^<]+)", POM.read_text())[1]
    target = CACHE / f"kafka-{version}"
    if target.exists():
        return target
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        # Several test runs may start at once; the first fetches, the others find it done.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _fetch(target)
    return target


def _fetch(target: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable("no `mvn` on the path to fetch Kafka with")
    partial = target.with_suffix(".partial")
    command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
    command += [f"-DoutputDirectory={partial}", "-DincludeScope=runtime"]
    problem = ""
    for _ in range(ATTEMPTS):
        shutil.rmtree(partial, ignore_errors=True)
        try:
            done = subprocess.run(
                command, capture_output=True, check=False, text=True, timeout=LIMIT_S
            )
        except subprocess.TimeoutExpired:
            problem = f"not done within {LIMIT_S} s"
            continue
        if done.returncode == 0 and any(partial.glob("kafka_2.13-*.jar")):
            # Renamed when whole, so that an interrupted fetch is never taken for a finished one.
            partial.rename(target)
            return
        problem = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
    raise Unavailable(f"Maven could not fetch Kafka in {ATTEMPTS} attempts: {problem}")
