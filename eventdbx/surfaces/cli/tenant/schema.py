"""``dbx tenant schema``: the commands about versions of ``dbx schema``, for a tenant by name."""

from __future__ import annotations

import click

from eventdbx.surfaces.cli.commands import DbxCommand, DbxGroup
from eventdbx.surfaces.cli.options import AS_JSON, option
from eventdbx.surfaces.cli.output import print_json
from eventdbx.surfaces.cli.schema import versions as schema_versions
from eventdbx.surfaces.cli.schema.calls import tenant_named

_PHRASES = {
    "publish": "Publish a new schema version (optionally activating it)",
    "history": "Show schema version history for a tenant",
    "activate": "Activate a specific schema version",
    "rollback": "Roll back to an earlier schema version",
    "reload": "Reload the tenant schema cache in the running daemon",
}
"""What scripts know these commands by here, where it is not what they are called there."""

_EXAMPLES = {
    "publish": ("dbx tenant schema publish default --label release --activate",),
    "history": ("dbx tenant schema history default --audit",),
    "diff": ("dbx tenant schema diff default --from active --to live",),
    "activate": ("dbx tenant schema activate default --version latest",),
    "rollback": ("dbx tenant schema rollback default --reason 'orders are refused'",),
    "reload": ("dbx tenant schema reload default",),
}


def register(group: click.Group) -> None:
    """Add the group to that of ``tenant``."""

    @group.group(
        "schema",
        cls=DbxGroup,
        examples=(
            "dbx tenant schema publish default --activate",
            "dbx tenant schema history default",
        ),
    )
    def schema() -> None:
        """Manage tenant schema history and activation"""

    schema_versions.register(schema)
    _register_show(schema)
    for name, command in schema.commands.items():
        command.help = _PHRASES.get(name, command.help)
        if isinstance(command, DbxCommand):
            command.examples = _EXAMPLES.get(name, command.examples)


def _register_show(group: click.Group) -> None:
    @group.command("show", examples=("dbx tenant schema show default --version latest",))
    @schema_versions.TENANT
    @option(
        "--version", metavar="VERSION", help="Id, label, 'active' or 'latest' [default: active]"
    )
    @AS_JSON
    @click.pass_context
    def show(
        context: click.Context, tenant: str | None, version: str | None, as_json: bool
    ) -> None:
        """Show the JSON contents for a schema version

        Without --json it is printed the same way.
        """
        name = tenant_named(context, tenant)
        print_json(schema_versions.version_schemas(context, version or "active", name))
