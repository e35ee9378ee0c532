"""Quotas: how much the store of a domain may hold, asked before everything that is written to it.

A store is measured now and then, not for each write: in between it is known how much was put since.
What it holds is estimated, for it depends on what compaction does: a refusal is always made of a
measurement of that very moment, and the nearer the quota, the sooner the next one. What is written
when the quota is nearly reached may exceed it, by one write or batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventdbx.domain.tenants import MIB
from eventdbx.errors import TenantQuota

if TYPE_CHECKING:
    from eventdbx.storage.store import Store

LOOK_BYTES_MIN = 65_536
"""Written between two measurements at least: one costs as much as refusing a write."""

LOOK_BYTES_MAX = 64 * MIB

_PART = 8
"""Of what is left, how much may be written unmeasured. What is put takes up to five times its size
until it is in a table: with the envelope of its seal and the nodes of the index in memory, and in
the log once more."""


class Quota:
    """The quota of one domain; ``tenant`` is its name, ``quota_mib`` 0 allows no writes at all."""

    __slots__ = ("_look_at", "_store", "quota_mib", "refused", "tenant")

    def __init__(self, store: Store, tenant: str, quota_mib: int) -> None:
        self._store = store
        self._look_at = 0
        self.tenant = tenant
        self.quota_mib = quota_mib
        self.refused = 0
        """How many writes were."""

    def check(self) -> None:
        """Raise TenantQuota when the store holds as much as it may."""
        if self._store.accepted_bytes >= self._look_at:
            self._look()

    def _look(self) -> None:
        left = self.quota_mib * MIB - self._store.used_bytes()
        if left <= 0:
            self.refused += 1
            raise TenantQuota(f"tenant '{self.tenant}' reached storage quota ({self.quota_mib} MB)")
        unmeasured = min(max(left // _PART, LOOK_BYTES_MIN), LOOK_BYTES_MAX)
        self._look_at = self._store.accepted_bytes + unmeasured
