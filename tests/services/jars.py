"""Jars of Kafka and of serializers for Java, fetched once per checkout through Maven."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
from pathlib import Path

from tests.services.handle import Unavailable

POM = Path(__file__).with_name("pom.xml")
SERDES = Path(__file__).with_name("serdes.xml")
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
    """The directory of Kafka's jars; fetches them if this checkout has none yet."""
    return _kept(POM, r"kafka_2\.13</artifactId>\s*<version>([^<]+)", "kafka", "kafka_2.13-*.jar")


def serdes() -> Path:
    """The same of others' serializers for Java, with their own copy of Kafka's client."""
    wanted = r"avro-serde</artifactId>\s*<version>([^<]+)"
    return _kept(SERDES, wanted, "serdes", "apicurio-*protobuf-serde-*.jar")


def _kept(pom: Path, version: str, name: str, proof: str) -> Path:
    target = CACHE / f"{name}-{re.search(version, pom.read_text())[1]}"
    if target.exists():
        return target
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        # Several test runs may start at once; the first fetches, the others find it done.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _fetch(target, pom, proof)
    return target


def _fetch(target: Path, pom: Path, proof: str) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable(f"no `mvn` on the path to fetch {target.name} with")
    partial = target.with_suffix(".partial")
    command = [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies"]
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
        if done.returncode == 0 and any(partial.glob(proof)):
            # Renamed when whole, so that an interrupted fetch is never taken for a finished one.
            partial.rename(target)
            return
        problem = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
    raise Unavailable(f"Maven could not fetch {target.name} in {ATTEMPTS} attempts: {problem}")
