from collections import deque

import pytest

from processor.engine.commit.protocol import (
    AT_LEAST_ONCE,
    EXACTLY_ONCE,
    PROMISE,
    Outcome,
    Step,
    Table,
    Verdict,
    with_files,
)

FILES = with_files(EXACTLY_ONCE)
TABLES = pytest.mark.parametrize(
    "table", [EXACTLY_ONCE, AT_LEAST_ONCE, FILES], ids=["exactly", "least", "files"]
)
Path = tuple[tuple[Step, Outcome], ...]


def paths(table: Table, first: Step = Step.STAGE) -> list[tuple[Path, Verdict]]:
    """Every way through the table, with its verdict."""
    found: list[tuple[Path, Verdict]] = []
    waiting: deque[tuple[Path, Step]] = deque([((), first)])
    while waiting:
        taken, step = waiting.popleft()
        for outcome, following in table[step].items():
            path = (*taken, (step, outcome))
            if isinstance(following, Verdict):
                found.append((path, following))
            else:
                assert len(path) < 20, "the table goes in circles"
                waiting.append((path, following))
    return found


@TABLES
def test_every_way_ends_in_a_verdict(table):
    assert {verdict for _, verdict in paths(table)} == set(Verdict)


@TABLES
def test_every_step_of_the_table_can_be_reached(table):
    assert {step for path, _ in paths(table) for step, _ in path} == set(table)


def test_nothing_is_committed_unless_all_was_staged_guarded_flushed_and_its_offsets_sent():
    before = [Step.STAGE, Step.GUARD, Step.BEGIN, Step.PRODUCE, Step.SEND_OFFSETS, Step.FLUSH]
    for path, _ in paths(EXACTLY_ONCE):
        steps = [step for step, _ in path]
        if Step.COMMIT in steps:
            at = steps.index(Step.COMMIT)
            assert steps[:at] == before
            assert all(outcome is Outcome.DONE for _, outcome in path[:at])


def test_a_batch_is_adopted_only_after_its_commit_or_after_the_log_showed_it():
    for table, commit in ((EXACTLY_ONCE, Step.COMMIT), (AT_LEAST_ONCE, Step.COMMIT_OFFSETS)):
        for path, verdict in paths(table):
            if verdict is Verdict.ADOPT:
                committed = {(commit, Outcome.DONE), (commit, Outcome.SLOW)} & set(path)
                assert committed or path[-1] == (Step.INQUIRE, Outcome.STAGED)


def test_a_batch_is_redone_only_when_it_is_certain_that_it_did_not_happen():
    for path, verdict in paths(EXACTLY_ONCE):
        if verdict is Verdict.REDO:
            assert path[-1] in {
                (Step.GUARD, Outcome.LOST),
                (Step.ABORT, Outcome.DONE),
                (Step.INQUIRE, Outcome.BASE),
            }


def test_an_unanswered_commit_is_never_followed_by_an_abort():
    for path, _ in paths(EXACTLY_ONCE):
        if (Step.COMMIT, Outcome.UNKNOWN) in path:
            at = path.index((Step.COMMIT, Outcome.UNKNOWN))
            assert Step.ABORT not in [step for step, _ in path[at:]]


@TABLES
def test_being_fenced_always_means_joining_anew(table):
    for path, verdict in paths(table):
        if any(outcome is Outcome.FENCED for _, outcome in path):
            assert verdict is Verdict.REJOIN


def test_files_are_written_before_anything_is_begun_and_named_last_and_only_behind_a_commit():
    for path, verdict in paths(FILES):
        steps = [step for step, _ in path]
        if Step.BEGIN in steps:
            assert steps.index(Step.WRITE) < steps.index(Step.BEGIN)
        if verdict is Verdict.ADOPT:
            assert path[-1] == (Step.RENAME, Outcome.DONE)
            committed = {(Step.COMMIT, Outcome.DONE), (Step.COMMIT, Outcome.SLOW)} & set(path)
            assert committed or path[-2] == (Step.INQUIRE, Outcome.STAGED)
        else:
            assert Step.RENAME not in steps


def test_a_promise_is_a_transaction_of_offsets_alone_and_has_the_ways_back_of_a_commit():
    found = paths(PROMISE, Step.GUARD)
    assert {step for path, _ in found for step, _ in path} == set(PROMISE)
    assert {verdict for _, verdict in found} == set(Verdict) - {Verdict.MEND}
    for path, _ in found:
        steps = [step for step, _ in path]
        if Step.COMMIT in steps:
            before = [Step.GUARD, Step.BEGIN, Step.SEND_OFFSETS]
            assert steps[: steps.index(Step.COMMIT)] == before
    unknown = (Step.COMMIT, Outcome.UNKNOWN)

    def ways(every):
        return {path[path.index(unknown) :] for path, _ in every if unknown in path}

    assert ways(found) == ways(paths(EXACTLY_ONCE))
