"""The steps at which a test driver can kill or stall a worker."""

from __future__ import annotations

import difflib
from typing import Final

from processor.engine.commit.protocol import PROMISE, Step
from processor.errors import ProcessorError
from processor.testing.faults import SteppedStore

_DONE: Final = (
    *(step.value for step in Step),
    *(f"intent-{step.value}" for step in PROMISE),
    *("acquire", "audit", "call", "clean", "collect", "intent", "migrate", "process", "snapshot"),
)
STEPS: Final = frozenset(
    {
        *(f"{when}:{step}" for step in _DONE for when in ("before", "after")),
        *SteppedStore.STEPS,
        *("after:adopt", "after:read", "heal"),
    }
)


def check_step(step: str) -> None:
    """Raise `ProcessorError` for a step that no worker comes to.

    >>> check_step("before:comit")
    Traceback (most recent call last):
    processor.errors.ProcessorError: no worker comes to the step 'before:comit'
      remedy: nearest: before:commit, before:commit-offsets, before:collect
    """
    if step in STEPS:
        return
    near = difflib.get_close_matches(step, sorted(STEPS)) or ["before:commit", "after:stage"]
    raise ProcessorError(
        f"no worker comes to the step {step!r}", remedy=f"nearest: {', '.join(near)}"
    )
