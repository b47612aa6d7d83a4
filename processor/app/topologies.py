"""From the names of topologies to their plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

from processor.api.topology import Definition, Topology
from processor.errors import TopologyError
from processor.plan.nodes import Plan


def load_topology(name: str, parameters: Mapping[str, str]) -> Plan:
    """The plan of ``package.module`` or ``package.module:attribute``; raises `TopologyError`.

    Parameters that another topology of the same run declares may be among ``parameters``.
    """
    return _built(_found(name), parameters).plan()


def load_topologies(names: Sequence[str], parameters: Mapping[str, str]) -> list[Plan]:
    """The plans of several topologies that share ``parameters``: each takes those it declares."""
    found = [_found(name) for name in names]
    known = {p for f in found if isinstance(f, Definition) for p in f.parameters}
    unknown = sorted(set(parameters) - known)
    if unknown:
        raise TopologyError(
            f"no topology here has a parameter {unknown[0]!r}",
            remedy=f"there are: {', '.join(sorted(known)) or 'none'}",
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
    plans = [_built(f, {k: v for k, v in parameters.items() if _takes(f, k)}).plan() for f in found]
    apps = [plan.app for plan in plans]
    if len(set(apps)) < len(apps):
        raise TopologyError(f"two topologies have one application id: {', '.join(apps)}")
    return plans


_OWN = ("app", "input", "output")


def _takes(found: Topology | Definition, parameter: str) -> bool:
    return isinstance(found, Definition) and parameter in found.parameters


def taken(name: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """Those of the parameters that a topology declares."""
    found = _found(name)
    return {k: v for k, v in parameters.items() if _takes(found, k)}


def _built(found: Topology | Definition, parameters: Mapping[str, str]) -> Topology:
    return found.build(parameters) if isinstance(found, Definition) else found


def _found(name: str) -> Topology | Definition:
    module_name, _, attribute = name.partition(":")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise TopologyError(
            f"there is no module {module_name!r}",
            remedy="give a module that Python can import from here, as in topologies.uber.enrich",
        ) from None
    candidates = {n: v for n, v in vars(module).items() if isinstance(v, Topology | Definition)}
    if attribute:
        candidates = {n: v for n, v in candidates.items() if n == attribute}
    if len(candidates) != 1:
        have = ", ".join(candidates) or "none"
        raise TopologyError(
            f"{name}: one topology is needed, there are {len(candidates)}: {have}",
            remedy="say which: package.module:name",
        )
    return next(iter(candidates.values()))
