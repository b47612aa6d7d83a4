"""Puts faults into the product one at a time and sees whether a test finds each: the nightly form.

All of it: ``python -m tests.mutation``. Parts: ``--modules processor/state/slab.py``, ``--changed
main``, ``--sample 20 --seed 1`` (so many of each module). It fails when a fault survives of which
`survivors.toml` gives no reason.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.services import Unavailable, both

try:
    from tests.mutation.mutants import ROOMS, ROOT, Mutant, modules, mutants
except ModuleNotFoundError as error:
    sys.exit(f"{error.name} is missing: pip install --require-hashes -r requirements-test.lock")
from tests.mutation import survivors
from tests.mutation.run import Reach, Tried, Worker, attempts


def main() -> int:
    options = arguments().parse_args()
    started = time.monotonic()
    wanted = chosen(options)
    every = [mutant for module in wanted for mutant in mutants(module)]
    drawn = sample(every, options.sample, options.seed)
    print(f"{len(drawn)} of {len(every)} mutants in {len(wanted)} modules", flush=True)
    with ExitStack() as stack:
        if options.services:
            serve(stack)
        paths = options.tests or None
        workers = [
            Worker(options.seeds, services=options.services, paths=paths)
            for _ in range(options.jobs)
        ]
        for worker in workers:
            stack.callback(worker.close)
        reach = reached(workers[0], options.reach)
        done = []
        for tried in attempts(drawn, workers, reach, options.budget):
            done.append(tried)
            if options.results:
                note(options.results, tried)
            if not tried.found():
                m = tried.mutant
                print(f"{tried.outcome} {m.module}:{m.at} {m.operator}: {m.to}", flush=True)
    print(table(done))
    print(f"{time.monotonic() - started:.0f} s, {options.jobs} at a time")
    return judge(every, done)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--modules", nargs="+", metavar="PATH", help="these only, or all below")
    parser.add_argument("--changed", metavar="REV", help="modules changed since a revision only")
    parser.add_argument("--sample", type=int, metavar="N", help="so many of each module, drawn")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the drawing")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="mutants at a time")
    parser.add_argument("--budget", type=float, default=60.0, metavar="S", help="tests per mutant")
    parser.add_argument("--seeds", type=int, default=40, help="of the simulator, per scenario")
    parser.add_argument("--tests", nargs="+", metavar="PATH", help="these only, instead of all")
    parser.add_argument("--services", action="store_true", help="also tests on Kafka and Redis")
    parser.add_argument("--reach", type=Path, metavar="FILE", help="keep which test reaches what")
    parser.add_argument("--results", type=Path, metavar="FILE", help="add a line for each mutant")
    return parser


def chosen(options: argparse.Namespace) -> list[str]:
    found = modules()
    if options.modules:
        prefixes = tuple(path.removeprefix("./") for path in options.modules)
        found = [module for module in found if module.startswith(prefixes)]
    if options.changed:
        rooms = [f"processor/{room}" for room in ROOMS]
        shown = subprocess.run(
            ["git", "diff", "--name-only", options.changed, "--", *rooms],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip
        found = [module for module in found if module in shown]
    return found


def sample(every: Sequence[Mutant], count: int | None, seed: int) -> list[Mutant]:
    if count is None:
        return [*every]
    dice, drawn = random.Random(seed), []
    for module in sorted({mutant.module for mutant in every}):
        ours = [mutant for mutant in every if mutant.module == module]
        drawn += dice.sample(ours, min(count, len(ours)))
    return drawn


def serve(stack: ExitStack) -> None:
    """One broker and one Redis for all workers, told to the tests as a user would tell them."""
    try:
        kafka, redis = both(stack)
    except Unavailable as error:
        raise SystemExit(f"no services: {error}") from None
    os.environ["PROCESSOR_TEST_BOOTSTRAP_SERVERS"] = kafka.bootstrap_servers
    os.environ["PROCESSOR_TEST_REDIS_URL"] = redis.url


def reached(worker: Worker, path: Path | None) -> Reach:
    if path and path.exists():
        found: Reach = json.loads(path.read_text())
        return found
    found = worker.ask({"reach": True})["tests"]
    if path:
        path.write_text(json.dumps(found))
    return found


def note(path: Path, tried: Tried) -> None:
    with path.open("a") as file:
        line = {"key": tried.mutant.key(), "at": tried.mutant.at, "outcome": tried.outcome}
        file.write(json.dumps({**line, "by": tried.by}) + "\n")


def table(done: Sequence[Tried]) -> str:
    """What became of the mutants, by module; of the killed, how many by tests of the same room."""
    lines = [f"{'module':<45}{'mutants':>8}{'quick':>7}{'wide':>6}{'hung':>6}{'survived':>10}"]
    total: Counter[str] = Counter()
    for module in sorted({tried.mutant.module for tried in done}):
        room = f"tests/unit/{module.split('/')[1]}"
        count: Counter[str] = Counter()
        for tried in (tried for tried in done if tried.mutant.module == module):
            quick = "quick" if room in tried.by else "wide"
            count[{"killed": quick, "hung": "hung"}.get(tried.outcome, "survived")] += 1
        total += count
        lines.append(row(module, count))
    return "\n".join([*lines, row("all", total)])


def row(name: str, count: Counter[str]) -> str:
    return (
        f"{name:<45}{count.total():>8}{count['quick']:>7}{count['wide']:>6}{count['hung']:>6}"
        f"{count['survived']:>10}"
    )


def judge(every: Sequence[Mutant], done: Sequence[Tried]) -> int:
    """Tell what the list does not, and what it tells in vain; the exit code."""
    listed = survivors.entries()
    survived = [tried.mutant for tried in done if not tried.found()]
    killed = [tried.mutant for tried in done if tried.found()]
    for entry in survivors.stale(every, listed):
        print(f"\nno longer applies: {entry.module} {entry.function}: {entry.line}")
    for entry in survivors.found_by_now(killed, survived, listed):
        print(f"\nfound by now: {entry.module} {entry.function}: {entry.line} → {entry.to}")
    untold = survivors.untold(survived, listed)
    if untold:
        print(f"\n{len(untold)} survived without a reason; mend the tests, or say why:\n")
        print("\n\n".join(survivors.as_entry(mutant) for mutant in untold))
    return int(bool(untold) or not done)


if __name__ == "__main__":
    sys.exit(main())
