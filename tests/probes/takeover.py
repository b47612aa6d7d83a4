"""A worker dies with a transaction open: who takes its tasks over ends that transaction."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as Asked

from processor.connectors.kafka.consumer import positions_of
from processor.errors import FencedError
from processor.model.log import Committed, TopicPartition
from tests.integration.running import ROOT
from tests.probes.bed import (
    LIMIT_S,
    SESSION_MS,
    TRANSACTION_MS,
    Bed,
    need,
    put,
    same,
    spread,
    until,
)
from tests.services.process import _die_with_parent

# The owner of a task, with rows and positions in a transaction that it never ends.
OWNER = """
import sys
from processor.connectors.kafka import KafkaLog
from processor.errors import FencedError
from processor.model.log import Committed, Output, TopicPartition

servers, group, source, topic, identity, session_ms, transaction_ms = sys.argv[1:]
log = KafkaLog(
    servers, session_timeout_ms=int(session_ms), transaction_timeout_ms=int(transaction_ms)
)
member = log.consumer(group, "dead", [source])
while len(member.membership().partitions) < 1:
    member.poll(1, 0.05)
producer = log.producer(identity)
producer.start(30)
producer.begin()
producer.produce(Output(topic, [b"dead"], partition=0))
producer.flush(30)
producer.send_offsets({TopicPartition(source, 0): Committed(9, "dead")}, member.membership(), 30)
print("open", flush=True)
sys.stdin.readline()
try:
    producer.produce(Output(topic, [b"late"], partition=0))
    producer.flush(30)
    producer.commit(30)
    print("committed", flush=True)
except FencedError:
    print("fenced", flush=True)
"""


class Owner:
    """That worker, as a process."""

    def __init__(self, bed: Bed, number: int, transaction_ms: int) -> None:
        self.source, self.topic = bed.topic(f"from{number}"), bed.topic(f"to{number}")
        self.group = bed.name(f"group{number}")
        self.identity = f"dead{number}"
        args = (bed.servers, self.group, self.source, self.topic, bed.name(self.identity))
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWNER, *args, str(SESSION_MS), str(transaction_ms)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=_die_with_parent(),  # noqa: PLW1509 - no other thread forks here
        )  # fmt: skip
        bed.stack.callback(self.end)
        self.place = TopicPartition(self.topic, 0)

    def says(self) -> str:
        """Its next line."""
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        """Kills it, wherever it stands."""
        self.process.kill()
        self.process.wait(10)
        with suppress(OSError):
            self.process.stdin.close()
        self.process.stdout.close()


def killed(bed: Bed) -> Iterator[str]:
    """The new owner takes the dead worker's identity: what lies behind is seen at once."""
    taking, seeing, position = [], [], []
    for number in range(1 if bed.short else 15):
        owner = Owner(bed, number, TRANSACTION_MS)
        reader = bed.reader(owner.topic, 1, f"behind{number}")
        same(owner.says(), "open", "the owner's transaction")
        owner.end()
        behind = bed.producer(f"behind{number}")
        behind.begin()
        put(behind, owner.place, b"behind")
        behind.commit(LIMIT_S)
        _held(bed, owner, reader)
        taker = bed.producer(owner.identity, start=False)
        with ThreadPoolExecutor(1) as beside:
            began = time.perf_counter()
            taken = beside.submit(lambda t=taker: t.start(LIMIT_S) or time.perf_counter())
            reader.sees(1)
            seeing.append(time.perf_counter() - began)
            taking.append(taken.result(LIMIT_S) - began)
        same(reader.values, [b"behind"], "what is read behind it")
        position.append(until(lambda o=owner: _position(bed, o) == {}, "the position is stable"))
        taker.close()
    yield (
        f"{len(taking)} killed: from when the taker asks, a reader behind sees on after "
        f"{spread(seeing)}, the taker is answered after {spread(taking)}, and the position is "
        f"stable {spread(position)} later"
    )


def _held(bed: Bed, owner: Owner, reader) -> None:
    for _ in range(10):
        same(reader.more().values, [], "what is read while it is open")
    try:
        _position(bed, owner, 0.3)
    except KafkaException:
        return
    need(found=False, what="the position is held while it is open")


def _position(bed: Bed, owner: Owner, limit_s: float = LIMIT_S) -> dict:
    """The group's stable position, asked once: `KafkaLog.committed` asks again by itself."""
    asked = Asked(owner.source, 0)
    client = bed.log._reader(owner.group, stable=True)
    found = positions_of(client.committed([asked], limit_s), "the position")
    return {partition: known for partition, known in found.items() if known is not None}


def left_alone(bed: Bed) -> Iterator[str]:
    """Nobody takes the identity: its time-out ends the transaction, and some time after."""
    for transaction_ms in (2_000,) if bed.short else (2_000, 6_000, 10_000):
        owner = Owner(bed, transaction_ms, transaction_ms)
        reader = bed.reader(owner.topic, 1, f"alone{transaction_ms}")
        same(owner.says(), "open", "the owner's transaction")
        owner.end()
        behind = bed.producer(f"alone{transaction_ms}")
        behind.begin()
        put(behind, owner.place, b"behind")
        behind.commit(LIMIT_S)
        took_s = reader.sees(1)
        yield f"nobody takes it: seen after {took_s:.1f} s, time-out {transaction_ms / 1000:g} s"


def zombie(bed: Bed) -> Iterator[str]:
    """The owner only stood still: its commit is refused, and the identity can be taken again."""
    owner = Owner(bed, 0, TRANSACTION_MS)
    reader = bed.reader(owner.topic)
    same(owner.says(), "open", "the owner's transaction")
    owner.process.send_signal(signal.SIGSTOP)
    began = time.perf_counter()
    taker = bed.producer(owner.identity)
    took_s = time.perf_counter() - began
    owner.process.stdin.write("go\n")
    owner.process.stdin.flush()
    owner.process.send_signal(signal.SIGCONT)
    same(owner.says(), "fenced", "what becomes of the owner's commit")
    stable, top = bed.ends(owner.place)[0]
    same(stable, top, "nothing of the owner's late writing holds readers up")
    again = bed.producer(owner.identity)
    again.begin()
    put(again, owner.place, b"again")
    again.commit(LIMIT_S)
    reader.sees(1)
    same(reader.values, [b"again"], "what is read of them all")
    try:
        taker.begin()
        put(taker, owner.place, b"taker")
        taker.commit(LIMIT_S)
    except FencedError:
        pass
    else:
        need(found=False, what="who took it is shut out when its owner comes back")
    yield (
        f"taken from one that stands still in {1000 * took_s:.0f} ms; what it writes and commits "
        "then is refused, and holds nobody up"
    )


def committed(bed: Bed) -> Iterator[str]:
    """An owner that dies when its commit is taken: who takes its identity undoes nothing."""
    for number in range(1 if bed.short else 10):
        owner = Owner(bed, number, TRANSACTION_MS)
        reader = bed.reader(owner.topic, 1, f"behind{number}")
        same(owner.says(), "open", "the owner's transaction")
        owner.process.stdin.write("go\n")
        owner.process.stdin.flush()
        same(owner.says(), "committed", "what becomes of the owner's commit")
        owner.end()
        bed.producer(owner.identity).close()
        reader.sees(2)
        same(reader.values, [b"dead", b"late"], "what is read")
        same(
            _position(bed, owner),
            {TopicPartition(owner.source, 0): Committed(9, "dead")},
            "the position",
        )
    yield "killed when its commit is answered: rows and positions are there after the taking"


def nothing_open(bed: Bed) -> Iterator[str]:
    """To take an identity that holds nothing open costs no waiting."""
    fresh, known = [], []
    for number in range(2 if bed.short else 15):
        for seconds in (fresh, known):
            began = time.perf_counter()
            bed.producer(f"closed{number}").close()
            seconds.append(time.perf_counter() - began)
    yield f"never used: {spread(fresh)}; used before, nothing open: {spread(known)}"


def every_task(bed: Bed) -> Iterator[str]:
    """Taking one task's identity ends the owner's whole transaction, of its other tasks too."""
    topic, source = bed.topic("tasks", 2), bed.topic("source", 2)
    member = bed.joined("tasks", source, 2)
    reader = bed.reader(topic, 2)
    owner = bed.producer("owner")
    places = [TopicPartition(topic, p) for p in (0, 1)]

    def batch(producer, value: bytes, end: Callable[[float], None]) -> None:
        producer.begin()
        for place in places:
            put(producer, place, value)
        offsets = {TopicPartition(source, p): Committed(1, value.decode()) for p in (0, 1)}
        producer.send_offsets(offsets, member.membership(), LIMIT_S)
        end(LIMIT_S)

    def taken(_limit_s: float) -> None:
        bed.producer("owner").close()
        owner.commit(LIMIT_S)

    try:
        batch(owner, b"first", taken)
    except FencedError:
        pass
    else:
        need(found=False, what="the whole transaction of a fenced owner is refused")
    renewed = bed.producer("owner")
    batch(renewed, b"second", renewed.commit)
    reader.sees(2)
    same(reader.values, [b"second"] * 2, "what is read of both tasks")
    told = {p.metadata for p in bed.log.committed(bed.name("tasks"), source).values()}
    same(told, {"second"}, "positions of both tasks")
    yield "an owner of two tasks loses both in that batch, and goes on with a new producer"
