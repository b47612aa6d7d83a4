"""The commit protocol as a table: what follows a step, by its outcome.

Exactly once::

    stage ─► guard ─► begin ─► produce ─► send offsets ─► flush ─► commit ─► ADOPT
      │        │                  └───────────┴──────────┴───┬───────┤
      │        │                       refused               ▼       │ no answer
      │        ▼                                   abort ─► REDO     ▼
      ▼       REDO                                             renew ─► inquire ─► ADOPT, REDO
    RELOAD                                                                         or RELOAD
    or MEND               fenced, at any step: REJOIN

- *stage* writes the checkpoint's delta, under an attempt's name that nobody else can write.
- *guard* asks what the broker does not: is the generation valid, is every partition still ours?
- *send offsets* goes before *flush*: its round trips pass while the outputs are on their way.
- *commit* is the only point that counts. The offsets that it commits name the delta.
- *renew* takes the transactional id anew, which ends whatever may still be on its way; *inquire*
  then reads which of the two it was.

At least once leaves out the transaction: the outputs are flushed, then the manifest is committed.
State is exact all the same; outputs may repeat.

Two more are for sinks outside of Kafka. Files (`with_files`) are written behind *stage*, under
names that no reader looks at, and *renamed* once they are committed, before anything else is. And a
batch that a function is called with is promised first (`PROMISE`): a transaction of its own commits
the offset unchanged, with the batch's end in its manifest. It has to be a transaction: a plain
commit without an answer may land later, over what came instead.

What the worker has to do then: ADOPT, the batch is the base; REDO, undo it in memory, go back to
the base, try again; MEND, the same, and first write anew from memory what the store has lost;
RELOAD, forget the tasks and load them from what is committed; REJOIN, forget everything and join
the group anew. RELOAD and REJOIN are always right while the store has all; the others are cheaper.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, TypeAlias


class Step(Enum):
    """What is done next."""

    STAGE = "stage"
    GUARD = "guard"
    BEGIN = "begin"
    PRODUCE = "produce"
    FLUSH = "flush"
    SEND_OFFSETS = "send-offsets"
    COMMIT = "commit"
    COMMIT_OFFSETS = "commit-offsets"
    ABORT = "abort"
    REFRESH = "refresh"
    RENEW = "renew"
    INQUIRE = "inquire"
    WRITE = "write"
    RENAME = "rename"


class Outcome(Enum):
    """How a step went."""

    DONE = "done"
    SLOW = "slow"
    LOST = "lost"
    GONE = "gone"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    FENCED = "fenced"
    STAGED = "staged"
    BASE = "base"
    OTHER = "other"


class Verdict(Enum):
    """What became of the batch."""

    ADOPT = "adopt"
    REDO = "redo"
    MEND = "mend"
    RELOAD = "reload"
    REJOIN = "rejoin"


Table: TypeAlias = Mapping[Step, Mapping[Outcome, Step | Verdict]]

_INQUIRE: Final[Mapping[Outcome, Step | Verdict]] = {
    Outcome.STAGED: Verdict.ADOPT,
    Outcome.BASE: Verdict.REDO,
    Outcome.OTHER: Verdict.RELOAD,
    Outcome.UNKNOWN: Verdict.REJOIN,
    Outcome.FENCED: Verdict.REJOIN,
}

EXACTLY_ONCE: Final[Table] = {
    Step.STAGE: {
        Outcome.DONE: Step.GUARD,
        Outcome.LOST: Verdict.RELOAD,
        Outcome.GONE: Verdict.MEND,
    },
    Step.GUARD: {Outcome.DONE: Step.BEGIN, Outcome.LOST: Verdict.REDO},
    Step.BEGIN: {
        Outcome.DONE: Step.PRODUCE,
        Outcome.REFUSED: Verdict.REJOIN,
        Outcome.UNKNOWN: Verdict.REJOIN,
        Outcome.FENCED: Verdict.REJOIN,
    },
    Step.PRODUCE: {
        Outcome.DONE: Step.SEND_OFFSETS,
        Outcome.REFUSED: Step.ABORT,
        Outcome.UNKNOWN: Step.ABORT,
        Outcome.FENCED: Verdict.REJOIN,
    },
    Step.SEND_OFFSETS: {
        Outcome.DONE: Step.FLUSH,
        Outcome.REFUSED: Step.ABORT,
        Outcome.UNKNOWN: Step.ABORT,
        Outcome.FENCED: Verdict.REJOIN,
    },
    Step.FLUSH: {
        Outcome.DONE: Step.COMMIT,
        Outcome.REFUSED: Step.ABORT,
        Outcome.UNKNOWN: Step.ABORT,
        Outcome.FENCED: Verdict.REJOIN,
    },
    Step.COMMIT: {
        Outcome.DONE: Verdict.ADOPT,
        # An answer that came late may have a late twin: a new epoch shuts it out.
        Outcome.SLOW: Step.REFRESH,
        Outcome.REFUSED: Step.ABORT,
        Outcome.UNKNOWN: Step.RENEW,
        Outcome.FENCED: Verdict.REJOIN,
    },
    Step.ABORT: {
        Outcome.DONE: Verdict.REDO,
        Outcome.REFUSED: Verdict.REJOIN,
        Outcome.UNKNOWN: Verdict.REJOIN,
        Outcome.FENCED: Verdict.REJOIN,
    },
    Step.REFRESH: {
        Outcome.DONE: Verdict.ADOPT,
        Outcome.REFUSED: Verdict.REJOIN,
        Outcome.UNKNOWN: Verdict.REJOIN,
        Outcome.FENCED: Verdict.REJOIN,
    },
    Step.RENEW: {
        Outcome.DONE: Step.INQUIRE,
        Outcome.REFUSED: Verdict.REJOIN,
        Outcome.UNKNOWN: Verdict.REJOIN,
        Outcome.FENCED: Verdict.REJOIN,
    },
    Step.INQUIRE: _INQUIRE,
}

AT_LEAST_ONCE: Final[Table] = {
    Step.STAGE: {
        Outcome.DONE: Step.GUARD,
        Outcome.LOST: Verdict.RELOAD,
        Outcome.GONE: Verdict.MEND,
    },
    Step.GUARD: {Outcome.DONE: Step.PRODUCE, Outcome.LOST: Verdict.REDO},
    Step.PRODUCE: {
        Outcome.DONE: Step.FLUSH,
        Outcome.REFUSED: Verdict.REDO,
        Outcome.UNKNOWN: Verdict.REDO,
        Outcome.FENCED: Verdict.REJOIN,
    },
    Step.FLUSH: {
        Outcome.DONE: Step.COMMIT_OFFSETS,
        Outcome.REFUSED: Verdict.REDO,
        Outcome.UNKNOWN: Verdict.REDO,
        Outcome.FENCED: Verdict.REJOIN,
    },
    Step.COMMIT_OFFSETS: {
        Outcome.DONE: Verdict.ADOPT,
        Outcome.REFUSED: Step.INQUIRE,
        Outcome.UNKNOWN: Step.INQUIRE,
        Outcome.FENCED: Verdict.REJOIN,
    },
    Step.INQUIRE: _INQUIRE,
}


def with_files(table: Table) -> Table:
    """The table for batches that write files too.

    >>> with_files(EXACTLY_ONCE)[Step.COMMIT][Outcome.DONE]
    <Step.RENAME: 'rename'>
    """
    named = {
        step: {
            outcome: Step.RENAME if following is Verdict.ADOPT else following
            for outcome, following in row.items()
        }
        for step, row in table.items()
    }
    return {
        **named,
        Step.STAGE: {**named[Step.STAGE], Outcome.DONE: Step.WRITE},
        Step.WRITE: {Outcome.DONE: Step.GUARD},
        Step.RENAME: {Outcome.DONE: Verdict.ADOPT},
    }


PROMISE: Final[Table] = {
    **{
        step: EXACTLY_ONCE[step]
        for step in (Step.GUARD, Step.COMMIT, Step.ABORT, Step.REFRESH, Step.RENEW, Step.INQUIRE)
    },
    Step.BEGIN: {**EXACTLY_ONCE[Step.BEGIN], Outcome.DONE: Step.SEND_OFFSETS},
    Step.SEND_OFFSETS: {**EXACTLY_ONCE[Step.SEND_OFFSETS], Outcome.DONE: Step.COMMIT},
}
