"""Several local brokers that are one cluster, for what a single one cannot show."""

from __future__ import annotations

import time
from contextlib import ExitStack

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.services.handle import Unavailable, free_port
from tests.services.kafka import LocalKafka

LIMIT_S = 120.0
LOOK_S = 0.1


class LocalCluster:
    """Three brokers, each a controller too: every record on three, two of them needed."""

    rung = "three local processes, jars from Maven"

    def __init__(self) -> None:
        ports = [free_port() for _ in range(3)]
        voters = ",".join(f"{n}@127.0.0.1:{port}" for n, port in enumerate(ports, 1))
        settings = {
            "controller.quorum.voters": voters,
            "default.replication.factor": "3",
            "min.insync.replicas": "2",
            "offsets.topic.replication.factor": "3",
            "transaction.state.log.replication.factor": "3",
            "transaction.state.log.min.isr": "2",
        }
        self.brokers: list[LocalKafka] = []
        with ExitStack() as undo:
            undo.callback(self.close)
            for number, port in enumerate(ports, 1):
                # One alone is no majority, and answers nothing: `whole` waits for them all.
                own = settings | {"node.id": str(number)}
                self.brokers.append(LocalKafka(own, controller=port, answers=lambda _: None))
            self.whole()
            undo.pop_all()

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        return ",".join(broker.address for broker in self.brokers)

    def whole(self) -> None:
        """Wait until all brokers are there and have all that they should have."""
        deadline = time.monotonic() + LIMIT_S
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        while not self._is_whole(admin):
            if time.monotonic() > deadline:
                raise Unavailable(f"no whole cluster within {LIMIT_S:g} s")
            time.sleep(LOOK_S)

    def _is_whole(self, admin: AdminClient) -> bool:
        try:
            found = admin.list_topics(timeout=2)
        except KafkaException:
            return False
        partitions = [p for topic in found.topics.values() for p in topic.partitions.values()]
        return len(found.brokers) == len(self.brokers) and all(
            len(p.isrs) == len(p.replicas) for p in partitions
        )

    def close(self) -> None:
        """End the brokers and throw their data away."""
        for broker in self.brokers:
            broker.close()
