"""CSV trips to JSON trips with the nearest cluster."""

import json
import os
from datetime import datetime
from pathlib import Path

from job import INPUT, OUTPUT, application

CENTROIDS = json.loads(Path(os.environ["CENTROIDS"]).read_text())["centroids"]


def trip(value: bytes) -> dict | None:
    try:
        dt, lat_text, lon_text, base = value.decode().split(",")
        datetime.fromisoformat(dt)
        lat, lon = float(lat_text), float(lon_text)
    except ValueError:
        return None
    squares = [(lat - a) ** 2 + (lon - b) ** 2 for a, b in CENTROIDS]
    return {"dt": dt, "lat": lat, "lon": lon, "base": base, "cluster": squares.index(min(squares))}


app = application()
trips = app.dataframe(app.topic(INPUT, value_deserializer="bytes"))
trips = trips.apply(trip).filter(lambda found: found is not None)
trips.to_topic(
    app.topic(OUTPUT, key_serializer="str", value_serializer="json"),
    key=lambda found: str(found["cluster"]),
)
app.run()
