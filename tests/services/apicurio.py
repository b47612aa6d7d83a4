"""``python -m tests.services.apicurio`` starts Apicurio, a schema registry of others, in memory.

It is fetched through Maven once per checkout (150 MB), needs Java 17, and ends on Ctrl-C. The tests
ask the one that ``PROCESSOR_TEST_SCHEMA_REGISTRY_URL`` names.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path

from tests.services.handle import Unavailable, free_port
from tests.services.jars import CACHE, java
from tests.services.process import Process

VERSION = "2.6.13.Final"
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
PATH = "/apis/ccompat/v7"
LIMIT_S = 600


def answers(url: str) -> None:
    """Raise unless the registry tells its subjects."""
    with urllib.request.urlopen(f"{url}/subjects", timeout=2) as answer:  # noqa: S310 - our own
        answer.read()


def unpacked() -> Path:
    """The directory of its jars; fetches them if this checkout has none yet."""
    target = CACHE / f"apicurio-{VERSION}"
    if target.exists():
        return target
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable("no `mvn` on the path to fetch Apicurio with")
    with tempfile.TemporaryDirectory(dir=_made(CACHE)) as directory:
        artifact = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
        command = [maven, "-q", "-B", PLUGIN, f"-Dartifact={artifact}"]
        done = subprocess.run(
            [*command, f"-DoutputDirectory={directory}"], capture_output=True, check=False,
            text=True, timeout=LIMIT_S,
        )  # fmt: skip
        archive = next(Path(directory).glob("*.tar.gz"), None)
        if done.returncode or archive is None:
            raise Unavailable(f"Maven could not fetch Apicurio: {done.stdout[-500:]}")
        whole = Path(directory) / "whole"
        with tarfile.open(archive) as packed:
            packed.extractall(whole, filter="data")
        whole.rename(target)
    return target


def _made(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    return directory


class LocalApicurio(Process):
    """Apicurio with its schemas in memory: a restart forgets them."""

    rung = "local process, jars from Maven"

    def __init__(self) -> None:
        port, jars = free_port(), unpacked()
        self._keep = tempfile.TemporaryDirectory(prefix="apicurio-", ignore_cleanup_errors=True)
        self.url = f"http://127.0.0.1:{port}{PATH}"
        command = [java(), "-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        command += [f"-Dquarkus.http.port={port}", "-Dquarkus.http.host=127.0.0.1"]
        command += ["-cp", f"{jars}/*:{jars}/lib/*", "io.quarkus.runner.GeneratedMain"]
        super().__init__(self.url, command, Path(self._keep.name), answers, limit_s=120)


def main() -> int:
    """Start it, print where it is, and wait for SIGINT or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server = LocalApicurio()
    except Unavailable as error:
        sys.stderr.write(f"{error}\n")
        return 2
    with contextlib.closing(server), contextlib.suppress(KeyboardInterrupt):
        sys.stdout.write(f"export PROCESSOR_TEST_SCHEMA_REGISTRY_URL={server.url}\n")
        sys.stdout.flush()
        signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main())
