"""The campaign: ``python -m tests.campaign --minutes 30 --seed N [--no-controls] [--keep DIR]``.

``--short`` is what runs with the tests: milder faults, a good minute. Exit code 0: all is right; 1:
something is amiss; 4: this machine has no broker or no Redis to try it on.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.campaign import report
from tests.campaign.campaign import Campaign, Form, Over
from tests.campaign.collect import Reader
from tests.campaign.controls import ListControls, for_real
from tests.campaign.judge import Judged, judge
from tests.campaign.terms import PARTITIONS, RIDES, STAGES
from tests.services import Unavailable

UNAVAILABLE = 4
SHORT = Form(
    seconds=30,
    deadline_s=45,
    longest_s=3,
    kinds=[
        "worker killed", "worker stopped", "owner changed", "deltas deleted", "snapshots altered",
        "index deleted", "Redis killed, its file's tail cut", "Redis stands still",
        "broker stands still", "worker leaves and comes back", "data lost while nobody has it",
    ],
    each=(2, 5),
    calm=(0.2, 1),
    stops_each=2,
    often=8,
)  # fmt: skip


def say(text: str) -> None:
    print(text, flush=True)


def told(text: str) -> None:
    say(f"{time.strftime('%H:%M:%S')} {text}")


def judged(campaign: Campaign, over: Over, *, controls: bool) -> tuple[Judged, dict[str, bool]]:
    """Everything read back and judged, with the controls on the same lists."""
    history, servers = campaign.history, campaign.broker.bootstrap_servers
    reader, lists, all_, found = Reader(servers), ListControls(), Judged(), {}
    topics = [topic for stage in STAGES for topic in stage.topics()]
    try:
        if left := reader.open_transactions(topics, PARTITIONS):
            history.find("hung", f"transactions stay open: {left}")
        for compared in judge(reader, STAGES, RIDES, all_):
            if controls:
                lists.look(compared)
        history.findings += report.findings(all_.wrong)
        check_ends(campaign, reader, all_, over)
        if controls:
            found = lists.found | for_real(
                campaign.servers, servers, campaign.directory, reader, campaign.seed
            )
            missed = [name for name, caught in found.items() if not caught]
            for name in missed + lists.wanting(topics):
                history.find("control", f"not caught: {name}")
    finally:
        reader.close()
    return all_, found


def check_ends(campaign: Campaign, reader: Reader, all_: Judged, over: Over) -> None:
    """What was acknowledged is there, and what is there is committed."""
    sent = {int(p): n for p, n in over.sent.get("acknowledged", {}).items()}
    for p in range(PARTITIONS):
        if sent.get(p, 0) > all_.acknowledged[p]:
            campaign.history.find(
                "harness", f"{RIDES}[{p}] has {all_.acknowledged[p]} of {sent[p]} acknowledged"
            )
    for stage in STAGES:
        at = reader.committed(stage.app, RIDES, PARTITIONS)
        short = {p: at[p] for p in at if at[p] < all_.acknowledged[p]}
        if short:
            campaign.history.find("hung", f"{stage.app} rests before the input's end: {short}")


def run(form: Form, seed: int, directory: Path, *, controls: bool) -> int:
    """One campaign; how many findings there are."""
    began = time.monotonic()
    with ExitStack() as stack:
        campaign = Campaign(form, seed, directory, told, stack)
        over = campaign.run()
        told("the workers rest; the outputs are read and judged")
        all_, found = judged(campaign, over, controls=controls)
        history = campaign.history
        if history.findings:
            say(report.details(history, directory))
        seconds = time.monotonic() - began
        last = f"seed {seed}, {seconds:.0f} s"
        say(report.report(history, all_, over.stalls, found, last))
        return len(history.findings)


def main() -> int:
    if os.getpgid(0) != os.getpid():
        # Else the end of the shell that started it would wake servers that are stopped.
        os.setsid()
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="for how long faults are drawn")
    parser.add_argument("--short", action="store_true", help="the form that runs with the tests")
    parser.add_argument("--seed", type=int, help="what is drawn; a new one if left out")
    parser.add_argument(
        "--no-controls", action="store_true", help="leave out the oracle's controls"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where logs are kept in any case")
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    form = SHORT if options.short else Form(options.minutes * 60, deadline_s=120)
    directory = options.keep or Path(tempfile.mkdtemp(prefix=f"campaign-{seed}-"))
    directory.mkdir(parents=True, exist_ok=True)
    told(f"seed {seed}, logs in {directory}")
    findings = 1
    try:
        findings = run(form, seed, directory.resolve(), controls=not options.no_controls)
    except Unavailable as error:
        say(f"no broker or no Redis here: {error}")
        findings = 0
        return UNAVAILABLE
    finally:
        if not findings and not options.keep:
            shutil.rmtree(directory, ignore_errors=True)
    return int(findings > 0)


if __name__ == "__main__":
    sys.exit(main())
