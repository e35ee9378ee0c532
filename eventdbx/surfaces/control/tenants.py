"""Tenants on the control protocol: shards and quotas, by the published requests.

All need ``tenant.manage``, and a token that is good for the tenant named. Reloading and publishing
schemas is in :mod:`eventdbx.surfaces.control.schemas`. The published protocol has no list of
tenants: that is the administrative operation ``tenants``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from eventdbx.application.tenants import Tenants
from eventdbx.domain.identifiers import check_domain_name
from eventdbx.domain.tenants import Changed, tenant_details, tenant_event
from eventdbx.errors import ConfigError, Unauthorized
from eventdbx.surfaces.control.recording import Change
from eventdbx.wire import requests as rq
from eventdbx.wire import responses as rs

if TYPE_CHECKING:
    from eventdbx.domain.grants import Grant
    from eventdbx.surfaces.control.administration import AdministrationRoutes
    from eventdbx.surfaces.control.asked import Asked
    from eventdbx.surfaces.control.routes import Routes, Session

MANAGES = "tenant.manage"


def managed_tenant(grant: Grant, tenant: str) -> str:
    """Return the name of a tenant that a grant may administer. Raises ConfigError for a malformed
    one, Unauthorized."""
    name = check_domain_name(tenant)
    grant.require(MANAGES)
    if not grant.allows_tenant(name):
        raise Unauthorized()
    return name


class TenantRoutes:
    """The methods of the requests about tenants; the table is joined with that of Routes."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._tenants: Tenants | None = None

    def table(self) -> dict[type, Callable[[Session, Any], Any]]:
        """Return which method answers which request."""
        return {
            rq.TenantAssign: self._assign,
            rq.TenantUnassign: self._unassign,
            rq.TenantQuotaSet: self._quota_set,
            rq.TenantQuotaClear: self._quota_clear,
            rq.TenantQuotaRecalc: self._quota_recalc,
        }

    @property
    def known(self) -> Tenants:
        """The tenants that are worked on. Raises ConfigError where there are none."""
        if self._tenants is None:
            raise ConfigError("tenants are administered at a server")
        return self._tenants

    def offer(self, tenants: Tenants, administration: AdministrationRoutes) -> None:
        """Work on these tenants from now on, and let clients ask for a list of them."""
        self._tenants = tenants

        def listed(_session: Session, _asked: Asked, grant: Grant) -> dict[str, Any]:
            return {
                "shard_count": tenants.shard_count,
                "tenants": {
                    name: record._asdict()
                    for name, record in sorted(tenants.records().items())
                    if grant.allows_tenant(name)
                },
            }

        administration.offer("tenants", MANAGES, listed)

    def _managed(self, session: Session, request: Any) -> tuple[Grant, str, Tenants]:
        grant = self._routes.grant(session, request.token)
        name = managed_tenant(grant, request.tenant)
        return grant, name, self.known

    def _changed(
        self, session: Session, grant: Grant, request: Any, changing: Deferred[Changed], answer: Any
    ) -> Deferred[Any]:
        def recorded(changed: Changed) -> Any:
            change = None
            if changed.changed:
                kind = type(request).__name__
                way = f"control {kind[0].lower()}{kind[1:]}"
                event, details = tenant_event(changed), tenant_details(changed.record)
                name = check_domain_name(request.tenant)
                change = Change("tenants", event, name, way, details)
            return self._routes.recording.done(session, grant, change, answer(changed))

        return changing.addCallback(recorded)

    def _assign(self, session: Session, request: rq.TenantAssign) -> Deferred[Any]:
        grant, name, tenants = self._managed(session, request)

        def answer(changed: Changed) -> rs.TenantAssigned:
            return rs.TenantAssigned(changed.changed, changed.record.shard or "")

        changing = tenants.assign(name, request.shard)
        return self._changed(session, grant, request, changing, answer)

    def _unassign(self, session: Session, request: rq.TenantUnassign) -> Deferred[Any]:
        grant, name, tenants = self._managed(session, request)

        def answer(changed: Changed) -> rs.TenantUnassigned:
            return rs.TenantUnassigned(changed.changed)

        return self._changed(session, grant, request, tenants.unassign(name), answer)

    def _quota_set(self, session: Session, request: rq.TenantQuotaSet) -> Deferred[Any]:
        grant, name, tenants = self._managed(session, request)

        def answer(changed: Changed) -> rs.TenantQuota:
            return rs.TenantQuota(changed.changed, changed.record.quota_mib)

        changing = tenants.set_quota(name, request.storage_mib_max)
        return self._changed(session, grant, request, changing, answer)

    def _quota_clear(self, session: Session, request: rq.TenantQuotaClear) -> Deferred[Any]:
        grant, name, tenants = self._managed(session, request)

        def answer(changed: Changed) -> rs.TenantQuotaCleared:
            return rs.TenantQuotaCleared(changed.changed)

        return self._changed(session, grant, request, tenants.set_quota(name, None), answer)

    def _quota_recalc(self, session: Session, request: rq.TenantQuotaRecalc) -> Deferred[Any]:
        _grant, name, tenants = self._managed(session, request)
        return tenants.measure(name).addCallback(rs.TenantStorage)
