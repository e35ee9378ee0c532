"""A thousand wrong tokens a second, and what good clients notice of them.

How long they then take is measured by ``python -m bench.strangers``: here no time is asserted.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.daemon import Daemon
from bench.strangers import measure

RATE = 1_000.0
PART_S = 3.0
GROWTH_MB_MAX = 16.0


class Strangers(SynchronousTestCase):
    """One address shows wrong tokens, and good clients work behind it."""

    def test_good_clients_go_on(self) -> None:
        """All strangers are refused, no good client is, and the server does not grow."""
        daemon = Daemon(Path(self.mktemp()).resolve())
        daemon.start()
        self.addCleanup(daemon.stop)
        found = measure(daemon, RATE, PART_S)  # Raises the error of a good client, if any.
        told = found["strangers"]
        self.assertGreater(told["shown"], 0)
        self.assertEqual(told["refused"], told["shown"])
        self.assertGreater(found["with strangers"]["appends"], 0)
        grown = found["alone again"]["resident_mb"] - found["alone"]["resident_mb"]
        self.assertLess(grown, GROWTH_MB_MAX)
