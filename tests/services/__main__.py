"""``python -m tests.services`` starts a Kafka and a Redis, and ends them on Ctrl-C.

They are those that the tests start: in containers if an engine answers, else local processes. Their
data is thrown away in the end.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys

from tests.services import Unavailable, both


def main() -> int:
    """Start both, print how to run on them, and wait for SIGINT or SIGTERM."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as ending, contextlib.suppress(KeyboardInterrupt):
        try:
            kafka, redis = both(ending)
        except Unavailable as error:
            print(error, file=sys.stderr)
            return 2
        print(f"Kafka: {kafka.rung}; Redis: {redis.rung}; Ctrl-C ends both. For other shells:")
        print(f"export PROCESSOR_BOOTSTRAP_SERVERS={kafka.bootstrap_servers}")
        print(f"export PROCESSOR_REDIS_URL={redis.url}", flush=True)
        signal.pause()
    return 0


sys.exit(main())
