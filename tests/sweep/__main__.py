"""The whole sweep: ``python -m tests.sweep``; a part of it: ``--every 7``, ``--only chained``."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack

from tests.services import climb, kafka_rungs, redis_rungs
from tests.sweep.cases import CASES, STAGES, TABLES
from tests.sweep.pool import Done, sweep


def table(done: Sequence[Done]) -> str:
    """Cases run and cases failed by topology, guarantee and workers."""
    ran = Counter((c.shape, c.guarantee, c.workers) for c, _, _ in done)
    failed = Counter((c.shape, c.guarantee, c.workers) for c, _, wrong in done if wrong)
    lines = [f"{'topology':<12}{'guarantee':<16}{'workers':>7}{'cases':>7}{'failed':>8}"]
    lines += [
        f"{shape:<12}{guarantee:<16}{workers:>7}{ran[key]:>7}{failed[key]:>8}"
        for shape in STAGES
        for guarantee in TABLES
        for workers in (1, 2)
        if (key := (shape, guarantee, workers)) in ran
    ]
    lines.append(f"{'all':<28}{'':>7}{ran.total():>7}{failed.total():>8}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sweep", description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="each Nth case only")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose line has this text")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="cases at a time")
    parser.add_argument("--bootstrap-servers", metavar="H:P", help="a broker; else one is started")
    parser.add_argument("--redis-url", metavar="URL", help="a Redis; else one is started")
    options = parser.parse_args()
    cases = [case for case in CASES if options.only in str(case)][:: options.every]
    started = time.monotonic()
    with ExitStack() as stack:
        kafka, redis = options.bootstrap_servers, options.redis_url
        if kafka is None:
            server = climb(kafka_rungs())
            stack.callback(server.close)
            kafka = server.bootstrap_servers
        if redis is None:
            server = climb(redis_rungs())
            stack.callback(server.close)
            redis = server.url
        done = []
        for case, seconds, wrong in sweep(cases, kafka, redis, options.jobs):
            done.append((case, seconds, wrong))
            print(f"{'FAILED' if wrong else 'ok':<7}{seconds:5.1f} s {case}", flush=True)
            if wrong:
                print(wrong, flush=True)
    print(f"\n{table(done)}")
    print(f"{time.monotonic() - started:.0f} s, {options.jobs} at a time")
    return int(not done or any(wrong for _, _, wrong in done))


if __name__ == "__main__":
    sys.exit(main())
