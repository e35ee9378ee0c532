"""The tenants that ``dbx tenant`` works on: those of a server, or the records on disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import click

from eventdbx.domain.tenants import Changed, TenantRecord, check_shard, tenant_details, tenant_event
from eventdbx.errors import EventDBXError
from eventdbx.services.auditspool import spool_action
from eventdbx.services.tenantfiles import TenantFile, assigned, limited, measured, stored_bytes
from eventdbx.services.workspace import Opened
from eventdbx.surfaces.cli.output import note
from eventdbx.surfaces.cli.session import database, opened, server_address

if TYPE_CHECKING:
    from eventdbx.services.tenantfiles import Change
    from eventdbx.surfaces.cli.session import Database
    from eventdbx.surfaces.control.calls import Calls


class Tenants(Protocol):
    """What can be asked for. Names are checked already. Raises EventDBXError."""

    def listed(self) -> tuple[dict[str, TenantRecord], int]:
        """Return the records by name, and how many shards there are."""

    def assign(self, tenant: str, shard: str) -> tuple[bool, str]:
        """Record a shard; return whether it is another one now, and its label."""

    def unassign(self, tenant: str) -> bool:
        """Forget the shard; return whether there was one."""

    def set_quota(self, tenant: str, quota_mib: int) -> bool:
        """Record a quota; return whether it is another one now."""

    def clear_quota(self, tenant: str) -> bool:
        """Forget the quota; return whether there was one."""

    def measure(self, tenant: str) -> int:
        """Return what the store holds, in bytes."""


@contextmanager
def tenants(context: click.Context) -> Iterator[Tenants]:
    """Open the way to the tenants: that of the server that has the data, or the files."""
    place = opened(context)
    if server_address(context, place) is None:
        yield _OnDisk(place)
        return
    with database(context) as (way, calls):
        yield _AtServer(way, calls)


class _AtServer:
    def __init__(self, way: Database, calls: Calls) -> None:
        self._way = way
        self._calls = calls

    def listed(self) -> tuple[dict[str, TenantRecord], int]:
        answer: dict[str, Any] = self._way.call(self._calls.tenants())
        found = answer["tenants"].items()
        return {name: TenantRecord(**one) for name, one in found}, answer["shard_count"]

    def assign(self, tenant: str, shard: str) -> tuple[bool, str]:
        return self._way.call(self._calls.tenant_assign(tenant, shard))

    def unassign(self, tenant: str) -> bool:
        return self._way.call(self._calls.tenant_unassign(tenant))

    def set_quota(self, tenant: str, quota_mib: int) -> bool:
        return self._way.call(self._calls.tenant_quota_set(tenant, quota_mib))

    def clear_quota(self, tenant: str) -> bool:
        return self._way.call(self._calls.tenant_quota_clear(tenant))

    def measure(self, tenant: str) -> int:
        return self._way.call(self._calls.tenant_quota_recalc(tenant))


class _OnDisk:
    def __init__(self, place: Opened) -> None:
        self._place = place
        self._file = TenantFile.of(place.workspace, place.config)
        self._shard_count = place.config.tenants.shard_count

    def listed(self) -> tuple[dict[str, TenantRecord], int]:
        return self._file.load(), self._shard_count

    def assign(self, tenant: str, shard: str) -> tuple[bool, str]:
        label = check_shard(shard, self._shard_count)
        return self._change("assign", tenant, assigned(label)).changed, label

    def unassign(self, tenant: str) -> bool:
        return self._change("unassign", tenant, assigned(None)).changed

    def set_quota(self, tenant: str, quota_mib: int) -> bool:
        return self._change("quota set", tenant, limited(quota_mib)).changed

    def clear_quota(self, tenant: str) -> bool:
        return self._change("quota clear", tenant, limited(None)).changed

    def measure(self, tenant: str) -> int:
        usage = stored_bytes(self._place.workspace.store_path(tenant))
        self._change("quota recalc", tenant, measured(usage))
        return usage

    def _change(self, command: str, tenant: str, change: Change) -> Changed:
        changed, _records = self._file.change(tenant, change)
        if changed.changed:
            try:
                spool_action(
                    self._place.workspace.data_dir,
                    "tenants",
                    tenant_event(changed),
                    tenant,
                    f"dbx tenant {command}",
                    details=tenant_details(changed.record),
                )
            except EventDBXError as error:
                note(f"warning: not in the audit trail: {error}")
        return changed
