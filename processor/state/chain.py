"""The chain of checkpoints behind a committed offset, and how it is walked.

::

    manifest ──► delta 9 ──► delta 8 ──► … ──► snapshot 5 ──► its chunks
    (in the committed offset)

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
from processor.state.slab import Rows

CHUNK_BYTES_MAX: Final = 8 * 1024 * 1024
REMEDY: Final = (
    "run with --on-checkpoint-loss replay, which computes the state again from the input; or "
    "restore the Redis data; or start anew under another application id"
)

Loader = Callable[[Sequence[str]], list[bytes | None]]


@dataclass(frozen=True, slots=True)
class Link:
    """Where a chain stands: what the next delta continues, and what keeping it costs."""

    key: str = ""
    digest: str = ""
    snapshot: str = ""
    snapshot_bytes: int = 0
    chain_bytes: int = 0
    chain_length: int = 0
    trail: tuple[str, ...] = ()
    origin: int | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A chain, oldest state first, and the link that the next delta continues."""

    states: Sequence[Mapping[str, Rows]]
    link: Link


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A state of the past: what it holds, and the input that it does not.

    ``states`` come oldest first, and are verified as they come: `StateLostError` may be raised
    after any of them.
    """

    states: Iterable[Mapping[str, Rows]]
    offset: int
    event_time_max: int | None


class Walk:
    """A chain whose deltas were seen to be whole; its states are loaded one by one.

    Args:
        link: where it ends, and the snapshot that it rests on.
        deltas: key and digest of each, newest first.
    """

    def __init__(
        self, task: str, loader: Loader, link: Link, deltas: Sequence[tuple[str, str]]
    ) -> None:
        self._task, self._loader = task, loader
        self._link, self._deltas = link, deltas
        self._snapshot_bytes = 0

    def states(self) -> Iterator[Mapping[str, Rows]]:
        """Oldest first; no more than one is held here. Raises `StateLostError` in between."""
        for blob in self._snapshot():
            self._snapshot_bytes += len(blob)
            yield codec.decode(blob)[1]
        for key, digest in reversed(self._deltas):
            yield codec.decode(_fetched(self._task, key, digest, self._loader))[1]

    def link(self) -> Link:
        """What the next delta continues; whole once all states have come."""
        return replace(self._link, snapshot_bytes=self._snapshot_bytes)

    def _snapshot(self) -> Iterator[bytes]:
        if self._link.snapshot:
            for name, digest in _listing(self._task, self._link.snapshot, self._loader):
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
        return Walk(task, loader, Link(origin=manifest.origin), ())
    head = f"{manifest.epoch}:{manifest.attempt}:{manifest.digest}"
    link = Link(snapshot=manifest.snapshot, trail=manifest.trail, origin=manifest.origin)
    return _walk(task, head, link, loader)


def ancestors(task: str, manifest: Manifest, loader: Loader) -> Iterator[Ancestor]:
    """States before the manifest's that may be whole, newest first.

    Only what the manifest names by its digest is looked at, and what that names in turn: the deltas
    of its trail, its snapshot. A delta that merely lies in the store may be an aborted batch's.
    """
    named = [(name, _delta_ancestor) for name in manifest.trail]
    if manifest.snapshot:
        named.append((manifest.snapshot, _snapshot_ancestor))
    for name, find in sorted(named, key=lambda pair: -int(pair[0].partition(":")[0])):
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
    return Ancestor(walked.states(), header.offset_to, header.journal["event_time_max"])


def _snapshot_ancestor(task: str, name: str, loader: Loader) -> Ancestor:
    first, digest = _listing(task, name, loader)[0]
    header = codec.header(_fetched(task, first, digest, loader))
    if "event_time_max" not in header.journal:
        raise StateLostError(f"snapshot {name} of task {task} does not tell where it stands")
    states = Walk(task, loader, Link(snapshot=name), ()).states()
    return Ancestor(states, header.offset_to, header.journal["event_time_max"])


def _walk(task: str, head: str, link: Link, loader: Loader) -> Walk:
    """From a delta, named ``epoch:attempt:digest``, back to a snapshot or to the first delta."""
    epoch, attempt, want = head.split(":")
    deltas: list[tuple[str, str]] = []
    first = key = delta_key(int(epoch), attempt)
    digest, size = want, 0
    base, _ = _snapshot_of(link.snapshot)
    base_epoch = int(base.split(":")[1]) if base else 0
    while key and int(key.split(":")[1]) > base_epoch:
        data = _fetched(task, key, want, loader)
        deltas.append((key, want))
        size += len(data)
        header = codec.header(data)
        key, want = header.parent, header.parent_digest
    if base:
        _listing(task, link.snapshot, loader)
    link = replace(link, key=first, digest=digest, chain_bytes=size, chain_length=len(deltas))
    return Walk(task, loader, link, deltas)


def encode_snapshot(
    header: codec.Header, state: Mapping[str, Rows]
) -> tuple[str, str, dict[str, bytes]]:
    """The snapshot's key, its digest, and its blobs: chunks first, the list of them last."""
    key = snapshot_key(header.epoch, header.attempt)
    blobs: dict[str, bytes] = {}
    for name, rows in state.items():
        for chunk in codec.split(rows, CHUNK_BYTES_MAX):
            blobs[f"{key}:{len(blobs)}"] = codec.encode(header, {name: chunk})
    listing = orjson.dumps([[name, codec.digest(data)] for name, data in blobs.items()])
    return key, codec.digest(listing), {**blobs, key: listing}


def snapshot_name(key: str, digest: str) -> str:
    """How a manifest names a snapshot: ``epoch:attempt:digest``.

    >>> snapshot_name("s:7:a1b2", "cafe")
    '7:a1b2:cafe'
    """
    return f"{key.removeprefix('s:')}:{digest}"


def reachable(key: str, snapshot: str) -> bool:
    """Whether the manifest that names ``snapshot`` still needs the blob of this key.

    Every blob older than the snapshot's epoch is behind it; so is the delta of that very epoch,
    and every other snapshot.

    >>> [reachable(key, "5:aa:cafe") for key in ("d:5:xx", "d:6:yy", "s:5:aa:0", "s:3:bb")]
    [False, True, True, False]
    """
    if not snapshot:
        return True
    base, _ = _snapshot_of(snapshot)
    kind, epoch, *_ = key.split(":")
    if kind == "s":
        return key == base or key.startswith(f"{base}:")
    return int(epoch) > int(base.split(":")[1])


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
