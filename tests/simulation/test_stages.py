"""The protocol of stages in its models: what is sound holds, and what is not is found."""

import pytest

from tests.simulation.variants import VARIANTS, taught

EVERY = [
    pytest.param(variant, id=f"{model}: {name}")
    for model, (_, variants) in VARIANTS.items()
    for name, variant in variants.items()
]
SOUND = [each for each in EVERY if not each.values[0].breaks]
UNSOUND = [each for each in EVERY if each.values[0].breaks]


@pytest.mark.parametrize("variant", SOUND)
def test_every_reachable_state_keeps_the_invariants(variant, record_property):
    states, wrong = variant.tried()
    record_property("states", states)
    assert not wrong
    assert states > 3_000


@pytest.mark.parametrize("variant", UNSOUND)
def test_a_variant_that_is_not_sound_is_found_by_its_invariant(variant):
    _, wrong = variant.tried()
    assert wrong.startswith(f"{variant.breaks}: "), wrong or "every state keeps the invariants"


@pytest.mark.parametrize("model", VARIANTS)
def test_a_model_tells_what_each_of_its_variants_teaches(model):
    of, variants = VARIANTS[model]
    assert taught(of) == set(variants)
    assert {variant.of for variant in variants.values()} == {of}


@pytest.mark.parametrize("model", VARIANTS)
def test_each_switch_of_a_model_is_turned_by_a_variant(model):
    of, variants = VARIANTS[model]
    switches = {
        name for name, value in vars(of.Model).items()
        if not name.startswith("_") and not callable(value)
    }  # fmt: skip
    assert set().union(*(variant.changes for variant in variants.values())) == switches
