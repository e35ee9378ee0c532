"""Archives of the existing program: its stores read, and every event recreated in one of ours.

3.9.13 keeps the default domain at the top and others below ``domains``, 3.19.4 keeps all below
``shards``. Tokens, revocations, schemas, plugins, remotes and staged events are files of the same
form as ours, and are taken over as such.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from eventdbx.application.domains import Domain
from eventdbx.application.sealing import unseal
from eventdbx.domain.identifiers import check_domain_name
from eventdbx.errors import EventDBXError, StorageError
from eventdbx.services.backup_archives import Refused
from eventdbx.services.backup_manifest import Manifest
from eventdbx.services.backups import has_store
from eventdbx.services.files import make_directory
from eventdbx.services.recreating import Outcome, Recreation
from eventdbx.services.restoring import Import, Imported
from eventdbx.services.stores import open_domain
from eventdbx.services.tenantfiles import FOLDER_NAME, TenantFile
from eventdbx.services.workspace import Opened, Workspace
from eventdbx.storage.hops import synchronous
from eventdbx.storage.reference_store import ReferenceStore

_OF_DOMAIN = (
    "tokens.json", "jwt_revocations.json", "schemas.json", "remote.json", "staged_events.json"
)  # fmt: skip
_LEFT_OUT = {
    "plugin_queue.db": "deliveries that waited for plugins; send them with `dbx plugin replay`",
    "conflicts.db": "conflicts of replication that were recorded",
    "watch.json": "the state of `watch`",
    "schemas": "published versions of schemas; the schemas in force are taken over",
}
_KEPT_MAX = 10_000
"""Mismatches that are kept in memory; what follows is counted, and in the report."""

_SHOWN = 20


class Found(NamedTuple):
    """A domain in an archive."""

    name: str
    folder: Path


def importer(*, accept: bool, report: Callable[[str], None] = lambda _line: None) -> Import:
    """Return what makes our stores; ``accept`` goes on although hashes do not fit.

    ``report`` is told of every mismatch, also if the archive is refused for them.
    """

    def import_foreign(data: Path, manifest: Manifest, place: Opened) -> Imported:
        mismatches = _Mismatches(report)
        left_out: list[str] = []
        outcomes: list[Outcome] = []
        names: list[str] = []
        for found in domains(data, mismatches.say("default")):
            names.append(found.name)
            outcomes.append(_import(found, data, place, mismatches, left_out, accept=accept))
        if not names:
            raise Refused("backup archive is missing the event store")
        _take_tenants(data, manifest, place, left_out)
        if (data / "plugins").is_dir():
            # Installed programs, and which there are.
            run = shutil.ignore_patterns("run")
            target = place.workspace.data_dir / "plugins"
            shutil.copytree(data / "plugins", target, ignore=run, dirs_exist_ok=True)
        if mismatches.count and not accept:
            raise Refused(
                f"the archive does not fit its own hashes: {mismatches.count} mismatch(es); "
                "nothing was restored (--report FILE lists them, --accept-mismatches restores what "
                "is there)",
                *mismatches.lines[:_SHOWN],
            )
        if mismatches.count and not any(one.events for one in outcomes):
            raise Refused(
                "none of the archive's events can be read, so nothing was restored: is its data "
                "encryption key the right one?",
                *mismatches.lines[:_SHOWN],
            )
        return Imported(
            tuple(names),
            sum(one.events for one in outcomes),
            sum(one.aggregates for one in outcomes),
            mismatches.told(),
            tuple(dict.fromkeys(left_out)),
        )

    return import_foreign


def _take_tenants(data: Path, manifest: Manifest, place: Opened, left_out: list[str]) -> None:
    """Take over shards and quotas of tenants, if the folder that they are in was archived."""
    was = Path(str(manifest.config.get("data_dir") or "/"))
    inside = Path(place.config.tenants.shard_map_path or FOLDER_NAME)
    if inside.is_absolute() and inside.is_relative_to(was):
        inside = inside.relative_to(was)
    if inside.is_absolute() or ".." in inside.parts:
        left_out.append(f"{inside} (shards and quotas of tenants, which are not in the archive)")
        return
    try:
        if records := TenantFile(data / inside).load():
            TenantFile(place.workspace.data_dir / inside).take_over(records)
    except EventDBXError as error:
        left_out.append(f"{inside} (shards and quotas of tenants: {error})")


def domains(data: Path, say: Callable[[str], None]) -> list[Found]:
    """Return the domains of an archive, ``default`` first; ``say`` is told of what is none.

    3.19.4 did not find what 3.9.13 had left, which may lie beside its own. Raises Refused.
    """
    found: dict[str, Found] = {}
    places = [(one.name, one) for one in sorted(data.glob("shards/*/tenants/*"))]
    places += [(one.name, one) for one in sorted(data.glob("domains/*"))]
    for name, folder in (*places, ("default", data)):
        if not folder.is_dir() or not (has_store(folder / "event_store") or name != "default"):
            continue
        where = "event_store" if folder == data else folder.relative_to(data).as_posix()
        try:
            name = check_domain_name(name)
        except EventDBXError as error:
            say(f"{where} is left out: {error.detail}")
            continue
        if name in found and folder.is_relative_to(data / "shards"):
            first = found[name].folder.relative_to(data).as_posix()
            raise Refused(
                f"backup archive holds two domains '{name}': {where} and {first}; unpack it, "
                "remove one of them, and pack it again"
            )
        if name in found:
            say(f"{where} is left out: a later version has its domain '{name}' below shards")
            continue
        found[name] = Found(name, folder)
    return sorted(found.values(), key=lambda one: (one.name != "default", one.name))


class _Mismatches:
    """What does not fit, told in full up to a bound."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self.count = 0
        self.lines: list[str] = []

    def say(self, name: str) -> Callable[[str], None]:
        def say(line: str) -> None:
            self.count += 1
            told = line if name == "default" else f"{name}: {line}"
            self._report(told)
            if len(self.lines) < _KEPT_MAX:
                self.lines.append(told)

        return say

    def told(self) -> tuple[str, ...]:
        rest = self.count - len(self.lines)
        return (*self.lines, f"… {rest} more") if rest else tuple(self.lines)


def _import(
    found: Found,
    data: Path,
    place: Opened,
    mismatches: _Mismatches,
    left_out: list[str],
    *,
    accept: bool,
) -> Outcome:
    workspace = place.workspace
    say = mismatches.say(found.name)
    _take_files(found, data, workspace, left_out)
    if not has_store(found.folder / "event_store"):
        return Outcome(0, 0)
    keys = workspace.data_keys
    source = ReferenceStore(
        str(found.folder / "event_store"), lambda text: unseal(text, keys, "events")
    )
    recreation = None
    try:
        order = data.parent / f"order-{found.name}"
        recreation = Recreation(source, order, say, time.time_ns() // 1_000_000)
        recreation.check()
        if mismatches.count and not accept:
            return Outcome(0, 0)  # All domains are looked at, so that all of it can be told.
        return _recreated(recreation, found.name, place, say)
    except StorageError as error:
        raise Refused(
            f"the event store of domain '{found.name}' cannot be read", error.detail
        ) from None
    finally:
        if recreation is not None:
            recreation.close()
        source.close()


def _recreated(
    recreation: Recreation, name: str, place: Opened, say: Callable[[str], None]
) -> Outcome:
    """Recreate the events; the schemas of the archive are in force first of all."""
    workspace, config = place
    path = workspace.store_path(name)
    schemas = path.parent / "schemas.json"

    def opened() -> Domain:
        return open_domain(
            name, path, config, hop=synchronous(), plugins_path=workspace.plugins_path(name)
        )

    try:
        domain = opened()
    except EventDBXError as error:
        if not schemas.exists():
            raise
        say(f"schemas.json cannot be in force, it is left out: {error}")
        schemas.unlink()
        domain = opened()
    try:
        return recreation.recreate(domain)
    finally:
        failures: list[object] = []
        domain.store.close().addErrback(failures.append)


def _take_files(found: Found, data: Path, workspace: Workspace, left_out: list[str]) -> None:
    target = workspace.domain_dir(found.name)
    make_directory(target)
    for name in _OF_DOMAIN:
        if (found.folder / name).is_file():
            shutil.copyfile(found.folder / name, target / name)
    plugins = workspace.plugins_path(found.name)
    for source in (found.folder / "plugins.json", data / "plugins.json"):
        if source.is_file() and not plugins.exists():
            make_directory(plugins.parent)
            shutil.copyfile(source, plugins)
    for name, what in _LEFT_OUT.items():
        if any((one / name).exists() for one in (found.folder, data)):
            left_out.append(f"{name} ({what})")
