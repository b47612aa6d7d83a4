"""The ride pipeline: the processor next to a plain loop, in one run on one broker.

    python -m benchmarks.ride --records 1000000 --runs 3 --json figures.json

Broker and Redis are those given, else started as the tests start theirs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final

import confluent_kafka

from benchmarks.contenders import NAMES, ROOT, Job
from benchmarks.data import works
from benchmarks.measure import Figures, measure

STATE_KEYS: Final = 1_000_000


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="ride-") as name, _servers(options) as servers:
        bootstrap_servers, redis_url, broker = servers
        machine = _machine(broker)
        for line in (f"{k}: {v}" for k, v in machine.items()):
            print(line)
        job = Job(
            0, bootstrap_servers, redis_url, "", "", "", "", options.workers,
            Path(name), tuple(options.processor),
        )  # fmt: skip
        rows = _runs(options, job)
    state = _state()
    print(f"\n{_table(rows)}\n\n{_state_line(state)}")
    if options.json:
        result = {
            "machine": machine,
            "records": options.records,
            "workers": options.workers,
            "runs": [{"stage": s, "contender": c, **asdict(f)} for s, c, f in rows],
            "state": state,
        }
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ride",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--records", type=int, default=1_000_000)
    add("--runs", type=int, default=3, help="of each contender on each stage")
    add("--workers", type=int, default=1)
    add("--stages", type=int, nargs="+", choices=(1, 2), default=[1, 2])
    add("--bootstrap-servers", help="else PROCESSOR_TEST_BOOTSTRAP_SERVERS, else one is started")
    add("--redis-url", help="else PROCESSOR_TEST_REDIS_URL, else one is started")
    add("--processor", action="append", default=[], metavar="OPTION",
        help="a further option of the processor: --processor=--interval=500ms")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="all figures of all runs")
    options = parser.parse_args()
    if options.records < 1000 or options.runs < 1 or options.workers < 1:
        parser.error("at least 1,000 records, one run and one worker")
    return options


@contextmanager
def _servers(options: argparse.Namespace) -> Iterator[tuple[str, str, str]]:
    """Bootstrap servers, Redis URL, and which broker it is."""
    services = import_module("tests.services")
    for variable, value in (("BOOTSTRAP_SERVERS", options.bootstrap_servers),
                            ("REDIS_URL", options.redis_url)):  # fmt: skip
        if value:
            os.environ[f"PROCESSOR_TEST_{variable}"] = value
    kafka = services.climb(services.kafka_rungs())
    try:
        redis = services.climb(services.redis_rungs())
        try:
            yield (
                kafka.bootstrap_servers,
                redis.url,
                f"{_broker_version(kafka.rung)} ({kafka.rung})",
            )
        finally:
            redis.close()
    finally:
        kafka.close()


def _broker_version(rung: str) -> str:
    if rung == "container":
        return str(import_module("tests.services.container").KAFKA_IMAGE)
    if rung.startswith("local"):
        jars = Path(import_module("tests.services.jars").jars())
        return next((p.stem for p in jars.glob("kafka-clients-*.jar")), "unknown")
    return "unknown"


def _runs(options: argparse.Namespace, job: Job) -> list[tuple[int, str, Figures]]:
    """The contenders take turns, so that what disturbs the machine disturbs both."""
    rows = []
    inputs = works(options.records)
    for stage in options.stages:
        for run in range(options.runs):
            for name in NAMES:
                tag = f"ride-{stage}-{name}-{run}-{int(time.time())}"
                one = replace(
                    job, stage=stage, group=tag, source=f"{tag}-in", output=f"{tag}-out",
                    dead_letters=f"{tag}-dead",
                )  # fmt: skip
                figures = measure(name, one, inputs[stage])
                rows.append((stage, name, figures))
                print(
                    f"stage {stage}, run {run + 1}, {name}: {figures.rate:,.0f} records/s, "
                    f"{figures.cpu_s:.2f} CPU s per million, answer right",
                    flush=True,
                )
    return rows


def _table(rows: Sequence[tuple[int, str, Figures]]) -> str:
    lines = [
        "| stage | contender | records/s | CPU s per million | broker's CPU s | peak RSS, MB |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for stage in sorted({s for s, _, _ in rows}):
        medians = {}
        for name in NAMES:
            found = [f for s, n, f in rows if (s, n) == (stage, name)]
            broker = [f.broker_cpu_s for f in found if f.broker_cpu_s is not None]
            medians[name] = row = [
                median(f.rate for f in found),
                median(f.cpu_s for f in found),
                median(broker) if broker else float("nan"),
                median(f.rss_mb for f in found),
            ]
            lines.append(f"| {stage} | {name} | {row[0]:,.0f} | {row[1]:.2f} | {row[2]:.2f} "
                         f"| {row[3]:,.0f} |")  # fmt: skip
        ratios = (f"{a / b:.2f} x" for a, b in zip(*(medians[n] for n in NAMES), strict=True))
        lines.append(f"| {stage} | {' / '.join(NAMES)} | {' | '.join(ratios)} |")
    return "\n".join(lines)


def _state() -> dict[str, float]:
    """Measured in a process of its own, whose memory is the state's."""
    command = [sys.executable, "-m", "benchmarks.memory", str(STATE_KEYS)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _state_line(state: dict[str, float]) -> str:
    return (
        f"state, count and sum by text key and window, {state['keys']:,} keys: "
        f"{state['slab_bytes']:.0f} bytes per key by its own account, "
        f"{state['rss_bytes']:.0f} of the process"
    )


def _machine(broker: str) -> dict[str, Any]:
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "confluent-kafka": f"{version('confluent-kafka')}, librdkafka "
        f"{confluent_kafka.libversion()[0]}",
        "polars": version("polars"),
        "broker": broker,
    }


if __name__ == "__main__":
    main()
