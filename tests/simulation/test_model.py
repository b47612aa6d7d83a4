"""The invariants over every reachable state, and the guards without which they fail."""

import pytest

from processor.engine.commit.protocol import EXACTLY_ONCE, Outcome, Step, Verdict
from tests.nightly import further
from tests.simulation.model import Bounds, Model, Violation, explore

BOUNDS = {
    "kills": Bounds(inputs=2, crashes=2, moves=1, attempts=2, losses=0),
    "rebalances": Bounds(inputs=2, crashes=0, moves=3, attempts=2, losses=0),
    "long": Bounds(inputs=3, crashes=0, moves=1, attempts=3, losses=0),
    "losses": Bounds(inputs=2, crashes=1, moves=1, attempts=2, losses=1),
    "owners": Bounds(inputs=2, crashes=0, moves=1, attempts=2, losses=0, disowned=2),
    "zombies": Bounds(inputs=2, crashes=0, moves=2, attempts=3, losses=0),
}
# Many states, and no other shows less.
AT_LENGTH = (
    "zombies",
    "rebalances",
    "anybody collects, newer snapshots too",
    "a late load takes what was collected for lost",
)


@pytest.mark.parametrize("name", [further(n) if n in AT_LENGTH else n for n in BOUNDS])
def test_every_reachable_state_keeps_the_invariants(name, record_property):
    states = explore(Model(BOUNDS[name]))
    record_property("states", states)
    print(f"{name}: {states} states")  # noqa: T201 - the number is part of what is shown
    assert states > 1_000


def table(step: Step, outcome: Outcome, following: Step | Verdict) -> dict:
    return {**EXACTLY_ONCE, step: {**EXACTLY_ONCE[step], outcome: following}}


def mutant(**changes) -> type[Model]:
    return type("Mutant", (Model,), changes)


MUTANTS = {
    "commit without sending offsets": mutant(table=table(Step.PRODUCE, Outcome.DONE, Step.FLUSH)),
    "commit although sending offsets failed": mutant(
        table=table(Step.SEND_OFFSETS, Outcome.REFUSED, Step.FLUSH)
    ),
    "commit although a record was lost": mutant(
        table=table(Step.FLUSH, Outcome.REFUSED, Step.COMMIT)
    ),
    "redo what may have been committed": mutant(
        table=table(Step.COMMIT, Outcome.UNKNOWN, Verdict.REDO)
    ),
    "adopt what may not have been committed": mutant(
        table=table(Step.COMMIT, Outcome.UNKNOWN, Verdict.ADOPT)
    ),
    "adopt what was aborted": mutant(table=table(Step.ABORT, Outcome.DONE, Verdict.ADOPT)),
    "generations are not looked at": mutant(guarded=False),
    "positions are read while a transaction is open": mutant(stable_reads=False),
    "collect before the commit": mutant(collects_after_commit=False),
    "a broken chain is not noticed": mutant(checks_the_chain=False),
    "reading goes on through a reload": mutant(
        shuts_on_reload=False, forgets_when_it_opens=False, checks_continuity=False
    ),
    "reading goes on through a reload, and continuity is checked": mutant(
        shuts_on_reload=False, forgets_when_it_opens=False
    ),
    "anybody collects, newer snapshots too": mutant(
        collects_as_the_owner=False, spares_newer_snapshots=False
    ),
    "a late load takes what was collected for lost": mutant(
        looks_again_before_it_calls_state_lost=False
    ),
}


# Where a fault shows soonest; the others show at once wherever something is lost.
SHOWS_IN = {
    "generations are not looked at": "zombies",
    "positions are read while a transaction is open": "zombies",
    "reading goes on through a reload": "owners",
    "reading goes on through a reload, and continuity is checked": "owners",
}


@pytest.mark.parametrize("name", [further(n) if n in AT_LENGTH else n for n in MUTANTS])
def test_without_a_guard_an_invariant_fails(name):
    found = []
    first = SHOWS_IN.get(name, "losses")
    for bounds in sorted(BOUNDS, key=lambda each: each != first):
        try:
            explore(MUTANTS[name](BOUNDS[bounds]))
        except Violation as violation:
            found.append(str(violation).splitlines()[0])
            break
    assert found, "every state keeps the invariants without it"
    assert found[0].startswith("I")
