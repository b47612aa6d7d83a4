"""The models of stages, varied: what holds, and what does not and by which invariant it is found.

What each variant teaches stands in the docstring of its model, under the same name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.simulation import stages_feed as feed
from tests.simulation import stages_files as files
from tests.simulation import stages_intent as intent
from tests.simulation import stages_time as time_
from tests.simulation import stages_trim as trim
from tests.simulation.model import Violation, explore

LARGE_STATES = 1_000_000


@dataclass(frozen=True)
class Variant:
    """A model with some switches turned.

    ``bounds`` are small enough for every round of the tests, ``large`` for a night. ``breaks`` is
    the invariant that fails, nothing where all hold.
    """

    of: Any
    changes: Mapping[str, Any]
    bounds: Sequence[Any]
    large: Any
    breaks: str = ""

    def tried(self, *, large: bool = False) -> tuple[int, str]:
        """Explores it: how many states there are, and what failed first."""
        model, states = type("Variant", (self.of.Model,), dict(self.changes)), 0
        for bounds in [self.large] if large else self.bounds:
            try:
                states += explore(model(bounds), LARGE_STATES)
            except Violation as violation:
                return states, str(violation)
        return states, ""


def taught(of: Any) -> set[str]:
    """The names of the variants that a model's docstring tells of."""
    found = re.findall(r"^(\w.*?)  +\S", of.__doc__, re.MULTILINE)
    return {name for name in found if not re.fullmatch(r"J\d", name)}


def _small(bounds: time_.Bounds, moved: time_.Bounds | None = None) -> list[time_.Bounds]:
    """Kills alone, and hand-overs alone."""
    killed = replace(bounds, crashes=1, moves=0, aborts=0)
    return [killed, replace(moved or bounds, crashes=0, moves=1, aborts=0)]


MORE = time_.Bounds(rows=((0, 2, 7), (6,)))
TINY = time_.Bounds()
LESS = time_.Bounds(rows=((1, 5), (0,)), aborts=0)
QUIET = replace(LESS, crashes=0, moves=0)
ONE = time_.Bounds(rows=((1,), (0,)))
UNTIDY = time_.Bounds(rows=((6, 1), (2, 8)))
APART = replace(TINY, crashes=0, moves=0, aborts=0)
SPLIT = time_.Bounds(elsewhere=frozenset({(0, 1), (1, 0)}))
LEFT_OUT = {"idle": "left out", "bounded": False}


def _time(bounds: Sequence[Any], large: Any, breaks: str = "", **changes: Any) -> Variant:
    return Variant(time_, changes, bounds, large, breaks)


def _fails(breaks: str, bounds: Any = MORE, **changes: Any) -> Variant:
    return Variant(time_, changes, [bounds], bounds, breaks)


TIME = {
    "as designed": _time(_small(TINY), MORE),
    "rows out of order": _time(_small(UNTIDY), UNTIDY),
    "rows for another target": _time(
        _small(SPLIT), replace(MORE, elsewhere=frozenset({(0, 2), (1, 0)}))
    ),
    "blocks of two rows": _time(_small(replace(TINY, block=2)), replace(MORE, block=2, moves=2)),
    "told now and then": _time([*_small(ONE), QUIET], LESS, throttles=True),
    "an idle task raises its own": _time([*_small(ONE), QUIET], LESS, idle="raised"),
    "idle, out of order": _time(
        [replace(UNTIDY, crashes=0, moves=0, aborts=0)],
        replace(UNTIDY, crashes=0, aborts=0), idle="raised",
    ),
    "idle twice": _time(
        [replace(QUIET, rows=ONE.rows, raises=2)], replace(LESS, raises=2), idle="raised"
    ),
    "the clock goes on": _time([*_small(ONE), QUIET], LESS, idle="clock"),
    "only those heard, counted": _time(
        _small(TINY), MORE, waits_for_all=False, bounded=False, late_here="counted"
    ),
    "idle left out, counted": _time([*_small(ONE), QUIET], LESS, late_here="counted", **LEFT_OUT),
    "all idle closes all": _time(
        [*_small(ONE), QUIET], LESS, late_here="counted", all_idle_closes_all=True, **LEFT_OUT
    ),
    "only those heard": _fails("J2", waits_for_all=False),
    "only those heard, rows": _fails("J3", waits_for_all=False, bounded=False),
    "told on every block": _fails("J3", told_on_every_block=True),
    "told and not owed": _fails("J6", APART, throttles=True, owes=False),
    "idle left out": _fails("J3", APART, **LEFT_OUT),
    "idle left out, folded": _fails("J3", APART, late_here="folded", **LEFT_OUT),
    "idle left out, may fall": _fails(
        "J2", APART, late_here="counted", never_falls=False, **LEFT_OUT
    ),
    "late by batch": _fails("J6", APART, late_here="by batch", **LEFT_OUT),
    "a mark before its rows": _fails("J3", replace(MORE, block=3), heeds_marks_first=True),
    "outside the transaction": _fails("J7", TINY, in_transactions=False),
    "a former owner commits": _fails("J7", TINY, takes_former_owners=True),
    "the highest is forgotten": _fails("J2", UNTIDY, forgets_the_highest=True),
    "open ones are passed over": _fails("J6", TINY, passes_over_open=True),
    "raised, and not kept": _fails("J2", TINY, idle="raised", keeps_what_it_raised=False),
    "manifests are looked at": _fails("J3", TINY, looks_at_manifests=True),
}  # fmt: skip


def _intent(breaks: str = "", bounds: Any = intent.Bounds(), **changes: Any) -> Variant:  # noqa: B008
    return Variant(intent, changes, [bounds], replace(bounds, moves=2, aborts=2), breaks)


TWO = intent.Bounds(rows=(2, 1), crashes=1)
SHORT = intent.Bounds(rows=(2,), crashes=1)
RESET = intent.Bounds(crashes=1)
TABLE = {"sink": "table"}
PLAIN_COMMIT = {"in_transactions": False}
ROWS = {"judges_epochs": False}
INTENT = {
    "rows one by one": _intent(),
    "a table of epochs": _intent(**TABLE),
    "two hand-overs": _intent(bounds=intent.Bounds(moves=2), **TABLE),
    "a view": _intent(sink="view"),
    "a call for each task": _intent(bounds=TWO),
    "a table, two tasks": _intent(bounds=TWO, **TABLE),
    "the plan is named": _intent(upgrades="named", **TABLE),
    "a life in the key": _intent(
        bounds=replace(RESET, rows=(2,)), resets=True, lives=True, **TABLE
    ),
    "no intent": _intent("J5", steps=("call", "commit")),
    "no intent, a table": _intent("J5", steps=("call", "commit"), **TABLE),
    "no intent, rows": _intent("J6", steps=("call", "commit"), **TABLE, **ROWS),
    "a plain commit": _intent("J5", **PLAIN_COMMIT),
    "a plain commit, a table": _intent("J5", **PLAIN_COMMIT, **TABLE),
    "a plain commit, rows": _intent("J6", **PLAIN_COMMIT, **TABLE, **ROWS),
    "looked up, then written": _intent("J6", sink="checked"),
    "upserts": _intent("J6", sink="upserts"),
    "shown afterwards": _intent("J6", steps=("commit", "call"), sink="view"),
    "one call for the batch": _intent("J5", TWO, one_call=True),
    "an impure step in front": _intent("J5", impure=True, **TABLE),
    "an upgrade in between": _intent("J5", upgrades="at any time", **TABLE),
    "an upgrade without intents": _intent("J5", upgrades="without intents", **TABLE),
    "reset": _intent("J8", RESET, resets=True, **TABLE),
    "reset, rows": _intent("J6", RESET, resets=True, **TABLE, **ROWS),
    "the intent is ignored": _intent("J5", heeds_intents=False, **TABLE),
    "ignored after an abort": _intent("J5", heeds_intents_after_aborts=False),
    "called before": _intent("J5", steps=("call", "intend", "commit"), **TABLE),
    "a former owner commits": _intent("J5", takes_former_owners=True, **TABLE),
}


def _files(breaks: str = "", bounds: Any = files.Bounds(), **changes: Any) -> Variant:  # noqa: B008
    return Variant(files, changes, [bounds], replace(bounds, crashes=2, moves=2), breaks)


FILES = {
    "renamed before the next commit": _files(bounds=files.Bounds(aborts=0)),
    "synced before the commit": _files(bounds=files.Bounds(rows=2, crashes=0, outages=1)),
    "all else is cleared": _files("J6", clears_passed_only=False),
    "renamed later": _files("J6", renames_at_once=False),
    "files of any task are cleared": _files("J6", names_the_task=False),
    "names without the attempt": _files("J6", names_the_attempt=False),
    "not synced": _files("J6", files.Bounds(outages=1), syncs=False),
}


def _trim(breaks: str = "", **changes: Any) -> Variant:
    return Variant(trim, changes, [trim.Bounds()], trim.Bounds(6, 3, 2), breaks)


TRIM = {
    "kept for a replay": _trim(policy="replay", trims="nothing"),
    "behind the snapshot": _trim(),
    "stopped instead": _trim(policy="stop"),
    "replayed from the snapshot": _trim("J4", policy="replay"),
    "behind the committed": _trim("J4", policy="replay", trims="committed"),
    "before the commit": _trim("J4", trims="written"),
}


def _feed(breaks: str = "", bounds: Any = feed.Bounds(), **changes: Any) -> Variant:  # noqa: B008
    return Variant(feed, changes, [bounds], replace(bounds, kills=2, moves=2), breaks)


FEED = {
    "as designed": _feed(),
    "files stay": _feed(bounds=feed.Bounds((2, 2), kills=2), clears="nothing"),
    "a plain commit": _feed("J6", place_goes="before"),
    "a plain commit behind": _feed("J6", place_goes="behind"),
    "a note by itself": _feed("J6", notes_in_transactions=False),
    "notes are not counted": _feed("J6", feed.Bounds(kills=2), counts_notes=False),
    "cleared before the commit": _feed("J6", clears="before"),
    "known by name alone": _feed("J6", known_by_name=True),
    "cleared by name alone": _feed("J6", cleared_by_name=True),
    "a former owner commits": _feed("J6", guarded=False),
}
VARIANTS = {
    "time": (time_, TIME), "intent": (intent, INTENT), "files": (files, FILES),
    "trim": (trim, TRIM), "feed": (feed, FEED),
}  # fmt: skip
