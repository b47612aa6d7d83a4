"""The benchmarks are run by hand, so a step that was renamed would be seen late."""

import subprocess
import sys

MISSING = """
from benchmarks.profile import STEPS
steps = [(kind, name) for kind, names in STEPS.items() for name in names]
print([f"{kind.__name__}.{name}" for kind, name in steps if not hasattr(kind, name)])
"""


def test_every_step_that_the_profile_times_is_there():
    done = subprocess.run(
        [sys.executable, "-c", MISSING], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
