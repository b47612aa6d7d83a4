"""The nightly form: ``python -m tests.simulation --seeds 10000``, and ``--models`` for stages."""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta

from processor.engine.commit import checkpoint
from processor.engine.running import idle
from processor.testing.simulator import simulate
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.variants import LARGE_STATES, VARIANTS


def one(seed: int) -> None:
    checkpoint.CHAIN_LENGTH_MAX = 3
    idle.TIMEOUT = timedelta(days=1000)  # type: ignore[misc]
    names = sorted(SCENARIOS)
    name = names[seed % len(names)]
    repeats = not name.startswith("append") and seed // len(names) % 5 == 4
    simulate(SCENARIOS[name], seed, "at-least-once" if repeats else "exactly-once")


def modelled(place: tuple[str, str]) -> tuple[str, bool]:
    """A variant of a model of stages, at length: what came of it, and whether that is right."""
    model, name = place
    variant = VARIANTS[model][1][name]
    started = time.monotonic()
    states, wrong = variant.tried(large=True)
    found = wrong.splitlines()[0] if wrong else f"{states} states, all hold"
    if states >= LARGE_STATES:
        found += " (not all were seen)"
    right = wrong[:2] == variant.breaks
    told = found if right else f"NOT {variant.breaks or 'SOUND'}: {wrong or found}"
    return f"{model}: {name:<31}{time.monotonic() - started:6.1f} s  {told}", right


def models(processes: int) -> int:
    """Every variant with its large bounds; gives how many did not come out as they should."""
    places = [(model, name) for model, (_, variants) in VARIANTS.items() for name in variants]
    wrong = 0
    with ProcessPoolExecutor(processes) as pool:
        for line, right in pool.map(modelled, places):
            print(line, flush=True)
            wrong += not right
    print(f"{len(places)} variants, {wrong} other than they should be")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--models", action="store_true", help="the models of stages, instead")
    options = parser.parse_args()
    if options.models:
        return int(models(options.processes) > 0)
    started = time.monotonic()
    seeds = range(options.first, options.first + options.seeds)
    with ProcessPoolExecutor(options.processes) as pool:
        for _ in pool.map(one, seeds, chunksize=25):
            pass
    minutes = (time.monotonic() - started) / 60
    print(f"{options.seeds} seeds, none wrong; {options.seeds / minutes:.0f} seeds a minute")
    return 0


if __name__ == "__main__":
    sys.exit(main())
