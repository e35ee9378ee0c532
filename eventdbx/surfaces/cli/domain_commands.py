"""``dbx list``, ``checkout`` and ``domain``: which domains there are, and in which one works.

Merging one into another is in :mod:`eventdbx.surfaces.cli.merge_command`.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from eventdbx.errors import ConfigError, EventDBXError
from eventdbx.services import domains
from eventdbx.services.auditspool import spool_action
from eventdbx.services.workspace import Opened
from eventdbx.surfaces.cli import places
from eventdbx.surfaces.cli.commands import DbxGroup
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import AS_JSON, TOKEN, argument, option
from eventdbx.surfaces.cli.output import (
    note,
    note_on_terminal,
    print_json,
    print_line,
    warn_of_visible,
)
from eventdbx.surfaces.cli.session import database, server_address
from eventdbx.surfaces.cli.values import U16

COLUMNS = ("domain", "active", "active_aggregates", "archived_aggregates", "total_aggregates",
           "events")  # fmt: skip

_NAMELESS = "domain name must be provided via -d/--domain or positional argument"
_TWO_NAMES = "conflicting domain inputs provided via -d/--domain and positional argument"


def register(root: click.Group) -> None:
    """Add the commands to the root."""
    _register_list(root, "list", ("dbx list", "dbx list --json"))
    _register_checkout(root)

    @root.group("domain", cls=DbxGroup, examples=("dbx domain list", "dbx domain create invoices"))
    def domain() -> None:
        """List and create domains"""

    _register_list(domain, "list", ("dbx domain list",))
    _register_create(domain)


def _register_list(group: click.Group, name: str, examples: tuple[str, ...]) -> None:
    @group.command(name, examples=examples, columns=COLUMNS)
    @TOKEN
    @AS_JSON
    @click.pass_context
    def show(context: click.Context, token: str | None, as_json: bool) -> None:
        """List domains with aggregate and event counts

        Beside a running server the server counts, those that the token may use.
        """
        place = places.opened(context)
        found = _listed(context, place, token)
        if as_json:
            print_json(found)
        else:
            _print_table(found)
        _note_old(place)


def _listed(context: click.Context, place: Opened, token: str | None) -> list[dict[str, Any]]:
    active = place.config.domain
    if server_address(context, place) is not None:
        with database(context, token=token, doing="list domains") as (way, calls):
            answer = way.call(calls.administer({"do": "domains"}))
        for one in answer["domains"]:
            if "problem" in one:
                raise _unreadable(place, one["domain"], one["problem"])
        # What is active here is what commands work in, whatever the server was started with.
        return [{**one, "active": one["domain"] == active} for one in answer["domains"]]

    from eventdbx.application.counting import domain_document

    names = sorted({active, *place.workspace.domain_names()})
    return [_counted(place, name, domain_document) for name in names]


def _counted(place: Opened, name: str, document: Any) -> dict[str, Any]:
    try:
        counts = domains.counted(place, name)
    except EventDBXError as error:
        raise _unreadable(place, name, str(error)) from None
    shown: dict[str, Any] = document(name, active=name == place.config.domain, counts=counts)
    return shown


def _unreadable(place: Opened, name: str, cause: str) -> Failure:
    where = place.workspace.store_path(name)
    text = f"failed to open event store for domain '{name}' at {where}"
    return Failure(text, cause, code="storage")


def _print_table(found: list[dict[str, Any]]) -> None:
    header = ("domain", "active", "archived", "total", "events")
    rows = [
        (
            f"{one['domain']} *" if one["active"] else one["domain"],
            str(one["active_aggregates"]),
            str(one["archived_aggregates"]),
            str(one["total_aggregates"]),
            str(one["events"]),
        )
        for one in found
    ]
    widths = [max(len(row[at]) for row in (header, *rows)) for at in range(len(header))]
    for name, *numbers in (header, *rows):
        right = (text.rjust(width) for text, width in zip(numbers, widths[1:], strict=True))
        print_line("  ".join((name.ljust(widths[0]), *right)))


def _register_create(group: click.Group) -> None:
    @group.command("create", examples=("dbx domain create invoices",))
    @argument("name", help="Name of the domain")
    @AS_JSON
    @click.pass_context
    def create(context: click.Context, name: str, as_json: bool) -> None:
        """Create a domain and switch to it

        The same as `dbx checkout --create`.
        """
        _switch(context, places.opened(context), domains.domain_name(name), True, {}, as_json)


def _register_checkout(root: click.Group) -> None:
    @root.command(
        "checkout",
        examples=(
            "dbx checkout invoices",
            "dbx checkout --create archive",
            "dbx checkout --delete invoices --force",
        ),
    )
    @argument("name", required=False, help="Name of the domain")
    @option("-d", "--domain", "named", metavar="NAME", help="Name of the domain")
    @option("-c", "--create", is_flag=True, conflicts=("delete",), help="Create it where missing")
    @option("--delete", is_flag=True, help="Delete the domain with all its data")
    @option("--force", is_flag=True, requires=("delete",), help="Do not ask before deleting")
    @option("--yes", is_flag=True, requires=("delete",), help="The same as --force")
    @option("--remote", metavar="ADDR", help="Address of the domain's remote, empty to forget it")
    @option("--port", type=U16, metavar="PORT", requires=("remote",), help="Port of the remote")
    @option("--token", metavar="TOKEN", help="Token for the remote, empty to forget it")
    @option("--remote-tenant", metavar="TENANT", help="Tenant at the remote, empty to forget it")
    @AS_JSON
    @click.pass_context
    def checkout(
        context: click.Context,
        name: str | None,
        named: str | None,
        create: bool,
        delete: bool,
        force: bool,
        yes: bool,
        remote: str | None,
        port: int | None,
        token: str | None,
        remote_tenant: str | None,
        as_json: bool,
    ) -> None:
        """Switch the active domain context

        Commands work in the active domain from then on. A domain that is missing is created. A
        token on the command line can be seen by others on this machine.
        """
        chosen = _chosen(name, named)
        place = places.opened(context)
        if delete:
            _delete(place, chosen, force or yes, as_json)
            return
        changes = _remote_changes(remote, port, token, remote_tenant)
        _switch(context, place, chosen, create, changes, as_json)


def _chosen(name: str | None, named: str | None) -> str:
    given = [domains.domain_name(one) for one in (named, name) if one is not None]
    if not given:
        raise Failure(_NAMELESS, hint="dbx list shows the domains there are")
    if len(set(given)) > 1:
        raise Failure(_TWO_NAMES)
    return given[0]


def _remote_changes(
    remote: str | None, port: int | None, token: str | None, tenant: str | None
) -> dict[str, str | None]:
    """Return what changes in the remote of a domain, checked; None is forgotten."""
    from eventdbx.services.remotes import checked_remote_token, connect_address

    changes: dict[str, str | None] = {}
    try:
        if remote is not None:
            changes["connect_addr"] = connect_address(remote, port) if remote.strip() else None
        if token is not None:
            if token.strip():
                warn_of_visible("`dbx remote add` with --token-env")
            changes["token"] = checked_remote_token(token) if token.strip() else None
        if tenant is not None:
            changes["tenant"] = (
                domains.domain_name(tenant, noun="remote tenant") if tenant.strip() else None
            )
    except ConfigError as error:
        raise Failure(error.detail, code=error.code) from None
    return changes


def _switch(
    context: click.Context,
    place: Opened,
    name: str,
    create: bool,
    changes: dict[str, str | None],
    as_json: bool,
) -> None:
    workspace = place.workspace
    domains.check_layout(workspace, name)
    active = place.config.domain == name
    if not active and (stays := workspace.read({"domain": name}).domain) != name:
        raise Failure(
            f"the active domain stays '{stays}': the environment sets it",
            hint="unset EVENTDBX_DOMAIN",
        )
    made = domains.create(workspace, name)
    if made:
        _spool(place, "domain_created", name, "dbx checkout")
    changed = False
    if changes:
        from eventdbx.services.remotes import Remotes

        changed = Remotes(workspace).change_of_domain(name, changes)
    if not active:
        workspace.save({"domain": name})
    where = str(workspace.domain_dir(name))
    if as_json:
        print_json(
            {"domain": name, "data_dir": where, "created": made, "switched": not active,
             "remote_changed": changed}
        )  # fmt: skip
    else:
        _say_switched(name, where, create, made, active, changed)
    if not active and places.daemon_runs(place):
        note(
            "the server that runs here serves this domain to whoever names it; its own, for those "
            "who name none, stays the one it was started with until `dbx restart`"
        )


def _say_switched(
    name: str, where: str, create: bool, made: bool, active: bool, changed: bool
) -> None:
    at = f"(data directory: {where})."
    if create and made:
        print_line(f"Created domain '{name}' {at}")
    elif create:
        print_line(
            "Domain 'default' already exists."
            if name == "default"
            else f"Domain '{name}' already exists {at}"
        )
    elif made:
        note_on_terminal(f"created domain '{name}'")
    if changed:
        print_line(f"Updated remote configuration for domain '{name}'.")
    if active:
        print_line(f"Domain '{name}' is already active {at}")
    else:
        print_line(f"Switched to domain '{name}' {at}")


def _delete(place: Opened, name: str, force: bool, as_json: bool) -> None:
    workspace = place.workspace
    if name == "default":
        raise Failure("cannot delete the default domain")
    # Also the one that the environment hides for now.
    if name in (place.config.domain, workspace.kept_domain()):
        raise Failure(
            "cannot delete the currently active domain; switch to a different domain first",
            hint="dbx checkout default",
        )
    where = workspace.domain_dir(name)
    document = {"domain": name, "data_dir": str(where), "deleted": False}
    if not domains.exists(workspace, name):
        _end(document, f"Domain '{name}' does not exist.", as_json)
        note_similar(place, name)
        return
    if not force and not _confirmed(name, as_json):
        _end(document, "Domain deletion cancelled.", as_json)
        return
    with domains.stopped(workspace, name, doing="dbx checkout --delete"):
        domains.delete(workspace, name)
    _spool(place, "domain_deleted", name, "dbx checkout --delete")
    done = f"Deleted domain '{name}' (data directory: {where})."
    _end({**document, "deleted": True}, done, as_json)


def _confirmed(name: str, as_json: bool) -> bool:
    stream = sys.stderr if as_json else sys.stdout
    stream.write(f"Type the domain name '{name}' to confirm deletion: ")
    stream.flush()
    return sys.stdin.readline().strip() == name


def _end(document: dict[str, Any], line: str, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        print_line(line)


def note_similar(place: Opened, name: str) -> None:
    """Tell a person which domain may have been meant."""
    hint = domains.similar(place.workspace, name)
    if hint is not None:
        note_on_terminal(hint)


def _note_old(place: Opened) -> None:
    """Tell what versions of another layout have left here: it is in no list."""
    for one in domains.old_domains(place.workspace):
        note(f"warning: {one.message()}")


def _spool(place: Opened, event: str, name: str, way: str) -> None:
    try:
        spool_action(place.workspace.data_dir, "tenants", event, name, way)
    except EventDBXError as error:
        note(f"warning: not in the audit trail: {error}")
