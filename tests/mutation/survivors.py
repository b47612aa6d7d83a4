"""The list of survivors that are no fault of the tests, each with its reason.

An entry of `survivors.toml` names module, function, operator and the text of the line before and
after, not its number: so it lives through edits elsewhere. ``to`` may be ``*``: whatever the
operator makes of that line.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.mutants import Mutant

PATH = Path(__file__).with_name("survivors.toml")


@dataclass(frozen=True, slots=True)
class Entry:
    module: str
    function: str
    operator: str
    line: str
    to: str
    reason: str

    def tells_of(self, mutant: Mutant) -> bool:
        same = (self.module, self.function, self.operator, self.line) == mutant.key()[:4]
        return same and self.to in ("*", mutant.to)


def entries(path: Path = PATH) -> list[Entry]:
    found = tomllib.loads(path.read_text(encoding="utf-8")).get("survivor", [])
    return [Entry(**one) for one in found]


def untold(survivors: Iterable[Mutant], listed: Collection[Entry]) -> list[Mutant]:
    """Survivors of which the list says nothing."""
    return [m for m in survivors if not any(entry.tells_of(m) for entry in listed)]


def stale(all_of_modules: Collection[Mutant], listed: Iterable[Entry]) -> list[Entry]:
    """Entries, of the modules that were looked at, that are about no mutant any more."""
    modules = {mutant.module for mutant in all_of_modules}
    return [
        entry for entry in listed
        if entry.module in modules and not any(entry.tells_of(m) for m in all_of_modules)
    ]  # fmt: skip


def found_by_now(
    killed: Collection[Mutant], survived: Collection[Mutant], listed: Iterable[Entry]
) -> list[Entry]:
    """Entries whose mutants the tests find by now."""
    return [
        entry for entry in listed
        if any(entry.tells_of(m) for m in killed) and not any(entry.tells_of(m) for m in survived)
    ]  # fmt: skip


def as_entry(mutant: Mutant) -> str:
    """The form of the list, without a reason."""
    texts = ("module", "function", "operator", "line", "to")
    lines = [f"{name} = {_quoted(text)}" for name, text in zip(texts, mutant.key(), strict=True)]
    return "\n".join(["[[survivor]]", *lines, 'reason = ""'])


def _quoted(text: str) -> str:
    if "'" not in text:
        return f"'{text}'"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
