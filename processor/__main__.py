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
    # Python drops what is raised in the callbacks of its import locks: then nobody would leave.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    # One thread per worker: more cores are used by more workers. Polars reads it when imported.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from processor.cli.main import cli

    signal.signal(signal.SIGTERM, _leave)
    sys.exit(cli())


if __name__ == "__main__":
    main()
