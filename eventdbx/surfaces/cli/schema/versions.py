"""``dbx schema``: publish, history, show, diff, activate, rollback, reload."""

from __future__ import annotations

import sys
from typing import Any

import click

from eventdbx.domain.schemas.members import document_of
from eventdbx.domain.schemas.model import SchemaSet
from eventdbx.surfaces.cli.failures import UNREACHABLE, Failure
from eventdbx.surfaces.cli.options import AS_JSON, DOCUMENT, argument, option
from eventdbx.surfaces.cli.output import (
    ROWS,
    coloured,
    documents_wanted,
    format_wanted,
    note,
    print_array,
    print_json,
    print_line,
)
from eventdbx.surfaces.cli.schema.calls import (
    Document,
    Tenant,
    names_of,
    operate,
    stored,
    tenant_named,
    user,
)
from eventdbx.surfaces.cli.schema.manifest import (
    audit_lines,
    before_active,
    version_lines,
    version_of,
)
from eventdbx.surfaces.cli.schema.texts import read_file, with_number_texts
from eventdbx.surfaces.cli.session import opened, server_address

LIVE = "live"
"""The word of ``diff`` for what is in force, published or not."""

TENANT = argument("tenant", required=False, help="Domain [default: the one in use]")
REASON = option("--reason", metavar="TEXT", help="Why, for the history")
ACTOR = option("--actor", metavar="NAME", help="Who, for the history [default: $USER]")
NO_RELOAD = option("--no-reload", is_flag=True, help="Say nothing to the server; it knows anyway")


def register(group: click.Group) -> None:
    """Add the commands to the group."""
    _register_publish(group)
    _register_history(group)
    _register_diff(group)
    _register_activate(group)
    _register_rollback(group)
    _register_reload(group)


def _register_publish(group: click.Group) -> None:
    @group.command(
        "publish",
        examples=(
            "dbx schema publish --reason 'orders have a currency' --label release --activate",
            "dbx schema publish --source schemas.json",
        ),
    )
    @TENANT
    @option("--source", metavar="PATH", help="A file of schemas [default: those in force]")
    @REASON
    @ACTOR
    @option(
        "--label", "labels", multiple=True, metavar="LABEL", help="Labels; comma list or several"
    )
    @option("--activate", is_flag=True, help="Put the version in force")
    @option("--force", is_flag=True, help="Publish also what the latest version says already")
    @option("--reload", is_flag=True, conflicts=("no_reload",), help="Tell the server")
    @NO_RELOAD
    @AS_JSON
    @click.pass_context
    def publish(context: click.Context, /, tenant: str | None, as_json: bool, **given: Any) -> None:
        """Publish a tenant-level schema snapshot"""
        name = tenant_named(context, tenant)
        operation: Document = {
            "do": "publish",
            "reason": given["reason"],
            "actor": given["actor"] or user(),
            "labels": [one for one in names_of(given["labels"]) if one],
            "activate": given["activate"],
            "force": given["force"],
        }
        if given["source"] is not None:
            operation["schemas"] = _source(given["source"])
        else:
            _refuse_nothing(context, name)
        answer = operate(context, operation, writes=True, tenant=name)
        if as_json:
            print_json({"tenant": name.name, **answer})
            return
        version = answer["version"]
        if answer["reactivated"]:
            print_line(f"tenant={name} version={version} already existed; re-activated")
        elif answer["skipped"]:
            print_line(f"tenant={name} no schema changes detected; version={version} retained")
        else:
            state = "activated" if answer["activated"] else "inactive"
            print_line(f"tenant={name} published version={version} ({state})")
        if (
            answer["reactivated"]
            or given["reload"]
            or (answer["activated"] and not answer["skipped"])
        ):
            print_reload(context, name, given["no_reload"])


def _source(path: str) -> Any:
    """Return the schemas of a file."""
    text = read_file(path, f"failed to read schema input from {path}")
    return with_number_texts(document_of(text)) if text.strip() else {}


def _refuse_nothing(context: click.Context, name: Tenant) -> None:
    """Raise Failure when nobody has ever said what the schemas are."""
    if stored(context, name):
        return
    path = opened(context).workspace.domain_dir(name.name) / "schemas.json"
    if not path.exists():
        read_file(path, f"failed to read schema input from {path}")


def _register_history(group: click.Group) -> None:
    @group.command("history", examples=("dbx schema history --audit",))
    @TENANT
    @AS_JSON
    @option("--audit", is_flag=True, help="Show what was done with versions, too")
    @click.pass_context
    def history(context: click.Context, tenant: str | None, as_json: bool, audit: bool) -> None:
        """Show schema history for a tenant"""
        name = tenant_named(context, tenant)
        manifest = operate(context, {"do": "history"}, tenant=name)
        if as_json and format_wanted() in ROWS and not audit:
            print_array(manifest["versions"])
            return
        if as_json:
            print_json(manifest)
            return
        if not manifest["versions"]:
            print_line(f"tenant={name} has no published schema versions")
        else:
            print_line(f"tenant={name} versions ( '*' indicates the active version )")
            for line in version_lines(manifest):
                print_line(line)
        if audit:
            for line in audit_lines(manifest):
                print_line(line)
        if sys.stderr.isatty():
            _note_edits(context, name, manifest)


def _note_edits(context: click.Context, name: Tenant, manifest: Document) -> None:
    """Say when what is in force is not what the active version says."""
    active = manifest.get("active_version")
    if active is None:
        return
    from eventdbx.domain.schemas.comparing import same

    published = operate(context, {"do": "version", "version": active}, tenant=name)["schemas"]
    if not same(_parsed(stored(context, name)), _parsed(published)):
        note(f"modified since {active}; see `dbx schema diff --from active --to live`")


def _parsed(schemas: Document) -> SchemaSet:
    import orjson

    from eventdbx.domain.schemas.reading import read_schemas

    return read_schemas(orjson.dumps(schemas), now_ns=0)[0]


def version_schemas(context: click.Context, word: str, tenant: Tenant | None = None) -> Document:
    """Return the schemas of a published version, which a word or id names. Raises Failure."""
    found = version_of(operate(context, {"do": "history"}, tenant=tenant), word)
    operation = {"do": "version", "version": found}
    schemas: Document = operate(context, operation, tenant=tenant)["schemas"]
    return schemas


def _register_diff(group: click.Group) -> None:
    @group.command(
        "diff",
        examples=(
            "dbx schema diff --style split",
            "dbx schema diff --from active --to live",
            "dbx schema diff --compatibility",
        ),
    )
    @TENANT
    @option(
        "--from",
        "start",
        default="active",
        metavar="VERSION",
        help="Id, 'active', 'latest', or 'live' for what is in force [default: active]",
    )
    @option("--to", "end", default="latest", metavar="VERSION", help="Likewise [default: latest]")
    @AS_JSON
    @option(
        "--style",
        type=click.Choice(["unified", "patch", "split"]),
        default="unified",
        metavar="STYLE",
        help="How to show it",
    )
    @option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        metavar="COLOR",
        help="Whether to colour it",
    )
    @option(
        "--compatibility",
        is_flag=True,
        help="Say for each change which events it lets in or keeps out",
    )
    @click.pass_context
    def diff(context: click.Context, /, tenant: str | None, **given: Any) -> None:
        """Diff two schema versions

        As a document (--json, -o) it is a JSON Patch (RFC 6902).
        """
        name = tenant_named(context, tenant)
        (old_id, old), (new_id, new) = _two_sets(context, name, given["start"], given["end"])
        if given["compatibility"]:
            _print_compatibility(old, new, given["as_json"])
            return
        from eventdbx.domain.schemas import diff_patch, diff_text

        operations = diff_patch.patch(old, new)
        if given["as_json"]:
            print_json(operations)
            return
        head = f"tenant={name} diff from {old_id} to {new_id}"
        if not operations:
            print_line(f"{head} has no changes")
            return
        print_line(f"{head} includes {len(operations)} operation(s):")
        if given["style"] == "patch":
            print_json(operations)
            return
        show = diff_text.split if given["style"] == "split" else diff_text.unified
        names = {"old_name": f"schema@{old_id}", "new_name": f"schema@{new_id}"}
        colour = coloured(wanted=given["color"])
        print_line(show(old, new, **names, colour=colour), coloured=colour)


def _two_sets(
    context: click.Context, name: Tenant, start: str, end: str
) -> tuple[tuple[str, Document], tuple[str, Document]]:
    manifest = operate(context, {"do": "history"}, tenant=name)
    if not manifest["versions"] and LIVE not in (start, end):
        raise Failure(f"tenant '{name}' has no schema versions available for diffing")

    def one(word: str) -> tuple[str, Document]:
        if word.strip().lower() == LIVE:
            return LIVE, stored(context, name)
        found = version_of(manifest, word)
        operation = {"do": "version", "version": found}
        return found, operate(context, operation, tenant=name)["schemas"]

    return one(start), one(end)


def _print_compatibility(old: Document, new: Document, as_json: bool) -> None:
    from eventdbx.domain.schemas.comparing import compatibility, total

    changes = compatibility(_parsed(old), _parsed(new))
    if as_json:
        print_json(
            {
                "verdict": total(changes),
                "changes": [
                    {"aggregate": one.aggregate, "verdict": one.verdict, "change": one.sentence}
                    for one in changes
                ],
            }
        )
        return
    print_line(f"verdict={total(changes)} changes={len(changes)}")
    for one in changes:
        print_line(f"aggregate={one.aggregate} verdict={one.verdict} change={one.sentence}")


def _register_activate(group: click.Group) -> None:
    @group.command("activate", examples=("dbx schema activate --version latest",))
    @TENANT
    @option("--version", metavar="VERSION", help="Id, label or 'active' [default: latest]")
    @REASON
    @ACTOR
    @NO_RELOAD
    @AS_JSON
    @click.pass_context
    def activate(
        context: click.Context, /, tenant: str | None, as_json: bool, **given: Any
    ) -> None:
        """Activate a schema version"""
        name = tenant_named(context, tenant)
        manifest = operate(context, {"do": "history"}, tenant=name)
        if not manifest["versions"]:
            raise Failure(f"tenant '{name}' has no schema versions to activate")
        wanted = given["version"] or "latest"
        version_of(manifest, wanted)  # Says what is wrong in our words; the catalogue decides.
        _switch(context, name, "activate", wanted, as_json, given)


def _register_rollback(group: click.Group) -> None:
    @group.command("rollback", examples=("dbx schema rollback --reason 'orders are refused'",))
    @TENANT
    @option("--version", metavar="VERSION", help="Id or label [default: the one before the active]")
    @REASON
    @ACTOR
    @NO_RELOAD
    @AS_JSON
    @click.pass_context
    def rollback(
        context: click.Context, /, tenant: str | None, as_json: bool, **given: Any
    ) -> None:
        """Roll back to a previous schema version"""
        name = tenant_named(context, tenant)
        manifest = operate(context, {"do": "history"}, tenant=name)
        wanted = given["version"]
        if wanted is None:
            before_active(manifest)
        else:
            version_of(manifest, wanted)
        _switch(context, name, "rollback", wanted, as_json, given)


def _switch(
    context: click.Context,
    name: Tenant,
    do: str,
    version: str | None,
    as_json: bool,
    given: dict[str, Any],
) -> None:
    """Put a version in force and say so."""
    operation = {
        "do": do,
        "version": version,
        "reason": given["reason"],
        "actor": given["actor"] or user(),
    }
    answer = operate(context, operation, writes=True, tenant=name)
    saved = answer.get("autosaved")
    if saved is not None:
        note(f"note: what was in force and not published is kept as version={saved}")
    if as_json:
        print_json({"tenant": name.name, **answer})
        return
    done = "rolled back" if do == "rollback" else "activated"
    if answer["already_active"]:
        done = "already active; audit entry recorded"
    print_line(f"tenant={name} version={answer['version']} {done}")
    print_reload(context, name, given["no_reload"])


def _register_reload(group: click.Group) -> None:
    @group.command("reload", examples=("dbx schema reload",))
    @TENANT
    @DOCUMENT
    @click.pass_context
    def reload(context: click.Context, tenant: str | None) -> None:
        """Reload the tenant schema cache"""
        name = tenant_named(context, tenant)
        if documents_wanted():
            print_json({"tenant": name.name, "reloaded": server_answers(context, name)})
        else:
            print_reload(context, name, False)


def print_reload(context: click.Context, name: Tenant, refused: bool) -> None:
    """Say whether a server has the schemas; it took part in every change and looks once more."""
    if refused:
        print_line(f"tenant={name} daemon reload skipped (--no-reload)")
        return
    word = "reloaded" if server_answers(context, name) else "reload skipped"
    print_line(f"tenant={name} schema cache {word}")


def server_answers(context: click.Context, name: Tenant | None = None) -> bool:
    """Say whether a server runs and has looked at the schemas once more."""
    if server_address(context, opened(context)) is None:
        return False
    try:
        operate(context, {"do": "reload"}, tenant=name)
    except Failure as failure:
        if failure.code != UNREACHABLE:
            raise
        return False
    return True
