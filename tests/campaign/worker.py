"""``processor run`` with planted behaviour: ``python -m tests.campaign.worker run ...``

``CAMPAIGN_STOPS``    places at which it stops itself (SIGSTOP): see `tests.campaign.stops`
``CAMPAIGN_CHAIN``    so many deltas make a snapshot due, that there be more of them
``CAMPAIGN_MUTATE``   a topic's outputs are lost, doubled or changed: see `tests.campaign.mutant`

On SIGUSR1 it writes where all its threads stand.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys

from redis.connection import AbstractConnection

from tests.campaign import mutant
from tests.campaign.child import die_with_parent
from tests.campaign.commands import commands
from tests.campaign.stops import VARIABLE, Counts, Stop, read

SAID = "campaign: stops at "
KEY_BYTES_MAX = 400


def halt(stop: Stop) -> None:
    """Say where, and stop; what comes after it is done when somebody sends SIGCONT."""
    os.write(2, f"{SAID}{stop}\n".encode())
    os.kill(os.getpid(), signal.SIGSTOP)


def _plant_steps(counts: Counts) -> None:
    from processor.app import worker as app

    crash = app.crash_probe

    def make(of: str = ""):
        inner = crash(of)

        def probe(step: str) -> None:
            inner(step)
            if stop := counts.came(f"step {step}"):
                halt(stop)

        return probe

    app.crash_probe = make


def _plant_commands(counts: Counts) -> None:
    """Every command goes through one method, alone or many at once."""
    send = AbstractConnection.send_packed_command

    def send_with_stops(self, command, check_health=True):  # noqa: FBT002 - as it is called
        if not counts.waits_for_redis():
            return send(self, command, check_health)
        parts = [command] if isinstance(command, str | bytes) else command
        data = b"".join(p.encode() if isinstance(p, str) else bytes(p) for p in parts)
        done = 0
        for at, stop in _due(counts, data):
            if at > done:
                send(self, [data[done:at]], check_health)
                check_health, done = False, at
            halt(stop)
        if done < len(data):
            send(self, [data[done:]], check_health)
        return None

    AbstractConnection.send_packed_command = send_with_stops


def _due(counts: Counts, data: bytes) -> list[tuple[int, Stop]]:
    """Where in the bytes to stop, in their order."""
    due = []
    for start, end, words in commands(data):
        keys = [word for word in words[1:] if len(word) < KEY_BYTES_MAX]
        places = {"before": start, "after": end, "within": (start + end) // 2}
        name = words[0].decode(errors="replace").upper()
        due += [(places[side], stop) for stop, side in counts.sent(name, keys)]
    return sorted(due, key=lambda pair: pair[0])


def main() -> None:
    die_with_parent()
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    mutant.plant(os.environ.get(mutant.VARIABLE, ""))
    counts = Counts(read(os.environ.get(VARIABLE, "")))
    _plant_steps(counts)
    _plant_commands(counts)
    if length := os.environ.get("CAMPAIGN_CHAIN"):
        from processor.engine.commit import checkpoint

        checkpoint.CHAIN_LENGTH_MAX = int(length)
    from processor.__main__ import main as processor

    sys.argv[0] = "processor"
    processor()


if __name__ == "__main__":
    main()
