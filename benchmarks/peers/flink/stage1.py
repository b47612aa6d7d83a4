"""CSV trips to JSON trips with the nearest cluster, in SQL only."""

import json
import os
from pathlib import Path

from job import INPUT, OUTPUT, tables

CENTROIDS = json.loads(Path(os.environ["CENTROIDS"]).read_text())["centroids"]
NUMBERS = range(len(CENTROIDS))
SQUARES = ", ".join(
    f"(lat - ({a})) * (lat - ({a})) + (lon - ({b})) * (lon - ({b})) AS d{i}"
    for i, (a, b) in enumerate(CENTROIDS)
)
CASES = " ".join(
    f"WHEN {' AND '.join(f'd{i} <= d{j}' for j in NUMBERS if j != i)} THEN {i}" for i in NUMBERS
)

made = tables()
made.execute_sql(
    "CREATE TABLE trips (dt STRING, lat DOUBLE, lon DOUBLE, base STRING) "
    f"WITH ({INPUT}, 'format' = 'csv', 'csv.ignore-parse-errors' = 'true')"
)
made.execute_sql(
    "CREATE TABLE enriched (dt STRING, lat DOUBLE, lon DOUBLE, base STRING, cluster INT) "
    f"WITH ('connector' = 'kafka', {OUTPUT}, 'key.format' = 'json', "
    "'key.fields' = 'cluster', 'value.format' = 'json')"
)
made.execute_sql(
    f"INSERT INTO enriched SELECT dt, lat, lon, base, CASE {CASES} END "
    f"FROM (SELECT *, {SQUARES} FROM trips WHERE TRY_CAST(dt AS TIMESTAMP) IS NOT NULL "
    "AND lat IS NOT NULL AND lon IS NOT NULL AND base IS NOT NULL)"
).wait()
