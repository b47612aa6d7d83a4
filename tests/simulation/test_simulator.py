import pytest

from processor.engine import checkpoint
from processor.testing.simulator import simulate
from tests.simulation.scenarios import SCENARIOS

SEEDS = 125


@pytest.fixture(autouse=True)
def short_chains(monkeypatch):
    """Snapshots and collection come often, so that crashes meet them."""
    monkeypatch.setattr(checkpoint, "CHAIN_LENGTH_MAX", 3)


@pytest.mark.parametrize("name", SCENARIOS)
def test_whatever_happens_outputs_and_state_are_those_of_a_quiet_run(name):
    for seed in range(SEEDS):
        guarantee = (
            "at-least-once" if not name.startswith("append") and seed % 5 == 4 else "exactly-once"
        )
        simulate(SCENARIOS[name], seed, guarantee)


def test_a_seed_gives_the_same_script_again():
    assert simulate(SCENARIOS["totals"], 7) == simulate(SCENARIOS["totals"], 7)
