"""kcat, a client of others for the shell: from the path, or Debian's package unpacked here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

from tests.services.debian import kept
from tests.services.handle import Unavailable

# With the libraries that a small image may lack.
PACKAGES = ["kcat", "librdkafka1", "libyajl2", "libsasl2-2", "libzstd1", "liblz4-1"]
LIMIT_S = 60


class Kcat:
    """Runs ``kcat``; ``libraries`` is where it finds those that it is linked with."""

    def __init__(self, command, libraries=None):
        self._command = str(command)
        self._env = dict(os.environ)
        if libraries is not None:
            self._env["LD_LIBRARY_PATH"] = str(libraries)
        self.version = self.run("-V")

    def run(self, *args, text=""):
        """What it writes to standard output; raises with what it says where it fails."""
        given = text if isinstance(text, bytes) else text.encode()
        done = subprocess.run(
            [self._command, *map(str, args)], input=given, capture_output=True, check=False,
            env=self._env, timeout=LIMIT_S,
        )  # fmt: skip
        if done.returncode:
            raise OSError(f"kcat ended with {done.returncode}: {done.stderr.decode()}")
        return done.stdout.decode()

    def produce(self, servers, topic, text, *args):
        """Writes lines, or what ``args`` say of the input."""
        self.run("-b", servers, "-P", "-t", topic, *args, text=text)

    def consume(self, servers, topic, *args):
        """What it prints of a topic, from its beginning to its end."""
        return self.run("-b", servers, "-C", "-t", topic, "-o", "beginning", "-e", "-q", *args)

    def envelopes(self, servers, topic, *args):
        """The records as it tells them in JSON, one by one."""
        return [json.loads(line) for line in self.consume(servers, topic, "-J", *args).splitlines()]


def kcat():
    """The tool from the first place that has it; raises `Unavailable` with every reason."""
    if found := shutil.which("kcat"):
        return Kcat(found)
    try:
        target = kept("kcat", PACKAGES, _take)
        return Kcat(target / "kcat", target)
    except (Unavailable, OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"no kcat on the path; {error}") from error


def _take(whole, target):
    target.mkdir()
    shutil.copy2(whole / "usr/bin/kcat", target)
    for path in whole.glob("usr/lib/*/*.so*"):
        # A link is followed: what it leads to may be in another package's directory.
        shutil.copy2(path, target / path.name)
