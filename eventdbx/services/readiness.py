"""Telling a supervisor that the server is ready, stops, or still lives (``sd_notify``).

One datagram for each, to the socket that ``NOTIFY_SOCKET`` names; without one nothing is done. The
watchdog is fed from the reactor's loop: a server whose loop stands still is restarted.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

log = Logger()


class Readiness:
    """What a supervisor is told. The variables are taken out of the environment: what the server
    starts itself has nothing to say there."""

    def __init__(self, environ: MutableMapping[str, str], clock: IReactorTime) -> None:
        self._address = environ.pop("NOTIFY_SOCKET", "")
        interval_us = environ.pop("WATCHDOG_USEC", "")
        ours = environ.pop("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self._interval_s = int(interval_us) / 2e6 if interval_us.isdecimal() and ours else 0.0
        self._feeding: LoopingCall = LoopingCall(self._tell, "WATCHDOG=1")
        self._feeding.clock = clock

    def ready(self) -> None:
        """Say that the listeners answer, and feed the watchdog from now on."""
        self._tell(f"READY=1\nMAINPID={os.getpid()}\nSTATUS=EventDBX answers")
        if self._address and self._interval_s > 0 and not self._feeding.running:
            self._feeding.start(self._interval_s, now=True)

    def reloading(self) -> None:
        """Say that the configuration is read again; :meth:`ready` says when that is done."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={now_us}")

    def stopping(self) -> None:
        """Say that the server stops; the watchdog is fed on, for draining may take a while."""
        self._tell("STOPPING=1\nSTATUS=EventDBX stops")

    def _tell(self, state: str) -> None:
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
                sending.setblocking(False)
                sending.sendto(state.encode(), address)
        except OSError as error:
            log.warn("the supervisor was not told: {reason}", reason=error.strerror)
