"""``dbx schema show``: the source file, a published version, a stored schema, or all of them."""

from __future__ import annotations

import click

from eventdbx.domain.identifiers import check_domain_name
from eventdbx.errors import ConfigError
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import DOCUMENT, argument, option
from eventdbx.surfaces.cli.schema.calls import Document, operate, stored, tenant_named
from eventdbx.surfaces.cli.schema.source import print_schemas, show_source
from eventdbx.surfaces.cli.schema.versions import version_schemas
from eventdbx.surfaces.cli.session import opened


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
        help="Id, label, 'active' or 'latest' of a published version",
    )
    @option("--file", "path", metavar="PATH", help="Source file")
    @DOCUMENT
    @option("--source", "as_source", is_flag=True, help="Print it as a schema.dbx")
    @click.pass_context
    def show(
        context: click.Context,
        tenant: str | None,
        version: str | None,
        path: str | None,
        as_source: bool,
    ) -> None:
        """Show schemas"""
        print_schemas(_shown(context, tenant, version, path), as_source=as_source)


def _shown(
    context: click.Context, tenant: str | None, version: str | None, path: str | None
) -> Document:
    if version is not None:
        return version_schemas(context, version, tenant_named(context, tenant))
    shown = show_source(path, tenant)
    if shown is not None:
        return shown
    return _whatever_is_there(context) if tenant is None else _stored(context, tenant)


def _whatever_is_there(context: click.Context) -> Document:
    manifest = operate(context, {"do": "history"})
    schemas = stored(context)
    if manifest.get("active_version") is not None or not schemas:
        return version_schemas(context, "active")
    return schemas


def _stored(context: click.Context, name: str) -> Document:
    schemas = stored(context)
    if name in schemas:
        schema: Document = schemas[name]
        return schema
    if not _is_domain(context, name):
        raise Failure("schema not found", code="schema_not_found")
    return version_schemas(context, "active", tenant_named(context, name))


def _is_domain(context: click.Context, name: str) -> bool:
    try:
        return opened(context).workspace.domain_dir(check_domain_name(name)).is_dir()
    except ConfigError:
        return False
