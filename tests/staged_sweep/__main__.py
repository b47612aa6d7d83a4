"""All cases: ``python -m tests.staged_sweep``; a part: ``--every 9``, ``--only joined``."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack

from tests.services import climb, kafka_rungs, redis_rungs
from tests.staged_sweep.run import CASES, run_case


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.staged_sweep", description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="each Nth case only")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose line has this text")
    options = parser.parse_args()
    started, failed = time.monotonic(), 0
    cases = [case for case in CASES if options.only in str(case)][:: options.every]
    with ExitStack() as stack:
        kafka, redis = climb(kafka_rungs()), climb(redis_rungs())
        stack.callback(kafka.close)
        stack.callback(redis.close)
        for case in cases:
            began = time.monotonic()
            try:
                run_case(case, kafka.bootstrap_servers, redis.url)
            except AssertionError as error:
                failed += 1
                print(f"FAILED {case}\n{error}", flush=True)
            else:
                print(f"ok     {time.monotonic() - began:5.1f} s {case}", flush=True)
    print(f"\n{len(cases)} cases, {failed} failed, {time.monotonic() - started:.0f} s")
    return int(bool(failed) or not cases)


if __name__ == "__main__":
    sys.exit(main())
