"""The nightly form: ``python -m tests.fuzz --minutes 10``."""

import argparse
import sys
import time
import traceback

from tests.fuzz.cases import CASES
from tests.fuzz.fuzz import fuzz


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--only", choices=sorted(CASES), help="one decoder alone")
    options = parser.parse_args()
    names = [options.only] if options.only else sorted(CASES)
    ends = time.monotonic() + options.minutes * 60
    seed, batches, records = options.first, 0, 0
    while time.monotonic() < ends:
        for name in names:
            try:
                records += fuzz(name, seed)
            except BaseException:
                traceback.print_exc()
                print(f"{name}: seed {seed}; again: --only {name!r} --first {seed}")
                sys.exit(1)
            batches += 1
        seed += 1
    print(f"{records} broken records in {batches} batches of {len(names)} decoders, none wrong")


if __name__ == "__main__":
    main()
