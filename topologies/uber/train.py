"""Cluster centres for stage 1, from trips: ``python -m topologies.uber.train``.

k-means over latitude and longitude, in degrees, as `processor.functions.nearest` measures.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import polars as pl

from processor import ProcessorError
from topologies.uber.enrich import TRIP


def read(path: Path) -> tuple[pl.DataFrame, int]:
    """The file's trips, and how many lines are none; a header is not counted."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ProcessorError(
            f"{path} cannot be read: {error.strerror}",
            remedy="give --input a CSV file of trips; topologies.uber.generate makes one",
        ) from None
    decoded = TRIP.decode(lines)
    good = pl.Series([row not in decoded.bad for row in range(len(lines))], dtype=pl.Boolean)
    return decoded.frame.filter(good), len(decoded.bad.keys() - {0})


def cluster(trips: pl.DataFrame, k: int, seed: int = 1) -> list[tuple[float, float]]:
    """The centres of ``k`` clusters, from south to north; raises `ProcessorError`."""
    places = trips.select("lat", "lon")
    different = places.n_unique()
    if different < k:
        raise ProcessorError(
            f"{k} clusters need as many places, the trips have {different}",
            remedy="give --k a smaller number, or more trips",
        )
    try:
        from sklearn.cluster import KMeans
    except ImportError:
        raise ProcessorError(
            "training needs scikit-learn", remedy='install the extra "train" of this project'
        ) from None
    model: Any = KMeans(n_clusters=k, n_init=10, random_state=seed).fit(places.to_numpy())
    return sorted((round(float(a), 7), round(float(b), 7)) for a, b in model.cluster_centers_)


def write(path: Path, centroids: Sequence[tuple[float, float]], comment: str) -> None:
    """A centroid file, with a line per centre."""
    rows = ",\n".join(f"  [{lat}, {lon}]" for lat, lon in centroids)
    text = f'{{\n "comment": {json.dumps(comment)},\n "centroids": [\n{rows}\n ]\n}}\n'
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ProcessorError(
            f"{path} cannot be written: {error.strerror}", remedy="give --output another file"
        ) from None


@click.command()
@click.option("--input", "source", type=click.Path(path_type=Path), required=True,
              metavar="FILE.csv", help="Trips; with or without a header.")  # fmt: skip
@click.option("--output", type=click.Path(path_type=Path), required=True, metavar="FILE.json")
@click.option("--k", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
def main(source: Path, output: Path, k: int, seed: int) -> None:
    """Find the centres of k clusters of trips, and write them where `enrich` reads them."""
    try:
        trips, bad = read(source)
        centroids = cluster(trips, k, seed)
        comment = (
            f"k-means centroids [lat, lon] by cluster id, of {trips.height} trips of "
            f"{source.name}, seed {seed}"
        )
        write(output, centroids, comment)
    except ProcessorError as error:
        raise click.ClickException(str(error)) from None
    passed = f"; {bad} lines that are no trips were passed over" if bad else ""
    click.echo(f"{output}: {k} centroids of {trips.height} trips{passed}")


if __name__ == "__main__":
    main()
