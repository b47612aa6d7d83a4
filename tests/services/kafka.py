"""A Kafka broker from local jars, and what every Kafka of the tests is set to."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka.admin import AdminClient

from tests.services.handle import Unavailable, free_port
from tests.services.jars import jars, java
from tests.services.process import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

CLUSTER_ID = "4L6g3nShT-eMCtK--X86sw"

# Fast start, fast rebalances, and hanging transactions ended within a second.
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": (
        "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT"
    ),
    "inter.broker.listener.name": "PLAINTEXT",
    "num.partitions": "4",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # A killed broker may register again once its old session has ended.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "log.segment.delete.delay.ms": "1000",
}
JVM = ["-Xmx512m", "-Xms256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
STARTS = 2


def answers(bootstrap_servers: str) -> None:
    """Raise unless a broker tells its cluster."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    if not admin.list_topics(timeout=2).brokers:
        raise ConnectionError("no broker in the cluster yet")


class LocalKafka(Process):
    """One broker, its own controller, with its data in a temporary directory.

    Args:
        extra: settings that go before the tests' own.
        proxy: a port where a proxy listens. Who connects there is told to stay there; the proxy
            leads to `behind`.
        controller: the port of its controller, where others have to know it before.
        answers: what it has to do to have started.
        jvm: the virtual machine's options; those of the tests start fast and grow slowly.
    """

    rung = "local process, jars from Maven"

    def __init__(
        self,
        extra: Mapping[str, str] | None = None,
        proxy: int | None = None,
        controller: int | None = None,
        answers: Callable[[str], None] = answers,
        jvm: Sequence[str] = JVM,
    ) -> None:
        self._extra, self._proxy, self.behind = dict(extra or {}), proxy, 0
        self._controller, self._started = controller, answers
        run = [java(), *jvm, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{jars()}/*"]
        for attempt in range(STARTS):
            try:
                self._new(run)
                break
            except (Unavailable, subprocess.TimeoutExpired):
                # Somebody may have taken a port between the asking and the start.
                if attempt + 1 == STARTS:
                    raise

    def _new(self, run: list[str]) -> None:
        port, controller = free_port(), self._controller or free_port()
        self._keep = tempfile.TemporaryDirectory(prefix="kafka-", ignore_cleanup_errors=True)
        directory = Path(self._keep.name)
        settings = SETTINGS | {
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "log.dirs": str(directory / "data"),
            **self._extra,
        }
        if self._proxy is not None:
            self.behind = free_port()
            settings["listeners"] += f",INTERNAL://127.0.0.1:{self.behind}"
            settings["advertised.listeners"] += f",INTERNAL://127.0.0.1:{self._proxy}"
        self._settings, self._properties = settings, directory / "server.properties"
        properties = self._properties
        self._write()
        try:
            self._format(run, properties)
            super().__init__(
                f"127.0.0.1:{port}", [*run, "kafka.Kafka", str(properties)], directory,
                self._started,
            )  # fmt: skip
        except BaseException:
            self._keep.cleanup()
            raise

    def _write(self) -> None:
        lines = [f"{name}={value}\n" for name, value in self._settings.items()]
        self._properties.write_text("".join(lines))

    def configure(self, settings: Mapping[str, str]) -> None:
        """Restart with other settings."""
        self._settings |= settings
        self._write()
        self.restart()

    @staticmethod
    def _format(run: list[str], properties: Path) -> None:
        command = [*run, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID]
        done = subprocess.run(
            [*command, "-c", str(properties)],
            capture_output=True,
            check=False,
            text=True,
            timeout=120,
        )
        if done.returncode:
            raise Unavailable(f"Kafka's storage could not be formatted: {done.stderr[-800:]}")

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        return self.address

    def close(self) -> None:
        """End the broker and throw its data away."""
        super().close()
        self._keep.cleanup()
