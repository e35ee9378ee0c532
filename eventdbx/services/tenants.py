"""The tenants of a running server: what is recorded of them, and their quotas in force."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock

from eventdbx.application.domains import Domain
from eventdbx.application.quotas import Quota
from eventdbx.domain.tenants import Changed, TenantRecord, check_shard
from eventdbx.errors import UnknownName
from eventdbx.services.tenantfiles import Change, Records, TenantFile, assigned, limited, measured


def put_quota(domain: Domain, record: TenantRecord | None) -> None:
    """Hold a domain to the quota of its record, from its next write on."""
    quota_mib = None if record is None else record.quota_mib
    present = domain.writer.quota
    if quota_mib is None:
        domain.writer.quota = None
    elif present is None or present.quota_mib != quota_mib:
        quota = Quota(domain.store, domain.name, quota_mib)
        quota.refused = 0 if present is None else present.refused
        domain.writer.quota = quota


class TenantDesk:
    """The tenants of a running server; see :class:`eventdbx.application.tenants.Tenants`.

    ``opened`` are the domains that are open, ``open_domain`` opens another one, ``exists`` tells
    whether there is one of a name.
    """

    def __init__(
        self,
        file: TenantFile,
        *,
        shard_count: int,
        opened: Callable[[], list[Domain]],
        open_domain: Callable[[str], Domain],
        run_on_files: Callable[[Callable[[], Any]], Deferred[Any]],
    ) -> None:
        self.shard_count = shard_count
        self._file = file
        self._opened = opened
        self._open_domain = open_domain
        self._run_on_files = run_on_files
        self._turns = DeferredLock()
        self._records = file.load()

    def watch(self, domain: Domain) -> None:
        """Hold a domain that was opened to its quota."""
        put_quota(domain, self._records.get(domain.name))

    def records(self) -> Mapping[str, TenantRecord]:
        """Return what is recorded, and for each domain that is open its usage of now."""
        found = dict(self._records)
        for domain in self._opened():
            record = found.get(domain.name, TenantRecord())
            found[domain.name] = record._replace(usage_bytes=domain.store.used_bytes())
        return found

    def assign(self, tenant: str, shard: str) -> Deferred[Changed]:
        """Record the shard, which is named by its label or number. Raises ConfigError."""
        return self._change(tenant, assigned(check_shard(shard, self.shard_count)))

    def unassign(self, tenant: str) -> Deferred[Changed]:
        """Forget the shard."""
        return self._change(tenant, assigned(None))

    def set_quota(self, tenant: str, quota_mib: int | None) -> Deferred[Changed]:
        """Record how many MiB the tenant may store; None: as many as it likes."""
        return self._change(tenant, limited(quota_mib))

    def put(self, tenant: str, shard: str | None, quota_mib: int | None) -> Deferred[Changed]:
        """Record shard and quota at once. Raises ConfigError for a shard that there is not."""
        label = None if shard is None else check_shard(shard, self.shard_count)
        return self._change(
            tenant,
            lambda record: (
                TenantRecord()
                if label is None and quota_mib is None
                else TenantRecord(label, quota_mib, record.usage_bytes)
            ),
        )

    def measure(self, tenant: str) -> Deferred[int]:
        """Measure what the store of the tenant holds, and record that; 0 without a store."""
        try:
            usage = self._open_domain(tenant).store.used_bytes()
        except UnknownName:
            usage = 0
        return self._change(tenant, measured(usage)).addCallback(lambda _changed: usage)

    def reload(self) -> Deferred[None]:
        """Read what is recorded once more."""

        async def reload() -> None:
            self._take_up(await self._run_on_files(self._file.load))

        return self._in_turn(reload)

    def _change(self, tenant: str, change: Change) -> Deferred[Changed]:
        async def carry_out() -> Changed:
            work = lambda: self._file.change(tenant, change)  # noqa: E731
            changed, records = await self._run_on_files(work)
            self._take_up(records)
            return changed  # type: ignore[no-any-return]

        return self._in_turn(carry_out)

    def _take_up(self, records: Records) -> None:
        self._records = records
        for domain in self._opened():
            put_quota(domain, records.get(domain.name))

    def _in_turn(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Deferred[Any]:
        """Let what was asked for later be what counts."""
        return self._turns.run(lambda: Deferred.fromCoroutine(work()))
