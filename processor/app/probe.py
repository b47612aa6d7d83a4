"""Where the environment asks a process to die, for tests that look at what comes after."""

from __future__ import annotations

import os
from collections.abc import Callable


def crash_probe(app: str = "") -> Callable[[str], None]:
    """Die at a step, where the environment asks for it: ``PROCESSOR_CRASH_AT=before:commit#3``.

    With ``@APP`` behind it only workers of that application do.
    """
    asked, _, of = os.environ.get("PROCESSOR_CRASH_AT", "").partition("@")
    wanted, _, count = asked.partition("#")
    if not wanted or of not in ("", app):
        return lambda _: None
    left = int(count or 1)

    def probe(step: str) -> None:
        nonlocal left
        left -= step == wanted
        if not left:
            os._exit(70)

    return probe
