"""What the simulator runs here."""

import random

import orjson

from processor.testing.simulator import Scenario
from tests.topologies import dealt, stateless, totals, windowed


def drawn(dice: random.Random) -> tuple[str, bytes]:
    """A ride; now and then a late one, now and then one that cannot be read."""
    key = f"k{dice.randrange(7)}"
    if dice.random() < 0.05:
        return key, b"{malformed %d" % dice.randrange(10**9)
    minute = dice.randrange(24 * 60)
    ride = {
        "k": key,
        "t": f"2024-01-01T{minute // 60:02d}:{minute % 60:02d}:00",
        "n": dice.randrange(10**9),
    }
    return key, orjson.dumps(ride)


BEGIN = [
    (f"k{n}", orjson.dumps({"k": f"k{n}", "t": "2024-01-01T00:00:00", "n": 1})) for n in range(7)
]
"""One record in each partition: one that never had any would hold nothing back, and be late."""

SCENARIOS = {
    "stateless": Scenario(stateless, drawn, updates=False),
    "totals": Scenario(totals, drawn, updates=True, identity=["k"]),
    "windowed": Scenario(
        lambda: windowed(delay="5 hours"), drawn, updates=True, identity=["k", "window_start"]
    ),
    "append": Scenario(lambda: windowed(mode="append", delay="5 hours"), drawn, updates=False),
    "totals-lost": Scenario(
        totals, drawn, updates=True, identity=["k"], on_checkpoint_loss="replay"
    ),
    "totals-logged": Scenario(
        totals, drawn, updates=True, identity=["k"], on_checkpoint_loss="changelog"
    ),
    "append-lost": Scenario(
        lambda: windowed(mode="append", delay="5 hours"),
        drawn,
        updates=False,
        on_checkpoint_loss="replay",
    ),
    "dealt": Scenario(dealt, drawn, updates=True, identity=["digit"]),
    "dealt-windows": Scenario(
        lambda: dealt(delay="5 hours", mode="append"), drawn, updates=False, begin=BEGIN
    ),
    "dealt-lost": Scenario(
        dealt, drawn, updates=True, identity=["digit"], on_checkpoint_loss="replay"
    ),
    "dealt-logged": Scenario(
        dealt, drawn, updates=True, identity=["digit"], on_checkpoint_loss="changelog"
    ),
}
