"""``dbx keys``: the data keys of the stores, and the configured key that wraps them."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eventdbx.errors import ConfigError
from eventdbx.services.workspace import Opened
from eventdbx.surfaces.cli import places
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import AS_JSON, TOKEN, option
from eventdbx.surfaces.cli.output import note, print_json, print_line
from eventdbx.surfaces.cli.session import database, opened, server_address

if TYPE_CHECKING:
    from eventdbx.services.keybackup import Kept

Document = dict[str, Any]

_LOOK_AGAIN_S = 0.2


def register(root: click.Group) -> None:
    """Add the group to the root."""

    @root.group("keys", examples=("dbx keys status", "dbx keys rotate"))
    def keys() -> None:
        """Look after the keys that the stores are encrypted with

        Each store has data keys of its own, in the file data_keys beside it. The configured key
        (data_encryption_key) wraps them, so that it can be changed without writing the data anew.
        """

    _register_status(keys)
    _register_rotate(keys)
    _register_seal(keys)
    _register_backup(keys)
    _register_restore(keys)


def _register_status(keys: click.Group) -> None:
    @keys.command("status", examples=("dbx keys status", "dbx keys status --json"))
    @TOKEN
    @AS_JSON
    @click.pass_context
    def status(context: click.Context, token: str | None, as_json: bool) -> None:
        """Show which key wraps what, and what is not encrypted yet

        Says when an older key is not needed any more. Counting plain values reads the whole store
        where it may have some.
        """
        found = _status(context, token)
        if as_json:
            print_json(found)
        else:
            _print(found)


def _register_rotate(keys: click.Group) -> None:
    @keys.command("rotate", examples=("dbx keys rotate", "dbx keys rotate --json"))
    @TOKEN
    @AS_JSON
    @click.pass_context
    def rotate(context: click.Context, token: str | None, as_json: bool) -> None:
        """Make a new key, and wrap all data keys by it

        The new key goes into the configuration file, the present one becomes an older one. The
        data is not written anew, and the server keeps running. Killed half-way, everything is
        readable, and the next start goes on. A key that comes from the environment or a file is
        changed there: put the present one into data_encryption_keys first.
        """
        place = opened(context)
        beside = server_address(context, place) is not None
        if not beside:
            _rotate_here(place)
        else:
            with database(context, token=token, doing="rotate the data key") as (way, calls):
                way.call(calls.administer({"do": "rotate_data_key"}))
        _wait(context, token, beside=beside, as_json=as_json)


def _register_seal(keys: click.Group) -> None:
    @keys.command("seal", examples=("dbx keys seal",))
    @TOKEN
    @AS_JSON
    @click.pass_context
    def seal(context: click.Context, token: str | None, as_json: bool) -> None:
        """Encrypt what was written while encryption was off

        A running server does it by itself; this waits until it is done. Afterwards the store
        refuses values that are not encrypted.
        """
        place = opened(context)
        if not place.config.encryption:
            raise ConfigError("encryption is off: set encryption = true first")
        beside = server_address(context, place) is not None
        if not beside:
            _seal_here(place)
        _wait(context, token, beside=beside, as_json=as_json)


def _register_backup(keys: click.Group) -> None:
    @keys.command("backup", examples=("dbx keys backup --out keys.tar",))
    @option("--out", "target", metavar="FILE", required=True, type=click.Path(path_type=Path),
            help="The file to write; one that is there is replaced")  # fmt: skip
    @AS_JSON
    @click.pass_context
    def backup(context: click.Context, target: Path, as_json: bool) -> None:
        """Copy the data keys of all domains into one file

        Backups of a store hold no keys and cannot be read without them. The copy is wrapped by the
        configured key, which must be kept elsewhere. Make a new one after each erasure, and throw
        the older ones away: they hold the keys of what was erased.
        """
        from eventdbx.services.keybackup import back_up

        place = opened(context)
        _told(back_up(place.workspace, place.config, target), as_json=as_json)


def _register_restore(keys: click.Group) -> None:
    @keys.command("restore", examples=("dbx keys restore --from keys.tar",))
    @option("--from", "source", metavar="FILE", required=True, type=click.Path(path_type=Path),
            help="A file that `dbx keys backup` has written")  # fmt: skip
    @option("--force", is_flag=True, help="Replace newer files, and bring destroyed keys back")
    @AS_JSON
    @click.pass_context
    def restore(context: click.Context, source: Path, force: bool, as_json: bool) -> None:
        """Put a copy of the data keys back in place

        The server must be stopped. Refuses to replace a file that is newer than the copy: keys
        that were made since would be lost, and keys that an erasure has destroyed would be back,
        and with them what was erased.
        """
        from eventdbx.services.keybackup import restore as put_back

        place = opened(context)
        if places.server_to_ask(place):
            raise Failure("the data keys cannot be replaced while the server runs", hint="dbx stop")
        _told(put_back(place.workspace, place.config, source, force=force), as_json=as_json)


def _told(found: list[Kept], *, as_json: bool) -> None:
    if as_json:
        print_json([one._asdict() for one in found])
        return
    for one in found:
        print_line(f"{one.domain}: {one.slots} keys, {one.destroyed} destroyed")


def _status(context: click.Context, token: str | None) -> Document:
    place = opened(context)
    if server_address(context, place) is None:
        from eventdbx.services.keyuse import report

        config = place.workspace.read()
        return report(place.workspace, config, {}, {})
    with database(context, token=token, doing="read the status of the keys") as (way, calls):
        found: Document = way.call(calls.administer({"do": "data_keys"}))
    return found


def _rotate_here(place: Opened) -> None:
    """Change the key, and wrap everything by it, in this process."""
    from eventdbx.services.keyuse import new_key, rewrap_all

    workspace = place.workspace
    workspace.save(new_key(workspace, place.config))
    config = workspace.read()
    progress = _Progress()
    for domain, done, count in rewrap_all(workspace, config):
        progress.show(f"{domain}: {done} of {count} keys")
    progress.end()


def _seal_here(place: Opened) -> None:
    from eventdbx.services.offline import OfflineStore

    progress = _Progress()
    for domain in place.workspace.domain_names():
        if not (place.workspace.store_path(domain) / "CURRENT").is_file():
            continue
        store = OfflineStore(place, domain)
        try:
            while (found := store.seal_some()) is not None:
                progress.show(f"{domain}: {found[0]} values, {found[1]:.0%}")
        finally:
            store.close()
    progress.end()


def _wait(context: click.Context, token: str | None, *, beside: bool, as_json: bool) -> None:
    """Show how far the work is until it is over. Raises Failure if it stands still.

    ``beside`` a server, which does the work.
    """
    progress = _Progress()
    while True:
        if beside and server_address(context, opened(context)) is None:
            progress.end()
            raise Failure("the server is gone", "it goes on with its next start")
        found = _status(context, token)
        waits = [one for one in found["domains"] if _waits(one, found["encryption"])]
        troubles = [one["trouble"] for one in (*found["domains"], found) if one["trouble"]]
        if troubles or not waits or not beside:
            progress.end()
            break
        progress.show("; ".join(f"{one['domain']}: {_state(one)}" for one in waits))
        time.sleep(_LOOK_AGAIN_S)
    if as_json:
        print_json(found)
    else:
        _print(found)
    if troubles:
        raise Failure(troubles[0], code="storage")


def _waits(domain: Document, encryption: bool) -> bool:
    if domain["wrapped_by"] == "older":
        return True
    return encryption and domain["sealing"] is not None


def _state(domain: Document) -> str:
    if domain["rewrapping"]:
        return "{} of {} keys are wrapped anew".format(*domain["rewrapping"])
    if domain["sealing"]:
        return f"{domain['sealing']['values']} values sealed ({domain['sealing']['share']:.0%})"
    return "waits to be wrapped anew" if domain["wrapped_by"] == "older" else "waits to be sealed"


def _print(found: Document) -> None:
    print_line(f"present key: from {found['source']}")
    for one in found["domains"]:
        if one["wrapped_by"] is None:
            line = "not encrypted"
        else:
            line = f"{one['slots']} keys, {one['destroyed']} destroyed, wrapped by "
            line += {"present": "the present key", "older": "an older key"}.get(
                one["wrapped_by"], "an unknown key"
            )
        if one["rewrapping"] or one["sealing"]:
            line += f"; {_state(one)}"
        if one["plain"]:
            line += f"; {one['plain']} plain values"
        print_line(f"{one['domain']}: {line}")
        if one["trouble"]:
            print_line(f"  trouble: {one['trouble']}")
    for one in found["files"]:
        if one["wrapped_by"] != "present":
            print_line(f"{one['file']}: sealed with an older key")
    if found["trouble"]:
        note(f"warning: {found['trouble']}")
    if not found["encryption"]:
        print_line("encryption is off: what is written now is plain")
    elif any(one["plain"] and not one["sealing"] for one in found["domains"]):
        print_line("plain values: a running server seals them, or `dbx keys seal`")
    if found["older_keys"] and found["older_keys_needed"]:
        print_line(f"older keys: {found['older_keys']}, still needed: a running server wraps anew")
    elif found["older_keys"]:
        print_line(
            f"older keys: {found['older_keys']}, not needed any more: remove them with "
            "`dbx config --unset data_encryption_keys`"
        )


class _Progress:
    """One line on a terminal that is written over; silent elsewhere."""

    def __init__(self) -> None:
        self._shows = sys.stderr.isatty()
        self._shown = False

    def show(self, text: str) -> None:
        """Write the line."""
        if self._shows:
            sys.stderr.write(f"\r{text:<78.78}")
            sys.stderr.flush()
            self._shown = True

    def end(self) -> None:
        """Leave the line as it is."""
        if self._shown:
            sys.stderr.write("\n")
            self._shown = False
