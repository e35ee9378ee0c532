"""Some hundred hostile connections; ``python bench/fuzz.py`` sends a hundred thousand."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.fuzz import run


class Fuzz(SynchronousTestCase):
    """What the daemon takes without harm."""

    def test_hostile_connections_harm_nothing(self) -> None:
        """Peers that break every rule crash nothing, leave nothing open, and disturb nobody."""
        folder = Path(self.mktemp()).resolve()
        report = run(connections=400, seed=11, at_once=64, half_open=12, folder=folder, quiet=True)
        self.assertEqual(report.problems, [])
        self.assertEqual(sum(report.kinds.values()), 400)
        self.assertGreater(report.kinds["schema_operations"], 10)
        self.assertGreater(report.kinds["huge_schemas"], 0)
        self.assertGreater(report.kinds["plugin_operations"], 5)
        self.assertGreater(report.kinds["followers"], 5)
