"""The protocol in a box: every order of events for two workers, over the product's own table.

One partition, a few records, two workers, a broker and a store, each reduced to what the protocol
rests on. The steps and what follows them are read from `processor.engine.commit.protocol`; what the
broker does is written here from what was measured on a real one. A worker may stand still between
any two of its steps: to poll, to take the task, to read what is committed, to walk the chain, to
collect are steps of their own. The owner's record may change at any moment. `explore` visits every
state that can be reached and checks the invariants in each.

The invariants, by the names of the protocol's description:

I1  committed outputs are those of inputs [0, committed), each once
I2  offsets are sent only from a state that is the fold of what is before them
I3  a manifest's offset is its delta's offset-to
I4  recovery uses only what the manifest reaches
I5  one committed attempt per epoch
I6  collection never deletes the reachable
I7  a commit implies that the offsets were sent in the same transaction
I8  a worker that knows that it lost the partition writes nothing before it has it again
I9  results do not depend on batch boundaries (batches of one and of two records are both tried),
    and a batch is what follows the committed one
I10 a load that waits for an open transaction can always end it
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from processor.engine.commit.protocol import EXACTLY_ONCE, Outcome, Step, Table, Verdict

NOBODY = -1


@dataclass(frozen=True)
class Blob:
    """A delta: what it continues, and the inputs it covers."""

    epoch: int
    attempt: int
    parent: tuple[int, int]
    start: int
    end: int


@dataclass(frozen=True)
class Head:
    """The committed offset and its manifest; ``base`` is the epoch of a snapshot."""

    offset: int = 0
    epoch: int = 0
    attempt: int = 0
    base: int = 0


@dataclass(frozen=True)
class Transaction:
    """An open transaction: which inputs' outputs it holds, and the head it would commit."""

    outputs: tuple[int, ...] = ()
    head: Head | None = None


@dataclass(frozen=True)
class Work:
    """A batch on its way."""

    step: Step
    records: tuple[int, ...]
    attempt: int

    @property
    def end(self) -> int:
        return self.records[-1] + 1


CLOSED = -1


@dataclass(frozen=True)
class Worker:
    """``fold`` is how many inputs its state has folded; ``knows`` whether it believes it owns.

    ``interrupted`` tells that it has not been the owner all the time: its next poll hears of it.

    ``at`` is the next input that its consumer gives, ``waiting`` what was given and is in no batch.
    A load goes from ``taken`` over ``reading``, the head that was read, to ``loaded``. ``collect``
    is the snapshot behind which it has still to delete; ``mended`` that the next delta rests on a
    snapshot written from memory.
    """

    alive: bool = True
    knows: bool = False
    interrupted: bool = False
    taken: bool = False
    reading: Head | None = None
    loaded: bool = False
    stopped: bool = False
    generation: int = 0
    producer: int = 0
    head: Head = Head()
    fold: int = 0
    at: int = CLOSED
    waiting: tuple[int, ...] = ()
    work: Work | None = None
    snapshot: int = 0
    collect: int = 0
    mended: bool = False


@dataclass(frozen=True)
class State:
    """Everything there is."""

    workers: tuple[Worker, Worker]
    owner: int = NOBODY
    generation: int = 0
    token: int = NOBODY
    committed: Head = Head()
    outputs: tuple[int, ...] = ()
    producers: tuple[int, int] = (0, 0)
    open: tuple[Transaction | None, Transaction | None] = (None, None)
    blobs: frozenset[Blob] = frozenset()
    snapshots: frozenset[int] = frozenset()
    attempts: int = 0
    crashes: int = 0
    moves: int = 0
    losses: int = 0
    disowned: int = 0
    lost: bool = False


@dataclass(frozen=True)
class Bounds:
    """How much may happen."""

    inputs: int = 3
    crashes: int = 1
    moves: int = 2
    attempts: int = 4
    losses: int = 1
    disowned: int = 0


class Violation(AssertionError):  # noqa: N818 - what it is, not what to do
    """An invariant does not hold; carries the way to the state."""


class Model:
    """The rules, with switches that mutants turn off."""

    table: Table = EXACTLY_ONCE
    guarded = True
    stable_reads = True
    fences = True
    collects_after_commit = True
    collects_as_the_owner = True
    spares_newer_snapshots = True
    checks_the_chain = True
    looks_again_before_it_calls_state_lost = True
    names_the_attempt = True
    shuts_on_reload = True
    forgets_when_it_opens = True
    checks_continuity = True

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds

    def start(self) -> State:
        return State((Worker(), Worker()))

    # What can happen next.

    def following(self, s: State) -> Iterator[tuple[str, State]]:
        yield from self._environment(s)
        for i, worker in enumerate(s.workers):
            if worker.stopped:
                continue
            if not worker.alive:
                yield f"{i} starts", self._started(s, i)
            elif worker.work is not None:
                yield from self._step(s, i, worker, worker.work)
            else:
                yield from self._between(s, i, worker)

    def _environment(self, s: State) -> Iterator[tuple[str, State]]:
        if s.moves < self.bounds.moves:
            for to in (0, 1):
                if to != s.owner and s.workers[to].alive:
                    moved = replace(s, owner=to, generation=s.generation + 1, moves=s.moves + 1)
                    if s.owner != NOBODY and s.workers[s.owner].knows:
                        former = replace(s.workers[s.owner], interrupted=True)
                        moved = self._set(moved, s.owner, former)
                    yield f"the partition moves to {to}", moved
        if s.disowned < self.bounds.disowned:
            for token in {NOBODY, 0, 1} - {s.token}:
                yield f"the owner's record says {token}", replace(
                    s, token=token, disowned=s.disowned + 1
                )  # fmt: skip
        if s.losses < self.bounds.losses and s.blobs:
            yield "the store loses everything", replace(
                s, blobs=frozenset(), snapshots=frozenset(), token=NOBODY,
                losses=s.losses + 1, lost=True,
            )  # fmt: skip
        for i in (0, 1):
            if s.workers[i].alive and s.crashes < self.bounds.crashes:
                dead = Worker(alive=False, producer=s.workers[i].producer)
                yield f"{i} is killed", replace(self._set(s, i, dead), crashes=s.crashes + 1)

    def _started(self, s: State, i: int) -> State:
        """A new process: taking the transactional id ends what was open under it."""
        return self._fenced(self._set(s, i, Worker(producer=s.producers[i] + 1)), i)

    def _fenced(self, s: State, i: int) -> State:
        producers = _at(s.producers, i, s.producers[i] + 1)
        return replace(s, producers=producers, open=_at(s.open, i, None))

    def _between(self, s: State, i: int, w: Worker) -> Iterator[tuple[str, State]]:
        """Between batches: collect, poll, load, begin a batch."""
        if w.collect:
            yield f"{i} collects", self._collected(s, i, w)
            return
        if (s.owner == i) != w.knows or (w.knows and w.generation != s.generation):
            owns = s.owner == i
            polled = replace(w, knows=owns, interrupted=False, generation=s.generation)
            if not (owns and w.knows) or w.interrupted:
                polled = replace(polled, loaded=False, taken=False, reading=None, **_shut())
            yield f"{i} polls", self._set(s, i, polled)
        if w.at != CLOSED and w.at < self.bounds.inputs and len(w.waiting) < 2:
            given = replace(w, at=w.at + 1, waiting=(*w.waiting, w.at))
            yield f"{i} is given {w.at}", self._set(s, i, given)
        if w.knows and not w.loaded:
            yield from self._load(s, i, w)
        if w.knows and w.loaded and w.waiting and s.attempts < self.bounds.attempts:
            if self.checks_continuity and not _continues(w):
                raise Violation(f"I9: {w.waiting} do not follow {w.head.offset}")
            work = Work(Step.STAGE, w.waiting, s.attempts + 1)
            fold = replace(w, work=work, fold=w.fold + len(w.waiting), waiting=())
            batch = replace(self._set(s, i, fold), attempts=s.attempts + 1)
            yield f"{i} cuts a batch of {w.waiting}", batch

    def _collected(self, s: State, i: int, w: Worker) -> State:
        idle = self._set(s, i, replace(w, collect=0))
        if self.collects_as_the_owner and s.token != i:
            return idle
        newer = max(s.snapshots, default=0) if self.spares_newer_snapshots else w.collect
        kept = frozenset(e for e in s.snapshots if w.collect <= e <= newer)
        blobs = frozenset(b for b in s.blobs if b.epoch > w.collect)
        return replace(idle, blobs=blobs, snapshots=kept)

    def _load(self, s: State, i: int, w: Worker) -> Iterator[tuple[str, State]]:
        """Take the task, read what is committed, walk the chain."""
        if not w.taken:
            yield f"{i} takes the task", replace(self._set(s, i, replace(w, taken=True)), token=i)
        elif w.reading is None:
            yield from self._read(s, i, w)
        else:
            yield from self._walk(s, i, w, w.reading)

    def _read(self, s: State, i: int, w: Worker) -> Iterator[tuple[str, State]]:
        pending = any(t is not None and t.head is not None for t in s.open)
        if pending and self.stable_reads:
            if s.open[1 - i] is None:
                raise Violation("I10: a load waits for a transaction that it cannot end")
            yield f"{i} ends {1 - i}'s transaction", self._fenced(s, 1 - i)
            return
        yield f"{i} reads what is committed", self._set(s, i, replace(w, reading=s.committed))

    def _walk(self, s: State, i: int, w: Worker, head: Head) -> Iterator[tuple[str, State]]:
        again = replace(w, taken=False, reading=None)
        if not self._reaches(s, head):
            if self.looks_again_before_it_calls_state_lost and s.committed != head:
                yield f"{i} sees that another has committed", self._set(s, i, again)
                return
            if not s.lost:
                raise Violation("I6: what the committed manifest reaches is not there")
            if self.checks_the_chain:
                yield f"{i} stops: state lost", self._set(s, i, replace(w, stopped=True))
                return
        waiting = () if self.forgets_when_it_opens else w.waiting
        loaded = replace(
            again, loaded=True, head=head, fold=self._folded(s, head), snapshot=head.base,
            at=head.offset, waiting=waiting, mended=False,
        )  # fmt: skip
        if loaded.fold != head.offset:
            raise Violation(f"I4: state of {loaded.fold} inputs at offset {head.offset}")
        yield f"{i} loads", self._set(s, i, loaded)

    def _chain(self, s: State, head: Head) -> list[Blob] | None:
        """The deltas from the snapshot on, newest first; ``None`` if one is missing."""
        found: list[Blob] = []
        key = (head.epoch, head.attempt)
        while key[0] > head.base:
            matching = [
                b for b in s.blobs
                if b.epoch == key[0] and (b.attempt == key[1] or not self.names_the_attempt)
            ]  # fmt: skip
            if not matching:
                return None
            blob = min(matching, key=lambda b: b.attempt)
            found.append(blob)
            key = blob.parent
        return found

    def _reaches(self, s: State, head: Head) -> bool:
        return self._chain(s, head) is not None and (not head.base or head.base in s.snapshots)

    def _folded(self, s: State, head: Head) -> int:
        chain = self._chain(s, head)
        if chain is None:
            return 0
        return chain[0].end if chain else head.offset

    # The steps.

    def _step(self, s: State, i: int, w: Worker, work: Work) -> Iterator[tuple[str, State]]:
        for outcome, after in getattr(self, "_" + work.step.name.lower())(s, i, w, work):
            following = self.table[work.step][outcome]
            label = f"{i} {work.step.value}: {outcome.value}"
            worker = after.workers[i]
            if isinstance(following, Step):
                going = replace(worker, work=replace(work, step=following))
                yield label, self._set(after, i, going)
            else:
                yield (
                    f"{label}, {following.value}",
                    self._verdict(after, i, worker, work, following),
                )

    def _verdict(self, s: State, i: int, w: Worker, work: Work, verdict: Verdict) -> State:
        idle = replace(w, work=None)
        redone = replace(idle, fold=w.head.offset, at=w.head.offset, waiting=())
        if verdict is Verdict.ADOPT:
            head = Head(work.end, w.head.epoch + 1, work.attempt, w.snapshot)
            behind = head.base if self.collects_after_commit else head.epoch
            after = replace(idle, head=head, snapshot=head.epoch, collect=behind, mended=False)
            return replace(self._set(s, i, after), snapshots=s.snapshots | {head.epoch})
        if verdict is Verdict.REDO:
            return self._set(s, i, redone)
        if verdict is Verdict.MEND:
            mended = replace(redone, snapshot=w.head.epoch, mended=True)
            snapshots = s.snapshots | {w.head.epoch}
            return replace(self._set(s, i, mended), token=i, snapshots=snapshots)
        if verdict is Verdict.RELOAD:
            shut = _shut() if self.shuts_on_reload else {}
            return self._set(s, i, replace(idle, loaded=False, taken=False, **shut))
        fresh = Worker(producer=s.producers[i] + 1)
        return self._fenced(self._set(s, i, fresh), i)

    def _stage(self, s: State, i: int, w: Worker, work: Work):
        if not w.knows:
            raise Violation("I8: a write to the store after the loss was known")
        parent = (w.head.epoch, w.head.attempt)
        blob = Blob(w.head.epoch + 1, work.attempt, parent, w.head.offset, work.end)
        staged = replace(s, blobs=s.blobs | {blob})
        linked = w.head.epoch in s.snapshots if w.mended else self._reaches(s, w.head)
        if s.token == i and linked:
            yield Outcome.DONE, staged
        elif linked or s.token not in (i, NOBODY):
            yield Outcome.LOST, staged
        else:
            yield Outcome.GONE, staged

    def _guard(self, s: State, i: int, w: Worker, work: Work):
        # As of its last poll the worker is the owner: that is all it can know.
        yield Outcome.DONE, s

    def _begin(self, s: State, i: int, w: Worker, work: Work):
        if self.fences and w.producer != s.producers[i]:
            yield Outcome.FENCED, s
        else:
            yield Outcome.DONE, replace(s, open=_at(s.open, i, Transaction()))

    def _produce(self, s: State, i: int, w: Worker, work: Work):
        if self._is_fenced(s, i, w):
            yield Outcome.FENCED, s
            return
        outputs = work.records
        yield Outcome.DONE, self._transaction(s, i, outputs=outputs)
        yield Outcome.REFUSED, self._transaction(s, i, outputs=outputs[:-1])

    def _flush(self, s: State, i: int, w: Worker, work: Work):
        if self._is_fenced(s, i, w):
            yield Outcome.FENCED, s
            return
        whole = len(s.open[i].outputs) == len(work.records)  # type: ignore[union-attr]
        yield (Outcome.DONE if whole else Outcome.REFUSED), s
        if whole:
            yield Outcome.REFUSED, self._transaction(s, i, outputs=s.open[i].outputs[:-1])  # type: ignore[union-attr]

    def _send_offsets(self, s: State, i: int, w: Worker, work: Work):
        if self._is_fenced(s, i, w):
            yield Outcome.FENCED, s
            return
        if self.guarded and w.generation != s.generation:
            yield Outcome.REFUSED, s  # the broker knows the generation, not who owns what
            return
        if w.fold != work.end:
            raise Violation(f"I2: offsets {work.end} from a state of {w.fold} inputs")
        head = Head(work.end, w.head.epoch + 1, work.attempt, w.snapshot)
        yield Outcome.DONE, self._transaction(s, i, head=head)
        yield Outcome.REFUSED, s

    def _commit(self, s: State, i: int, w: Worker, work: Work):
        if self._is_fenced(s, i, w):
            yield Outcome.FENCED, s
            return
        done = self._committed(s, i)
        yield Outcome.DONE, done
        yield Outcome.UNKNOWN, done
        yield Outcome.UNKNOWN, s

    def _abort(self, s: State, i: int, w: Worker, work: Work):
        if self._is_fenced(s, i, w):
            yield Outcome.FENCED, s
        else:
            yield Outcome.DONE, replace(s, open=_at(s.open, i, None))

    def _renew(self, s: State, i: int, w: Worker, work: Work):
        fenced = self._fenced(s, i)
        yield Outcome.DONE, self._set(fenced, i, replace(w, producer=fenced.producers[i]))

    _refresh = _renew

    def _inquire(self, s: State, i: int, w: Worker, work: Work):
        if any(t is not None and t.head is not None for t in s.open):
            yield Outcome.UNKNOWN, s
            return
        staged = Head(work.end, w.head.epoch + 1, work.attempt, w.snapshot)
        same = {staged: Outcome.STAGED, w.head: Outcome.BASE}
        yield same.get(s.committed, Outcome.OTHER), s

    # The broker.

    def _is_fenced(self, s: State, i: int, w: Worker) -> bool:
        return self.fences and (w.producer != s.producers[i] or s.open[i] is None)

    def _transaction(self, s: State, i: int, **changes: object) -> State:
        transaction = replace(s.open[i] or Transaction(), **changes)  # type: ignore[arg-type]
        return replace(s, open=_at(s.open, i, transaction))

    def _committed(self, s: State, i: int) -> State:
        transaction = s.open[i] or Transaction()
        if transaction.head is None:
            raise Violation("I7: a commit without offsets")
        head = transaction.head
        if head.epoch == s.committed.epoch and head != s.committed:
            raise Violation(f"I5: two attempts of epoch {head.epoch}")
        delta = [b for b in s.blobs if (b.epoch, b.attempt) == (head.epoch, head.attempt)]
        if delta and delta[0].end != head.offset:
            raise Violation("I3: the manifest's offset is not its delta's")
        outputs = tuple(sorted((*s.outputs, *transaction.outputs)))
        return replace(s, committed=head, outputs=outputs, open=_at(s.open, i, None))

    def check(self, s: State) -> None:
        """The invariants of a state."""
        if s.outputs != tuple(range(s.committed.offset)):
            raise Violation(f"I1: outputs {s.outputs} at offset {s.committed.offset}")
        if not s.lost and not self._reaches(s, s.committed):
            raise Violation(f"I6: {s.committed} is not reachable")

    @staticmethod
    def _set(s: State, i: int, worker: Worker) -> State:
        return replace(s, workers=_at(s.workers, i, worker))


def _shut() -> dict[str, object]:
    """Nothing is read any more, and what was given is forgotten."""
    return {"at": CLOSED, "waiting": ()}


def _continues(w: Worker) -> bool:
    start = w.head.offset
    return w.waiting == tuple(range(start, start + len(w.waiting)))


def _at(pair, i, value):
    return (value, pair[1]) if i == 0 else (pair[0], value)


def explore(model: Model, states_max: int = 3_000_000) -> int:
    """Visit every reachable state; returns how many there are. Raises `Violation` with the way."""
    first = model.start()
    seen = {first}
    level: list[tuple[State, tuple[object, ...]]] = [(first, ())]
    while level:
        later: list[tuple[State, tuple[object, ...]]] = []
        for state, way in level:
            try:
                for label, following in model.following(state):
                    if following not in seen:
                        model.check(following)
                        seen.add(following)
                        later.append((following, (way, label)))
                        if len(seen) >= states_max:
                            return len(seen)
            except Violation as violation:
                raise Violation(f"{violation}\n" + "\n".join(_steps(way))) from None
        level = later
    return len(seen)


def _steps(way: tuple[object, ...]) -> list[str]:
    steps: list[str] = []
    while way:
        way, label = way  # type: ignore[assignment]
        steps.append(f"  {label}")
    return steps[::-1]
