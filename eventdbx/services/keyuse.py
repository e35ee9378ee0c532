"""What the configured data keys are used for in an installation, and whether an older one still is.

The stores have data keys of their own, wrapped by a configured key; tokens and remotes are sealed
with a configured key itself. Works on files; nothing here is quick.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eventdbx.application.datakeys import plain_values
from eventdbx.application.domains import Domain
from eventdbx.application.sealing import SEALED, unseal
from eventdbx.config import Config, Value, decode_data_key
from eventdbx.errors import ConfigError, EventDBXError, StorageError
from eventdbx.keys import environment_names
from eventdbx.services.files import read_text
from eventdbx.services.remotes import Remotes
from eventdbx.services.revocations import REVOCATIONS_NAME
from eventdbx.services.stores import open_configured
from eventdbx.services.tokenfiles import LEDGER_NAME
from eventdbx.services.tokenjournal import JOURNAL_NAME
from eventdbx.services.workspace import Workspace
from eventdbx.storage.keyslots import FILE_NAME, KeySlots
from eventdbx.storage.rocks import RocksStore
from eventdbx.storage.sealed import ALL_KEY, SealedView, Seals

Document = dict[str, Any]


def configured(config: Config) -> list[str]:
    """Return the configured keys, the present one first."""
    return [key for key in (config.data_encryption_key, *config.data_encryption_keys) if key]


def source(workspace: Workspace) -> str:
    """Return where the present key comes from: a variable, a file, or the configuration."""
    given = workspace.given
    for name in environment_names("data_encryption_key"):
        if given.get(name, "").strip():
            return name
    for name in environment_names("data_encryption_key"):
        if workspace.environ.get(name, "").strip():
            told_by = "_FILE" if given.get(name + "_FILE", "").strip() else "_COMMAND"
            return name + told_by
    return str(workspace.config_path)


def new_key(workspace: Workspace, config: Config) -> dict[str, Value]:
    """Return the changes of the configuration that make a new random key the present one.

    Raises ConfigError where the key does not come from the configuration file.
    """
    found = source(workspace)
    if found != str(workspace.config_path):
        raise ConfigError(
            f"the data key comes from {found}: put the present key into data_encryption_keys, "
            "change it there, and restart the server; the stores follow by themselves"
        )
    old = config.data_encryption_key
    older = config.data_encryption_keys
    return {
        "data_encryption_key": base64.b64encode(os.urandom(32)).decode(),
        "data_encryption_keys": older if old is None else (old, *older),
    }


def of_domain(domain: Domain) -> Document:
    """Return what an open domain says of its keys at once, without reading anything."""
    keys = domain.data_keys
    sealing = keys.sealing()
    return {
        "rewrapping": None if keys.slots is None else keys.slots.progress,
        "sealing": None if sealing is None else sealing._asdict(),
        "all_sealed": keys.all_sealed,
        "keys": keys,
    }


def report(
    workspace: Workspace,
    config: Config,
    opened: Mapping[str, Document],
    troubles: Mapping[str, str],
) -> Document:
    """Return the status of the keys: of each domain, and of what is sealed besides the stores."""
    domains = [
        _of_domain(workspace, config, name, opened.get(name), troubles.get(name))
        for name in workspace.domain_names()
    ]
    present = _present(config)
    files = [
        {"file": name, "wrapped_by": "present" if _opens(text, present) else "older"}
        for name, text in _sealed_texts(workspace)
    ]
    needed = any(one["wrapped_by"] not in (None, "present") for one in (*domains, *files))
    return {
        "encryption": config.encryption,
        "source": source(workspace),
        "older_keys": len(config.data_encryption_keys),
        "older_keys_needed": needed,
        "domains": domains,
        "files": files,
        "trouble": troubles.get(""),
    }


def _present(config: Config) -> list[str]:
    return [config.data_encryption_key] if config.data_encryption_key else []


def _of_domain(
    workspace: Workspace, config: Config, name: str, opened: Document | None, trouble: str | None
) -> Document:
    found: Document = {
        "domain": name, "slots": 0, "destroyed": 0, "wrapped_by": None, "rewrapping": None,
        "plain": 0, "sealing": None, "trouble": trouble,
    }  # fmt: skip
    slots = None
    try:
        slots = _slots(workspace.domain_dir(name) / FILE_NAME, config, opened)
        if slots is not None:
            found["slots"], found["destroyed"] = slots.count, sum(1 for _ in slots.destroyed())
            present = config.data_encryption_key
            mine = present is not None and slots.wrapped_by(decode_data_key(present))
            found["wrapped_by"] = "present" if mine else "older"
        if opened is None:
            found["plain"] = _plain(workspace.store_path(name), slots)
        else:
            found["rewrapping"], found["sealing"] = opened["rewrapping"], opened["sealing"]
            found["plain"] = opened["keys"].plain_values()
    except EventDBXError as error:
        found["trouble"] = error.detail
        found["wrapped_by"] = found["wrapped_by"] or "unknown"
    finally:
        if slots is not None and opened is None:
            slots.close()
    return found


def _slots(path: Path, config: Config, opened: Document | None) -> KeySlots | None:
    if opened is not None:
        slots: KeySlots | None = opened["keys"].slots
        return slots
    if not path.exists():
        return None
    wrappings = [decode_data_key(key) for key in configured(config)]
    return KeySlots.open(str(path), wrappings, read_only=True)


def _plain(path: Path, slots: KeySlots | None) -> int:
    """Count the plain values of a store that nobody has open, or that another process has."""
    if not (path / "CURRENT").is_file():
        return 0
    store = RocksStore.open(str(path), read_only=True)
    try:
        if slots is not None and store.get(ALL_KEY) == slots.identity:
            return 0
        return plain_values(SealedView(store.view(), Seals(slots, seal=False)))
    finally:
        store.close()


def _sealed_texts(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Yield (file, sealed text) of everything that is sealed with a configured key itself."""
    for name in (LEDGER_NAME, REVOCATIONS_NAME, JOURNAL_NAME):
        for line in (read_text(workspace.data_dir / name) or "").splitlines():
            if line.startswith(SEALED):
                yield name, line
                if name != JOURNAL_NAME:
                    break
    for name, text in Remotes(workspace).sealed_texts():
        yield name, text


def _opens(text: str, keys: list[str]) -> bool:
    try:
        unseal(text, keys)
    except (StorageError, ConfigError):
        return False
    return True


def lost(workspace: Workspace, before: Config, after: Config) -> list[str]:
    """Return the files that open with the keys of one configuration and not with another's."""
    found = []
    for name in workspace.domain_names():
        path = workspace.domain_dir(name) / FILE_NAME
        if path.exists() and _fits(path, before) and not _fits(path, after):
            found.append(str(path))
    had, has = configured(before), configured(after)
    sealed = _sealed_texts(workspace)
    found += [name for name, text in sealed if _opens(text, had) and not _opens(text, has)]
    return sorted(set(found))


def _fits(path: Path, config: Config) -> bool:
    wrappings = [decode_data_key(key) for key in configured(config)]
    try:
        KeySlots.open(str(path), wrappings, read_only=True).close()
    except (StorageError, ConfigError):
        return False
    return True


def seal_anew(workspace: Workspace, config: Config) -> list[str]:
    """Seal with the present key what is not; return the files that were written. Raises
    EventDBXError."""
    present = _present(config)
    stale = {name for name, text in _sealed_texts(workspace) if not _opens(text, present)}
    if stale & {LEDGER_NAME, REVOCATIONS_NAME, JOURNAL_NAME}:
        workspace.token_files(lambda _line: None).seal_anew()
    if stale - {LEDGER_NAME, REVOCATIONS_NAME, JOURNAL_NAME}:
        Remotes(workspace).seal_anew()
    return sorted(stale)


def rewrap_all(workspace: Workspace, config: Config) -> Iterator[tuple[str, int, int]]:
    """Wrap the data keys of all domains by the present key, and everything else with it.

    Yields (domain, done, all). Each store is locked for as long; raises what opening it raises.
    """
    for name in workspace.domain_names():
        path = workspace.store_path(name)
        if not (path / "CURRENT").is_file():
            continue
        store = open_configured(path, config)
        try:
            slots, present = store.seals.slots, config.data_encryption_key
            if slots is not None and present is not None:
                wrapping = decode_data_key(present)
                if not slots.wrapped_by(wrapping):
                    for done, count in slots.rewrap(wrapping):
                        yield name, done, count
        finally:
            store.close()
    workspace.take_up_keys(configured(config))
    seal_anew(workspace, config)
