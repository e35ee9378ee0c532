"""The listener's connections as a whole: how many there may be, which are quiet, and their end."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall

from eventdbx.config import Limits
from eventdbx.surfaces.control.protocol import ControlProtocol
from eventdbx.surfaces.control.routes import Routes
from eventdbx.surfaces.control.watching import Watch

_SWEEP_S = 0.5
"""A session outlives its token by two of these at most: one to end it, one to cut it off."""


class ControlFactory(Factory):
    """All connections of the listener: how many there may be, and which have gone quiet."""

    noisy = False

    def __init__(
        self,
        routes: Routes,
        clock: IReactorTime,
        bounds: Limits,
        watch: Watch | None = None,
    ) -> None:
        self.routes = routes
        self.watch = watch
        self.bounds = bounds
        self.clock = clock
        self._connections: dict[ControlProtocol, str] = {}
        self._per_peer: dict[str, int] = {}
        self._sweeper = LoopingCall(self._sweep)
        self._sweeper.clock = clock
        self._empty: list[Deferred[None]] = []

    def startFactory(self) -> None:
        """Begin to look for connections that have gone quiet, and for tokens that have ended."""
        self._sweeper.start(_SWEEP_S, now=False)

    def stopFactory(self) -> None:
        """Stop looking."""
        if self._sweeper.running:
            self._sweeper.stop()

    def buildProtocol(self, addr: Any) -> ControlProtocol:
        """Return the protocol of a new connection."""
        return ControlProtocol(self, str(getattr(addr, "host", addr)))

    def admit(self, connection: ControlProtocol) -> bool:
        """Count a connection in; False when there are too many, in all or of its peer."""
        peer = connection.peer
        mine = self._per_peer.get(peer, 0)
        if len(self._connections) >= self.bounds.connections_max:
            return False
        if mine >= self.bounds.connections_per_peer_max:
            return False
        self._connections[connection] = peer
        self._per_peer[peer] = mine + 1
        return True

    def forget(self, connection: ControlProtocol) -> None:
        """Count a connection out."""
        peer = self._connections.pop(connection, None)
        if peer is None:
            return
        self._per_peer[peer] -= 1
        if not self._per_peer[peer]:
            del self._per_peer[peer]
        if not self._connections:
            waiting, self._empty = self._empty, []
            for deferred in waiting:
                deferred.callback(None)

    @property
    def connection_count(self) -> int:
        """Connections that are open now."""
        return len(self._connections)

    def _sweep(self) -> None:
        now = self.clock.seconds()
        oldest = now - self.bounds.idle_timeout_secs
        ended: dict[str, bool] = {}
        for connection in list(self._connections):
            grant = connection.grant
            if grant is not None:
                if grant.jti not in ended:
                    ended[grant.jti] = not self.routes.counts(grant)
                if ended[grant.jti] or connection.lasts_until < now:
                    connection.expire()
                    continue
            if connection.idle and connection.active_at < oldest:
                connection.close()

    def drain(self) -> Deferred[None]:
        """Let every connection answer what is in flight and close; fires when all have gone."""
        done: Deferred[None] = Deferred()
        if not self._connections:
            done.callback(None)
            return done
        self._empty.append(done)
        for connection in list(self._connections):
            connection.finish()
        return done

    def abort(self) -> None:
        """Cut every connection that is left."""
        for connection in list(self._connections):
            if connection.transport is not None:
                cast(Any, connection.transport).abortConnection()
