"""Controls: what the oracle has to find, or its silence would mean nothing.

On the lists that were read: a record is taken out, put in twice, altered, in each topic. And for
real: workers whose client does so, while all is committed (`tests.campaign.mutant`).
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tests.campaign import child, mutant
from tests.campaign.campaign import OPTIONS, create
from tests.campaign.collect import Reader, Record
from tests.campaign.judge import Compared, Judged, judge
from tests.campaign.terms import SHAPES, Stage

LEAST = 3
RIDES = "control-rides"
SECONDS = 0.9
LIMIT_S = 120.0


def on_list(compared: Compared) -> Iterator[tuple[str, bool]]:
    """Each control on one list, and whether it was found."""
    records = list(compared.records)
    before = Counter(compared.judge(records))
    at = _last_of_a_group(records) if compared.update else len(records) // 2
    other = replace(records[at], value=mutant.changed(records[at].value))
    for how, altered in {
        "lost": records[:at] + records[at + 1 :],
        "doubled": [*records[: at + 1], *records[at:]],
        "changed": [*records[:at], other, *records[at + 1 :]],
    }.items():
        yield f"{compared.topic}, {how}", bool(Counter(compared.judge(altered)) - before)


def _last_of_a_group(records: Sequence[Record]) -> int:
    wanted = mutant.identity(records[len(records) // 2].value, None)
    return max(i for i, r in enumerate(records) if mutant.identity(r.value, None) == wanted)


class ListControls:
    """Runs them once for each topic, on the first list that has enough."""

    def __init__(self) -> None:
        self.found: dict[str, bool] = {}
        self._done: set[str] = set()

    def look(self, compared: Compared) -> None:
        if compared.topic not in self._done and len(compared.records) >= LEAST:
            self._done.add(compared.topic)
            self.found.update(on_list(compared))

    def wanting(self, topics: Sequence[str]) -> list[str]:
        """What was not found, and the topics that had too little to try it on."""
        missed = [name for name, found in self.found.items() if not found]
        return missed + [f"{topic}, no list to try" for topic in topics if topic not in self._done]


def for_real(
    servers: Sequence[str], bootstrap: str, directory: Path, reader: Reader, seed: int
) -> dict[str, bool]:
    """Two workers that publish wrongly over an input of their own; what of it was found."""
    stages = [Stage(shape, f"control-{shape}", RIDES) for shape in SHAPES]
    create(bootstrap, [RIDES, *(topic for stage in stages for topic in stage.topics())])
    args = [bootstrap, RIDES, f"{seed}:controls", SECONDS]
    _done(child.start("tests.campaign.feed", args, directory / "control-feed.log", {}))
    wanted = {
        stage: {
            topic: {how: 4 + 3 * i for i, how in enumerate(mutant.HOWS)} for topic in stage.topics()
        }
        for stage in stages
    }
    running = [_mutated(stage, servers, directory, wanted[stage]) for stage in stages]
    for process in running:
        _done(process)
    judged = Judged()
    for _ in judge(reader, stages, RIDES, judged):
        pass
    found = {(wrong.topic, wrong.kind) for wrong in judged.wrong}
    return {
        f"{topic}, {how}, by a worker": (topic, how) in found
        for stage in stages
        for topic in stage.topics()
        for how in mutant.HOWS
    }


def _mutated(
    stage: Stage, servers: Sequence[str], directory: Path, wanted
) -> subprocess.Popen[bytes]:
    args = ["run", f"tests.campaign.topologies:{stage.shape}", *stage.sets(), *servers, *OPTIONS]
    args += ["--until-caught-up", "--instance", "control"]
    env = {mutant.VARIABLE: json.dumps(wanted), "TMPDIR": str(directory)}
    return child.start("tests.campaign.worker", args, directory / f"{stage.app}.log", env)


def _done(process: subprocess.Popen[bytes]) -> None:
    try:
        code = process.wait(LIMIT_S)
    finally:
        process.kill()
        process.wait(10)
    if code != 0:
        raise RuntimeError(f"a process of the controls ended with {code}: {process.args}")
