import json

import click
import pytest

from processor import errors, masking, telling


@pytest.fixture(autouse=True)
def _as_before():
    yield
    telling.use_json(wanted=False)


def classes(kind=errors.ProcessorError):
    return [kind, *(found for each in kind.__subclasses__() for found in classes(each))]


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_every_error_is_told_with_a_remedy_also_where_it_has_none_of_its_own(kind, capsys):
    telling.error(kind("it broke"))
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"error ({kind.code}): it broke"
    assert len(second.removeprefix("  remedy: ")) > 20
    telling.error(kind("it broke", remedy="mend it"))
    assert capsys.readouterr().err.splitlines()[1] == "  remedy: mend it"


def test_as_json_each_is_one_object(capsys):
    telling.use_json(wanted=True)
    telling.line("log: embedded", topics=3)
    telling.error(errors.LogError("a\nb", remedy="c"))
    telling.usage(click.UsageError("no such option"))
    telling.bug(ValueError("x"))
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [each["level"] for each in told] == ["info", "error", "error", "error"]
    assert told[0]["topics"] == 3
    assert [each.get("code") for each in told] == [None, "log", "usage", "bug"]
    assert told[3]["traceback"].startswith("ValueError: x")


@pytest.mark.parametrize("wanted", [False, True])
def test_nothing_that_is_told_shows_a_secret(wanted, capsys):
    masking.conceal("hunter2")
    telling.use_json(wanted=wanted)
    telling.line("at redis://:hunter3@h", at="hunter2")
    telling.usage(click.UsageError("no number: 'hunter2'"))
    telling.bug(ValueError("hunter2"))
    said = capsys.readouterr().err
    assert "hunter" not in said.replace("test_nothing", "")


def test_a_topology_with_several_faults_is_told_of_one_after_the_other(capsys):
    other = errors.TopologyError("rides.py:9: mode='all'", remedy="say append")
    first = errors.TopologyError("rides.py:3: no column 'x'", remedy="keep it", others=(other,))
    telling.error(first)
    assert capsys.readouterr().err.splitlines() == [
        "error (topology): rides.py:3: no column 'x'",
        "  remedy: keep it",
        "error (topology): rides.py:9: mode='all'",
        "  remedy: say append",
    ]
