"""``dbx backup``: an archive of everything, made beside a running server or without one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eventdbx.services.workspace import Opened
from eventdbx.surfaces.cli.arguments import missing_arguments
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.helptext import usage_line
from eventdbx.surfaces.cli.options import AS_JSON, TOKEN, argument, option
from eventdbx.surfaces.cli.output import note_on_terminal, print_json, print_line
from eventdbx.surfaces.cli.progress import Progress
from eventdbx.surfaces.cli.session import database, opened, server_address

if TYPE_CHECKING:
    from eventdbx.services.backup_archives import Refused
    from eventdbx.services.backups import Archive, Copied

PATH = click.Path(path_type=Path)

PASSPHRASE_BYTES_MAX = 64 << 10

PASSPHRASE = option(
    "--passphrase-file",
    "passphrase_file",
    metavar="FILE",
    type=PATH,
    help="Seal the whole archive, or open one, with the passphrase in this file",
)


def register(root: click.Group) -> None:
    """Add the group to the root."""

    @root.group(
        "backup",
        invoke_without_command=True,
        examples=(
            "dbx backup --output backup.tar.gz",
            "dbx backup --output backup.tar.gz --force --json",
            "dbx backup verify backup.tar.gz",
        ),
        epilog="The archive holds the keys unless --without-keys is given: it reads everything, "
        "and keeps what is erased later. See docs/backup.md.",
    )
    @option("-o", "--output", "target", metavar="OUTPUT", type=PATH, help="The archive to write")
    @option(
        "--force", is_flag=True, help="Replace an archive that is there, once this one is whole"
    )
    @option("--without-keys", is_flag=True, help="Leave out all keys and tokens")
    @PASSPHRASE
    @TOKEN
    @AS_JSON
    @click.pass_context
    def backup(context: click.Context, /, **given: Any) -> None:
        """Create a backup archive containing all EventDBX data

        A running server goes on meanwhile: the archive holds all that was acknowledged when the
        command began.
        """
        if context.args:
            return
        if given["target"] is None:
            lacking = [one for one in context.command.params if one.name == "target"]
            raise missing_arguments(lacking, usage_line(context.command_path, context.command))
        _back_up(context, given)

    _register_verify(backup)


def _register_verify(group: click.Group) -> None:
    @group.command(
        "verify",
        examples=("dbx backup verify backup.tar.gz", "dbx backup verify backup.tar.gz --json"),
    )
    @argument("source", metavar="FILE", type=PATH, help="The archive")
    @PASSPHRASE
    @option(
        "--temp-dir",
        "folder",
        metavar="DIR",
        type=PATH,
        help="Unpack it below this directory meanwhile [default: that for temporary files]",
    )
    @AS_JSON
    @click.pass_context
    def verify(
        context: click.Context,
        source: Path,
        passphrase_file: Path | None,
        folder: Path | None,
        as_json: bool,
    ) -> None:
        """Check a backup archive as a whole, and touch nothing

        Holds every file against its checksum, opens every store, and recomputes every hash in it.
        """
        from eventdbx.surfaces.cli.backup_checking import check

        check(context, source, passphrase_of(passphrase_file), folder, as_json=as_json)


def passphrase_of(path: Path | None) -> bytes | None:
    """Return the passphrase in a file, without the end of its line. Raises Failure."""
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            text = file.read(PASSPHRASE_BYTES_MAX + 1).rstrip(b"\r\n")
    except OSError as error:
        raise Failure(f"cannot read {path}", error.strerror or str(error), code="io") from None
    if not text:
        raise Failure(f"{path} holds no passphrase")
    if len(text) > PASSPHRASE_BYTES_MAX:
        raise Failure(f"{path} is too large for a passphrase")
    return text


def failure_of_refusal(error: Refused) -> Failure:
    """Return the failure that a refused archive is."""
    return Failure(error.detail, *error.causes, code="storage")


def _back_up(context: click.Context, given: dict[str, Any]) -> None:
    from eventdbx.services.backup_archives import Refused
    from eventdbx.services.backups import archive_of, checked_target, size_of

    place = opened(context)
    passphrase = passphrase_of(given["passphrase_file"])
    with_keys = not given["without_keys"]
    try:
        target = checked_target(given["target"], place.workspace.data_dir, force=given["force"])
        with _copied(context, place, given["token"], with_keys=with_keys) as copied:
            # Every byte is read for its checksum, and again to be packed.
            total = 2 * size_of(copied.data)
            with Progress(context, "backing up", unit="bytes", total=total) as progress:
                archive = archive_of(
                    copied,
                    place.workspace,
                    place.config,
                    target,
                    force=given["force"],
                    with_keys=with_keys,
                    passphrase=passphrase,
                    advance=progress.advance,
                )
    except Refused as error:
        raise failure_of_refusal(error) from None
    _record(place, archive)
    _tell(place, archive, as_json=given["as_json"])
    if not with_keys:
        note_on_terminal(
            "the archive cannot be read without the configured key and the data keys: keep "
            "config.toml, and make `dbx keys backup`"
        )


@contextmanager
def _copied(
    context: click.Context, place: Opened, token: str | None, *, with_keys: bool
) -> Iterator[Copied]:
    """A copy of everything, made by the server where one runs."""
    from eventdbx.services.backups import Copied, copied_here, held

    if server_address(context, place) is None:
        with copied_here(place.workspace, with_keys=with_keys) as copied:
            yield copied
        return
    with database(context, token=token, doing="back up") as (way, calls):
        found = way.call(calls.administer({"do": "backup_begin", "keys": with_keys}))
        folder = Path(found["path"])
        if not folder.is_dir():
            raise Failure(
                f"the server's copy at {folder} is not on this machine",
                hint="run `dbx backup` where the server runs, or ask its Admin API "
                "(POST /admin/backups)",
            )
        with held(folder):
            yield Copied(folder, tuple(found["domains"]))
        way.call(calls.administer({"do": "backup_end", "id": found["id"]}))


def _record(place: Opened, archive: Archive) -> None:
    """Note in the audit trail what was taken away; that it was made does not depend on it."""
    from eventdbx.services.auditspool import spool_action

    details: dict[str, Any] = {
        "sha256": archive.digest,
        "bytes": archive.size,
        "keys": archive.keys,
    }
    spool_action(
        place.workspace.data_dir,
        "backups",
        "backup_created",
        archive.path.name,
        "dbx backup",
        details=details,
    )


def _tell(place: Opened, archive: Archive, *, as_json: bool) -> None:
    if as_json:
        from eventdbx.services.backups import document_of

        print_json({**document_of(archive), "data_dir": os.fspath(place.workspace.data_dir)})
        return
    print_line(
        f"Backup created at {archive.path} (captured data directory {place.workspace.data_dir})"
    )
