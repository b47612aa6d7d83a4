"""``python -m benchmarks.peers.setup [NAME ...]``: what the peers need, under ``.peers``.

A virtual environment for each peer in Python, jars and classes for those on a virtual machine
(Java 17 or later and Maven). A peer that is not set up is left out of the benchmark.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import Final

from benchmarks.contenders import MADE, PEERS

NAMES: Final = ("kstreams", "flink", "spark", "pathway", "quix")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.setup", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    names = parser.parse_args().names or NAMES
    if unknown := set(names) - set(NAMES):
        parser.error(f"{', '.join(sorted(unknown))}: the names are {', '.join(NAMES)}")
    failed = []
    for name in names:
        try:
            _set_up(name)
            print(f"{name}: ready", flush=True)
        except (OSError, subprocess.CalledProcessError) as error:
            failed.append(name)
            print(f"{name}: not set up: {error}", flush=True)
    sys.exit(bool(failed))


def _set_up(name: str) -> None:
    source, made = PEERS / name, MADE / name
    made.mkdir(parents=True, exist_ok=True)
    if (source / "pom.xml").exists():
        where = made / ("lib" if name == "kstreams" else "jars")
        goals = ["dependency:copy-dependencies", f"-DoutputDirectory={where}"]
        if name == "kstreams":
            goals += ["compile", f"-Dmade={made}"]
        subprocess.run(["mvn", "-q", "-B", "-f", str(source / "pom.xml"), *goals], check=True)
    if (source / "requirements.txt").exists():
        subprocess.run([sys.executable, "-m", "venv", str(made / "venv")], check=True)
        pip = [str(made / "venv" / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--requirement", str(source / "requirements.txt")], check=True)


if __name__ == "__main__":
    main()
