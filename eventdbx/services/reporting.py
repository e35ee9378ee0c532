"""What a running server says about itself: domains, plugins, and what waits for a restart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred

from eventdbx.application.domains import Domain
from eventdbx.services.reloading import LiveConfiguration
from eventdbx.services.stores import StoreService
from eventdbx.settings import Config


def report_on(
    known: Mapping[str, Any], live: LiveConfiguration, stores: StoreService
) -> Deferred[dict[str, Any]]:
    """Return ``known`` with the listeners, each open domain, and keys that wait for a restart."""

    async def report() -> dict[str, Any]:
        domains = {one.name: await domain_report(one) for one in stores.opened()}
        return {
            **known,
            "domain": live.config.domain,
            "listeners": listeners(live.config),
            "domains": domains,
            "restart_required": list(live.waiting()),
        }

    return Deferred.fromCoroutine(report())


def listeners(config: Config) -> dict[str, Any]:
    """Return where the server was told to listen."""
    admin = config.admin
    return {
        "control": [config.socket.bind_addr, *config.socket.endpoints],
        "http": f"{config.http.bind_addr}:{config.port}",
        "admin": [f"{admin.bind_addr}:{admin.port or config.port}", *admin.endpoints]
        if admin.enabled
        else [],
    }


async def domain_report(domain: Domain) -> dict[str, Any]:
    """Return the size of a domain's store, and how far its plugins are behind."""
    lags = [] if domain.delivering is None else await domain.delivering.lags()
    return {
        "store": domain.store.statistics(),
        "plugins": [
            {
                "name": lag.name,
                "label": lag.label,
                "lag": lag.lag,
                "oldest_s": round(lag.oldest_s, 3),
                "paused": lag.paused,
            }
            for lag in lags
        ],
        "queue": {
            "pending": sum(lag.parked for lag in lags),
            "processing": sum(lag.in_flight for lag in lags),
            "dead": sum(lag.dead for lag in lags),
        },
    }
