"""The tenants of an installation: their records on disk, and their quotas in force.

The records are one JSON file in the folder that ``[tenants].shard_map_path`` names, by default
``tenant_meta`` in the data directory. Version 3.19 has a RocksDB in that folder: it is read, not
changed, until there is a file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock

from eventdbx.application.domains import Domain
from eventdbx.application.quotas import Quota
from eventdbx.application.tenants import Changed
from eventdbx.config import Config
from eventdbx.domain.canonical import JSON
from eventdbx.domain.tenants import TenantRecord, check_shard
from eventdbx.errors import SerializationError, UnknownName
from eventdbx.services.files import (
    locked_directory,
    make_directory,
    read_text,
    replace_text,
    sweep_leftovers,
)
from eventdbx.services.workspace import Workspace

FOLDER_NAME = "tenant_meta"
FILE_NAME = "tenants.json"
FORMAT = 1

_MEMBERS = ("shard", "storage_quota_mb", "storage_usage_bytes")
"""Of a record, in the order of TenantRecord; as version 3.19 has them."""

Records = dict[str, TenantRecord]
Change = Callable[[TenantRecord], TenantRecord]


class TenantFile:
    """The records on disk. Every method reads the file, and may wait for a lock.

    Raises SerializationError for a file that is damaged, IoError and StorageError for one that
    cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / FILE_NAME

    @classmethod
    def of(cls, workspace: Workspace, config: Config) -> TenantFile:
        """Return that of an installation."""
        return cls(workspace.data_dir / (config.tenants.shard_map_path or FOLDER_NAME))

    def load(self) -> Records:
        """Return all records by name."""
        text = read_text(self._path)
        if text is not None:
            return _decoded(text, self._path)
        if (self._folder / "CURRENT").is_file():
            return _of_reference(self._folder)
        return {}

    def change(self, tenant: str, change: Change) -> tuple[Changed, Records]:
        """Change the record of a tenant; return it, and all records, as they are now."""
        make_directory(self._folder)
        with locked_directory(self._folder):
            records = self.load()
            before = records.get(tenant, TenantRecord())
            after = change(before)
            if after != before:
                records.pop(tenant, None)
                if not after.empty:
                    records[tenant] = after
                sweep_leftovers(self._path)
                replace_text(self._path, _encoded(records))
        return Changed(after, before), records


def assigned(shard: str | None) -> Change:
    """Return the change of the shard, whose label this is."""
    return lambda record: record._replace(shard=shard)


def limited(quota_mib: int | None) -> Change:
    """Return the change of the quota."""
    return lambda record: record._replace(quota_mib=quota_mib)


def measured(usage_bytes: int) -> Change:
    """Return the change of what was measured."""
    return lambda record: record._replace(usage_bytes=usage_bytes)


def put_quota(domain: Domain, record: TenantRecord | None) -> None:
    """Hold a domain to the quota of its record, from its next write on."""
    quota_mib = None if record is None else record.quota_mib
    present = domain.writer.quota
    if quota_mib is None:
        domain.writer.quota = None
    elif present is None or present.quota_mib != quota_mib:
        domain.writer.quota = Quota(domain.store, domain.name, quota_mib)


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
        """Return what is recorded, with the usage of now where the domain is open."""
        found = dict(self._records)
        for domain in self._opened():
            record = found.get(domain.name)
            if record is not None:
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
            tenant, lambda record: TenantRecord(label, quota_mib, record.usage_bytes)
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


def _encoded(records: Records) -> str:
    tenants = {
        tenant: {
            name: value for name, value in zip(_MEMBERS, record, strict=True) if value is not None
        }
        for tenant, record in sorted(records.items())
    }
    return json.dumps({"format": FORMAT, "tenants": tenants}, indent=2) + "\n"


def _decoded(text: str, path: Path) -> Records:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise SerializationError(f"{path} is no JSON: {error}") from None
    tenants = document.get("tenants") if isinstance(document, dict) else None
    if not isinstance(tenants, dict):
        raise SerializationError(f"{path} has no tenants")
    if document.get("format") != FORMAT:
        raise SerializationError(f"{path} was written by a newer version of dbx")
    return {tenant: _record(found, f"{path}, {tenant}") for tenant, found in tenants.items()}


def _record(document: JSON, where: str) -> TenantRecord:
    if not isinstance(document, dict):
        raise SerializationError(f"{where}: a record must be an object")
    shard, quota, usage = (document.get(name) for name in _MEMBERS)
    if shard is not None and type(shard) is not str:
        raise SerializationError(f"{where}: shard must be a text")
    for number in quota, usage:
        if number is not None and (type(number) is not int or number < 0):
            raise SerializationError(f"{where}: quota and usage must be whole numbers")
    return TenantRecord((shard or "").strip() or None, quota, usage)  # type: ignore[arg-type]


def _of_reference(folder: Path) -> Records:
    """Return the records that version 3.19 keeps: by name, JSON or, from older days, a shard."""
    from eventdbx.storage.rocks import foreign_pairs

    records: Records = {}
    for key, value in foreign_pairs(str(folder)):
        where = f"{folder}, {key[:64]!r}"
        try:
            tenant, text = key.decode(), value.decode()
        except UnicodeDecodeError:
            raise SerializationError(f"{where}: not UTF-8") from None
        document: JSON
        try:
            document = json.loads(text)
        except ValueError:
            document = {"shard": text}
        records[tenant] = _record(document, where)
    return {tenant: record for tenant, record in records.items() if not record.empty}
