"""Programs in Java, compiled when they are run, and what they say."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

from tests.services.handle import Unavailable
from tests.services.jars import jars, java

LIMIT_S = 120
# They live for seconds: what is quick to start is quick.
JVM = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
       "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]  # fmt: skip


class Java:
    """Runs a source file beside this one, on the jars of a directory."""

    def __init__(self, servers, directory, source="Clients.java"):
        self._servers = servers
        self._command = [java(), *JVM, "-cp", f"{directory}/*", Path(__file__).with_name(source)]

    def run(self, what, topic, *args, text=""):
        """The lines that it prints; raises with what it says where it fails."""
        done = subprocess.run(
            [*self._command, what, self._servers, topic, *args],
            input=text.encode(), capture_output=True, check=False, timeout=LIMIT_S,
        )  # fmt: skip
        if done.returncode:
            raise OSError(f"Java ended with {done.returncode}: {done.stderr.decode()[-3000:]}")
        return done.stdout.decode().splitlines()

    def produce(self, topic, records, *args):
        """Writes records; the partition of each."""
        text = "".join(f"{json.dumps(record)}\n" for record in records)
        return [*map(int, self.run("produce", topic, *args, text=text))]

    def consume(self, topic, *args):
        """All that is committed, unless ``args`` say otherwise, with bytes as bytes."""
        given = args or ("isolation.level=read_committed",)
        found = [json.loads(line) for line in self.run("consume", topic, *given)]
        for each in found:
            each |= {name: _bytes(each[name]) for name in ("key", "value")}
            each["headers"] = [(name, _bytes(value)) for name, value in each["headers"]]
        return found


def _bytes(text):
    return None if text is None else base64.b64decode(text)


def kafka_client(servers):
    """Kafka's own client; raises `Unavailable` where this machine has no compiler for it."""
    command = [java(), "--list-modules"]
    shown = subprocess.run(command, capture_output=True, check=False, text=True, timeout=LIMIT_S)
    if "jdk.compiler" not in shown.stdout:
        raise Unavailable("`java` has no compiler: a JDK has")
    return Java(servers, jars())
