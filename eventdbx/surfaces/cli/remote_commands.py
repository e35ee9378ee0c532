"""``dbx remote``: the peers for replication, kept in the configuration of this installation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from eventdbx.errors import ConfigError, EventDBXError, UnknownName
from eventdbx.services.auditspool import spool_action
from eventdbx.services.workspace import Opened
from eventdbx.surfaces.cli.commands import DbxGroup
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import AS_JSON, DOCUMENT, argument, option
from eventdbx.surfaces.cli.output import (
    ROWS,
    documents_wanted,
    format_wanted,
    note,
    print_json,
    print_line,
    print_listing,
    print_result,
    say_empty,
)
from eventdbx.surfaces.cli.places import opened
from eventdbx.surfaces.cli.values import U16

if TYPE_CHECKING:
    from eventdbx.services.remotes import Remotes

_SHOWN_ENDS = 4
"""Characters of a token that are shown at each end: enough to tell two apart."""


def register(root: click.Group) -> None:
    """Add the group to the root."""

    @root.group("remote", cls=DbxGroup, examples=("dbx remote ls", "dbx remote show standby"))
    def remote() -> None:
        """Manage replication remotes"""

    _register_add(remote)
    _register_others(remote)


def _register_add(group: click.Group) -> None:
    @group.command(
        "add",
        examples=(
            "dbx remote add standby 10.0.0.2 --token-env STANDBY_TOKEN",
            "dbx remote add standby 10.0.0.3 --port 7000 --token-env STANDBY_TOKEN --replace",
        ),
    )
    @argument("name", help="Name of the remote")
    @argument("target", help="Its host, or HOST:PORT")
    @option("--token", metavar="TOKEN", conflicts=("token_env",), help="Its token, kept sealed")
    @option("--token-env", metavar="ENV", help="Variable that holds its token")
    @option("--port", type=U16, metavar="PORT", help="Its port [default: 6363]")
    @option("--replace", is_flag=True, help="Take the place of a remote of this name")
    @DOCUMENT
    @click.pass_context
    def add(
        context: click.Context,
        name: str,
        target: str,
        token: str | None,
        token_env: str | None,
        port: int | None,
        replace: bool,
    ) -> None:
        """Add a replication remote

        A token on the command line can be seen by others on this machine: --token-env avoids it.
        """
        place = opened(context)
        remotes = _remotes(place)
        name = name.strip()
        if name in remotes.documents() and not replace:
            raise Failure(f"remote '{name}' already exists (use --replace to overwrite)")
        try:
            endpoint = _endpoint(name, target.strip(), port, token, token_env)
            _created, document = remotes.put(name, endpoint, token, token_env)
        except ConfigError as error:
            raise Failure(re.sub(r"^remote token", "token", error.detail)) from None
        _spool(place, "remote_stored", name, "dbx remote add")
        if token is not None and not document["token"].startswith("ENCv1:"):
            note("warning: there is no data encryption key, the token is stored in clear")
        shown = f"<env:{token_env}>" if token is None else _shortened(token.strip())
        print_result(
            {"remote": name, "endpoint": document["endpoint"], "token": shown},
            f"Remote '{name}' resolved '{target.strip()}' to endpoint {document['endpoint']} "
            f"with token {shown}",
        )


def _register_others(group: click.Group) -> None:
    @group.command("rm", examples=("dbx remote rm standby",))
    @argument("name", help="Name of the remote")
    @DOCUMENT
    @click.pass_context
    def rm(context: click.Context, name: str) -> None:
        """Remove a replication remote"""
        place = opened(context)
        if not _remotes(place).delete(name):
            raise _unknown(name)
        _spool(place, "remote_removed", name.strip(), "dbx remote rm")
        done = {"remote": name.strip(), "removed": True}
        print_result(done, f"Removed remote '{name.strip()}'")

    @group.command(
        "ls",
        examples=("dbx remote ls", "dbx remote ls --json"),
        columns=("name", "endpoint", "locator", "remote_domain"),
    )
    @DOCUMENT
    @click.pass_context
    def ls(context: click.Context) -> None:
        """List configured remotes"""
        documents = _remotes(opened(context)).documents()
        if documents_wanted() and format_wanted() not in ROWS:
            print_json(documents)
            return
        rows = [{"name": name, **one} for name, one in documents.items()]
        if not print_listing(rows, _line, empty="(no remotes configured)"):
            say_empty("no remotes are configured", "dbx remote add --help")

    @group.command("show", examples=("dbx remote show standby",))
    @argument("name", help="Name of the remote")
    @AS_JSON
    @click.pass_context
    def show(context: click.Context, name: str, as_json: bool) -> None:
        """Show details for a remote"""
        document = _remotes(opened(context)).documents().get(name.strip())
        if document is None:
            raise _unknown(name)
        if as_json:
            print_json(document)
            return
        print_line(f"name: {name.strip()}")
        print_line(f"endpoint: {document['endpoint']}")
        print_line(f"token: {_token_of(document)}")
        for member in ("locator", "remote_domain", "tenant"):
            if document.get(member):
                print_line(f"{member}: {document[member]}")


def _line(remote: dict[str, Any]) -> str:
    locator = f" [{remote['locator']}]" if remote["locator"] else ""
    domain = f" (domain {remote['remote_domain']})" if remote["remote_domain"] else ""
    return f"{remote['name']} {remote['endpoint']}{locator}{domain}"


def _remotes(place: Opened) -> Remotes:
    from eventdbx.services.remotes import Remotes

    return Remotes(place.workspace)


def _endpoint(
    name: str, target: str, port: int | None, token: str | None, token_env: str | None
) -> str:
    """Return the address to store; raise Failure in the order and the words of earlier releases."""
    if not name:
        raise Failure("remote name cannot be empty")
    if not target:
        raise Failure("remote target cannot be empty")
    if "://" in target:
        raise Failure("direct remote targets must not include a protocol scheme")
    if ":" in target and "/" in target:
        if token is not None or token_env is not None:
            raise Failure("--token and --token-env cannot be supplied when using a locator target")
        raise Failure(
            "locators are not resolved by this release",
            hint=f"dbx remote add {name} HOST --token-env VARIABLE",
        )
    if port == 0:
        raise Failure("remote port must be greater than zero")
    if token is None and token_env is None:
        raise Failure("either --token or --token-env must be provided when adding a direct remote")
    if port is None:
        return target
    bare = re.sub(r":\d*$", "", target) if target.count(":") == 1 or "]:" in target else target
    return f"{bare}:{port}"


def _token_of(document: dict[str, Any]) -> str:
    if "token_env" in document:
        return f"<env:{document['token_env']}>"
    if "token" not in document:
        return "<unset>"
    return "<encrypted>" if document["token"].startswith("ENCv1:") else str(document["token"])


def _shortened(token: str) -> str:
    if len(token) <= 4 * _SHOWN_ENDS:
        return "<hidden>"
    return f"{token[:_SHOWN_ENDS]}…{token[-_SHOWN_ENDS:]}"


def _unknown(name: str) -> Failure:
    return Failure(f"no remote named '{name.strip()}' is configured", code=UnknownName.code)


def _spool(place: Opened, event: str, name: str, way: str) -> None:
    try:
        spool_action(place.workspace.data_dir, "remotes", event, name, way)
    except EventDBXError as error:
        note(f"warning: not in the audit trail: {error}")
