"""Which number a worker has among those of its application on this machine.

It is a file that the worker keeps locked, in a directory of its user's own.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import quote

from processor.errors import SettingsError
from processor.private import PrivateDirectory

_MOST: Final = 4096
_NAME_MAX: Final = 200  # a file system takes 255 bytes


class Slot:
    """A stable ordinal for this process among those of one application on this machine.

    Transactional id and group instance id derive from it. A worker that is killed lets go of its
    slot, and the one started in its place takes it over, and with it its partitions.

    Args:
        app: the application id.
        prefix: what stands for the machine; ``None``: its host name.

    Raises `SettingsError` where the directory for the files is another user's or open to others,
    and where there are 4,096 workers already.

    >>> slot = Slot("rides", "host")
    >>> slot.instance
    'rides.host-0'
    >>> slot.close()
    """

    def __init__(self, app: str, prefix: str | None) -> None:
        try:
            path = Path(tempfile.gettempdir()) / f"processor-{os.geteuid()}"
        except OSError as error:
            raise SettingsError(
                f"there is no temporary directory: {error}",
                remedy="set TMPDIR to a directory of yours that can be written",
            ) from None
        remedy = (
            "it has to be a directory of yours that only you have rights in: see who made it, and "
            "remove it or run chmod 700 on it; or set TMPDIR to a directory of your own"
        )
        host = prefix or socket.gethostname()
        with PrivateDirectory(path, remedy=remedy) as directory:
            for ordinal in range(_MOST):
                self.instance = f"{app}.{host}-{ordinal}"
                self._file = directory.file(_file_name(self.instance))
                try:
                    fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    self.close()
                else:
                    return
        raise SettingsError(
            f"{app}: more than {_MOST:,} workers on this machine",
            remedy="give some of them an identity of their own with --instance",
        )

    def close(self) -> None:
        """Let go; a second call does nothing."""
        descriptor, self._file = self._file, -1
        if descriptor >= 0:
            os.close(descriptor)


def _file_name(instance: str) -> str:
    """One name for each instance, which leads nowhere else.

    >>> _file_name("rides.host-0"), _file_name("../rides.host-0")
    ('rides.host-0.slot', '..%2Frides.host-0.slot')
    """
    name = quote(instance, safe="")
    if len(name) > _NAME_MAX:
        name = f"{name[:100]}~{hashlib.sha256(name.encode()).hexdigest()}"
    return f"{name}.slot"
