"""A sink outside Kafka in a box: every order of events for two workers that call it.

A task (or two) has a few rows. A worker loads the manifest, cuts a batch of any length, commits the
*intent* (the offset unchanged, the end of the batch in the manifest), calls the sink, and commits.
It may be killed between any two steps, or stand still while another takes its task; a commit may be
aborted, or have no answer and land late; the topology may change, the application may be reset.

Of the invariants of stages these are judged here:

J5  an epoch that was shown to a sink is shown again with the same rows, or not at all
J6  what is outside in the end is what was committed: no row is missing, none there twice, and
    nothing older stands over what is newer
J8  a sink never takes what is of one life for what is of another

What the variants teach; those that hold:

rows one by one             with an intent a plain sink sees each row at least once, ...
a table of epochs           ... and a database that inserts the epoch with its rows exactly once
two hand-overs              ... however often the task moves
a view                      a sink that keeps the last epoch has to refuse an older one
a call for each task        an intent belongs to a task, so a call has to be for one task, ...
a table, two tasks          ... which a database then can tell apart
the plan is named           an intent is redone by the plan that made it, whatever runs by now
a life in the key           after a reset nothing of before is taken for what comes now

and those that do not, each with the invariant that fails:

no intent                   J5: who takes over cuts another batch, under the same number, ...
no intent, a table          J5: ... which a database passes over though its rows are others
no intent, rows             J6: ... so that rows are in no database
a plain commit              J5: an intent without an answer lands late, over what came instead, ...
a plain commit, a table     J5: ... whatever the sink
a plain commit, rows        J6: ... and costs rows
looked up, then written     J6: to look for the epoch before one writes is no unique key
upserts                     J6: who stood still writes an older epoch over a newer one
shown afterwards            J6: shown after the commit means at most once
one call for the batch      J5: a batch of two tasks is never cut the same way by two owners
an impure step in front     J5: the same input gives other rows: it has to be cut off before
an upgrade in between       J5: another plan makes other rows of the same intent
an upgrade without intents  J5: ... also where no intent stands: others still run the old one
reset                       J8: numbers of epochs begin anew, and a database passes over all ...
reset, rows                 J6: ... so that nothing of the new life is there
the intent is ignored       J5: a batch that is cut anew is another one
ignored after an abort      J5: an abort takes back the batch, and not its intent
called before               J5: the intent has to be there before the sink is called
a former owner commits      J5: the guard of the group's generation is needed for intents too
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple, TypeAlias

from tests.simulation.model import Violation

# Task, number, and by which plan and which chance a row is what it is.
Row: TypeAlias = tuple[int, int, int, int]
Key: TypeAlias = tuple[int, int, int]
WHOLE_BATCH = -1


class Intent(NamedTuple):
    """Where the next batch ends, and by which plan it is computed."""

    end: int
    plan: int


class Manifest(NamedTuple):
    """What is committed of a task."""

    offset: int = 0
    epoch: int = 0
    intent: Intent | None = None


class Part(NamedTuple):
    """A task's share of a batch."""

    task: int
    generation: int
    base: Manifest
    end: int


class Call(NamedTuple):
    """A call of the sink, with the rows that are left of it."""

    key: Key
    rows: frozenset[Row]
    begun: bool = False


class Worker(NamedTuple):
    """A process, and what it has still to do with its batch."""

    alive: bool = True
    steps: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    calls: tuple[Call, ...] = ()
    plan: int = 0


class State(NamedTuple):
    """Everything there is; ``outside`` are rows by life, ``late`` commits on their way."""

    manifests: tuple[Manifest, ...]
    generations: tuple[int, ...]
    owners: tuple[int, ...]
    workers: tuple[Worker, ...] = (Worker(), Worker())
    late: frozenset[tuple[int, int, Manifest]] = frozenset()
    shown: frozenset[tuple[Key, frozenset[Row], int]] = frozenset()
    outside: frozenset[tuple[int, int, int]] = frozenset()
    table: frozenset[Key] = frozenset()
    last: Key | None = None
    plan: int = 0
    life: int = 0
    crashes: int = 0
    moves: int = 0
    aborts: int = 0
    unanswered: int = 0


@dataclass(frozen=True)
class Bounds:
    """How many rows each task has, and how much may happen."""

    rows: tuple[int, ...] = (3,)
    crashes: int = 2
    moves: int = 1
    aborts: int = 1
    unanswered: int = 1


class Model:
    """The rules, with switches that the variants turn."""

    steps = ("intend", "call", "commit")
    sink = "rows"  # "table", "checked", "upserts", "view"
    in_transactions = True
    one_call = False
    impure = False
    upgrades = ""  # "at any time", "without intents", "named"
    resets = False
    lives = False
    heeds_intents = True
    heeds_intents_after_aborts = True
    takes_former_owners = False
    judges_epochs = True

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds

    def start(self) -> State:
        count = len(self.bounds.rows)
        return State((Manifest(),) * count, (0,) * count, (0,) * count)

    # What can happen next.

    def following(self, s: State) -> Iterator[tuple[str, State]]:
        for w, worker in enumerate(s.workers):
            if not worker.alive:
                yield f"{w} starts again", _working(s, w, Worker())
                continue
            if not worker.steps:
                yield from self._cuts(s, w)
                continue
            yield from getattr(self, "_" + worker.steps[0])(s, w, worker)
            if s.crashes < self.bounds.crashes:
                dead = _working(s, w, Worker(alive=False))
                yield f"{w} is killed", dead._replace(crashes=s.crashes + 1)
        yield from self._environment(s)

    def _environment(self, s: State) -> Iterator[tuple[str, State]]:
        for commit in s.late:
            task, generation, manifest = commit
            landed = s._replace(late=s.late - {commit})
            if s.generations[task] == generation:
                landed = landed._replace(manifests=_at(s.manifests, task, manifest))
            yield "a commit lands late", landed
        if s.moves < self.bounds.moves:
            for task, owner in enumerate(s.owners):
                yield (
                    f"task {task} moves",
                    s._replace(
                        owners=_at(s.owners, task, 1 - owner),
                        generations=_at(s.generations, task, s.generations[task] + 1),
                        moves=s.moves + 1,
                    ),
                )
        if self.upgrades and s.plan == 0 and self._may_upgrade(s):
            yield "the topology changes", s._replace(plan=1)
        quiet = not s.late and not any(worker.steps for worker in s.workers)
        if self.resets and s.life == 0 and quiet and any(m.epoch for m in s.manifests):
            fresh = (Manifest(),) * len(s.manifests)
            yield "the application is reset", s._replace(manifests=fresh, life=1)

    def _may_upgrade(self, s: State) -> bool:
        return self.upgrades != "without intents" or not any(m.intent for m in s.manifests)

    # A worker.

    def _cuts(self, s: State, w: int) -> Iterator[tuple[str, State]]:
        options: list[list[Part | None]] = []
        for task, owner in enumerate(s.owners):
            if owner == w:
                base = s.manifests[task]
                ends = self._ends(task, base)
                parts = [Part(task, s.generations[task], base, end) for end in ends]
                options.append([None, *parts])
        for picked in product(*options):
            parts = tuple(part for part in picked if part is not None)
            for chance in ((0, 1) if self.impure else (0,)) if parts else ():
                intents = [part.base.intent for part in parts]
                named = [intent.plan for intent in intents if intent is not None]
                plan = named[0] if named and self.upgrades == "named" else s.plan
                redo = all(intent is not None for intent in intents)
                steps = tuple(step for step in self.steps if step != "intend" or not redo)
                calls = self._calls(s, parts, plan, chance)
                worker = Worker(steps=steps, parts=parts, calls=calls, plan=plan)
                yield f"{w} cuts {parts}", _working(s, w, worker)

    def _ends(self, task: int, base: Manifest) -> list[int]:
        if base.intent is not None and self.heeds_intents:
            return [base.intent.end]
        return [*range(base.offset + 1, self.bounds.rows[task] + 1)]

    def _calls(self, s: State, parts: tuple[Part, ...], plan: int, chance: int):
        """What the sink is to be called with."""
        life = s.life if self.lives else 0
        calls = []
        for part in parts:
            numbers = range(part.base.offset, part.end)
            rows = frozenset((part.task, number, plan, chance) for number in numbers)
            calls.append(Call((life, part.task, part.base.epoch + 1), rows))
        if self.one_call:
            epoch = max(call.key[2] for call in calls)
            rows = frozenset().union(*(call.rows for call in calls))
            return (Call((life, WHOLE_BATCH, epoch), rows),)
        return tuple(calls)

    def _stands(self, s: State, worker: Worker) -> bool:
        """Whether the broker takes a commit of it: it knows generations."""
        own = all(s.generations[part.task] == part.generation for part in worker.parts)
        return own or self.takes_former_owners

    def _unchanged(self, s: State, worker: Worker) -> bool:
        same = all(s.manifests[part.task] == part.base for part in worker.parts)
        return same or self.takes_former_owners or not self.in_transactions

    def _intend(self, s: State, w: int, worker: Worker) -> Iterator[tuple[str, State]]:
        if not self._stands(s, worker):
            yield f"{w} may not intend", _working(s, w, Worker())
            return
        intended = [
            part._replace(base=part.base._replace(intent=Intent(part.end, worker.plan)))
            for part in worker.parts
        ]
        if self._unchanged(s, worker):
            manifests = s.manifests
            for part in intended:
                manifests = _at(manifests, part.task, part.base)
            after = worker._replace(steps=worker.steps[1:], parts=tuple(intended))
            yield f"{w} intends", _working(s, w, after)._replace(manifests=manifests)
        if not self.in_transactions and s.unanswered < self.bounds.unanswered:
            late = s.late.union((part.task, part.generation, part.base) for part in intended)
            unknown = _working(s, w, Worker())
            yield (
                f"{w} hears nothing of its intent",
                unknown._replace(late=late, unanswered=s.unanswered + 1),
            )

    def _commit(self, s: State, w: int, worker: Worker) -> Iterator[tuple[str, State]]:
        if not self._stands(s, worker):
            yield f"{w} may not commit", _working(s, w, Worker())
            return
        if self._unchanged(s, worker):
            manifests = s.manifests
            for part in worker.parts:
                done = Manifest(part.end, part.base.epoch + 1)
                manifests = _at(manifests, part.task, done)
            after = _next(worker)
            yield f"{w} commits", _working(s, w, after)._replace(manifests=manifests)
        if s.aborts < self.bounds.aborts:
            aborted = s._replace(aborts=s.aborts + 1)
            yield f"{w} aborts", _working(aborted, w, Worker())
            if not self.heeds_intents_after_aborts:
                part = worker.parts[0]
                for end in range(part.base.offset + 1, self.bounds.rows[part.task] + 1):
                    again = (part._replace(end=end),)
                    calls = self._calls(s, again, worker.plan, 0)
                    other = worker._replace(steps=("call", "commit"), parts=again, calls=calls)
                    yield f"{w} aborts and cuts {again}", _working(aborted, w, other)

    # The sink.

    def _call(self, s: State, w: int, worker: Worker) -> Iterator[tuple[str, State]]:
        if not worker.calls:
            yield f"{w} has called", _working(s, w, _next(worker))
            return
        call, *rest = worker.calls
        done = _working(s, w, worker._replace(calls=tuple(rest)))
        yield from getattr(self, "_" + self.sink)(s, w, worker, call, done)

    def _rows(self, s: State, w: int, worker: Worker, call: Call, done: State):
        """One row after the other."""
        row = min(call.rows)
        left = call.rows - {row}
        if left:
            calls = (Call(call.key, left, begun=True), *worker.calls[1:])
            done = _working(s, w, worker._replace(calls=calls))
        if not call.begun:
            done = self._noted(done, call)
        yield f"{w} shows {row}", _outside(done, [row])

    def _table(self, s: State, w: int, worker: Worker, call: Call, done: State):
        """The epoch, its primary key, and the rows in one transaction of a database."""
        noted = self._noted(done, call)
        if call.key in s.table:
            yield f"{w} finds {call.key} in the table", noted
        else:
            yield f"{w} inserts {call.key}", self._inserted(noted, call)

    def _checked(self, s: State, w: int, worker: Worker, call: Call, done: State):
        """Looks whether the epoch is there, and inserts then."""
        noted = self._noted(done, call)
        if call.begun:
            yield f"{w} inserts {call.key}", self._inserted(noted, call)
        elif call.key in s.table:
            yield f"{w} finds {call.key} in the table", noted
        else:
            calls = (call._replace(begun=True), *worker.calls[1:])
            yield f"{w} does not find {call.key}", _working(s, w, worker._replace(calls=calls))

    def _upserts(self, s: State, w: int, worker: Worker, call: Call, done: State):
        """The last that was written stands."""
        noted = self._noted(done, call)
        yield f"{w} writes {call.key}", _outside(noted._replace(last=call.key), call.rows)

    def _view(self, s: State, w: int, worker: Worker, call: Call, done: State):
        """The last stands, unless it is older than what is there."""
        if s.last is not None and s.last > call.key:
            yield f"the view refuses {call.key}", self._noted(done, call)
        else:
            yield from self._upserts(s, w, worker, call, done)

    def _inserted(self, s: State, call: Call) -> State:
        already = {(s.life, *row[:2]) for row in call.rows} & s.outside
        if already:
            raise Violation(f"J6: {already} are in the table twice")
        return _outside(s._replace(table=s.table | {call.key}), call.rows)

    def _noted(self, s: State, call: Call) -> State:
        """The sink was called with these rows under this key."""
        for key, rows, life in s.shown if self.judges_epochs else ():
            if key == call.key and life != s.life:
                raise Violation(f"J8: {key} is of life {life}, and called in life {s.life}")
            if key == call.key and rows != call.rows:
                raise Violation(f"J5: {key} was shown with {set(rows)}, now {set(call.rows)}")
        return s._replace(shown=s.shown | {(call.key, call.rows, s.life)})

    # The invariants.

    def check(self, s: State) -> None:
        """The invariants of a state; what is outside is judged when all is at rest."""
        if any(worker.steps for worker in s.workers):
            return
        for manifest, count in zip(s.manifests, self.bounds.rows, strict=True):
            if manifest.offset != count or manifest.intent is not None:
                return
        wanted = {
            (s.life, task, n) for task, count in enumerate(self.bounds.rows) for n in range(count)
        }
        if not wanted <= s.outside:
            raise Violation(f"J6: {wanted - s.outside} are committed, and were never shown")
        if s.last is not None and s.last[2] < max(m.epoch for m in s.manifests):
            raise Violation(f"J6: {s.last} stands over a newer one")


def _at(values: tuple, number: int, value) -> tuple:
    return (*values[:number], value, *values[number + 1 :])


def _working(s: State, w: int, worker: Worker) -> State:
    return s._replace(workers=_at(s.workers, w, worker))


def _next(worker: Worker) -> Worker:
    """It has done a step; behind the last one it is as new."""
    rest = worker.steps[1:]
    return worker._replace(steps=rest) if rest else Worker()


def _outside(s: State, rows) -> State:
    return s._replace(outside=s.outside.union((s.life, *row[:2]) for row in rows))
