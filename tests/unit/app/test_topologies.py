"""From what a user types to a plan: where modules are looked for, what is said of broken ones."""

import sys
import textwrap
from threading import Thread

import pytest

from processor import app
from processor.app import topologies
from processor.errors import TopologyError

WHOLE = """
from processor import Text, Topology
from helper_beside import TOPIC

@Topology.define
def copy(*, app: str = "copy") -> Topology:
    topology = Topology(app)
    topology.read.kafka(TOPIC, format=Text()).write.kafka("out", format=Text())
    return topology
"""


@pytest.fixture
def beside(tmp_path, tmp_path_factory, monkeypatch):
    """Write a module beside the user, in a directory that Python does not know."""
    monkeypatch.chdir(tmp_path)
    # What other tests have loaded stays on the path, and a rides.py there is found before rides/.
    others = str(tmp_path_factory.getbasetemp())
    path = [p for p in sys.path if p and not p.startswith(others)]
    monkeypatch.setattr(sys, "path", path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = dict(sys.modules)
    for name in ("rides", "my-rides"):  # of another test's directory
        sys.modules.pop(name, None)

    def write(text, name="beside_the_user.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    write('TOPIC = "in"\n', "helper_beside.py")
    yield write
    for name in set(sys.modules) - set(before):
        del sys.modules[name]
    sys.modules.update(before)  # what a test has taken out, or put another in the place of


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("beside_the_user.py", "beside_the_user"),
        ("beside_the_user.py", "./beside_the_user.py"),
        ("beside_the_user.py", "beside_the_user.py"),
        ("beside_the_user.py", "beside_the_user.py:copy"),
        ("beside_the_user.py", "beside_the_user:copy"),
        ("rides/mine.py", "rides.mine"),
        ("json.py", "./json.py"),
        ("my-rides.py", "./my-rides.py"),
    ],
)
def test_a_module_beside_the_user_is_found(beside, file, name):
    beside(WHOLE, file)
    for _ in range(2):  # workers load it again
        (plan,) = app.load_topologies([name], {"app": "mine"})
        assert plan.app == "mine"


def test_threads_load_modules_one_after_the_other(beside, monkeypatch):
    """Python's caches of what lies on its path break where two of them clear them at once."""
    alone: list[bool] = []

    def other() -> None:
        alone.append(not topologies._LOADING.acquire(blocking=False))

    def cleared() -> None:
        thread = Thread(target=other)
        thread.start()
        thread.join()

    monkeypatch.setattr(topologies, "invalidate_caches", cleared)
    beside(WHOLE)
    app.load_topologies(["beside_the_user"], {})
    assert alone == [True]


def test_a_file_elsewhere_finds_what_lies_beside_it(beside, tmp_path):
    beside(WHOLE, "elsewhere/mine.py")
    beside('TOPIC = "other"\n', "elsewhere/helper_beside.py")
    (plan,) = app.load_topologies([str(tmp_path / "elsewhere" / "mine.py")], {})
    assert plan.source().topic == "other"


def test_a_file_that_is_called_like_a_library_hides_it_from_the_users_modules_only(beside):
    beside("from helper_beside import TOPIC\n" + WHOLE)
    app.load_topologies(["beside_the_user"], {})
    assert sys.path[0] != str(beside("", "unused.py").parent)
    assert sys.path[-1] == str(beside("", "unused.py").parent)


def test_a_directory_that_another_module_hides_is_to_be_given_as_a_file(
    beside, tmp_path, monkeypatch
):
    beside("", "installed/rides.py")
    beside(WHOLE, "rides/mine.py")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "installed")])
    with pytest.raises(TopologyError) as raised:
        app.load_topologies(["rides.mine"], {})
    assert "there is no module 'rides.mine'" in str(raised.value)
    assert "give the file, ./rides/mine.py" in str(raised.value)
    assert app.load_topologies(["./rides/mine.py"], {})


@pytest.mark.parametrize(
    ("name", "what", "remedy"),
    [
        ("nothing_of_this_name", "there is no module", "or a file"),
        ("rides/mine", "there is no file rides/mine", "give ./rides/mine.py"),
        ("./nothing.py", "there is no file nothing.py", "as in ./rides.py"),
        ("rides/", "there is no file rides", "as in ./rides.py"),
        ("", "'' is no module's name", "or a file"),
        (".", "'.' is no module's name", "or a file"),
        ("json", "one topology is needed, there are 0: none", "@Topology.define"),
        ("beside_the_user:other", "no topology is called 'other', there are 1: copy", ":copy"),
        ("topologies.mine", "there is no module", "hides the processor's own package"),
    ],
)
def test_a_name_that_leads_nowhere_says_where_to_look(beside, name, what, remedy):
    beside(WHOLE)
    beside("", "rides/mine.py")
    if name.startswith("topologies"):
        beside("", "topologies/__init__.py")
        for loaded in [m for m in sys.modules if m.partition(".")[0] == "topologies"]:
            del sys.modules[loaded]
    with pytest.raises(TopologyError) as raised:
        app.load_topologies([name], {})
    assert what in raised.value.message
    assert remedy in raised.value.remedy


BROKEN = [
    ("1 / 0", "ZeroDivisionError: division by zero", "1 / 0"),
    ("x = undefined + 1", "NameError: name 'undefined' is not defined", "x = undefined + 1"),
    ("def f(:\n    pass", "SyntaxError: ", "def f(:"),
    ("import sys\nsys.exit('enough')", "SystemExit: enough", "sys.exit('enough')"),
    ("import json\njson.loads('{')", "JSONDecodeError: ", "json.loads('{')"),
    ("import polars as pl\npl.read_csv('none.csv')", "FileNotFoundError: ",
     "pl.read_csv('none.csv')"),
    ("import not_there_at_all", "ModuleNotFoundError: No module named 'not_there_at_all'",
     "import not_there_at_all"),
    ("raise BaseException", "BaseException", "raise BaseException"),
    ("from processor import Kafka", "ImportError: ", "from processor import Kafka"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "what", "line"), BROKEN)
def test_what_a_module_raises_is_told_by_its_own_last_line(beside, text, what, line):
    path = beside(text)
    number = next(i for i, row in enumerate(text.splitlines(), 1) if row == line)
    with pytest.raises(TopologyError) as raised:
        app.load_topologies(["beside_the_user"], {})
    first, _, rest = raised.value.message.partition("\n")
    assert first.startswith(f"{path}:{number}: {what}"), first
    assert rest.strip() == line
    assert raised.value.remedy


def test_what_a_definition_raises_is_told_by_its_own_last_line(beside):
    path = beside("""
        from processor import Topology
        def deeper(text):
            return int(text)
        @Topology.define
        def broken(*, app: str = "x") -> Topology:
            deeper("five")
    """)
    with pytest.raises(TopologyError, match="invalid literal for int") as raised:
        app.load_topologies(["beside_the_user"], {})
    assert raised.value.message.startswith(f"{path}:4: ValueError: ")


def test_a_refusal_without_a_line_gets_the_users(beside):
    path = beside('import polars as pl\nfrom processor import Json\nJson({"a": pl.Object})\n')
    with pytest.raises(TopologyError, match="cannot be read as Object") as raised:
        app.load_topologies(["beside_the_user"], {})
    assert raised.value.message.startswith(f"{path}:3: ")


@pytest.mark.parametrize(
    ("end", "what"),
    [("pass", "returns nothing"), ("return topology.read", "returns a Reader, no Topology")],
)
def test_a_forgotten_return_is_told(beside, end, what):
    path = beside(f"""
        from processor import Topology
        @Topology.define
        def forgot(*, app: str = "x") -> Topology:
            topology = Topology(app)
            {end}
    """)
    with pytest.raises(TopologyError, match=what) as raised:
        app.load_topologies(["beside_the_user"], {})
    assert raised.value.message.startswith(f"{path}:3: forgot")
    assert raised.value.remedy == "end it in: return topology"


@pytest.mark.parametrize(
    "parameter",
    ["app", "app: str", 'app="x"', "*names", "**more", 'app: list = ""', 'a: str = "", /'],
)
def test_a_parameter_without_a_type_or_a_default_is_told(beside, parameter):
    beside(f"""
        from processor import Topology
        @Topology.define
        def bad({parameter}):
            return Topology("x")
    """)
    with pytest.raises(TopologyError, match="needs a default and a type"):
        app.load_topologies(["beside_the_user"], {})
