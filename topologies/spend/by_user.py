"""The sums of `topologies/spend/totals.py`, of a topic that is not keyed by user."""

from processor import Topology
from topologies.spend.totals import PAYMENT, totalled


@Topology.define
def spend_by_user(
    *,
    app: str = "spend-by-user",
    input: str = "payments-by-shop",  # noqa: A002 - what `--set input=...` is called
    output: str = "spend-by-user",
    dead_letters: str = "payments-dead-letters",
    window: str = "10 minutes",
    watermark: str = "1 hour",
) -> Topology:
    """Sum and count by user and window, in two stages: the first deals payments out by user."""
    topology = Topology(app)
    payments = topology.read.kafka(
        input, format=PAYMENT, event_time="ts", dead_letters=dead_letters
    )
    totals = totalled(payments, window, watermark)
    totals.write.kafka(output, key="user", mode="update")
    return topology
