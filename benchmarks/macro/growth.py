"""``python -m benchmarks.macro.growth``: what a batch costs, by the size of the state.

Spend by user and ten minutes, one task, no broker. The state is filled with so many users; then
batches of ``--records`` payments of random users go through the pipeline, and their changes
are encoded as the delta that a commit would stage. Times are medians of ``--batches``, in
milliseconds; the sizes take turns, batch by batch, so that what disturbs the machine disturbs all.
"""

from __future__ import annotations

import argparse
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from benchmarks.macro.spend import payment
from processor.connectors.memory.store import MemoryStore
from processor.connectors.ports import Owner
from processor.engine.commit.checkpoint import Checkpointer
from processor.engine.commit.task import Task
from processor.model.batch import Slice
from processor.model.log import TopicPartition
from processor.operators.pipeline import Pipeline
from processor.state.chain import Link
from topologies.spend.totals import spend

FILL: Final = 50_000


@dataclass
class Growing:
    """A task, and how long its batches took."""

    task: Task
    pipeline: Pipeline
    checkpointer: Checkpointer
    process_s: list[float] = field(default_factory=list)
    encode_s: list[float] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)

    def batch(self, users: range | list[int]) -> None:
        """A payment of each of the users."""
        values = [payment(user) for user in users]
        messages: Any = [None] * len(values)  # only a record that is set aside is looked at
        part = Slice(self.task.partition, messages, values, 0, len(values), None)
        started = time.thread_time()
        result = self.pipeline.run([part], [self.task.state])
        processed = time.thread_time()
        prepared = self.checkpointer.prepare(self.task, part, result.event_times_max[0], None)
        self.encode_s.append(time.thread_time() - processed)
        self.process_s.append(processed - started)
        self.bytes.append(prepared.bytes)
        for name, slab in self.task.state.items():
            slab.commit(prepared.saved[name])


def _filled(keys: int, executor: ThreadPoolExecutor) -> Growing:
    pipeline = Pipeline(spend.build().plan())
    checkpointer = Checkpointer(MemoryStore(), executor, "", 1, "growth")
    partition = TopicPartition("payments", 0)
    task = Task(
        "growth/payments/0", partition, Owner("", "", 0), pipeline.new_state(),
        checkpointer.pin(0), 0, None, Link(),
    )  # fmt: skip
    growing = Growing(task, pipeline, checkpointer)
    for start in range(0, keys, FILL):
        growing.batch(range(start, min(start + FILL, keys)))
    assert task.rows() == keys
    for measured in (growing.process_s, growing.encode_s, growing.bytes):
        measured.clear()
    return growing


def main() -> None:
    """Print the table, and the ratio of the largest state's time to the smallest's."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.macro.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--keys", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--batches", type=int, default=30)
    options = parser.parse_args()
    dice = random.Random(1)
    with ThreadPoolExecutor(1) as executor:
        tasks = {keys: _filled(keys, executor) for keys in options.keys}
        for _ in range(options.batches):
            for keys, growing in tasks.items():
                growing.batch([dice.randrange(keys) for _ in range(options.records)])
    print("| keys | rows changed | process ms | encode ms | together | delta, KB |")
    print("|---:|---:|---:|---:|---:|---:|")
    whole = {}
    for keys, growing in tasks.items():
        process, encode = (1e3 * median(s) for s in (growing.process_s, growing.encode_s))
        whole[keys] = process + encode
        changed = round(keys * (1 - (1 - 1 / keys) ** options.records))
        print(f"| {keys:,} | {changed:,} | {process:.1f} | {encode:.1f} | {whole[keys]:.1f} "
              f"| {median(growing.bytes) / 1e3:.0f} |")  # fmt: skip
    print(f"\nlargest to smallest: {whole[max(whole)] / whole[min(whole)]:.2f} x")


if __name__ == "__main__":
    main()
