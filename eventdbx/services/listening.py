"""A listener with a beginning that can fail loudly and an end that loses nothing."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort, IReactorTime, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from eventdbx.errors import IoError
from eventdbx.surfaces.control.protocol import ControlFactory
from eventdbx.surfaces.control.transport import make_prompt


class ControlService(Service):
    """The control listener on its endpoint.

    ``drain_s`` bounds, in seconds, how long stopping waits for what is in flight. ``listening``
    fires with the port once it accepts connections, and fails with IoError when the address
    cannot be had.
    """

    log = Logger()

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        factory: ControlFactory,
        *,
        address: str,
        clock: IReactorTime,
        drain_s: float,
    ) -> None:
        self._endpoint = endpoint
        self._factory = factory
        self._address = address
        self._clock = clock
        self.drain_s = drain_s
        self._port: IListeningPort | None = None
        self.listening: Deferred[IListeningPort] = Deferred()

    def startService(self) -> None:
        """Begin to listen; the outcome is told by ``listening``."""
        super().startService()  # type: ignore[no-untyped-call]
        self._endpoint.listen(self._factory).addCallbacks(self._listens, self._refused)

    def _listens(self, port: IListeningPort) -> None:
        self._port = port
        make_prompt(port)
        self.log.info("CLI Cap'n Proto server listening on {address}", address=self._address)
        self.listening.callback(port)

    def _refused(self, failure: Failure) -> None:
        cause = getattr(failure.value, "socketError", failure.value)
        self.listening.errback(IoError(f"cannot listen on {self._address}: {cause}"))

    def stopService(self) -> Deferred[None]:
        """Stop listening; answer what is in flight, at most for ``drain_s``; cut the rest."""
        super().stopService()  # type: ignore[no-untyped-call]
        stopped: Deferred[None] = succeed(None)
        if self._port is not None:
            port, self._port = self._port, None
            stopped = Deferred()
            closing = port.stopListening()
            if closing is None:
                stopped.callback(None)
            else:
                closing.addBoth(lambda _result: stopped.callback(None))
        return stopped.addCallback(lambda _nothing: self._drain())

    def _drain(self) -> Deferred[None]:
        limit = self._clock.callLater(self.drain_s, self._factory.abort)

        def drained(_nothing: None) -> None:
            if limit.active():
                limit.cancel()

        return self._factory.drain().addCallback(drained)
