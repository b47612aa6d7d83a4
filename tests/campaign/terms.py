"""What the topologies, their input and the oracle agree on: plain values, nobody's code."""

from __future__ import annotations

from dataclasses import dataclass

PARTITIONS = 12
WINDOW_S, DELAY_S = 60, 120
RIDES = "rides"
SHAPES = ("windowed", "stateless")


@dataclass(frozen=True)
class Stage:
    """One topology as it is run here: its application id and its topics."""

    shape: str
    app: str
    input: str

    @property
    def output(self) -> str:
        return f"{self.app}-out"

    @property
    def dead(self) -> str:
        return f"{self.app}-dead"

    @property
    def late(self) -> str | None:
        return f"{self.app}-late" if self.shape == "windowed" else None

    def topics(self) -> list[str]:
        """What it writes."""
        return [topic for topic in (self.output, self.dead, self.late) if topic]

    def sets(self) -> list[str]:
        """Its parameters, as options of the command."""
        names = ["app", "input", "output", "dead"] + ["late"] * (self.late is not None)
        return [part for name in names for part in ("--set", f"{name}={getattr(self, name)}")]


STAGES = tuple(Stage(shape, shape, RIDES) for shape in SHAPES)
