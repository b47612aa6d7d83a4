"""The chain of checkpoints behind a committed offset, and how it is walked.

::

    manifest ──► delta 9 ──► delta 8 ──► … ──► snapshot 5 ──► its chunks
    (in the committed offset)   └─► its pieces, where it is large

The manifest names the newest delta by epoch, attempt and digest. Every delta names the one before
it with that one's digest; the walk ends at the epoch of the snapshot that the manifest names, or at
the first delta. So all that recovery reads is reached from the committed offset, and checked: a
blob that nobody committed cannot get in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import orjson

from processor.errors import StateLostError
from processor.model.manifest import Manifest
from processor.state import codec
from processor.state.base import Saved

CHUNK_BYTES_MAX: Final = 8 * 1024 * 1024
REMEDY: Final = (
    "run with --on-checkpoint-loss replay, which computes the state again from the input; or "
    "restore the Redis data; or start anew under another application id"
)

Loader = Callable[[Sequence[str]], list[bytes | None]]


@dataclass(frozen=True, slots=True)
class Link:
    """Where a chain stands: what the next delta continues, and what keeping it costs.

    ``chunks`` are the keys of the snapshot's blobs, ``deltas`` those of the deltas behind it;
    ``trail``, ``origin`` and ``rewound`` are the manifest's.
    """

    key: str = ""
    digest: str = ""
    snapshot: str = ""
    chunks: tuple[str, ...] = ()
    deltas: tuple[str, ...] = ()
    snapshot_bytes: int = 0
    chain_bytes: int = 0
    chain_length: int = 0
    trail: tuple[str, ...] = ()
    origin: int | None = None
    rewound: int = 0

    def rests_on(self) -> tuple[str, ...]:
        """The keys of every blob that the chain needs."""
        return (*self.chunks, *self.deltas)

    def parents(self) -> tuple[str, ...]:
        """What has to be there when the next delta is written: the last one, and the snapshot.

        >>> Link(key="d:7:aa", snapshot="5:bb:cafe").parents()
        ('d:7:aa', 's:5:bb')
        """
        snapshot, _ = _snapshot_of(self.snapshot)
        return tuple(filter(None, (self.key, snapshot)))


@dataclass(frozen=True, slots=True)
class Delta:
    """A delta of a chain: its key and digest, and those of its pieces."""

    key: str
    digest: str
    pieces: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A chain, oldest state first, and the link that the next delta continues."""

    states: Sequence[Mapping[str, Saved]]
    link: Link


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A state of the past: what it holds, and the input that it does not.

    ``states`` come oldest first, and are verified as they come: `StateLostError` may be raised
    after any of them.
    """

    states: Iterable[Mapping[str, Saved]]
    offset: int
    event_time_max: int | None
    log_time: int | None = None


class Walk:
    """A chain whose deltas were seen to be whole; its states are loaded one by one.

    Args:
        link: where it ends, and the snapshot that it rests on.
        deltas: its deltas, newest first.
    """

    def __init__(self, task: str, loader: Loader, link: Link, deltas: Sequence[Delta]) -> None:
        self._task, self._loader = task, loader
        self._link, self._deltas = link, deltas
        self._snapshot_bytes = 0
        self._chunks: list[str] = []

    def states(self) -> Iterator[Mapping[str, Saved]]:
        """Oldest first; no more than one is held here. Raises `StateLostError` in between."""
        for blob in self._snapshot():
            self._snapshot_bytes += len(blob)
            yield codec.decode(blob)[1]
        for delta in reversed(self._deltas):
            for key, digest in [(delta.key, delta.digest), *delta.pieces]:
                yield codec.decode(_fetched(self._task, key, digest, self._loader))[1]

    def link(self) -> Link:
        """What the next delta continues; whole once all states have come."""
        return replace(self._link, snapshot_bytes=self._snapshot_bytes, chunks=tuple(self._chunks))

    def _snapshot(self) -> Iterator[bytes]:
        if self._link.snapshot:
            self._chunks = [_snapshot_of(self._link.snapshot)[0]]
            for name, digest in _listing(self._task, self._link.snapshot, self._loader):
                self._chunks.append(name)
                yield _fetched(self._task, name, digest, self._loader)


def delta_key(epoch: int, attempt: str) -> str:
    """The key of a delta within its task.

    >>> delta_key(7, "a1b2")
    'd:7:a1b2'
    """
    return f"d:{epoch}:{attempt}"


def snapshot_key(epoch: int, attempt: str) -> str:
    """The key of a snapshot within its task; its chunks append ``:i``.

    >>> snapshot_key(7, "a1b2")
    's:7:a1b2'
    """
    return f"s:{epoch}:{attempt}"


def load(task: str, manifest: Manifest, loader: Loader) -> Loaded:
    """The whole chain at once; see `walk`."""
    walked = walk(task, manifest, loader)
    states = tuple(walked.states())
    return Loaded(states, walked.link())


def walk(task: str, manifest: Manifest, loader: Loader) -> Walk:
    """Walk back from the manifest to the snapshot, verifying every digest.

    Raises `StateLostError` that names the first delta that is missing or altered.
    """
    if not manifest.digest:
        return Walk(task, loader, Link(origin=manifest.origin, rewound=manifest.rewound), ())
    head = f"{manifest.epoch}:{manifest.attempt}:{manifest.digest}"
    link = Link(
        snapshot=manifest.snapshot, trail=manifest.trail, origin=manifest.origin,
        rewound=manifest.rewound,
    )  # fmt: skip
    return _walk(task, head, link, loader)


def ancestors(task: str, manifest: Manifest, loader: Loader) -> Iterator[Ancestor]:
    """States before the manifest's that may be whole, newest first.

    Only what the manifest names by its digest is looked at, and what that names in turn: the deltas
    of its trail, its snapshot. A delta that merely lies in the store may be an aborted batch's. Of
    those before the watermark was set back none is looked at.
    """
    named = [(name, _delta_ancestor) for name in manifest.trail]
    if manifest.snapshot:
        named.append((manifest.snapshot, _snapshot_ancestor))
    epochs = {name: int(name.partition(":")[0]) for name, _ in named}
    for name, find in sorted(named, key=lambda pair: -epochs[pair[0]]):
        if epochs[name] <= manifest.rewound:
            return
        try:
            found = find(task, name, loader)
        except StateLostError:
            continue
        yield found


def _delta_ancestor(task: str, name: str, loader: Loader) -> Ancestor:
    epoch, attempt, digest = name.split(":")
    key = delta_key(int(epoch), attempt)
    header = codec.header(_fetched(task, key, digest, loader))
    snapshot = header.journal.get("snapshot")
    if snapshot is None:
        raise StateLostError(f"checkpoint {key} of task {task} does not tell what it rests on")
    walked = _walk(task, name, Link(snapshot=snapshot), loader)
    return _ancestor(walked.states(), header)


def _snapshot_ancestor(task: str, name: str, loader: Loader) -> Ancestor:
    first, digest = _listing(task, name, loader)[0]
    header = codec.header(_fetched(task, first, digest, loader))
    if "event_time_max" not in header.journal:
        raise StateLostError(f"snapshot {name} of task {task} does not tell where it stands")
    states = Walk(task, loader, Link(snapshot=name), ()).states()
    return _ancestor(states, header)


def _ancestor(states: Iterable[Mapping[str, Saved]], header: codec.Header) -> Ancestor:
    journal = header.journal
    times = journal["event_time_max"], journal.get("log_time")
    return Ancestor(states, header.offset_to, *times)


def _walk(task: str, head: str, link: Link, loader: Loader) -> Walk:
    """From a delta, named ``epoch:attempt:digest``, back to a snapshot or to the first delta."""
    epoch, attempt, want = head.split(":")
    deltas: list[Delta] = []
    first = key = delta_key(int(epoch), attempt)
    digest, size = want, 0
    base, _ = _snapshot_of(link.snapshot)
    base_epoch = int(base.split(":")[1]) if base else 0
    while key and _epoch(key) > base_epoch:
        data = _fetched(task, key, want, loader)
        header = codec.header(data)
        deltas.append(Delta(key, want, header.pieces))
        size += len(data)
        for piece, of_piece in header.pieces:
            size += len(_fetched(task, piece, of_piece, loader))
        key, want = header.parent, header.parent_digest
    if base:
        _listing(task, link.snapshot, loader)
    keys = [key for d in reversed(deltas) for key in (d.key, *(name for name, _ in d.pieces))]
    link = replace(
        link, key=first, digest=digest, deltas=tuple(keys), chain_bytes=size,
        chain_length=len(deltas),
    )  # fmt: skip
    return Walk(task, loader, link, deltas)


def encode_delta(
    header: codec.Header, state: Mapping[str, Saved]
) -> tuple[str, str, dict[str, bytes]]:
    """The delta's key, its digest, and its blobs: pieces first, the delta itself last."""
    key = delta_key(header.epoch, header.attempt)
    if sum(saved.size() for saved in state.values()) <= CHUNK_BYTES_MAX:
        data = codec.encode(header, state)
        return key, codec.digest(data), {key: data}
    blobs = dict(_chunks(key, header, state))
    header = replace(header, pieces=[(name, codec.digest(data)) for name, data in blobs.items()])
    data = codec.encode(header, {})
    return key, codec.digest(data), {**blobs, key: data}


def encode_snapshot(
    header: codec.Header, state: Mapping[str, Saved]
) -> Iterator[tuple[str, bytes]]:
    """The snapshot's blobs by key, one at a time: chunks first, the list of them last."""
    key = snapshot_key(header.epoch, header.attempt)
    listing: list[tuple[str, str]] = []
    for name, data in _chunks(key, header, state):
        listing.append((name, codec.digest(data)))
        yield name, data
    yield key, orjson.dumps(listing)


def _chunks(
    key: str, header: codec.Header, state: Mapping[str, Saved]
) -> Iterator[tuple[str, bytes]]:
    number = 0
    for name, saved in state.items():
        for chunk in saved.split(CHUNK_BYTES_MAX):
            yield f"{key}:{number}", codec.encode(header, {name: chunk})
            number += 1


def snapshot_name(key: str, digest: str) -> str:
    """How a manifest names a snapshot: ``epoch:attempt:digest``.

    >>> snapshot_name("s:7:a1b2", "cafe")
    '7:a1b2:cafe'
    """
    return f"{key.removeprefix('s:')}:{digest}"


def reachable(key: str, snapshot: str) -> bool:
    """Whether the manifest that names ``snapshot``, or a later one, may need the blob of this key.

    What is older than the snapshot's epoch is behind it; so are the delta of that very epoch and
    its other snapshots. What is newer may be another worker's, who has committed since.

    >>> [reachable(key, "5:aa:cafe") for key in ("d:5:xx", "d:6:yy", "s:5:aa:0", "s:3:bb")]
    [False, True, True, False]
    >>> reachable("s:6:cc", "5:aa:cafe")
    True
    """
    if not snapshot:
        return True
    base, _ = _snapshot_of(snapshot)
    return _epoch(key) > _epoch(base) or key == base or key.startswith(f"{base}:")


def behind(keys: Iterable[str], snapshot: str) -> tuple[str, ...]:
    """Those of a chain's deltas that a snapshot does not hold.

    >>> behind(["d:4:aa", "d:5:aa", "d:6:aa", "d:6:aa:0"], "5:aa:cafe")
    ('d:6:aa', 'd:6:aa:0')
    """
    base, _ = _snapshot_of(snapshot)
    return tuple(key for key in keys if _epoch(key) > _epoch(base))


def _epoch(key: str) -> int:
    return int(key.split(":")[1])


def _snapshot_of(name: str) -> tuple[str, str]:
    if not name:
        return "", ""
    epoch, attempt, digest = name.split(":")
    return snapshot_key(int(epoch), attempt), digest


def _listing(task: str, snapshot: str, loader: Loader) -> list[tuple[str, str]]:
    """Key and digest of each of a snapshot's chunks; there is at least one."""
    key, digest = _snapshot_of(snapshot)
    found: list[tuple[str, str]] = orjson.loads(_fetched(task, key, digest, loader))
    return found


def _fetched(task: str, key: str, want: str, loader: Loader) -> bytes:
    return _verified(task, key, want, loader([key])[0])


def _verified(task: str, key: str, want: str, data: bytes | None) -> bytes:
    if data is None:
        raise StateLostError(
            f"checkpoint {key} of task {task} is missing, though the committed offset rests on it",
            remedy=REMEDY,
        )
    if codec.digest(data) != want:
        raise StateLostError(
            f"checkpoint {key} of task {task} was altered: its digest is not the committed one",
            remedy=REMEDY,
        )
    return data
