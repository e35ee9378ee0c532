"""What a supervisor is told over its socket."""

from __future__ import annotations

import os
import socket
import tempfile

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.services.readiness import Readiness


class ReadinessTests(SynchronousTestCase):
    """A supervisor that listens."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()  # Names of sockets are short.
        self.addCleanup(folder.cleanup)
        self.address = os.path.join(folder.name, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.socket.bind(self.address)
        self.socket.setblocking(False)
        self.clock = Clock()

    def readiness(self, **environ: str) -> Readiness:
        """Return what tells this supervisor."""
        self.environ = {"NOTIFY_SOCKET": self.address, **environ}
        return Readiness(self.environ, self.clock)

    def told(self) -> list[str]:
        """Return what was told since the last time."""
        found: list[str] = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return found

    def test_a_life(self) -> None:
        """Ready, reloading, ready again, stopping; children do not inherit the socket."""
        readiness = self.readiness()
        self.assertEqual(self.environ, {})
        readiness.ready()
        (ready,) = self.told()
        self.assertIn("READY=1\n", ready)
        self.assertIn(f"MAINPID={os.getpid()}", ready)
        readiness.reloading()
        readiness.stopping()
        reloading, stopping = self.told()
        self.assertRegex(reloading, r"^RELOADING=1\nMONOTONIC_USEC=\d+$")
        self.assertIn("STOPPING=1", stopping)
        self.clock.advance(100)
        self.assertEqual(self.told(), [])

    def test_watchdog(self) -> None:
        """It is fed twice in its time, once the server is ready."""
        readiness = self.readiness(WATCHDOG_USEC="10000000", WATCHDOG_PID=str(os.getpid()))
        self.clock.advance(20)
        self.assertEqual(self.told(), [])
        readiness.ready()
        self.assertEqual(self.told()[1:], ["WATCHDOG=1"])
        for _ in range(2):
            self.clock.advance(5)
        self.assertEqual(self.told(), ["WATCHDOG=1"] * 2)

    def test_the_watchdog_of_another(self) -> None:
        """What is meant for another process is not ours to feed."""
        self.readiness(WATCHDOG_USEC="10000000", WATCHDOG_PID="1").ready()
        self.clock.advance(20)
        self.assertEqual(len(self.told()), 1)

    def test_without_a_supervisor(self) -> None:
        """Nothing happens; nor when the supervisor is gone."""
        Readiness({}, self.clock).ready()
        readiness = self.readiness(WATCHDOG_USEC="oops")
        self.socket.close()
        os.unlink(self.address)
        readiness.ready()
        readiness.stopping()
