"""What the simulator runs here."""

import random
import shutil
import weakref
from collections import Counter
from tempfile import mkdtemp

import orjson
import polars as pl

from processor import Json, Topology
from processor import functions as F
from processor.plan.nodes import Call
from processor.testing import TestDriver
from processor.testing.simulator import Scenario
from tests.topologies import dealt, paired, stateless, totals, windowed


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


class Shown:
    """Files, and a function that is told of changed totals: what a run has shown there."""

    def __init__(self) -> None:
        self.folder = mkdtemp(prefix="simulated-")
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.calls: dict[object, Counter[object]] = {}
        self.wrong = ""

    def save(self, frame, epoch, batch) -> None:
        rows = Counter(frame.rows())
        if self.calls.setdefault(batch.key, rows) != rows:
            self.wrong = f"{batch} was shown with other rows"

    def last(self) -> dict[object, object]:
        ordered = sorted(self.calls, key=lambda key: key[3])
        return {row[0]: row for key in ordered for row in self.calls[key]}

    def topology(self) -> Topology:
        app = Topology("shown")
        columns = {"k": pl.String, "t": pl.Datetime("us"), "n": pl.Int64}
        rows = app.read.kafka("rides", format=Json(columns), partitioned_by="k")
        rows.write.files(self.folder)
        totals = rows.group_by("k").agg(n=F.count(), s=F.sum("n"))
        totals.write.foreach_batch(self.save, per="task", mode="update")
        totals.write.kafka("totals", key="k", mode="update")
        return app


def shown_of(driver: TestDriver) -> tuple[Shown, Counter[object]]:
    (call,) = (s.outside for s in driver.plan.sinks if isinstance(s.outside, Call))
    shown = call.function.__self__
    return shown, Counter(map(str, driver.files(shown.folder)))


def outside(driver: TestDriver, quiet: TestDriver) -> str:
    """Each row in the files once; each epoch with one set of rows; in the end the same totals."""
    (shown, files), (other, wanted) = shown_of(driver), shown_of(quiet)
    if files != wanted:
        return f"files: {wanted - files} missing, {files - wanted} too many"
    if shown.wrong or shown.last() != other.last():
        return shown.wrong or f"totals: {shown.last()} instead of {other.last()}"
    return ""


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
    "shown": Scenario(
        lambda: Shown().topology(), drawn, updates=True, identity=["k"], outside=outside
    ),
    "shown-lost": Scenario(
        lambda: Shown().topology(),
        drawn,
        updates=True,
        identity=["k"],
        outside=outside,
        on_checkpoint_loss="replay",
    ),
    "dealt": Scenario(dealt, drawn, updates=True, identity=["digit"]),
    "dealt-windows": Scenario(
        lambda: dealt(delay="5 hours", mode="append"), drawn, updates=False, begin=BEGIN
    ),
    "paired": Scenario(paired, drawn, updates=False, begin=BEGIN),
    "paired-lost": Scenario(paired, drawn, updates=False, begin=BEGIN, on_checkpoint_loss="replay"),
    "dealt-lost": Scenario(
        dealt, drawn, updates=True, identity=["digit"], on_checkpoint_loss="replay"
    ),
    "dealt-logged": Scenario(
        dealt, drawn, updates=True, identity=["digit"], on_checkpoint_loss="changelog"
    ),
}
