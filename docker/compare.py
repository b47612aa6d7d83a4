"""Compare what went into the stack with what came out of it: see ``check.sh``.

``compare.py SENT DIRECTORY`` reads the lines of the topics from files of the directory:
``trips`` (CSV), ``trips-enriched`` and ``popular-clusters`` (JSON). It says what is not as it has
to be and exits with 1, or says nothing.
"""  # noqa: INP001

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path


def main(sent: int, directory: Path) -> int:
    """Three comparisons; the number of those that failed."""
    trips = Counter(_trip(line) for line in _lines(directory / "trips"))
    rows = [json.loads(line) for line in _lines(directory / "trips-enriched")]
    enriched = Counter((r["dt"], float(r["lat"]), float(r["lon"]), r["base"]) for r in rows)
    counted = Counter((int(r["cluster"]), r["dt"][:13]) for r in rows)
    popular = {}
    for line in _lines(directory / "popular-clusters"):
        row = json.loads(line)
        # A cluster has one partition, so a later line is a later record.
        popular[int(row["cluster"]), row["window_start"].replace("T", " ")[:13]] = row["trips"]

    faults = []
    if trips.total() != sent:
        faults.append(f"trips: {trips.total()} records, {sent} were sent")
    if enriched != trips:
        faults.append(
            f"trips-enriched: {enriched.total()} records of {trips.total()} trips, "
            f"{(trips - enriched).total()} missing, {(enriched - trips).total()} too many"
        )
    if popular != dict(counted):
        wrong = [key for key in popular.keys() | counted.keys() if popular.get(key) != counted[key]]
        faults.append(
            f"popular-clusters: {len(wrong)} of {len(counted)} counts are wrong "
            f"(sum {sum(popular.values())} of {counted.total()}), for example "
            + ", ".join(
                f"cluster {cluster} at {hour}h: {popular.get((cluster, hour))} instead of "
                f"{counted[cluster, hour]}"
                for cluster, hour in sorted(wrong)[:3]
            )
        )
    for fault in faults:
        sys.stdout.write(f"{fault}\n")
    return len(faults)


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        yield from (line.rstrip("\n") for line in file)


def _trip(line: str) -> tuple[str, float, float, str]:
    time, lat, lon, base = line.split(",")
    return time, float(lat), float(lon), base


if __name__ == "__main__":
    sys.exit(1 if main(int(sys.argv[1]), Path(sys.argv[2])) else 0)
