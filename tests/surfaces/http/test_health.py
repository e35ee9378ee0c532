"""What readiness says: fine, degraded or unavailable."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.surfaces.http.health import Degraded, readiness


class Readiness(SynchronousTestCase):
    """One answer of several checks."""

    def test_status(self) -> None:
        """What can be served is ready; what somebody must look at is told nevertheless."""
        fine = readiness({"store": lambda: None})
        self.assertEqual((fine.ready, fine.document()["status"]), (True, "ok"))
        degraded = readiness({"store": lambda: None, "scrub": lambda: Degraded("2 records")})
        self.assertTrue(degraded.ready)
        self.assertEqual(
            degraded.document(),
            {"status": "degraded", "checks": {"store": "ok", "scrub": "2 records"}},
        )
        broken = readiness({"store": lambda: "closed", "scrub": lambda: Degraded("2 records")})
        self.assertEqual((broken.ready, broken.document()["status"]), (False, "unavailable"))
