"""From the names of topologies to their plans."""

from __future__ import annotations

import difflib
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module, invalidate_caches
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from processor.api.topology import Definition, Topology
from processor.app import usercode
from processor.errors import TopologyError
from processor.plan.nodes import Plan


@dataclass(frozen=True, slots=True)
class Loaded:
    """A stage of a topology: the topology's name, the stage's number in it, and why it is one."""

    name: str
    number: int
    plan: Plan
    why: str = ""


def load_topology(name: str, parameters: Mapping[str, str]) -> Plan:
    """The plan of one topology of one stage, named as in `load_topologies`."""
    (loaded,) = _stages(name, _found(name), parameters)
    return loaded.plan


def load_topologies(names: Sequence[str], parameters: Mapping[str, str]) -> list[Plan]:
    """The plans of all stages of several topologies, as `load_stages` has them."""
    return [loaded.plan for loaded in load_stages(names, parameters)]


def load_stages(names: Sequence[str], parameters: Mapping[str, str]) -> list[Loaded]:
    """The stages of several topologies that share ``parameters``: each takes those it declares.

    A stage comes behind those of its topology that it reads from.

    A name is ``package.module`` or a file, ``./module.py``, with ``:attribute`` behind it where
    there are several topologies in it. Modules are looked for beside the user first. Raises
    `TopologyError` with the line, also for whatever the module itself raises.
    """
    return stages_of([(name, _found(name)) for name in names], parameters)


def plans_of(
    named: Sequence[tuple[str | None, Topology | Definition]], parameters: Mapping[str, str]
) -> list[Plan]:
    """The plans of all stages of topologies, as `stages_of` has them.

    >>> from processor import Text
    >>> topology = Topology("copy")
    >>> topology.read.kafka("from", format=Text()).write.kafka("to", format=Text())
    >>> [plan.app for plan in plans_of([(None, topology)], {})]
    ['copy']
    """
    return [loaded.plan for loaded in stages_of(named, parameters)]


def stages_of(
    named: Sequence[tuple[str | None, Topology | Definition]], parameters: Mapping[str, str]
) -> list[Loaded]:
    """The stages of topologies that share ``parameters``: each takes those it declares.

    What a module raises is told by its name, if it has one; Python's own callers get it as it is.
    """
    found = [topology for _, topology in named]
    known = {p for f in found if isinstance(f, Definition) for p in f.parameters}
    unknown = sorted(set(parameters) - known)
    if unknown:
        raise TopologyError(
            f"no topology here has a parameter {unknown[0]!r}",
            remedy=f"{_meant(unknown[0], known)}there are: {', '.join(sorted(known)) or 'none'}",
        )
    if len(found) > 1:
        shared = {
            p: [f for f in found if isinstance(f, Definition) and p in f.parameters]
            for p in parameters
        }
        many = sorted(p for p, users in shared.items() if len(users) > 1 and p in _OWN)
        if many:
            raise TopologyError(
                f"--set {many[0]}=... would be taken by {len(shared[many[0]])} topologies at once",
                remedy="run them one by one, each with its own",
            )
    stages = [
        stage
        for name, f in named
        for stage in _stages(name, f, {k: v for k, v in parameters.items() if _takes(f, k)})
    ]
    plans = [stage.plan for stage in stages]
    apps = [plan.app for plan in plans]
    if len(set(apps)) < len(apps):
        twice = next(app for app in apps if apps.count(app) > 1)
        raise TopologyError(
            f"{', '.join(str(plan.at) for plan in plans if plan.app == twice)}: two topologies "
            f"have one application id, {twice!r}",
            remedy='give each its own: Topology("..."), or --set app=... in runs of their own',
        )
    return stages


_OWN = ("app", "input", "output")


def _meant(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}? " if near else ""


def _takes(found: Topology | Definition, parameter: str) -> bool:
    return isinstance(found, Definition) and parameter in found.parameters


def taken(name: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """Those of the parameters that a topology declares."""
    found = _found(name)
    return {k: v for k, v in parameters.items() if _takes(found, k)}


def parameters_of(name: str) -> dict[str, tuple[str, str]]:
    """Type and default of each parameter that a topology declares."""
    found = _found(name)
    return found.describe() if isinstance(found, Definition) else {}


def _stages(
    name: str | None, found: Topology | Definition, parameters: Mapping[str, str]
) -> list[Loaded]:
    with nullcontext() if name is None else usercode.told(name):
        built = found.build(parameters) if isinstance(found, Definition) else found
        return [
            Loaded(name or "", number, stage.plan, stage.why)
            for number, stage in enumerate(built.stages())
        ]


# Workers that are threads load theirs at once, and neither `sys.path` nor Python's caches of what
# lies there are made for that. A module may load another topology while it is loaded.
_LOADING = threading.RLock()


def _found(name: str) -> Topology | Definition:
    # A drive's letter would have a colon too; there is no run on such a system.
    module_name, _, attribute = name.partition(":")
    with _LOADING, usercode.told(name):
        module = _module(module_name)
    return _chosen(name, module, attribute)


def _module(name: str) -> ModuleType:
    if name.endswith(".py") or "/" in name:
        return _file(Path(name))
    if not all(name.split(".")):
        raise TopologyError(f"{name!r} is no module's name", remedy=_GIVE)
    try:
        invalidate_caches()  # what was written just now is not in them
        with _beside(Path.cwd()):
            return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise TopologyError(f"there is no module {name!r}", remedy=_found_instead(name)) from None


def _found_instead(name: str) -> str:
    file = Path(f"{name.replace('.', '/')}.py")
    if file.is_file():
        return f"Python finds another {name.partition('.')[0]} first: give the file, ./{file}"
    shadow = Path.cwd() / "topologies"
    if name.startswith("topologies.") and shadow.is_dir():
        return f"{shadow} hides the processor's own package of that name: call yours otherwise"
    return _GIVE


def is_there(name: str) -> bool:
    """Whether a name is a file's, or that of a module which is there.

    It is not run to see that, only the packages that it is in.

    >>> is_there("json"), is_there("no-module"), is_there("./nothing.py")
    (True, False, True)
    """
    module = name.partition(":")[0]
    if module != name or module.endswith(".py") or "/" in module:
        return True  # it can be nothing else
    if not all(part.isidentifier() for part in module.split(".")):
        return False
    try:
        with _LOADING, _beside(Path.cwd()):
            return find_spec(module) is not None
    except ModuleNotFoundError as error:
        return not f"{module}.".startswith(f"{error.name}.")
    except Exception:  # noqa: BLE001 - a package of the user's: told when it is loaded
        return True


_GIVE = (
    "give a module that Python can import from here, as in topologies.uber.enrich, or a file, as "
    "in ./rides.py"
)


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        meant = path.with_suffix(".py") if path.name else path
        raise TopologyError(
            f"there is no file {path}",
            remedy=f"give ./{meant}"
            if meant.is_file()
            else "give the path of a Python file from here, as in ./rides.py",
        )
    whole = path.resolve()
    loaded = sys.modules.get(path.stem)
    if loaded is not None and getattr(loaded, "__file__", None) == str(whole):
        return loaded
    # Another module of that name may be in use, of Python itself even.
    name = path.stem if loaded is None else f"{path.stem} at {whole}"
    spec = spec_from_file_location(name, whole)
    if spec is None or spec.loader is None:
        raise TopologyError(f"{path} is no Python file", remedy="give a file as in ./rides.py")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        with _beside(whole.parent):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _beside(directory: Path) -> Iterator[None]:
    """Modules of this directory are found first while a topology is loaded, and last from then on.

    So a file of the user's that is called like a library hides it from his modules only.
    """
    path = str(directory)
    if path in sys.path and path not in _added:
        yield
        return
    if path in _added:
        sys.path.remove(path)
    _added.add(path)
    sys.path.insert(0, path)
    try:
        yield
    finally:
        sys.path.remove(path)
        sys.path.append(path)


_added: set[str] = set()


def _chosen(name: str, module: ModuleType, attribute: str) -> Topology | Definition:
    found = {n: v for n, v in vars(module).items() if isinstance(v, Topology | Definition)}
    place = getattr(module, "__file__", None) or name
    if attribute in found:
        return found[attribute]
    names = list({id(v): n for n, v in found.items()}.values())
    if len(names) == 1 and not attribute:
        return found[names[0]]
    what = f"no topology is called {attribute!r}" if attribute else "one topology is needed"
    raise TopologyError(
        f"{place}: {what}, there are {len(names)}: {', '.join(names) or 'none'}",
        remedy=f"say which: package.module:name, as in {name.partition(':')[0]}:{names[0]}"
        if names
        else _MAKE,
    )


_MAKE = (
    'make one in the module: topology = Topology("rides"), or a function that returns one, with '
    "@Topology.define above it"
)
