"""``dbx restore``: an archive becomes the data directory, all of it or nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eventdbx.surfaces.cli.backup_commands import (
    PASSPHRASE,
    PATH,
    failure_of_refusal,
    passphrase_of,
)
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import AS_JSON, option
from eventdbx.surfaces.cli.output import note, note_on_terminal, print_json, print_line
from eventdbx.surfaces.cli.progress import Progress

if TYPE_CHECKING:
    from eventdbx.services.restoring import Restored, Wanted

MISMATCHES_SHOWN = 20


def register(root: click.Group) -> None:
    """Add the command to the root."""

    @root.command(
        "restore",
        examples=(
            "dbx restore --input backup.tar.gz --data-dir copy",
            "dbx restore --input backup.tar.gz --force --json",
            "dbx restore --input backup.tar.gz --check",
        ),
    )
    @option("--input", "source", metavar="INPUT", required=True, type=PATH,
            help="The archive to restore, of this program or of an older one")  # fmt: skip
    @option("--force", is_flag=True, help="Replace the data that is there")
    @option("--check", is_flag=True, help="Check the archive only, as `dbx backup verify`")
    @option(
        "--accept-mismatches",
        is_flag=True,
        help="Restore an archive of another program although its hashes do not fit its events",
    )
    @option("--report", metavar="FILE", type=PATH,
            help="Write every mismatch of such an archive into this new file")  # fmt: skip
    @PASSPHRASE
    @AS_JSON
    @click.pass_context
    def restore(context: click.Context, /, **given: Any) -> None:
        """Restore EventDBX data from a backup archive

        Nothing is replaced before the whole archive was read, checked and opened. The data goes
        where it was, or to --data-dir; the configuration goes to --config, or the default path.
        """
        passphrase = passphrase_of(given["passphrase_file"])
        if given["check"]:
            from eventdbx.surfaces.cli.backup_checking import check

            check(context, given["source"], passphrase, None, as_json=given["as_json"])
        else:
            _restore(context, given, passphrase)


def _restore(context: click.Context, given: dict[str, Any], passphrase: bytes | None) -> None:
    from eventdbx.services.backup_archives import Refused
    from eventdbx.services.foreign_archives import importer
    from eventdbx.services.restoring import restore

    wanted = _wanted(context, given, passphrase)
    try:
        size = wanted.source.stat().st_size if wanted.source.is_file() else None
        with (
            Progress(context, "restoring", unit="bytes", total=size) as progress,
            _reporting(given["report"]) as report,
        ):
            found = restore(
                wanted,
                import_foreign=importer(accept=given["accept_mismatches"], report=report),
                environ=os.environ,
                advance=progress.advance,
            )
    except Refused as error:
        raise failure_of_refusal(error) from None
    _tell(wanted, found, as_json=given["as_json"])


@contextmanager
def _reporting(path: Path | None) -> Iterator[Callable[[str], None]]:
    """What writes lines into a new file, or nowhere. Raises Failure."""
    if path is None:
        yield lambda _line: None
        return
    try:
        file = path.open("x", encoding="utf-8")
    except OSError as error:
        raise Failure(f"cannot write {path}", error.strerror or str(error), code="io") from None
    with file:
        yield lambda line: print(line, file=file)


def _wanted(context: click.Context, given: dict[str, Any], passphrase: bytes | None) -> Wanted:
    from eventdbx.services.restoring import Wanted
    from eventdbx.services.workspace import find_place

    options = context.find_root().params
    place = find_place(options.get("config"), cwd=Path.cwd(), environ=os.environ)
    named = options.get("data_dir")
    return Wanted(
        Path(os.path.abspath(given["source"])),
        place.config_path,
        place.default_data_dir,
        Path(os.path.abspath(named)) if named else None,
        given["force"],
        passphrase,
    )


def _tell(wanted: Wanted, found: Restored, *, as_json: bool) -> None:
    imported = found.imported
    if imported is not None:
        for line in imported.left_out:
            note(f"not taken over: {line}")
        for line in imported.mismatches[:MISMATCHES_SHOWN]:
            note(f"mismatch: {line}")
        if len(imported.mismatches) > MISMATCHES_SHOWN:
            note(f"… {len(imported.mismatches) - MISMATCHES_SHOWN} more mismatches")
    for name in found.unchecked:
        note(
            f"warning: the data keys of domain '{name}' are not in the archive: configure the key "
            "(dbx config --dek), then put them back (dbx keys restore)"
        )
    if as_json:
        print_json(_document(wanted, found))
        return
    if imported is not None:
        print_line(
            f"Recreated {imported.events} event(s) of {imported.aggregates} aggregate(s), "
            f"{len(imported.mismatches)} mismatch(es)"
        )
    note_on_terminal(
        f"what came after the backup ({found.manifest.created_at}) is gone: tokens that were "
        "revoked since are good again, what was erased since is there again, and checkpoints that "
        "were signed since do not fit any more"
    )
    print_line(
        f"Restored backup from {wanted.source} into {found.data_dir} "
        f"(config written to {found.config_path})"
    )


def _document(wanted: Wanted, found: Restored) -> dict[str, Any]:
    document: dict[str, Any] = {
        "input": os.fspath(wanted.source),
        "data_dir": os.fspath(found.data_dir),
        "config_path": os.fspath(found.config_path),
        "created_at": found.manifest.created_at,
        "files": found.files,
        "bytes": found.size,
        "keys_missing": list(found.unchecked),
    }
    if found.imported is not None:
        document["imported"] = {
            "domains": list(found.imported.domains),
            "aggregates": found.imported.aggregates,
            "events": found.imported.events,
            "mismatches": list(found.imported.mismatches),
            "left_out": list(found.imported.left_out),
        }
    return document
