"""An internal topic that is trimmed, in a box: what may rows still be needed for?

The task behind reads rows, and commits; its state is a chain of blobs in the store: a snapshot
now and then, which the next commit names, and deltas. The topic is trimmed by a rule. The worker
may be killed, and the store may lose the blobs from some row on; then a policy heals the state.

Judged is J4: rows leave an internal topic only when no committed manifest, nor its heal policy, can
need them. What the variants teach; those that hold:

kept for a replay           under `replay` the topic is the state's source: it is not trimmed
behind the snapshot         with a changelog rows behind the snapshot of the manifest go ...
stopped instead             ... or where lost state stops the run, by name

and those that do not, each with the invariant that fails:

replayed from the snapshot  J4: the snapshot may be what was lost
behind the committed        J4: the deltas behind the snapshot may be what was lost
before the commit           J4: a snapshot that no manifest names is not there yet
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.simulation.model import Violation

NONE = -1


class Manifest(NamedTuple):
    """The committed position, and the row behind which its snapshot was written."""

    offset: int = 0
    snapshot: int = 0


class State(NamedTuple):
    """Everything there is. ``position`` is `NONE` while the worker has no state."""

    manifest: Manifest = Manifest()
    low: int = 0
    position: int = NONE
    written: int = 0
    snapshots: frozenset[int] = frozenset()
    deltas: frozenset[int] = frozenset()
    crashes: int = 0
    losses: int = 0
    stopped: bool = False


@dataclass(frozen=True)
class Bounds:
    """How many rows there are, and how much may happen."""

    rows: int = 4
    crashes: int = 2
    losses: int = 1


class Model:
    """The rules, with switches that the variants turn."""

    policy = "changelog"  # "replay", "stop"
    trims = "snapshot"  # "nothing", "committed", "written"

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds

    def start(self) -> State:
        return State()

    def following(self, s: State) -> Iterator[tuple[str, State]]:
        if s.stopped:
            return
        if s.position == NONE:
            yield "the worker loads", self._loaded(s)
        else:
            yield from self._going(s)
            if s.crashes < self.bounds.crashes:
                dead = s._replace(position=NONE, written=s.manifest.snapshot)
                yield "the worker is killed", dead._replace(crashes=s.crashes + 1)
        if s.losses < self.bounds.losses:
            for first in range(self.bounds.rows + 1):
                kept = frozenset(at for at in s.snapshots if at < first)
                deltas = frozenset(at for at in s.deltas if at < first)
                yield (
                    f"the store loses what is from {first} on",
                    s._replace(snapshots=kept, deltas=deltas, losses=s.losses + 1),
                )

    def _going(self, s: State) -> Iterator[tuple[str, State]]:
        offset = s.manifest.offset
        if s.position < self.bounds.rows:
            if s.position < s.low:
                raise Violation(f"J4: row {s.position} is to be read, {s.low} is the first")
            yield f"row {s.position} is read", s._replace(position=s.position + 1)
        if offset < s.position:
            committed = s._replace(manifest=Manifest(s.position, s.written))
            deltas = s.deltas.union(range(offset, s.position))
            yield f"{s.position} is committed", committed._replace(deltas=deltas)
        if s.written < s.position:
            written = s._replace(written=s.position, snapshots=s.snapshots | {s.position})
            yield f"a snapshot of {s.position} is written", written
        behind = {
            "nothing": 0, "snapshot": s.manifest.snapshot, "committed": offset,
            "written": s.written,
        }[self.trims]  # fmt: skip
        if behind > s.low:
            yield f"the topic is trimmed to {behind}", s._replace(low=behind)

    def _loaded(self, s: State) -> State:
        """The state at the committed position, from blobs or by the policy."""
        offset, base = s.manifest
        chain = set(range(base, offset))
        loaded = s._replace(position=offset, written=base)
        if (base == 0 or base in s.snapshots) and chain <= s.deltas:
            return loaded
        if self.policy == "stop":
            return s._replace(stopped=True)
        if self.policy == "replay":
            whole = {at for at in s.snapshots | {0} if at <= offset}
            first = max(whole)
            while first in s.deltas:
                first += 1
            if first < offset and first < s.low:
                raise Violation(f"J4: row {first} is to be replayed, {s.low} is the first")
        return loaded._replace(snapshots=s.snapshots | {offset}, written=offset)

    def check(self, s: State) -> None:
        """What is committed has to be there to be read on."""
        if s.manifest.offset < s.low:
            raise Violation(f"J4: {s.low} is the first row, {s.manifest.offset} is committed")
