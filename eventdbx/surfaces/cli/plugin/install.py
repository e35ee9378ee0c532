"""``dbx plugin install`` and ``uninstall``: programs of process plugins on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import click

from eventdbx.domain.delivery.bundles import BundleRefused, choose_version
from eventdbx.errors import EventDBXError
from eventdbx.services.workspace import Opened
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import DOCUMENT, argument, option
from eventdbx.surfaces.cli.output import note, print_result
from eventdbx.surfaces.cli.plugin.calls import asking
from eventdbx.surfaces.cli.session import opened


def register(group: click.Group) -> None:
    """Add the commands to the group."""

    @group.command(
        "install",
        examples=(
            "dbx plugin install orders-view 1.0.0 --source ./orders-view.zip",
            "dbx plugin install orders-view 1.0.0 --source https://example.org/view.tar.gz "
            "--checksum 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        ),
    )
    @argument("name", help="What the program is called")
    @argument("version", required=False, help="Version of it; needed with --source")
    @option("-s", "--source", metavar="SOURCE", help="Zip, tar or program: a path or a URL")
    @option("--bin", "binary", metavar="BINARY_NAME", help="Which file of the bundle to run")
    @option("--checksum", metavar="CHECKSUM", help="SHA-256 that the bundle must have")
    @option("--force", is_flag=True, help="Replace this version if it is installed")
    @option("--yes", is_flag=True, help="Take a bundle from a URL without a checksum")
    @DOCUMENT
    @click.pass_context
    def install(context: click.Context, /, **given: Any) -> None:
        """Install a plugin binary into the local registry"""
        from eventdbx.services import bundles

        with spoken_refusals():
            there = bundles.install(
                opened(context).workspace.data_dir,
                given["name"],
                given["version"],
                source=given["source"],
                binary=given["binary"],
                checksum=given["checksum"],
                force=given["force"],
                trusted=given["yes"],
            )
        _record(context, "plugin_installed", f"{there.name} {there.version}", there.binary)
        names = {"name": there.name, "version": there.version, "target": there.target}
        print_result(
            {**names, "binary": str(there.binary)},
            f"installed plugin '{there.name}' v{there.version} for {there.target} "
            f"at {there.binary}",
        )

    @group.command("uninstall", examples=("dbx plugin uninstall orders-view 1.0.0",))
    @argument("name", help="What the program is called")
    @argument("version", required=False, help="Version of it [default: all]")
    @DOCUMENT
    @click.pass_context
    def uninstall(context: click.Context, name: str, version: str | None) -> None:
        """Remove an installed plugin binary that no plugin is configured to run"""
        from eventdbx.services import bundles

        with asking(context) as plugins:
            configs = [one.get("config") or {} for one in plugins.entries()]
        used = [(one["name"], one["version"]) for one in configs if one.get("type") == "process"]
        with spoken_refusals():
            gone = bundles.uninstall(
                opened(context).workspace.data_dir, name, version, configured=used
            )
        for one in gone:
            _record(context, "plugin_uninstalled", f"{name} {one}")
        print_result(
            {"name": name, "uninstalled": [str(one) for one in gone]},
            *(f"uninstalled plugin '{name}' v{one}" for one in gone),
        )


def _record(context: click.Context, event: str, resource: str, binary: Path | None = None) -> None:
    """Note for the audit trail which program came or went, by the digest of what will be run."""
    from eventdbx.services.auditspool import spool_action

    folder, command = opened(context).workspace.data_dir, context.command_path
    try:
        after = None if binary is None else sha256(binary.read_bytes()).hexdigest()
        spool_action(folder, "plugins", event, resource, command, after=after)
    except (EventDBXError, OSError) as error:
        note(f"warning: not in the audit trail: {error}")


def installed_version(place: Opened, name: str, version: str | None) -> str:
    """Return the version of an installed program that is meant. Raises Failure."""
    from eventdbx.services.bundles import read_installed, this_target

    with spoken_refusals():
        return choose_version(
            read_installed(place.workspace.data_dir), name, version, this_target()
        )


@contextmanager
def spoken_refusals() -> Iterator[None]:
    """Let refusals of bundles speak with their causes and hints."""
    try:
        yield
    except BundleRefused as error:
        raise Failure(error.detail, *error.causes, hint=error.hint, code=error.code) from None
