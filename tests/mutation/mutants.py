"""All mutants of a module, without those that say nothing.

A mutant lies in a function. What runs when a module is imported is left out: constants and defaults
are settings and have their reasons beside them, and annotations are never run.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmic_ray.ast import Visitor, get_ast
from cosmic_ray.mutating import mutate_code

from tests.mutation.operators import REMOVE, operators

ROOT = Path(__file__).parents[2]
ROOMS = ("state", "operators", "engine", "connectors")

# Calls that are there for people who read the log, and for tests that crash a worker at a step.
_TOLD = ("logger.", "self._probe(", "probe(")
# What is told about an object: its name in a log, and about how much memory it takes.
_ABOUT = ("__repr__", "memory_bytes")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: the ``occurrence``-th place of an operator in a module.

    ``line`` and ``to`` are the text of the line before and after; with ``module``, ``function``
    and ``operator`` they are what the list of survivors knows it by.
    """

    module: str
    function: str
    operator: str
    line: str
    to: str
    occurrence: int
    at: int

    def key(self) -> tuple[str, str, str, str, str]:
        return self.module, self.function, self.operator, self.line, self.to

    def code(self) -> str:
        """The module's text with the fault in it."""
        source = (ROOT / self.module).read_text(encoding="utf-8")
        return _mutated(source, self.operator, self.occurrence)


def modules() -> list[str]:
    """All modules that are mutated."""
    paths = (path for room in ROOMS for path in (ROOT / "processor" / room).rglob("*.py"))
    return sorted(str(path.relative_to(ROOT)) for path in paths if path.name != "__init__.py")


def mutants(module: str) -> list[Mutant]:
    """Those of a module, in the order of their lines."""
    source = (ROOT / module).read_text(encoding="utf-8")
    places = functions(source)
    quiet = _quiet(source)
    found = []
    for name, operator in operators().items():
        for occurrence, (line, column) in enumerate(_positions(source, operator)):
            function = next((f for f, (a, b) in places.items() if a <= line <= b), None)
            if function is None or any(a <= (line, column) < b for a, b in quiet):
                continue
            code = _mutated(source, name, occurrence)
            before, after = source.splitlines()[line - 1], code.splitlines()[line - 1]
            if name == REMOVE and any(before.strip().startswith(call) for call in _TOLD):
                continue
            found.append(
                Mutant(module, function, name, _flat(before), _flat(after), occurrence, line)
            )
    return sorted(found, key=lambda m: (m.at, m.operator, m.occurrence))


def functions(source: str) -> dict[str, tuple[int, int]]:
    """First and last line of each function's body that stands in a module or in a class."""
    found: dict[str, tuple[int, int]] = {}

    def walk(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                walk(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.FunctionDef):
                name = f"{prefix}{child.name}"
                while name in found:  # a property's setter
                    name += "'"
                found[name] = child.body[0].lineno, child.body[-1].end_lineno or 0
            elif isinstance(child, ast.If):
                walk(child, prefix)

    walk(ast.parse(source), "")
    return found


def _quiet(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where a fault changes only what people read, or nothing at all."""
    spans = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            # Sentences and remedies. That it is raised, and of which class, is looked at.
            spans += [*node.exc.args, *(k.value for k in node.exc.keywords)]
        elif isinstance(node, ast.JoinedStr | ast.AnnAssign):
            spans.append(node if isinstance(node, ast.JoinedStr) else node.annotation)
        elif isinstance(node, ast.arguments):
            spans += [*node.defaults, *filter(None, node.kw_defaults)]
            spans += [a.annotation for a in (*node.args, *node.kwonlyargs) if a.annotation]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).startswith("logger."):
            spans += node.args
        elif isinstance(node, ast.Call):
            # A second net under lists that are made equally long beside it.
            spans += [k.value for k in node.keywords if k.arg == "strict"]
        elif isinstance(node, ast.FunctionDef):
            spans += node.body if node.name in _ABOUT else []
            spans += [node.returns] if node.returns else []
    return [((s.lineno, s.col_offset), (s.end_lineno or 0, s.end_col_offset or 0)) for s in spans]


class _Places(Visitor):
    """Walks as cosmic-ray's own visitor does, so that numbers of occurrences agree."""

    def __init__(self, operator: Any) -> None:
        self.operator = operator
        self.found: list[tuple[int, int]] = []

    def visit(self, node: Any) -> Any:
        self.found += [start for start, _ in self.operator.mutation_positions(node)]
        return node


def _positions(source: str, operator: Any) -> list[tuple[int, int]]:
    places = _Places(operator)
    places.walk(get_ast(source))
    return places.found


def _mutated(source: str, operator: str, occurrence: int) -> str:
    return mutate_code(source, operators()[operator], occurrence) or ""


def _flat(line: str) -> str:
    return " ".join(line.split())
