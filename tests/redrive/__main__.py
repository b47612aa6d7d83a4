"""``python -m tests.redrive --records 1000000 --kills 3``: every letter once, on a real broker."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack

from tests.redrive.run import redriven
from tests.services import climb, kafka_rungs


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.redrive", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--kills", type=int, default=3, metavar="N")
    parser.add_argument("--bootstrap-servers", metavar="H:P", help="a broker; else one is started")
    options = parser.parse_args()
    shares = [(n + 0.5) / (options.kills + 1) for n in range(options.kills)]
    with ExitStack() as stack:
        servers = options.bootstrap_servers
        if servers is None:
            server = climb(kafka_rungs())
            stack.callback(server.close)
            servers = server.bootstrap_servers
        done = redriven(servers, options.records, shares, lambda line: print(line, flush=True))
    print(f"{done.records} dead letters, {len(done.kills)} kills, at most {done.resident_mb} MB: "
          f"{'; '.join(done.wrong) or 'each sent once'}")  # fmt: skip
    return int(bool(done.wrong))


if __name__ == "__main__":
    sys.exit(main())
