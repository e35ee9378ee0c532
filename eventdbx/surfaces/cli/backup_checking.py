"""What ``dbx backup verify`` does: an archive unpacked elsewhere, and everything in it checked."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eventdbx.surfaces.cli.backup_commands import failure_of_refusal
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.output import note, print_json, print_line
from eventdbx.surfaces.cli.progress import Progress

if TYPE_CHECKING:
    from eventdbx.services.restoring import Tried
    from eventdbx.services.workspace import Opened

Document = dict[str, Any]


def check(
    context: click.Context,
    source: Path,
    passphrase: bytes | None,
    folder: Path | None,
    *,
    as_json: bool,
) -> None:
    """Check an archive and print the outcome. Raises Failure."""
    from eventdbx.services.backup_archives import Refused
    from eventdbx.services.foreign_archives import importer
    from eventdbx.services.restoring import try_out

    source = Path(os.path.abspath(source))
    try:
        below = tempfile.mkdtemp(prefix="dbx-verify-", dir=folder)
    except OSError as error:
        raise Failure(f"cannot write to {folder}", error.strerror or str(error)) from None
    try:
        size = source.stat().st_size if source.is_file() else None
        with Progress(context, "checking", unit="bytes", total=size) as progress:
            tried = try_out(
                source,
                Path(below),
                passphrase=passphrase,
                import_foreign=importer(accept=True),
                environ=os.environ,
                advance=progress.advance,
            )
        reports = _verified(tried)
    except Refused as error:
        raise failure_of_refusal(error) from None
    finally:
        shutil.rmtree(below, ignore_errors=True)
    _tell(source, tried, reports, as_json=as_json)


def _verified(tried: Tried) -> list[Document]:
    """Verify the store of each domain."""
    from eventdbx.services.backups import has_store

    found = []
    for name in tried.place.workspace.domain_names():
        if name in tried.unchecked:
            found.append({"domain": name, "checked": False, "findings": []})
        elif has_store(tried.place.workspace.store_path(name)):
            found.append(_verify(tried.place, name))
    return found


def _verify(place: Opened, name: str) -> Document:
    from eventdbx.services.offline import OfflineStore
    from eventdbx.surfaces.cli.verify_command import Wanted, whole_store
    from eventdbx.surfaces.control.calls import Calls

    store = OfflineStore(place, name, writes=False, include_hidden=True)
    try:
        outcome = whole_store(store, Calls(""), Wanted())
    finally:
        store.close()
    findings = [one["message"] for one in outcome["findings"]]
    return {
        "domain": name,
        "checked": True,
        "aggregates": outcome["aggregates"],
        "events": outcome["events"],
        "findings": findings,
    }


def _tell(source: Path, tried: Tried, reports: list[Document], *, as_json: bool) -> None:
    mismatches = () if tried.imported is None else tried.imported.mismatches
    problems = [line for one in reports for line in one["findings"]] + list(mismatches)
    for line in problems:
        note(line)
    if as_json:
        print_json(
            {
                "input": os.fspath(source),
                "created_at": tried.manifest.created_at,
                "program": tried.manifest.program,
                "keys": tried.manifest.keys,
                "files": tried.files,
                "bytes": tried.size,
                "domains": reports,
                "mismatches": list(mismatches),
            }
        )
    elif not problems:
        for one in reports:
            print_line(_line(one))
        print_line(f"{source}: {tried.files} file(s), {tried.size} bytes, nothing is wrong")
    if problems:
        raise Failure(f"{source}: {len(problems)} problem(s) found", code="storage")


def _line(report: Document) -> str:
    if not report["checked"]:
        return f"{report['domain']}: not opened, its keys are not in the archive"
    return (
        f"{report['domain']}: verified {report['aggregates']} aggregate(s) "
        f"with {report['events']} event(s)"
    )
