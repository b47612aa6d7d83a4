"""The data sets beside the checkout, and the answers computed from them without the processor."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
UBER = ROOT.parent / "shared" / "data" / "uber"
RETAIL = ROOT.parent / "shared" / "data" / "retail"
FORMS = ("%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%m/%d/%Y %H:%M:%S")


def uber(name):
    path = UBER / name
    if not path.exists():
        pytest.skip(f"no data set at {path}")
    return path


def centroids():
    return json.loads(uber("centroids.json").read_text())["centroids"]


def when(text):
    for form in FORMS:
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007 - local times, as in the files
        except ValueError:
            continue
    raise AssertionError(text)


def enriched(lines, centres):
    """Each trip with its cluster as a tuple: plain loops and one matrix of distances."""
    trips = [line.decode().split(",") for line in lines]
    places = np.array([[float(lat), float(lon)] for _, lat, lon, _ in trips])
    distances = ((places[:, None, :] - np.array(centres)[None, :, :]) ** 2).sum(axis=2)
    clusters = distances.argmin(axis=1).tolist()
    return [
        (when(time), float(lat), float(lon), base.strip('"'), cluster)
        for (time, lat, lon, base), cluster in zip(trips, clusters, strict=True)
    ]


def by_hour(trips):
    return Counter((cluster, time.replace(minute=0, second=0)) for time, _, _, _, cluster in trips)


def parsed(value):
    row = json.loads(value)
    return (when(row["dt"]), row["lat"], row["lon"], row["base"], row["cluster"])


def final(rows):
    """The last count of each cluster and window, in the order of the topic."""
    return {(row["cluster"], datetime.fromisoformat(row["window_start"])): row["trips"]
            for row in rows}  # fmt: skip
