"""``python -m tests.probes``: asks a real broker what stages rest on, and prints what was seen.

Exits 1 when a broker does not behave as the design needs. Figures are of this machine: soft.
Three times are the least, the median and the most.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack

from tests.probes.bed import UnlikeError
from tests.probes.probes import PROBES, tried
from tests.services import climb, kafka_rungs
from tests.services.cluster import LocalCluster


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.probes", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="probes whose name has this")
    parser.add_argument("--short", action="store_true", help="once, as with the tests")
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1, help="how many to start")
    parser.add_argument("--bootstrap-servers", metavar="H:P", help="a broker; else one is started")
    options = parser.parse_args()
    wrong = 0
    probes = [
        probe for probe in PROBES
        if options.only in probe.name and (probe.in_tests or not options.short)
    ]  # fmt: skip
    with ExitStack() as stack:
        servers = options.bootstrap_servers
        if servers is None:
            server = LocalCluster() if options.brokers == 3 else climb(kafka_rungs())
            stack.callback(server.close)
            servers = server.bootstrap_servers
        for probe in probes:
            print(f"{probe.name}: {probe.question}", flush=True)
            began = time.monotonic()
            try:
                seen = tried(probe, servers, short=options.short)
            except Exception as error:
                wrong += 1
                kind = "" if isinstance(error, UnlikeError) else f"{type(error).__name__}: "
                seen = [f"NOT AS NEEDED: {kind}{error}"]
            for line in seen:
                print(f"    {line}")
            print(f"    {time.monotonic() - began:.1f} s", flush=True)
    print(f"{len(probes)} probes, {wrong} not as needed")
    return int(not probes or wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
