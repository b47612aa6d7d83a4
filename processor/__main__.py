"""``processor`` and ``python -m processor``."""

import os
import signal
import sys
from types import FrameType


def _leave(number: int, frame: FrameType | None) -> None:
    """Until a command has work to finish, being told to stop is no failure."""
    del number, frame
    sys.exit(0)


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGTERM, _leave)
    # One thread per worker: more cores are used by more workers. Polars reads it when imported.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from processor.cli.main import cli

    sys.exit(cli())


if __name__ == "__main__":
    main()
