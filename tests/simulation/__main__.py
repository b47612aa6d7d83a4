"""The nightly form: ``python -m tests.simulation --seeds 10000``."""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor

from processor.engine.commit import checkpoint
from processor.testing.simulator import simulate
from tests.simulation.scenarios import SCENARIOS


def one(seed: int) -> None:
    checkpoint.CHAIN_LENGTH_MAX = 3
    names = sorted(SCENARIOS)
    name = names[seed % len(names)]
    repeats = not name.startswith("append") and seed // len(names) % 5 == 4
    simulate(SCENARIOS[name], seed, "at-least-once" if repeats else "exactly-once")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    started = time.monotonic()
    seeds = range(options.first, options.first + options.seeds)
    with ProcessPoolExecutor(options.processes) as pool:
        for _ in pool.map(one, seeds, chunksize=25):
            pass
    minutes = (time.monotonic() - started) / 60
    print(f"{options.seeds} seeds, none wrong; {options.seeds / minutes:.0f} seeds a minute")


if __name__ == "__main__":
    main()
