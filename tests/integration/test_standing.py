"""A worker that stands still just when it waits to be told its partitions, on a real broker.

The group takes it for dead, others read on, and the client joins anew by itself, with what it had.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from uuid import uuid4

import pytest

from processor.connectors.kafka import KafkaLog
from tests.catalogue.proxy import REQUESTS, Proxy
from tests.integration.running import ROOT, until
from tests.services.kafka import LocalKafka

pytestmark = pytest.mark.kafka
SYNC_GROUP = 14
SESSION_MS = 3_000
MEMBER = """
import json, sys
from processor.connectors.kafka import KafkaLog
from processor.errors import FencedError
from processor.model.log import Assigned

log = KafkaLog(sys.argv[1], session_timeout_ms=int(sys.argv[4]), transaction_timeout_ms=6_000)
consumer = log.consumer(sys.argv[2], "x", [sys.argv[3]])

def tell(what, partitions):
    print(json.dumps([what, sorted(p.partition for p in partitions)]), flush=True)

while True:
    try:
        for change in consumer.poll(10, 0.05).changes:
            tell(type(change).__name__, change.partitions)
            if isinstance(change, Assigned):
                consumer.open(dict.fromkeys(change.partitions, 0))
        standing = consumer.membership()
        tell(standing.generation, standing.partitions)
    except FencedError:
        tell("fenced", ())
        break
# A client that nobody closes may hang in its end, while a rebalance is under way.
consumer.close(leave=False)
log.close()
"""


@pytest.fixture
def broker(kafka):
    del kafka  # where none can be had, that is told once
    proxy = Proxy()
    with contextlib.closing(proxy), contextlib.closing(LocalKafka(proxy=proxy.port)) as broker:
        proxy.upstream = broker.behind
        yield broker, proxy


class Told:
    """What the member told, line by line, in a process that can be stopped."""

    def __init__(self, *args, path):
        self.path = path
        with path.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", MEMBER, *args], stdout=out, cwd=ROOT
            )

    def lines(self):
        return [json.loads(line) for line in self.path.read_text().splitlines()]


def test_who_was_taken_for_dead_while_it_waited_for_its_partitions_keeps_none(broker, tmp_path):
    broker, proxy = broker
    group, topic = f"g-{uuid4().hex[:6]}", f"t-{uuid4().hex[:6]}"
    log = KafkaLog(
        broker.bootstrap_servers, session_timeout_ms=SESSION_MS, transaction_timeout_ms=6_000
    )
    log.create({topic: 12})
    first = log.consumer(group, "y", [topic])
    others = [first]
    member = None
    try:
        owned = {first: set()}

        def turn():
            for one in others:
                one.poll(10, 0.05)
                owned[one] = {p.partition for p in one.membership().partitions}

        def polled(done):
            return lambda: turn() or done()

        until(polled(lambda: len(owned[first]) == 12), "the first has all")
        args = (proxy.address, group, topic, str(SESSION_MS))
        member = Told(*args, path=tmp_path / "told")
        until(
            polled(lambda: any(owns == [*range(6)] for _, owns in member.lines())),
            "it has half of them",
        )
        held = proxy.hold(SYNC_GROUP, REQUESTS)
        others.append(log.consumer(group, "z", [topic]))
        until(polled(held.is_caught), "it asks for its partitions again")
        member.process.send_signal(signal.SIGSTOP)
        held.release()
        until(polled(lambda: len(owned[first] | owned[others[1]]) == 12), "the others have all")
        before = len(member.lines())
        member.process.send_signal(signal.SIGCONT)
        until(polled(lambda: member.process.poll() is not None), "it knows that it was out")
        after = member.lines()[before:]
        assert after[-1] == ["fenced", []]
        # In a generation of before the brokers take nothing of it.
        former = max(what for what, _ in member.lines()[:before] if isinstance(what, int))
        assert not [line for line in after if isinstance(line[0], int) and line[0] > former + 1]
    finally:
        for one in others:
            one.close(leave=False)
        log.close()
        if member is not None:
            member.process.kill()
            member.process.wait(10)
