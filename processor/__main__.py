"""``processor`` and ``python -m processor``."""

import os
import signal
import sys
from types import FrameType


def _leave(number: int, frame: FrameType | None) -> None:
    """Until a command has work to finish, being told to stop is no failure.

    Without an exception: Python and its libraries drop those that come in a callback, of an import
    lock for one, and nobody would leave.
    """
    del frame
    os._exit(0 if number == signal.SIGTERM else 128 + number)


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGTERM, _leave)
    interrupted = signal.signal(signal.SIGINT, _leave)
    # One thread per worker: more cores are used by more workers. Polars reads it when imported.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from processor.cli.main import cli

    signal.signal(signal.SIGINT, interrupted)
    sys.exit(cli())


if __name__ == "__main__":
    main()
