"""The reactor inside a command: it runs for a while, and never longer than it is wanted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest import TestCase

import eventdbx

PROGRAM = """
from eventdbx.services import spinning

looked = []

def done():
    looked.append(0)
    if len(looked) > 3:
        raise ValueError("broken")
    return False

try:
    spinning.run_until(done, None)
except ValueError as error:
    print("raised", error)
print(spinning.run_until(lambda: True, 1), spinning.run_until(lambda: False, 0.05))
spinning.wind_up()
"""


class SpinningTests(TestCase):
    """A process of its own, for the reactor can be had once."""

    def test_ends_with_an_error(self) -> None:
        """A question that cannot be answered ends the run, which may be repeated."""
        ran = subprocess.run(
            (sys.executable, "-c", PROGRAM),
            cwd=Path(eventdbx.__file__).parents[1],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        self.assertEqual(ran.stdout, "raised broken\nTrue False\n")
