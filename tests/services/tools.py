"""Tools that tests need beside the servers."""

from __future__ import annotations

import os

import pytest

from tests.services.handle import Unavailable


def tool(make):
    """What ``make`` gives; without it a test is skipped, and with ``CI=true`` it fails."""
    try:
        return make()
    except Unavailable as error:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
