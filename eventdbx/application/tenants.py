"""What surfaces may ask of the tenants of an installation: shards, quotas, what they store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from twisted.internet.defer import Deferred

from eventdbx.domain.tenants import Changed, TenantRecord


class Tenants(Protocol):
    """The tenants of a running server. Names are checked already; Deferreds fail with
    EventDBXError. What is changed counts at once, in open sessions too.

    A tenant may be recorded before there is a domain of its name.
    """

    @property
    def shard_count(self) -> int:
        """How many shards there are to be assigned to."""

    def records(self) -> Mapping[str, TenantRecord]:
        """Return what is recorded, by name, and for each domain that is open its usage of now."""

    def assign(self, tenant: str, shard: str) -> Deferred[Changed]:
        """Record the shard, which is named by its label or number."""

    def unassign(self, tenant: str) -> Deferred[Changed]:
        """Forget the shard."""

    def set_quota(self, tenant: str, quota_mib: int | None) -> Deferred[Changed]:
        """Record how many MiB the tenant may store; None: as many as it likes."""

    def put(self, tenant: str, shard: str | None, quota_mib: int | None) -> Deferred[Changed]:
        """Record both at once."""

    def measure(self, tenant: str) -> Deferred[int]:
        """Measure what the store of the tenant holds, in bytes, and record that."""

    def reload(self) -> Deferred[None]:
        """Read what is recorded once more."""
