"""What a server looks after once a second on behalf of tokens, whoever changed them.

Changes of the ledger whose process was killed are finished, and signing keys that were rotated in
the configuration file are taken up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

LOOK_S = 1.0


class SettlingService(Service):
    """Asks ``unsettled`` and ``look_for_keys`` again and again; settles on a thread.

    What goes wrong is in the log, once for each reason, and tried again.
    """

    log = Logger()

    def __init__(
        self,
        unsettled: Callable[[], bool],
        settle: Callable[[], None],
        look_for_keys: Callable[[], object],
        *,
        run_slowly: Callable[[Callable[[], Any]], Deferred[Any]],
        clock: IReactorTime,
    ) -> None:
        self._unsettled = unsettled
        self._settle = settle
        self._look_for_keys = look_for_keys
        self._run_slowly = run_slowly
        self._looking: LoopingCall = LoopingCall(lambda: Deferred.fromCoroutine(self._look()))
        self._looking.clock = clock
        self._reason = ""

    def startService(self) -> None:
        """Look now, and from now on."""
        super().startService()  # type: ignore[no-untyped-call]
        self._looking.start(LOOK_S).addErrback(
            lambda failure: self.log.failure("tokens are not watched any more", failure=failure)
        )

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._looking.running:
            self._looking.stop()

    async def _look(self) -> None:
        try:
            self._look_for_keys()
            if self._unsettled():
                await self._run_slowly(self._settle)
            self._reason = ""
        except Exception as error:  # Too many open files, say: it must not be the last look.
            if str(error) != self._reason:
                self._reason = str(error)
                self.log.error("tokens: {reason}", reason=self._reason)
