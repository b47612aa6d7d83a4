"""What another user of the machine could do, as far as a test can."""

from __future__ import annotations

import os
import stat


def anothers(path, monkeypatch):
    """Makes a path another user's: really, where the tests may, else as it looks to us."""
    if os.geteuid() == 0:
        os.chown(path, 4242, -1, follow_symlinks=False)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 4242)


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)
