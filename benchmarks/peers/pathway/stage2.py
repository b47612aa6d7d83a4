"""The number of trips by cluster and hour."""

import pathway as pw
from job import read, run


class Trip(pw.Schema):
    dt: str
    cluster: int


trips = read(format="json", schema=Trip)
hours = trips.select(
    pw.this.cluster, start=pw.this.dt.dt.strptime("%Y-%m-%d %H:%M:%S").dt.floor("1h")
)
counts = hours.groupby(pw.this.cluster, pw.this.start).reduce(
    pw.this.cluster, pw.this.start, count=pw.reducers.count()
)
counts = counts.with_columns(
    end=pw.this.start + pw.Duration("1h"), key=pw.cast(str, pw.this.cluster)
)
run(counts, counts.key)
