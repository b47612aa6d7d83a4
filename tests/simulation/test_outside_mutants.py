"""Faults in how rows are shown outside of Kafka, planted one at a time: each must be found."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

from processor.engine.commit import protocol
from processor.engine.commit.committer import Commit, Committer
from processor.engine.commit.protocol import Outcome, Step, Verdict
from processor.engine.commit.task import Task
from processor.engine.running import making
from processor.engine.running.outside import Outside
from processor.errors import ProcessorError
from processor.model.log import Committed
from processor.model.manifest import Manifest
from tests.outside import shaken

SEEDS = 12


def files_are_named_before_the_commit(m):
    def wrong(table):
        right = protocol.with_files(table)
        return {
            **right,
            Step.FLUSH: {**right[Step.FLUSH], Outcome.DONE: Step.RENAME},
            Step.RENAME: {Outcome.DONE: Step.COMMIT},
            Step.COMMIT: {**right[Step.COMMIT], Outcome.DONE: Verdict.ADOPT},
            Step.REFRESH: {**right[Step.REFRESH], Outcome.DONE: Verdict.ADOPT},
            Step.INQUIRE: {**right[Step.INQUIRE], Outcome.STAGED: Verdict.ADOPT},
        }

    m.setattr(making, "with_files", wrong)


def files_are_named_after_the_next_commit(m):
    right, waiting = Committer._rename, {}

    def wrong(self, work):
        before = waiting.get(id(self), ())
        waiting[id(self)] = work.files
        return right(self, replace(work, files=before))

    m.setattr(Committer, "_rename", wrong)


def files_are_not_named_by_who_takes_over(m):
    m.setattr(Outside, "recover", lambda *_: None)


def a_promise_is_not_read(m):
    m.setattr(Task, "intent", lambda _: None)


def a_promise_is_forgotten_after_an_abort(m):
    right = Committer.commit

    def wrong(self, work):
        done = right(self, work)
        if done.verdict in (Verdict.REDO, Verdict.MEND):
            for each in work.prepared:
                head = replace(Manifest.parse(each.task.base.metadata), intent=None)
                each.task.base = Committed(each.task.base.offset, str(head))
        return done

    m.setattr(Committer, "commit", wrong)


def functions_are_called_before_the_promise(m):
    call, commit = Outside._call, Outside.commit

    def early(self, work, result, parts, *others):
        for shown in result.shown:
            if shown.sink.startswith("call:"):
                call(self, shown, parts[shown.task], others[-1])
        return commit(self, work, result, parts, *others)

    m.setattr(Outside, "commit", early)
    m.setattr(Outside, "_call", lambda *_: None)


def a_promise_is_a_plain_commit_that_may_land_late(m):
    late, asked = [], [0]

    def landed(self):
        while late:
            offsets = late.pop()
            with suppress(ProcessorError):
                self._consumer.commit(offsets, 0.0)

    right = Committer.commit

    def commit(self, work):
        done = right(self, work)
        landed(self)
        return done

    def promise(self, work):
        asked[0] += 1
        if asked[0] % 4 == 0:  # no answer; asked for the head, the log has the base
            late.append(work.offsets())
            return Commit(Verdict.REDO)
        try:
            self._consumer.commit(work.offsets(), 0.0)
        except ProcessorError:
            return Commit(Verdict.REJOIN)
        return Commit(Verdict.ADOPT)

    m.setattr(Committer, "commit", commit)
    m.setattr(Committer, "promise", promise)


OF_FILES = (
    files_are_named_before_the_commit,
    files_are_named_after_the_next_commit,
    files_are_not_named_by_who_takes_over,
)
OF_CALLS = (
    a_promise_is_not_read,
    a_promise_is_forgotten_after_an_abort,
    functions_are_called_before_the_promise,
    a_promise_is_a_plain_commit_that_may_land_late,
)


@pytest.fixture(autouse=True)
def no_outages(monkeypatch):
    """No machine goes down here."""
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.mark.parametrize("mutant", OF_FILES + OF_CALLS, ids=lambda mutant: mutant.__name__)
def test_a_fault_in_what_is_shown_is_found(mutant, monkeypatch, tmp_path):
    mutant(monkeypatch)
    for seed in range(SEEDS):
        try:
            (tmp_path / str(seed)).mkdir()
            shaken(tmp_path / str(seed), seed, "files" if mutant in OF_FILES else "calls")
        except (AssertionError, ProcessorError):
            return
    pytest.fail(f"{SEEDS} seeds do not find it")
