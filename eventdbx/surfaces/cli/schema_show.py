"""``dbx schema show``: the source file, a published version, a stored schema, or all of them."""

from __future__ import annotations

from importlib import import_module

import click

from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import argument, option
from eventdbx.surfaces.cli.output import print_json
from eventdbx.surfaces.cli.schema_calls import domain, operate, stored
from eventdbx.surfaces.cli.schema_versions import version_schemas


def register(group: click.Group) -> None:
    """Add the command to the group."""

    @group.command(
        "show",
        help="Show a specific schema version\n\n"
        "A name is looked for in the nearest schema.dbx upward, then among the schemas in force, "
        "then among domains. Without one: that file, else the active version, else what is in "
        "force.\n\n"
        "With --file: Show compiled runtime JSON from the local schema.dbx file",
        examples=(
            "dbx schema show --version latest",
            "dbx schema show order",
            "dbx schema show order --file schema.dbx",
        ),
    )
    @argument("tenant", required=False, help="Aggregate type or domain")
    @option(
        "--version",
        metavar="VERSION",
        conflicts=("path",),
        help="Id, 'active' or 'latest' of a published version",
    )
    @option("--file", "path", metavar="PATH", help="Source file")
    @option("--json", "as_json", is_flag=True, help="Nothing else is printed anyway")
    @click.pass_context
    def show(
        context: click.Context,
        tenant: str | None,
        version: str | None,
        path: str | None,
        as_json: bool,
    ) -> None:
        """Show schemas"""
        if version is not None:
            domain(context, tenant)
            print_json(version_schemas(context, version))
            return
        shown = _shown(path, tenant)
        if shown is not None:
            print_json(shown)
        elif tenant is None:
            print_json(_whatever_is_there(context))
        else:
            _show_stored(context, tenant)


def _shown(path: str | None, aggregate: str | None) -> object:
    try:
        source = import_module("eventdbx.surfaces.cli.schema_source")
    except ModuleNotFoundError:
        return None
    return source.shown(path, aggregate)


def _whatever_is_there(context: click.Context) -> object:
    manifest = operate(context, {"do": "history"})
    schemas = stored(context)
    if manifest.get("active_version") is not None or not schemas:
        return version_schemas(context, "active")
    return schemas


def _show_stored(context: click.Context, name: str) -> None:
    schemas = stored(context)
    if name in schemas:
        print_json(schemas[name])
        return
    try:
        domain(context, name)
    except Failure:
        raise Failure("schema not found", code="schema_not_found") from None
    print_json(version_schemas(context, "active"))
