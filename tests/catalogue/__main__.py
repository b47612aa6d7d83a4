"""The nightly form, a table: ``python -m tests.catalogue [--only TEXT] [--list]``."""

import argparse
import contextlib
import io
import sys
import tempfile
import time
import traceback

from tests.catalogue.case import Servers, cases
from tests.services import climb, kafka_rungs, redis_rungs


def one(case, kafka, redis, directory):
    """The verdict on a case; what it said goes to the error stream where the verdict is wrong."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), Servers(kafka, redis, directory) as servers:
            told = case.run(servers)
    except Exception as error:
        print(f"=== {case.name}\n{said.getvalue()}\n{traceback.format_exc()}", file=sys.stderr)
        return f"FAILED: {(str(error).splitlines() or [type(error).__name__])[0]}"
    return f"as expected{': ' + told if told else ''}"


def run(chosen):
    """Runs the cases one by one and prints a line each; how many failed."""
    failed = 0
    with contextlib.ExitStack() as stack:
        kafka, redis = (
            stack.enter_context(contextlib.closing(climb(rungs())))
            for rungs in (kafka_rungs, redis_rungs)
        )
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="catalogue-"))
        print("| case | done | expected | verdict | s |\n|---|---|---|---|---|")
        for case in chosen:
            started = time.monotonic()
            verdict = one(case, kafka, redis, directory)
            failed += verdict.startswith("FAILED")
            cells = (case.name, case.done, case.expected, verdict)
            shown = " | ".join(cell.replace("|", "\\|") for cell in cells)
            print(f"| {shown} | {time.monotonic() - started:.1f} |", flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.catalogue", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with this in their names")
    parser.add_argument("--list", action="store_true", help="name the cases, run none")
    options = parser.parse_args()
    chosen = [case for case in cases() if options.only in case.name]
    if options.list:
        for case in chosen:
            print(f"{'tests' if case.in_tests else 'nightly':8} {case.name}: {case.expected}")
        return 0
    if not chosen:
        parser.error(f"no case has {options.only!r} in its name")
    started = time.monotonic()
    failed = run(chosen)
    minutes = (time.monotonic() - started) / 60
    print(f"\n{len(chosen)} cases, {failed} failed; {minutes:.1f} minutes")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
