"""``python -m tests.nightly``: the cases that are slow and rarely find what the others do not.

Each is a further case of a test that runs always. Arguments go to pytest: ``-n 2``, ``-k seed``.
"""

from __future__ import annotations

import sys

import pytest


def further(*values: object) -> object:
    """Values of a parametrized test that run with the nightly form only."""
    return pytest.param(*values, marks=pytest.mark.nightly)


if __name__ == "__main__":
    sys.exit(pytest.main(["-m", "nightly", *sys.argv[1:]]))
