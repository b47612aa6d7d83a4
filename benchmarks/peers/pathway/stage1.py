"""CSV trips to JSON trips with the nearest cluster; lines are split in a function of Python."""

import json
import os
from datetime import datetime
from pathlib import Path

import pathway as pw
from job import read, run

CENTROIDS = json.loads(Path(os.environ["CENTROIDS"]).read_text())["centroids"]


@pw.udf
def trip(value: bytes) -> tuple[str, float, float, str, int] | None:
    try:
        dt, lat_text, lon_text, base = value.decode().split(",")
        datetime.fromisoformat(dt)
        lat, lon = float(lat_text), float(lon_text)
    except ValueError:
        return None
    squares = [(lat - a) ** 2 + (lon - b) ** 2 for a, b in CENTROIDS]
    return dt, lat, lon, base, squares.index(min(squares))


found = read(format="raw").select(trip=trip(pw.this.data)).filter(pw.this.trip.is_not_none())
found = found.select(trip=pw.unwrap(pw.this.trip))
trips = found.select(
    dt=pw.this.trip[0],
    lat=pw.this.trip[1],
    lon=pw.this.trip[2],
    base=pw.this.trip[3],
    cluster=pw.this.trip[4],
)
trips = trips.with_columns(key=pw.cast(str, pw.this.cluster))
run(trips, trips.key)
