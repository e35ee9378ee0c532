"""The Admin API of a server: its routes put on the parts that the server has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger
from twisted.web.resource import IResource

from eventdbx.application.admission import Admission
from eventdbx.application.auditing import Trail
from eventdbx.application.backing_up import Backups
from eventdbx.services.issuing import TokenDesk
from eventdbx.services.reloading import LiveConfiguration
from eventdbx.services.stores import StoreService
from eventdbx.services.web import WebService
from eventdbx.surfaces.admin.admission import Door
from eventdbx.surfaces.admin.api import Api, Measure, unmeasured
from eventdbx.surfaces.admin.rates import Buckets
from eventdbx.surfaces.admin.rows import all_rows, component_schemas
from eventdbx.surfaces.admin.table import Installation
from eventdbx.surfaces.control.routes import Routes, RunSlowly

log = Logger()


def make_installation(
    live: LiveConfiguration,
    desk: TokenDesk,
    *,
    stores: StoreService,
    routes: Routes,
    trail: Trail,
    run_slowly: RunSlowly,
    run_on_files: RunSlowly,
    backups: Backups,
) -> Installation:
    """Return what the routes of the Admin API work on."""
    return Installation(
        config=live.current,
        open_domain=lambda name: stores.domain(name or live.config.domain),
        tokens=desk,
        administration=live,
        trail=trail,
        control=routes,
        run_slowly=run_slowly,
        run_on_files=run_on_files,
        backups=backups,
    )


def make_web(
    reactor: Any,
    installation: Installation,
    admission: Admission,
    *,
    main: IResource | None = None,
    measure: Measure = unmeasured,
    refused: Callable[[str], None] = lambda _reason: None,
) -> WebService:
    """Return the HTTP listeners: those of the Admin API, and that of ``main``."""
    current = installation.config

    def rates() -> tuple[int, int]:
        return current().admin.requests_per_second, current().admin.requests_burst

    api = Api(
        all_rows(installation),
        component_schemas(),
        door=Door(admission, Buckets(reactor.seconds, rates), refused),
        config=current,
        trail=installation.trail,
        clock=reactor,
        measure=measure,
        run_slowly=installation.run_slowly,
    )
    return WebService(reactor, current(), api, main)
