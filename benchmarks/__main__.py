"""The five stages: the processor and its peers, in one sitting on one broker.

    python -m benchmarks.peers.setup                  # once: what the peers need
    python -m benchmarks --workers 2 --json figures.json
    python -m benchmarks --stages 1 --workers 1 --contenders processor plain
    python -m benchmarks --jobs backlog partitions    # longer, and over more partitions

Every run's answer is checked; a wrong one is told and does not count. Contenders take turns, and
the table holds medians. Broker and Redis are those given, else started as the tests start theirs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.contenders import CONTENDERS, TOPOLOGIES, Job
from benchmarks.measure import measure
from benchmarks.report import OURS, Run, chart, table
from benchmarks.servers import Servers, machine, servers
from benchmarks.work import work

# So many times fewer records, for those who would take minutes.
FEWER: Final = {"quix": 5, "spark": 2, "flink": 2, "pathway": 2, "kstreams-eos": 2}
BACKLOG: Final = 10
# A broker that has just started takes twice the processor time, whoever comes first.
WARM_RUNS: Final = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """A job that contenders take turns at."""

    name: str
    stage: int
    records: int
    partitions: int
    contenders: tuple[str, ...]


def main() -> None:
    options = _options()
    runs: list[Run] = []
    given = servers(options.bootstrap_servers, options.redis_url)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory, given as found:
        about = machine(found.broker)
        print("\n".join(f"{k}: {v}" for k, v in about.items()), flush=True)
        for number in range(options.warm):
            _run(options, Plan("warm-up", 1, options.records, 4, ()), OURS, number, found=found,
                 at=Path(directory))  # fmt: skip
        for plans in _plans(options):
            for number in range(options.runs):
                for plan, name in ((p, n) for p in plans for n in p.contenders):
                    run = _run(options, plan, name, number, found=found, at=Path(directory))
                    runs += [run] if run else []
    print(f"\n{table(runs)}\n\n{chart(runs)}")
    if options.json:
        result = {"machine": about, "workers": options.workers, "runs": [asdict(r) for r in runs]}
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--jobs", nargs="+", choices=("stages", "backlog", "partitions"), default=["stages"])
    add("--stages", type=int, nargs="+", choices=tuple(TOPOLOGIES), default=list(TOPOLOGIES))
    add("--contenders", nargs="+", choices=CONTENDERS, metavar="NAME",
        help=f"of {', '.join(CONTENDERS)}; else all that are set up for the stages, and the "
        "processor alone for the other jobs")  # fmt: skip
    add("--records", type=int, default=1_000_000)
    add("--runs", type=int, default=3, help="of each contender on each job")
    add("--warm", type=int, default=WARM_RUNS, metavar="RUNS",
        help="not counted, before the others; 0 only where nothing is measured")  # fmt: skip
    add("--workers", type=int, default=2)
    add("--bootstrap-servers", help="else PROCESSOR_TEST_BOOTSTRAP_SERVERS, else one is started")
    add("--redis-url", help="else PROCESSOR_TEST_REDIS_URL, else one is started")
    add("--processor", action="append", default=[], metavar="OPTION",
        help="a further option of the processor: --processor=--interval=500ms")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="all figures of all runs")
    options = parser.parse_args()
    if options.records < 1000 or options.runs < 1 or options.workers < 1:
        parser.error("at least 1,000 records, one run and one worker")
    if missing := [name for name in options.contenders or [] if not CONTENDERS[name].ready]:
        parser.error(f"not set up: {', '.join(missing)}: python -m benchmarks.peers.setup")
    return options


def _plans(options: argparse.Namespace) -> Iterator[list[Plan]]:
    """Jobs whose runs take turns, in groups."""
    records = options.records
    alone = tuple(options.contenders or [OURS])
    names = tuple(options.contenders or [n for n, peer in CONTENDERS.items() if peer.ready])
    if "stages" in options.jobs:
        for stage in options.stages:
            able = tuple(name for name in names if CONTENDERS[name].does(stage))
            if left := ", ".join(name for name in names if name not in able):
                print(f"stage {stage}: has no program of {left}", flush=True)
            yield [Plan(f"stage {stage}", stage, records, 4, able)]
    if "backlog" in options.jobs:
        yield [
            Plan("stage 1, backlog 1 x", 1, records, 4, alone),
            Plan(f"stage 1, backlog {BACKLOG} x", 1, BACKLOG * records, 4, alone),
        ]
    if "partitions" in options.jobs:
        yield [
            Plan("stage 1, 4 partitions", 1, records, 4, alone),
            Plan("stage 1, 40 partitions", 1, records, 40, alone),
        ]


def _run(
    options: argparse.Namespace, plan: Plan, name: str, number: int, *, found: Servers, at: Path
) -> Run | None:
    records = plan.records // FEWER.get(name, 1)
    tag = f"bench-{plan.stage}-{name}-{number}-{int(time.time())}"
    job = Job(
        plan.stage, found.bootstrap_servers, found.redis_url, f"{tag}-in", f"{tag}-out",
        f"{tag}-dead", tag, options.workers, at, plan.partitions,
        tuple(options.processor) if name == OURS else (),
    )  # fmt: skip
    try:
        figures = measure(name, job, work(plan.stage, records))
    except (AssertionError, RuntimeError) as error:
        print(f"{plan.name}, run {number + 1}, {name}: does not count: {error}", flush=True)
        return None
    print(
        f"{plan.name}, run {number + 1}, {name}: {figures.rate:,.0f} records/s, "
        f"{figures.cpu_s:.2f} CPU s per million, answer right",
        flush=True,
    )
    return Run(plan.name, name, records, figures)


if __name__ == "__main__":
    main()
