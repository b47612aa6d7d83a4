"""Whether a name is a topology's is seen without running it."""

from __future__ import annotations

import sys

import pytest

from processor.app import is_there


@pytest.fixture(autouse=True)
def _modules(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_is_there.py").write_text("raise RuntimeError('it was run')\n")
    for name, text in (("whole_pkg", ""), ("broken_pkg", "1 / 0\n"), ("lame_pkg", "import nope\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
        (tmp_path / name / "rides.py").write_text("")
    yield
    for name in ("whole_pkg", "broken_pkg", "lame_pkg"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("mine_is_there", True),
        ("whole_pkg.rides", True),
        ("topologies.uber.enrich", True),
        # What is wrong with these is told when they are loaded.
        ("broken_pkg.rides", True),
        ("lame_pkg.rides", True),
        ("./nothing.py", True),
        ("mine_is_there:attribute", True),
        ("nothing_is_there", False),
        ("whole_pkg.nothing", False),
        ("nothing.is.there", False),
        ("whole_pkg.rides.more", False),
        ("rides-dead-letters", False),
        ("rides.dead-letters", False),
        ("1rides", False),
        ("", False),
        ("a..b", False),
    ],
)
def test_a_module_or_a_file_is_seen_without_being_run(name, there):
    assert is_there(name) is there
