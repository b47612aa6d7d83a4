"""Words of a socket, counted by windows of the time at which they came.

Start a server first, as in ``nc -lk 9999``; then ``processor run topologies.wordcount.windowed``.
"""

from processor import Topology
from processor import functions as F  # noqa: N812 - as Spark's users write it
from topologies.wordcount.words import Words


@Topology.define
def windowed(
    *,
    app: str = "wordcount-windowed",
    host: str = "localhost",
    port: int = 9999,
    output: str = "word-counts",
    window: str = "10 minutes",
    slide: str = "5 minutes",
) -> Topology:
    """Count by window and word; each batch of results has all of them, in order."""
    topology = Topology(app)
    words = topology.read.socket(
        host, port, format=Words(), name="words", timestamp="at", event_time="at"
    )
    counts = words.group_by(F.window("at", window, slide), "word").agg(count=F.count())
    counts.order_by("window_start", "word").write.kafka(output, mode="complete")
    return topology
