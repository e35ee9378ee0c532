"""Tenants as they are recorded: the shard that one is assigned to, and how much it may store.

A tenant is a domain. Its shard is a label: data stay in the one folder of the domain. Where the
records are kept is the business of ``services.tenants``, how quotas are held that of
``application.quotas``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from eventdbx.domain.canonical import JSON
from eventdbx.errors import ConfigError

MIB = 1_048_576
"""Bytes of what the command line and the protocol call MB."""

SHARD_PREFIX = "shard-"

_SHARD = re.compile(r"(?:shard-)?([0-9]{1,9})", re.ASCII)
_WORD = 0xFFFF_FFFF_FFFF_FFFF
_START = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
"""The state of SipHash under a key of zeros."""


class TenantRecord(NamedTuple):
    """What is known of a tenant; nothing of it says that there is a domain of that name."""

    shard: str | None = None
    quota_mib: int | None = None
    usage_bytes: int | None = None
    """What its store held when that was last measured by order."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to keep."""
        return self == TenantRecord()


class Changed(NamedTuple):
    """A record as it is now, and as it was."""

    record: TenantRecord
    before: TenantRecord

    @property
    def changed(self) -> bool:
        """Whether shard or quota are others now."""
        return self.record[:2] != self.before[:2]


def tenant_event(changed: Changed) -> str:
    """Return what the audit trail calls a change."""
    if changed.record.quota_mib != changed.before.quota_mib:
        return "quota_cleared" if changed.record.quota_mib is None else "quota_set"
    return "tenant_unassigned" if changed.record.shard is None else "tenant_assigned"


def tenant_details(record: TenantRecord) -> dict[str, JSON]:
    """Return what the audit trail keeps of a record."""
    return {"shard": record.shard, "quota_mb": record.quota_mib}


def mib(count: int) -> int:
    """Return bytes as MiB, rounded up."""
    return -(-count // MIB)


def shard_name(number: int) -> str:
    """Return the label of a shard."""
    return f"{SHARD_PREFIX}{number:04}"


def check_shard(text: str, shard_count: int) -> str:
    """Return the label of the shard that a text names: ``shard-0003``, or ``3``.

    Raises ConfigError unless there is such a shard.
    """
    given = text.strip()
    found = _SHARD.fullmatch(given)
    if found is None:
        raise ConfigError(f"invalid shard id '{given[:64]}'")
    number = int(found[1])
    if number >= shard_count:
        raise ConfigError(f"shard '{given}' exceeds configured shard-count ({shard_count})")
    return shard_name(number)


def default_shard(tenant: str, shard_count: int) -> str:
    """Return the shard of a tenant that is assigned to none."""
    return shard_name(_siphash13(tenant.encode() + b"\xff") % max(shard_count, 1))


def tenant_rows(
    records: Iterable[tuple[str, TenantRecord]], shard: str | None = None
) -> list[dict[str, Any]]:
    """Return the documents of a list of tenants, those of one shard or all.

    Who has neither shard nor quota is left out. ``shard_count`` numbers those of a shard.
    """
    counts: dict[str, int] = {}
    rows = []
    for tenant, record in sorted(records):
        if record.shard is None and record.quota_mib is None:
            continue
        row: dict[str, Any] = {"tenant": tenant}
        if record.shard is not None:
            row["shard"] = record.shard
        if record.quota_mib is not None:
            row["quota_mb"] = record.quota_mib
        if record.usage_bytes is not None:
            row["usage_mb"] = mib(record.usage_bytes)
        if record.shard is not None:
            counts[record.shard] = counts.get(record.shard, 0) + 1
            row["shard_count"] = counts[record.shard]
        if shard is None or record.shard == shard:
            rows.append(row)
    return rows


def shard_counts(records: Iterable[tuple[str, TenantRecord]]) -> dict[str, int]:
    """Return how many tenants are assigned to each shard that has some, by label."""
    counts: dict[str, int] = {}
    for _tenant, record in records:
        if record.shard is not None:
            counts[record.shard] = counts.get(record.shard, 0) + 1
    return dict(sorted(counts.items()))


def _siphash13(data: bytes) -> int:
    """Return SipHash-1-3 of some bytes under a key of zeros."""
    a, b, c, d = _START
    padded = data + bytes(7 - len(data) % 8) + bytes((len(data) & 0xFF,))
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        a, b, c, d = _round(a, b, c, d ^ word)
        a ^= word
    c ^= 0xFF
    for _ in range(3):
        a, b, c, d = _round(a, b, c, d)
    return a ^ b ^ c ^ d


def _round(a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    a = (a + b) & _WORD
    b = _turned(b, 13) ^ a
    a = _turned(a, 32)
    c = (c + d) & _WORD
    d = _turned(d, 16) ^ c
    a = (a + d) & _WORD
    d = _turned(d, 21) ^ a
    c = (c + b) & _WORD
    b = _turned(b, 17) ^ c
    c = _turned(c, 32)
    return a, b, c, d


def _turned(word: int, bits: int) -> int:
    return (word << bits | word >> 64 - bits) & _WORD
