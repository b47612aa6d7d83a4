"""``processor`` and ``python -m processor``."""

import os
import sys


def main() -> None:
    """Run the command line."""
    # One thread per worker: more cores are used by more workers. Polars reads it when imported.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from processor.cli.main import cli

    sys.exit(cli())


if __name__ == "__main__":
    main()
