"""The command itself, without a run."""

from __future__ import annotations

import sys
import textwrap

import pytest

from tests.mutation import survivors
from tests.mutation.__main__ import judge, sample
from tests.mutation.mutants import ROOT, Mutant, functions, modules, mutants
from tests.mutation.operators import REMOVE, operators
from tests.mutation.run import Tried, Worker, attempt, order
from tests.mutation.worker import function_of, plant

LISTED = survivors.entries()


@pytest.mark.nightly
def test_all_tests_can_be_collected_in_a_process_that_is_to_fork():
    assert Worker(1, services=False).close() == 0


def mutant(**parts: object) -> Mutant:
    known = {
        "module": "processor/state/slab.py", "function": "Slab.rows", "operator": REMOVE,
        "line": "go()", "to": "pass", "occurrence": 0, "at": 1,
    }  # fmt: skip
    return Mutant(**{**known, **parts})


@pytest.mark.parametrize("module", sorted({entry.module for entry in LISTED}))
def test_every_entry_names_a_line_of_a_function_of_a_module_that_is_mutated(module):
    assert module in modules()
    source = (ROOT / module).read_text(encoding="utf-8")
    places, lines = functions(source), source.splitlines()
    for entry in (entry for entry in LISTED if entry.module == module):
        first, last = places[entry.function]
        assert entry.line in [" ".join(line.split()) for line in lines[first - 1 : last]], entry


def test_every_entry_has_a_reason_in_a_sentence_and_stands_there_once():
    assert [e for e in LISTED if len(e.reason.split()) < 4 or not e.reason.endswith(".")] == []
    assert {entry.operator for entry in LISTED} <= operators().keys()
    keys = [(e.module, e.function, e.operator, e.line, e.to) for e in LISTED]
    assert len(keys) == len(set(keys))


def test_a_survivor_without_a_reason_fails_the_command_and_one_with_passes(monkeypatch, capsys):
    one = mutant()
    entry = survivors.Entry(*one.key(), "It is only faster.")
    monkeypatch.setattr(survivors, "entries", list)
    assert judge([one], [Tried(one, "survived")]) == 1
    assert survivors.as_entry(one) in capsys.readouterr().out
    assert judge([one], [Tried(one, "unreached")]) == 1
    assert judge([one], [Tried(one, "killed")]) == 0
    monkeypatch.setattr(survivors, "entries", lambda: [entry])
    assert judge([one], [Tried(one, "survived")]) == 0
    assert "no longer" not in capsys.readouterr().out


def test_entries_that_are_about_nothing_any_more_are_told(monkeypatch, capsys):
    one, other = mutant(), mutant(line="come()")
    entry = survivors.Entry(*other.key(), "It is only faster.")
    monkeypatch.setattr(survivors, "entries", lambda: [entry])
    judge([one], [Tried(one, "killed")])
    assert "no longer applies: processor/state/slab.py Slab.rows: come()" in capsys.readouterr().out
    judge([other], [Tried(other, "killed")])
    assert "found by now: processor/state/slab.py Slab.rows: come()" in capsys.readouterr().out


def test_the_form_in_which_a_survivor_is_told_is_that_of_the_list(tmp_path):
    path = tmp_path / "list.toml"
    one = mutant(line="""say("it's \\n")""")
    path.write_text(survivors.as_entry(one))
    (entry,) = survivors.entries(path)
    assert entry.tells_of(one)


def test_a_sample_is_the_same_for_a_seed_and_has_all_modules():
    every = [mutant(module=name, at=at) for name in "ab" for at in range(9)]
    drawn = sample(every, 2, seed=1)
    assert drawn == sample(every, 2, seed=1) != sample(every, 2, seed=2)
    assert [one.module for one in drawn] == ["a", "a", "b", "b"]


def test_tests_of_the_room_come_first_and_the_budget_is_kept():
    name = "processor/state/slab.py:Slab.rows"
    reach = {
        "tests/unit/engine/running/test_loop.py::a": (0.1, [name]),
        "tests/unit/state/test_codec.py::a": (0.2, [name]),
        "tests/unit/state/test_slab.py::slow": (0.9, [name]),
        "tests/unit/state/test_slab.py::quick": (0.3, [name]),
        "tests/unit/state/test_slab.py::other": (0.1, []),
    }
    assert order(mutant(), reach, 9) == [
        "tests/unit/state/test_slab.py::quick", "tests/unit/state/test_slab.py::slow",
        "tests/unit/state/test_codec.py::a", "tests/unit/engine/running/test_loop.py::a",
    ]  # fmt: skip
    assert order(mutant(), reach, 0.4) == [
        "tests/unit/state/test_slab.py::quick", "tests/unit/engine/running/test_loop.py::a"
    ]  # fmt: skip


class Answering:
    """A worker that answers from a list, and keeps the tests that it was to run."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def ask(self, order):
        self.asked.append([*order["tests"]])
        return self.answers.pop(0)


def test_a_test_that_fails_without_the_fault_too_finds_nothing_and_the_others_are_asked():
    (one, *_) = mutants("processor/engine/restore/traces.py")
    name = f"{one.module}:{one.function}"
    reach = {test: (0.1, [name]) for test in "abcd"}
    ill = [{"outcome": "killed", "by": test, "ill": True} for test in "abcd"]
    found = {"outcome": "killed", "by": "c", "ill": False}
    worker = Answering(*ill[:2], found)
    assert attempt(one, worker, reach, 9) == Tried(one, "killed", "c")
    assert worker.asked == [[*"abcd"], [*"bcd"], [*"cd"]]
    with pytest.raises(SystemExit, match="is their server well"):
        attempt(one, Answering(*ill[:3]), reach, 9)
    assert attempt(one, Answering(ill[0]), {"a": reach["a"]}, 9) == Tried(one, "survived")


def test_what_says_nothing_is_no_mutant():
    found = mutants("processor/engine/commit/task.py") + mutants(
        "processor/engine/restore/traces.py"
    )
    assert found
    assert {one.module for one in found} == {"processor/engine/restore/traces.py"}
    for one in found:
        assert one.line != one.to
        compile(one.code(), one.module, "exec")
        assert "LOOKED_AT: Final" not in one.line


def test_what_is_never_run_and_names_that_are_let_go_of_are_no_mutants(tmp_path, monkeypatch):
    text = textwrap.dedent("""
        def commit(self, keys, work):
            del work
            def one(key: str | None) -> int: return self.known[key]
            self.seconds[0] = self.clock() - 5
            del self.writing[keys[0]]
            return [one(key) or self.other(key) for key in keys]
    """)
    (tmp_path / "planted.py").write_text(text)
    monkeypatch.setattr("tests.mutation.mutants.ROOT", tmp_path)
    found = {one.line for one in mutants("planted.py")}
    assert "self.seconds[0] = self.clock() - 5" in found
    assert "return [one(key) or self.other(key) for key in keys]" in found
    assert "del work" not in found  # a parameter that is not used
    assert not [line for line in found if line.startswith("def ")]  # an annotation within
    assert "del self.writing[keys[0]]" in found


def test_planted_code_is_what_runs(tmp_path, monkeypatch):
    from tests.mutation import worker

    text = textwrap.dedent("""
        class Box:
            @property
            def size(self):
                return 1
        def twice(x):
            return x * 2
    """)
    (tmp_path / "planted.py").write_text(text)
    monkeypatch.setattr(worker, "ROOT", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    import planted

    plant("planted.py", "twice", text.replace("* 2", "+ 2"))
    plant("planted.py", "Box.size", text.replace("return 1", "return 7"))
    assert (planted.twice(5), planted.Box().size) == (7, 7)
    assert function_of(planted, "twice") is planted.twice
    with pytest.raises(LookupError):
        plant("planted.py", "twice", "nothing = 0")
    del sys.modules["planted"]
