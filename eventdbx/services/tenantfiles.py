"""The records of tenants on disk: one JSON file of an installation.

It is in the folder that ``[tenants].shard_map_path`` names, by default ``tenant_meta`` in the data
directory. Version 3.19 has a RocksDB in that folder: it is read, and not changed, until there is a
file. Nothing here imports Twisted; quotas in force are :mod:`eventdbx.services.tenants`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from eventdbx.config import Config
from eventdbx.domain.canonical import JSON
from eventdbx.domain.tenants import Changed, TenantRecord
from eventdbx.errors import SerializationError
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

    def take_over(self, records: Records) -> None:
        """Write down the records of another installation; there are none here yet."""
        make_directory(self._folder)
        replace_text(self._path, _encoded(records))

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


def stored_bytes(path: Path) -> int:
    """Return what a store holds that no process has open; 0 when there is none.

    Raises StorageError when it cannot be read.
    """
    if not (path / "CURRENT").is_file():
        return 0
    from eventdbx.storage.rocks import RocksStore

    store = RocksStore.open(str(path), read_only=True)
    try:
        return store.used_bytes()
    finally:
        store.close()


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
