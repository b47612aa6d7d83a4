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

from collections.abc import Callable, Mapping, Sequence
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
    """A state of the past that is certain: what it holds, and the input that it does not."""

    states: Sequence[Mapping[str, Rows]]
    offset: int
    event_time_max: int | None


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
    """Walk back from the manifest to the snapshot, verify every digest, return it forward.

    Raises `StateLostError` that names the first blob that is missing or altered.
    """
    if not manifest.digest:
        return Loaded((), Link(origin=manifest.origin))
    head = f"{manifest.epoch}:{manifest.attempt}:{manifest.digest}"
    link, states = _walk(task, head, manifest.snapshot, loader)
    return Loaded(states, replace(link, trail=manifest.trail, origin=manifest.origin))


def ancestor(task: str, manifest: Manifest, loader: Loader) -> Ancestor | None:
    """The newest state before the manifest's that is whole, or ``None``.

    Only what the manifest names by its digest is looked at, and what that names in turn: the deltas
    of its trail, its snapshot. A delta that merely lies in the store may be an aborted batch's.
    """
    named = [(name, _delta_ancestor) for name in manifest.trail]
    if manifest.snapshot:
        named.append((manifest.snapshot, _snapshot_ancestor))
    for name, find in sorted(named, key=lambda pair: -int(pair[0].partition(":")[0])):
        try:
            return find(task, name, loader)
        except StateLostError:
            continue
    return None


def _delta_ancestor(task: str, name: str, loader: Loader) -> Ancestor:
    epoch, attempt, digest = name.split(":")
    key = delta_key(int(epoch), attempt)
    header, _ = codec.decode(_verified(task, key, digest, loader([key])[0]))
    snapshot = header.journal.get("snapshot")
    if snapshot is None:
        raise StateLostError(f"checkpoint {key} of task {task} does not tell what it rests on")
    _, states = _walk(task, name, snapshot, loader)
    return Ancestor(states, header.offset_to, header.journal["event_time_max"])


def _snapshot_ancestor(task: str, name: str, loader: Loader) -> Ancestor:
    key, digest = _snapshot_of(name)
    states, _, header = _load_snapshot(task, key, digest, loader)
    if header is None or "event_time_max" not in header.journal:
        raise StateLostError(f"snapshot {key} of task {task} does not tell where it stands")
    return Ancestor(states, header.offset_to, header.journal["event_time_max"])


def _walk(
    task: str, head: str, snapshot: str, loader: Loader
) -> tuple[Link, Sequence[Mapping[str, Rows]]]:
    """From a delta, named ``epoch:attempt:digest``, back to a snapshot or to the first delta."""
    epoch, attempt, want = head.split(":")
    deltas: list[Mapping[str, Rows]] = []
    first = key = delta_key(int(epoch), attempt)
    digest, size = want, 0
    base, base_digest = _snapshot_of(snapshot)
    base_epoch = int(base.split(":")[1]) if base else 0
    while key and int(key.split(":")[1]) > base_epoch:
        data = _verified(task, key, want, loader([key])[0])
        header, state = codec.decode(data)
        deltas.append(state)
        size += len(data)
        key, want = header.parent, header.parent_digest
    states: list[Mapping[str, Rows]] = []
    snapshot_bytes = 0
    if base:
        states, snapshot_bytes, _ = _load_snapshot(task, base, base_digest, loader)
    link = Link(first, digest, snapshot, snapshot_bytes, size, len(deltas))
    return link, (*states, *reversed(deltas))


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


def _load_snapshot(
    task: str, key: str, want: str, loader: Loader
) -> tuple[list[Mapping[str, Rows]], int, codec.Header | None]:
    listing = orjson.loads(_verified(task, key, want, loader([key])[0]))
    names = [name for name, _ in listing]
    states: list[Mapping[str, Rows]] = []
    size, header = 0, None
    for (name, chunk_digest), data in zip(listing, loader(names), strict=True):
        chunk = _verified(task, name, chunk_digest, data)
        header, state = codec.decode(chunk)
        states.append(state)
        size += len(chunk)
    return states, size, header


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
