"""The protocol in a box: every order of events for two workers, over the product's own table.

One partition, a few records, two workers, a broker and a store, each reduced to what the protocol
rests on. The steps and what follows them are read from `processor.engine.protocol`; what the broker
does is written here from what was measured on a real one. `explore` visits every state that can be
reached and checks the invariants in each.

The invariants, by the names of the protocol's description:

I1  committed outputs are those of inputs [0, committed), each once
I2  offsets are sent only from a state that is the fold of what is before them
I3  a manifest's offset is its delta's offset-to
I4  recovery uses only what the manifest reaches
I5  one committed attempt per epoch
I6  collection never deletes the reachable
I7  a commit implies that the offsets were sent in the same transaction
I8  a worker that knows that it lost the partition writes nothing before it has it again
I9  results do not depend on batch boundaries (batches of one and of two records are both tried)
I10 a load that waits for an open transaction can always end it
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from processor.engine.protocol import EXACTLY_ONCE, Outcome, Step, Table, Verdict

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
    end: int
    attempt: int


@dataclass(frozen=True)
class Worker:
    """``fold`` is how many inputs its state has folded; ``knows`` whether it believes it owns."""

    alive: bool = True
    knows: bool = False
    loaded: bool = False
    stopped: bool = False
    generation: int = 0
    producer: int = 0
    head: Head = Head()
    fold: int = 0
    work: Work | None = None
    snapshot: int = 0


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
    lost: bool = False


@dataclass(frozen=True)
class Bounds:
    """How much may happen."""

    inputs: int = 3
    crashes: int = 1
    moves: int = 2
    attempts: int = 4
    losses: int = 1


class Violation(AssertionError):  # noqa: N818 - what it is, not what to do
    """An invariant does not hold; carries the way to the state."""


class Model:
    """The rules, with switches that mutants turn off."""

    table: Table = EXACTLY_ONCE
    guarded = True
    stable_reads = True
    fences = True
    collects_after_commit = True
    checks_the_chain = True
    names_the_attempt = True

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
                    yield f"the partition moves to {to}", moved
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
        """Between batches: poll, load, begin a batch."""
        if (s.owner == i) != w.knows or (w.knows and w.generation != s.generation):
            owns = s.owner == i
            keeps = owns and w.knows and w.loaded
            polled = replace(w, knows=owns, loaded=keeps, generation=s.generation)
            yield f"{i} polls", self._set(s, i, polled)
        if w.knows and not w.loaded:
            yield from self._load(s, i, w)
        if w.knows and w.loaded and s.attempts < self.bounds.attempts:
            for size in (1, 2):
                if w.head.offset + size <= self.bounds.inputs:
                    work = Work(Step.STAGE, w.head.offset + size, s.attempts + 1)
                    fold = replace(w, work=work, fold=w.fold + size)
                    yield (
                        f"{i} cuts a batch of {size}",
                        replace(self._set(s, i, fold), attempts=s.attempts + 1),
                    )

    def _load(self, s: State, i: int, w: Worker) -> Iterator[tuple[str, State]]:
        if w.generation < s.generation and s.token not in (NOBODY, i):
            return  # the store refuses a lower generation
        owned = replace(s, token=i)
        other = 1 - i
        pending = any(t is not None and t.head is not None for t in s.open)
        if pending and self.stable_reads:
            if s.open[other] is not None:
                yield f"{i} ends {other}'s transaction", self._fenced(owned, other)
                return
            raise Violation("I10: a load waits for a transaction that it cannot end")
        if not self._reaches(s, s.committed):
            if not s.lost:
                raise Violation("I6: what the committed manifest reaches is not there")
            if self.checks_the_chain:
                yield f"{i} stops: state lost", self._set(s, i, replace(w, stopped=True))
                return
        head = s.committed
        loaded = replace(w, loaded=True, head=head, fold=self._folded(s, head), snapshot=head.base)
        if loaded.fold != head.offset:
            raise Violation(f"I4: state of {loaded.fold} inputs at offset {head.offset}")
        yield f"{i} loads", self._set(owned, i, loaded)

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
        if verdict is Verdict.ADOPT:
            head = Head(work.end, w.head.epoch + 1, work.attempt, w.snapshot)
            adopted = self._set(s, i, replace(idle, head=head, snapshot=head.epoch))
            snapshots = adopted.snapshots | {head.epoch}
            adopted = replace(adopted, snapshots=snapshots)
            behind = head.base if self.collects_after_commit else head.epoch
            kept = frozenset(b for b in adopted.blobs if b.epoch > behind)
            still = frozenset(e for e in snapshots if e >= behind)
            return replace(adopted, blobs=kept, snapshots=still)
        if verdict is Verdict.REDO:
            return self._set(s, i, replace(idle, fold=w.head.offset))
        if verdict is Verdict.RELOAD:
            return self._set(s, i, replace(idle, loaded=False))
        fresh = Worker(producer=s.producers[i] + 1)
        return self._fenced(self._set(s, i, fresh), i)

    def _stage(self, s: State, i: int, w: Worker, work: Work):
        if not w.knows:
            raise Violation("I8: a write to the store after the loss was known")
        parent = (w.head.epoch, w.head.attempt)
        blob = Blob(w.head.epoch + 1, work.attempt, parent, w.head.offset, work.end)
        staged = replace(s, blobs=s.blobs | {blob})
        if s.token == i:
            if s.lost and not self._reaches(s, w.head):
                yield Outcome.LOST, self._set(staged, i, replace(w, stopped=True, work=work))
                return
            yield Outcome.DONE, staged
        else:
            yield Outcome.LOST, staged

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
        outputs = tuple(range(w.head.offset, work.end))
        yield Outcome.DONE, self._transaction(s, i, outputs=outputs)
        yield Outcome.REFUSED, self._transaction(s, i, outputs=outputs[:-1])

    def _flush(self, s: State, i: int, w: Worker, work: Work):
        if self._is_fenced(s, i, w):
            yield Outcome.FENCED, s
            return
        whole = len(s.open[i].outputs) == work.end - w.head.offset  # type: ignore[union-attr]
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
