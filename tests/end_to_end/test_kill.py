"""A few cycles of the kill harness; ``python bench/kill.py`` runs hundreds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bench.kill import Harness, Lost
from bench.kill_clients import Sent

CYCLES = 3


class Kill(SynchronousTestCase):
    """What holds after kill -9 under concurrent load."""

    def test_nothing_is_lost_and_nothing_invented(self) -> None:
        """After each kill everything acknowledged is there, whole, once, and nothing else is."""
        harness = Harness(seed=20, clients=5, folder=Path(self.mktemp()).resolve(), quiet=True)
        self.addCleanup(harness.daemon.kill)
        harness.run(CYCLES)
        self.assertGreaterEqual(harness.kills, CYCLES)


class Notices(SynchronousTestCase):
    """The harness itself sees what it is there to see."""

    def _harness(self, *sent: Sent) -> Any:
        harness = Harness.__new__(Harness)
        harness._cycle = 0
        harness.sent = {each.tag: each for each in sent}
        return harness

    def test_a_lost_event_is_noticed(self) -> None:
        """An acknowledged event that is not stored any more is reported."""
        sent = Sent("c0w0n1", "a", {"tag": "c0w0n1"}, answer={"version": 1, "metadata": {}})
        self.assertRaises(Lost, self._harness(sent)._check_acknowledged, {})

    def test_a_changed_event_is_noticed(self) -> None:
        """An acknowledged event that is stored otherwise is reported."""
        sent = Sent("c0w0n1", "a", {"tag": "c0w0n1"}, answer={"version": 1, "metadata": {}})
        stored = {"c0w0n1": {"version": 2, "metadata": {}}}
        self.assertRaises(Lost, self._harness(sent)._check_acknowledged, stored)

    def test_half_a_batch_is_noticed(self) -> None:
        """A batch of which only a part is stored is reported, acknowledged or not."""
        sent = [Sent(f"c0w0n{number}", "a", {}, group="c0w0n0") for number in (1, 2)]
        self.assertRaises(Lost, self._harness(*sent)._check_acknowledged, {"c0w0n1": {}})
