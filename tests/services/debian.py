"""Debian's packages, fetched and unpacked beside the checkout; nothing is installed."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.services.handle import Unavailable
from tests.services.jars import CACHE

LIMIT_S = 180


def kept(name: str, packages: list[str], take: Callable[[Path, Path], None]) -> Path:
    """What ``take(unpacked, target)`` keeps of packages; fetched if this checkout has none yet."""
    target = CACHE / name
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        # Several test runs may start at once; the first fetches, the others find it done.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _fetch(target, packages, take)
    return target


def _fetch(target: Path, packages: list[str], take: Callable[[Path, Path], None]) -> None:
    for name in ("apt-get", "dpkg-deb"):
        if shutil.which(name) is None:
            raise Unavailable(f"no `{name}` on the path to fetch a package with")
    with tempfile.TemporaryDirectory(prefix=f"{target.name}-") as directory:
        download = ["apt-get", "download", *packages]
        for command in (download, ["apt-get", "update", "--quiet"], download):
            # Without the lists, which a fresh image lacks, a package is not known.
            subprocess.run(
                command, cwd=directory, capture_output=True, check=False, timeout=LIMIT_S
            )
            found = {path.name.partition("_")[0]: path for path in Path(directory).glob("*.deb")}
            if found.keys() >= set(packages):
                break
        else:
            missing = ", ".join(sorted(set(packages) - found.keys()))
            raise Unavailable(f"packages cannot be had: {missing}")
        whole = Path(directory) / "whole"
        for path in found.values():
            unpack = ["dpkg-deb", "--extract", path, whole]
            subprocess.run(unpack, check=True, capture_output=True, timeout=LIMIT_S)
        # Renamed when whole: an interrupted fetch is never taken for a finished one.
        partial = target.with_suffix(".partial")
        if partial.is_dir():
            shutil.rmtree(partial)
        take(whole, partial)
        partial.rename(target)
