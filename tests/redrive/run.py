"""Fills a topic of dead letters, sends them again with kills, and looks at every single record."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from processor.connectors.kafka.log import KafkaLog
from processor.connectors.memory.records import StoredMessage
from processor.connectors.ports import Log
from processor.model.letters import REDRIVEN
from processor.model.log import Output, TopicPartition
from processor.operators.aside import origin
from tests.services.process import _die_with_parent

ROOT = Path(__file__).parents[2]
LETTERS, INPUTS = 4, 3
WRITTEN_MS = 1_700_000_000_000
CHUNK = 5_000
LIMIT_S = 600.0

Kill = str | float
"""A step to be killed at, or what share of the letters has to be in the input before it."""


@dataclass
class Done:
    """What came of it: how often it was killed, and what is wrong."""

    records: int
    kills: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    resident_mb: int = 0


class Bench:
    """Topics of their own on a broker."""

    def __init__(self, servers: str) -> None:
        mark = uuid4().hex[:8]
        self.servers = servers
        self.app, self.input, self.dead = f"app-{mark}", f"input-{mark}", f"dead-{mark}"
        self.log: Log = KafkaLog(servers)
        self.log.create({self.input: INPUTS, self.dead: LETTERS}, forever=True)

    def fill(self, records: int) -> None:
        """So many letters, each of a record of its own; and as many again in aborted ones."""
        producer = self.log.producer(f"filler-{self.app}")
        producer.start(30)
        for number, start in enumerate(range(0, records, CHUNK)):
            for end in (producer.abort, producer.commit) if number % 4 == 0 else (producer.commit,):
                producer.begin()
                for letter in range(LETTERS):
                    numbers = range(start + letter, min(start + CHUNK, records), LETTERS)
                    producer.produce(self._letters(numbers, letter))
                producer.flush(60)
                end(60)
        producer.close()

    def _letters(self, numbers: Sequence[int], letter: int) -> Output:
        told = [
            origin(
                StoredMessage(
                    self.input, n % INPUTS, n, None, None, WRITTEN_MS + n, [("n", b"%d" % n)]
                ),
                f"{self.app}/decode",
                {"error": f"column 'n': 'n/a {n}' is no Int64"},
            )
            for n in numbers
        ]
        values, keys = [b"value %d" % n for n in numbers], [b"key %d" % n for n in numbers]
        return Output(self.dead, values, keys, told, letter)

    def command(self, **env: str) -> subprocess.Popen[str]:
        """``processor dlq redrive`` of the topology, as a user runs it."""
        return subprocess.Popen(
            [sys.executable, "-m", "processor", "dlq", "redrive",
             "tests.redrive.topologies:prices", "--bootstrap-servers", self.servers, "--json",
             "--set", f"app={self.app}", "--set", f"input={self.input}",
             "--set", f"dead={self.dead}"],
            cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=os.environ | env, preexec_fn=_die_with_parent(),  # noqa: PLW1509 - no other thread
        )  # fmt: skip

    def arrived(self) -> int:
        """Offsets of the input, of open transactions too."""
        asked = [TopicPartition(self.input, number) for number in range(INPUTS)]
        return sum(self.log.look([self.input], asked, 5.0).tops.values())

    def faults(self, records: int) -> Iterator[str]:
        """What is not as it should be with the input: each record once, as it was."""
        seen = bytearray(records)
        found = Counter[str]()
        for number, extent in self.log.describe([self.input])[self.input].extents.items():
            where = TopicPartition(self.input, number)
            for messages in self.log.scan(where, extent.low, extent.high):
                for message in messages:
                    n = int((message.value() or b"").removeprefix(b"value "))
                    seen[n] = min(255, seen[n] + 1)
                    right = (
                        n % INPUTS == number
                        and message.key() == b"key %d" % n
                        and message.timestamp()[1] == WRITTEN_MS + n
                        and message.headers() == [("n", b"%d" % n), (REDRIVEN, b"1")]
                    )
                    found["not as it was"] += not right
        found["missing"] = seen.count(0)
        found["more than once"] = records - seen.count(0) - seen.count(1)
        yield from (f"{count} {what}" for what, count in found.items() if count)


@contextmanager
def benched(servers: str) -> Iterator[Bench]:
    bench = Bench(servers)
    try:
        yield bench
    finally:
        bench.log.close()


def redriven(
    servers: str, records: int, kills: Sequence[Kill], say: Callable[[str], None] = lambda _: None
) -> Done:
    """Fill, send with these kills, send to the end, once more, and look."""
    done = Done(records)
    with benched(servers) as bench:
        bench.fill(records)
        say(f"{records} dead letters are there")
        for kill in kills:
            done.kills.append(_killed(bench, records, kill))
            say(f"killed {done.kills[-1]}")
        sent = 0
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        before_s = used.ru_utime + used.ru_stime
        for expected_rest in (True, False):
            started_s = time.monotonic()
            process = bench.command()
            done.resident_mb = max(done.resident_mb, _watched(process))
            out, err = process.communicate(timeout=60)
            if process.returncode:
                done.wrong.append(f"exit code {process.returncode}: {err}")
                return done
            told = json.loads(out)
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu_s, before_s = (
                used.ru_utime + used.ru_stime - before_s,
                used.ru_utime + used.ru_stime,
            )
            took_s = time.monotonic() - started_s
            say(f"{told['sent']} sent in {took_s:.1f} s, {cpu_s:.1f} s of CPU")
            if expected_rest:
                sent = told["sent"]
            elif told["sent"]:
                done.wrong.append(f"sent {told['sent']} more after the end")
        if not kills and sent != records:
            done.wrong.append(f"told of {sent} sent")
        done.wrong += bench.faults(records)
    return done


def _killed(bench: Bench, records: int, kill: Kill) -> str:
    """One run that is killed; answers where."""
    if isinstance(kill, str):
        process = bench.command(PROCESSOR_CRASH_AT=kill)
        _, err = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 70, f"{kill}: exit code {process.returncode}: {err}"
        return f"at {kill}"
    process = bench.command()
    deadline_s = time.monotonic() + LIMIT_S
    while (arrived := bench.arrived()) < kill * records:
        assert process.poll() is None, f"ended before {kill:.0%}: {process.communicate()}"
        assert time.monotonic() < deadline_s, f"{arrived} arrived"
    process.kill()
    process.communicate()
    return f"with {arrived} offsets in the input"


def _watched(process: subprocess.Popen[str]) -> int:
    """Waits for a process; answers the most memory that it had, in MB."""
    most = 0
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        try:
            lines = status.read_text().splitlines()
        except OSError:
            continue
        kb = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
        most = max([most, *kb])
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    return most // 1024
