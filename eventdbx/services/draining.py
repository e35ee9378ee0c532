"""Serving the plugins of every open domain, and one pass over them where no server runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from eventdbx.application.domains import Domain
from eventdbx.config import Config
from eventdbx.plugins.desk import Desk
from eventdbx.plugins.drainer import Drainer
from eventdbx.plugins.outlet import RunSlowly
from eventdbx.plugins.surroundings import Surroundings
from eventdbx.plugins.watching import DeliveryWatch
from eventdbx.services.bundles import installation
from eventdbx.services.workspace import Workspace

TICK_S = 1.0
"""Commits wake the drainers; the tick is for entries that were edited, and for whatever was
missed."""

THREADS = 1
"""Loading events is mostly computing; a second thread would only contend for the interpreter."""


def make_drainer(
    domain: Domain,
    config: Config,
    workspace: Workspace,
    *,
    reactor: Any,
    run_slowly: RunSlowly,
    watch: DeliveryWatch | None = None,
) -> Drainer:
    """Return the drainer of a domain, and let surfaces ask of it."""
    surroundings = Surroundings(
        reactor=reactor,
        domain=domain.name,
        data_root=workspace.data_dir,
        run_dir=workspace.data_dir / "plugins" / "run",
        log_dir=workspace.log_dir,
        control_address=config.socket.bind_addr,
        environ=os.environ,
        installation=lambda name, version: installation(workspace.data_dir, name, version),
    )
    drainer = Drainer(
        domain,
        clock=reactor,
        run_slowly=run_slowly,
        surroundings=surroundings,
        config=config,
        watch=watch,
    )
    domain.delivering = Desk(drainer)
    return drainer


class DrainService(Service):
    """Serves plugins while it runs; ``make`` returns the drainer of a domain."""

    log = Logger()

    def __init__(self, make: Callable[[Domain], Drainer], *, clock: Any, pool: ThreadPool) -> None:
        self._make = make
        self._pool = pool
        self._drainers: list[Drainer] = []
        self._loop = LoopingCall(self._turn)
        self._loop.clock = clock

    def add(self, domain: Domain) -> None:
        """Serve the plugins of a domain that was opened."""
        drainer = self._make(domain)
        self._drainers.append(drainer)
        drainer.start()
        domain.plugins.on_change.append(self._look_all)
        if self.running:
            drainer.serve()

    def take_up(self, config: Config) -> None:
        """Go on under another configuration."""
        for drainer in self._drainers:
            drainer.take_up(config)

    def startService(self) -> None:
        """Begin to deliver."""
        super().startService()  # type: ignore[no-untyped-call]
        self._pool.start()
        for drainer in self._drainers:
            drainer.serve()
        self._loop.start(TICK_S)

    def stopService(self) -> Deferred[None]:
        """Stop delivering; fires when what was in flight is settled and every target let go of."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._loop.running:
            self._loop.stop()
        drainers, self._drainers = self._drainers, []
        stopping = gatherResults([drainer.stop() for drainer in drainers], consumeErrors=True)

        def stopped(outcome: Any) -> None:
            if self._pool.started:
                self._pool.stop()

        return stopping.addBoth(stopped)

    def _look_all(self) -> None:
        """Let domains that share a file know of a change as soon as the one that it came by."""
        for drainer in self._drainers:
            drainer.plugins.refresh(now=True)

    def _turn(self) -> None:
        # A LoopingCall ends with the first call that fails; a drainer's turn never does.
        for drainer in self._drainers:
            drainer.turn()
