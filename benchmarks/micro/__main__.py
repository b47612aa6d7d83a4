"""``python -m benchmarks.micro``: each step of a batch, in microseconds of CPU a record.

Batches of ``--records`` go through one step after the other, without a broker, and each figure is
printed when it is known: every format first, there and back, of flat rows and of nested ones. A
step is repeated for ``--seconds`` or ``--batches`` times, whatever is less; the figure is the
median. A step's time is that of the whole process, the column engine's threads with it; *this
thread* is the part of it that the loop waits with. All of it takes about two minutes.

With ``--memory``, which takes several times as long, *blocks* are Python's own allocations a record
that are alive at once, and *peak* is the memory that Python and NumPy take on the way, in bytes a
record (what Polars takes is not in it).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # as in a worker

from benchmarks.micro.steps import Step, groups

ASKED: Final = ("fuzzed",)
"""Groups that are measured only where they are named: they are slow, and told elsewhere."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one step, for a record."""

    step: str
    cpu_us: float
    thread_us: float
    blocks: float | None = None
    peak_bytes: float | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """How a step is measured."""

    records: int
    batches: int
    seconds: float
    memory: bool

    def cost(self, name: str, step: Step) -> Cost:
        """What a step costs."""
        began = time.monotonic()
        step(0)  # what is made once
        times: list[tuple[float, float]] = []
        for batch in range(self.batches):
            process, thread = time.process_time(), time.thread_time()
            step(batch)
            times.append((time.process_time() - process, time.thread_time() - thread))
            if time.monotonic() - began > self.seconds:
                break
        cpu, own = (1e6 * median(t[k] for t in times) / self.records for k in (0, 1))
        if not self.memory:
            return Cost(name, cpu, own)
        gc.collect()
        before = sys.getallocatedblocks()
        kept = step(0)
        blocks = sys.getallocatedblocks() - before
        del kept
        tracemalloc.start()
        step(0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return Cost(name, cpu, own, blocks / self.records, peak / self.records)


def costs(measure: Measure, wanted: list[str]) -> Iterator[Cost]:
    """The cost of each step of the groups that have one of these words in their names."""
    for name, steps in groups(measure.records, measure.batches).items():
        named = any(word.lower() in name.lower() for word in wanted)
        if not named and (wanted or name in ASKED):
            continue
        for step, call in steps():
            yield measure.cost(step, call)


def main(arguments: list[str] | None = None) -> None:
    """Print the table, a line when it is known."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.micro",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--records", type=int, default=20_000, help="in a batch")
    parser.add_argument("--batches", type=int, default=15, help="at most, of each step")
    parser.add_argument("--seconds", type=float, default=0.5, help="about, of each step")
    parser.add_argument("--formats", metavar="WORDS", default="", help="groups with one of these "
                        "words, as in json,avro,state; --list says which there are")  # fmt: skip
    parser.add_argument("--memory", action="store_true", help="blocks and peak too")
    parser.add_argument("--list", action="store_true", help="say which groups there are, and end")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    known = groups(options.records, options.batches)
    wanted = [word.strip() for word in options.formats.split(",") if word.strip()]
    for word in wanted:
        if not any(word.lower() in name.lower() for name in known):
            parser.error(f"--formats: no group has {word!r} in its name: {', '.join(known)}")
    if options.list:
        print("\n".join(known))
        return
    more = options.memory
    print("| step | CPU us | of it this thread |" + " blocks | peak bytes |" * more)
    print("|---|---:|---:|" + "---:|---:|" * more, flush=True)
    found = []
    measure = Measure(options.records, options.batches, options.seconds, more)
    for cost in costs(measure, wanted):
        found.append(cost)
        print(_line(cost), flush=True)
    if options.json:
        told = json.dumps([asdict(cost) for cost in found], indent=1)
        options.json.write_text(told + "\n", encoding="utf-8")


def _line(cost: Cost) -> str:
    line = f"| {cost.step} | {cost.cpu_us:.2f} | {cost.thread_us:.2f} |"
    if cost.blocks is None or cost.peak_bytes is None:
        return line
    return f"{line} {cost.blocks:.1f} | {cost.peak_bytes:,.0f} |"


if __name__ == "__main__":
    main()
