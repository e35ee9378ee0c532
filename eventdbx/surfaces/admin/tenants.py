"""Tenants over HTTP: shards and quotas, what they store, and their schemas looked at once more.

A tenant may be recorded before there is a domain of its name; creating one is not done here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred

from eventdbx.application.tenants import Tenants
from eventdbx.domain.canonical import JSON
from eventdbx.domain.identifiers import check_domain_name
from eventdbx.domain.tenants import Changed, TenantRecord, default_shard, mib, tenant_details
from eventdbx.errors import Unauthorized, UnknownName
from eventdbx.surfaces.admin.table import Answer, Call, Installation, Row

_QUOTA_MAX = (1 << 64) - 1
_MIB: dict[str, JSON] = {"type": "integer", "minimum": 0, "maximum": _QUOTA_MAX}
_SHARD: dict[str, JSON] = {
    "type": ["string", "null"],
    "maxLength": 64,
    "description": "Label or number of a shard; null or absent: none.",
}

SCHEMAS: Mapping[str, JSON] = {
    "Tenant": {
        "type": "object",
        "required": ["tenant", "shard", "assigned", "quota_mb", "usage_bytes", "usage_mb"],
        "properties": {
            "tenant": {"type": "string"},
            "shard": {"type": "string", "description": "Assigned, or what its name hashes to."},
            "assigned": {"type": "boolean"},
            "quota_mb": {**_MIB, "type": ["integer", "null"]},
            "usage_bytes": {
                "type": ["integer", "null"],
                "minimum": 0,
                "description": "Of now if the domain is open, else as it was measured last.",
            },
            "usage_mb": {"type": ["integer", "null"], "minimum": 0},
        },
    },
    "TenantUpsert": {
        "type": "object",
        "properties": {
            "shard": _SHARD,
            "quota_mb": {
                **_MIB,
                "type": ["integer", "null"],
                "description": "How much it may store, in units of 2^20 bytes; 0: no writes at "
                "all; null or absent: as much as it likes.",
            },
        },
    },
    "TenantQuota": {
        "type": "object",
        "required": ["max_mb"],
        "properties": {"max_mb": _MIB},
    },
    "TenantReloaded": {
        "type": "object",
        "required": ["tenant", "reloaded"],
        "properties": {
            "tenant": {"type": "string"},
            "reloaded": {"type": "boolean"},
            "warnings": {"type": "array", "items": {"type": "string"}},
        },
    },
}


class _TenantRoutes:
    """The work of the routes."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    @property
    def _tenants(self) -> Tenants:
        return self._installation.control.tenants.known

    def _document(self, tenant: str, record: TenantRecord) -> dict[str, JSON]:
        usage = record.usage_bytes
        return {
            "tenant": tenant,
            "shard": record.shard or default_shard(tenant, self._tenants.shard_count),
            "assigned": record.shard is not None,
            "quota_mb": record.quota_mib,
            "usage_bytes": usage,
            "usage_mb": None if usage is None else mib(usage),
        }

    async def _known(self) -> dict[str, TenantRecord]:
        """Return the records of all that there is a record or a domain of."""
        domains = await self._installation.administration.domains()
        found = {one["domain"]: TenantRecord() for one in domains}
        return {**found, **self._tenants.records()}

    async def _record(self, tenant: str) -> TenantRecord:
        record = (await self._known()).get(tenant)
        if record is None:
            raise UnknownName(f"there is neither a tenant nor a domain '{tenant}'")
        return record

    def list(self, call: Call) -> Deferred[Answer]:
        """List the tenants that the token may use."""

        async def shown() -> Answer:
            known = sorted((await self._known()).items())
            allowed = [one for one in known if call.grant.allows_tenant(one[0])]
            return Answer(document=[self._document(*one) for one in allowed])

        return Deferred.fromCoroutine(shown())

    def find(self, call: Call) -> Deferred[Answer]:
        """Show one tenant."""
        tenant = _named(call)

        async def shown() -> Answer:
            return Answer(document=self._document(tenant, await self._record(tenant)))

        return Deferred.fromCoroutine(shown())

    def put(self, call: Call) -> Deferred[Answer]:
        """Record shard and quota in place of what was recorded."""
        tenant, quota = _named(call), call.body.get("quota_mb")
        changing = self._tenants.put(
            tenant, call.body.get("shard"), None if quota is None else int(quota)
        )
        return changing.addCallback(lambda changed: self._changed(tenant, changed))

    def delete(self, call: Call) -> Deferred[Answer]:
        """Forget what is recorded; the domain and its data stay."""
        tenant = _named(call)

        def done(changed: Changed) -> Answer:
            if changed.before.empty:
                raise UnknownName(f"nothing is recorded of tenant '{tenant}'")
            return Answer(status=204, resource=tenant)

        return self._tenants.put(tenant, None, None).addCallback(done)

    def put_quota(self, call: Call) -> Deferred[Answer]:
        """Record a quota."""
        tenant = _named(call)
        changing = self._tenants.set_quota(tenant, int(call.body["max_mb"]))
        return changing.addCallback(lambda changed: self._changed(tenant, changed))

    def delete_quota(self, call: Call) -> Deferred[Answer]:
        """Forget a quota."""
        tenant = _named(call)

        def done(changed: Changed) -> Answer:
            return Answer(status=204, resource=tenant, changed=changed.changed)

        return self._tenants.set_quota(tenant, None).addCallback(done)

    def _changed(self, tenant: str, changed: Changed) -> Answer:
        record = self._tenants.records().get(tenant, changed.record)
        return Answer(
            document=self._document(tenant, record),
            resource=tenant,
            details=tenant_details(changed.record),
            changed=changed.changed,
        )

    def measure(self, call: Call) -> Deferred[Answer]:
        """Measure what the store of a tenant holds, and record that."""
        tenant = _named(call)

        async def measured() -> Answer:
            await self._record(tenant)  # What is nowhere is not measured.
            usage = await self._tenants.measure(tenant)
            record = self._tenants.records()[tenant]._replace(usage_bytes=usage)
            return Answer(document=self._document(tenant, record), resource=tenant)

        return Deferred.fromCoroutine(measured())

    def reload(self, call: Call) -> Deferred[Answer]:
        """Read the records, and the schemas of the tenant, once more."""
        tenant = _named(call)

        async def reloaded() -> Answer:
            await self._tenants.reload()
            warnings: Any = await self._installation.open_domain(tenant).reload_schemas()
            document: dict[str, JSON] = {
                "tenant": tenant,
                "reloaded": True,
                "warnings": list(warnings),
            }
            return Answer(document=document, resource=tenant)

        return Deferred.fromCoroutine(reloaded())


def _named(call: Call) -> str:
    """Return the tenant of the path, which the token must be good for. Raises ConfigError."""
    tenant = check_domain_name(call.params["tenant"])
    if not call.grant.allows_tenant(tenant):
        raise Unauthorized()
    return tenant


def rows(installation: Installation) -> tuple[Row, ...]:
    """Return the routes of this file."""
    routes = _TenantRoutes(installation)
    one = "/admin/tenants/{tenant}"
    reading: dict[str, Any] = {"tag": "tenants", "action": "tenant.manage"}
    changing: dict[str, Any] = {**reading, "area": "tenants"}
    return (
        Row(
            method="GET",
            path="/admin/tenants",
            operation="listTenants",
            summary="Every tenant that there is a record or a domain of, by name",
            handle=routes.list,
            answers={200: "[Tenant]"},
            lists=True,
            **reading,
        ),
        Row(
            method="GET",
            path=one,
            operation="getTenant",
            summary="One tenant: its shard, its quota, and what it stores",
            handle=routes.find,
            answers={200: "Tenant", 404: "Error"},
            **reading,
        ),
        Row(
            method="PUT",
            path=one,
            operation="putTenant",
            summary="Record the shard and the quota of a tenant, which count at once",
            handle=routes.put,
            answers={200: "Tenant"},
            body="TenantUpsert",
            event="tenant_stored",
            **changing,
        ),
        Row(
            method="DELETE",
            path=one,
            operation="deleteTenant",
            summary="Forget the shard and the quota of a tenant; its data stay",
            handle=routes.delete,
            answers={204: None, 404: "Error"},
            event="tenant_removed",
            **changing,
        ),
        Row(
            method="PUT",
            path=f"{one}/quota",
            operation="putTenantQuota",
            summary="Record the quota of a tenant, which counts at once",
            handle=routes.put_quota,
            answers={200: "Tenant"},
            body="TenantQuota",
            event="quota_set",
            **changing,
        ),
        Row(
            method="DELETE",
            path=f"{one}/quota",
            operation="deleteTenantQuota",
            summary="Let a tenant store as much as it likes",
            handle=routes.delete_quota,
            answers={204: None},
            event="quota_cleared",
            **changing,
        ),
        Row(
            method="POST",
            path=f"{one}/usage",
            operation="measureTenant",
            summary="Measure what a tenant stores, and record it",
            handle=routes.measure,
            answers={200: "Tenant", 404: "Error"},
            event="usage_measured",
            **changing,
        ),
        Row(
            method="POST",
            path=f"{one}/reload",
            operation="reloadTenant",
            summary="Read the records and the schemas of a tenant once more",
            handle=routes.reload,
            answers={200: "TenantReloaded", 404: "Error"},
            event="tenant_reloaded",
            **changing,
        ),
    )
