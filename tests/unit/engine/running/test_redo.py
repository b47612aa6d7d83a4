import pytest

from processor.engine.running.redo import REDO_MAX, check, fenced
from processor.errors import (
    AbortableError,
    FencedError,
    IdentityTakenError,
    LogError,
    RetriableError,
    StateLostError,
)
from processor.model.log import TopicPartition

A = TopicPartition("in", 0)


def test_a_batch_may_fail_a_few_times():
    check("rides", REDO_MAX, AbortableError("no room", remedy="make some"), {A})


@pytest.mark.parametrize(("remedy", "sort"), [("", RetriableError), ("make some", LogError)])
def test_what_passes_by_itself_is_tried_again_and_what_has_a_remedy_is_not(remedy, sort):
    refusal = AbortableError("no room", remedy=remedy)
    with pytest.raises(LogError, match="failed 6 times in a row, with: no room") as caught:
        check("rides", REDO_MAX + 1, refusal, ())
    assert type(caught.value) is sort
    assert caught.value.remedy == remedy


def test_a_store_that_loses_again_what_it_was_given_is_told():
    with pytest.raises(StateLostError, match=r"gone again 6 times in a row, for in\[0\]"):
        check("rides", REDO_MAX + 1, None, {A})


def test_a_batch_that_only_came_too_late_is_tried_on():
    check("rides", REDO_MAX + 1, None, ())


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("rides.host-0: flushing", "rides.host-0: flushing"),
        ("rides:host-0: flushing", "rides:host-0: flushing"),
        ("rides/rides.host-0: taken", "rides/rides.host-0: taken"),
        ("no answer", "rides.host-0: no answer"),
    ],
)
def test_an_error_that_makes_a_worker_join_anew_names_it_once(said, told):
    error = fenced(LogError(said, remedy="look"), "rides.host-0", "rides:host-0")
    assert (type(error), error.message, error.remedy) == (FencedError, told, "look")


def test_who_was_shut_out_by_a_twin_is_told_so():
    error = fenced(IdentityTakenError("rides:host-0: taken"), "rides.host-0", "rides:host-0")
    assert type(error) is IdentityTakenError
