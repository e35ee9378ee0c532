"""``dbx tenant``: shards and quotas; ``tenant schema`` is in ``tenant_schema``."""

from __future__ import annotations

from typing import Any

import click

from eventdbx.domain.identifiers import check_domain_name
from eventdbx.domain.tenants import check_shard, mib, shard_counts, tenant_rows
from eventdbx.surfaces.cli.commands import DbxGroup
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import AS_JSON, argument, option
from eventdbx.surfaces.cli.output import print_array, print_json, print_line
from eventdbx.surfaces.cli.tenant.calls import tenants
from eventdbx.surfaces.cli.values import U64

TENANT = argument("tenant", help="Name of the tenant; it need not be there yet")
COLUMNS = ("tenant", "shard", "quota_mb", "usage_mb", "shard_count")

_HERE = "eventdbx.surfaces.cli."

MODULES: dict[str, tuple[str, str]] = {
    "schema": (_HERE + "tenant.schema", "Manage tenant schema history and activation"),
}
"""The subcommands that other modules declare, which are imported for them."""


def register(root: click.Group) -> None:
    """Add the group to the root."""

    @root.group(
        "tenant",
        cls=DbxGroup,
        modules=MODULES,
        examples=("dbx tenant list", "dbx tenant quota set acme --max-mb 500"),
    )
    def tenant() -> None:
        """Manage tenant shard assignments"""

    _register_shards(tenant)
    _register_lists(tenant)

    @tenant.group(
        "quota",
        cls=DbxGroup,
        examples=("dbx tenant quota set acme --max-mb 500", "dbx tenant quota recalc acme"),
    )
    def quota() -> None:
        """Manage tenant storage quotas"""

    _register_quota(quota)


def _register_shards(group: click.Group) -> None:
    @group.command(
        "assign",
        examples=("dbx tenant assign acme --shard 3", "dbx tenant assign acme --shard shard-0003"),
        columns=("tenant", "shard", "changed"),
    )
    @TENANT
    @option("--shard", required=True, metavar="SHARD", help="Label or number of the shard")
    @AS_JSON
    @click.pass_context
    def assign(context: click.Context, tenant: str, shard: str, as_json: bool) -> None:
        """Assign a tenant to a specific shard

        The shard is a label: no data move.
        """
        name = check_domain_name(tenant)
        with tenants(context) as known:
            changed, label = known.assign(name, shard)
        if as_json:
            print_json({"tenant": name, "shard": label, "changed": changed})
        elif changed:
            print_line(f"Assigned tenant '{name}' to shard '{label}'.")
        else:
            print_line(f"Tenant '{name}' is already assigned to shard '{label}'.")

    @group.command(
        "unassign", examples=("dbx tenant unassign acme",), columns=("tenant", "changed")
    )
    @TENANT
    @AS_JSON
    @click.pass_context
    def unassign(context: click.Context, tenant: str, as_json: bool) -> None:
        """Remove a tenant-specific shard assignment"""
        name = check_domain_name(tenant)
        with tenants(context) as known:
            changed = known.unassign(name)
        if as_json:
            print_json({"tenant": name, "changed": changed})
        elif changed:
            print_line(
                f"Removed explicit shard assignment for tenant '{name}'; "
                "default hashing will apply."
            )
        else:
            print_line(f"Tenant '{name}' was not explicitly assigned to a shard.")


def _register_lists(group: click.Group) -> None:
    @group.command(
        "list", examples=("dbx tenant list", "dbx tenant list --shard 3 --json"), columns=COLUMNS
    )
    @option("--shard", metavar="SHARD", help="Only tenants that are assigned to this shard")
    @AS_JSON
    @click.pass_context
    def list_tenants(context: click.Context, shard: str | None, as_json: bool) -> None:
        """List manual tenant assignments

        Usage is that of now beside a server that has the tenant open, else what was measured last.
        """
        with tenants(context) as known:
            records, shard_count = known.listed()
        label = None if shard is None else check_shard(shard, shard_count)
        rows = tenant_rows(records.items(), label)
        if as_json:
            print_array(rows)
        elif not rows:
            print_line("no tenant assignments or quotas found")
            print_line(f"tenants will hash across {shard_count} shards by default")
        else:
            _print_table(("tenant", "shard", "quota_mb", "usage_mb", "count"), rows, COLUMNS, 2)

    @group.command("stats", examples=("dbx tenant stats", "dbx tenant stats --json"))
    @AS_JSON
    @click.pass_context
    def stats(context: click.Context, as_json: bool) -> None:
        """Show shard allocation statistics"""
        with tenants(context) as known:
            records, _shard_count = known.listed()
        counts = shard_counts(records.items())
        if as_json:
            print_json(counts)
        elif not counts:
            print_line("no explicit tenant assignments; shards fall back to hash-based placement")
        else:
            rows = [{"shard": label, "count": count} for label, count in counts.items()]
            _print_table(("shard", "count"), rows, ("shard", "count"), 1)


def _print_table(
    header: tuple[str, ...], rows: list[dict[str, Any]], members: tuple[str, ...], names: int
) -> None:
    """Print rows as a table that scripts know; the first columns, ``names``, are no numbers."""
    texts = [header, *(tuple(str(row.get(one, "-")) for one in members) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for line in texts:
        cells = [
            text.ljust(width) if at < names else text.rjust(width)
            for at, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        print_line("  ".join(cells).rstrip())


def _register_quota(group: click.Group) -> None:
    @group.command(
        "set",
        examples=("dbx tenant quota set acme --max-mb 500",),
        columns=("tenant", "quota_mb", "changed"),
    )
    @TENANT
    @option(
        "--max-mb",
        "--max-aggregates",
        "max_mb",
        required=True,
        type=U64,
        metavar="MB",
        help="How much it may store; one MB is 2^20 bytes",
    )
    @AS_JSON
    @click.pass_context
    def set_quota(context: click.Context, tenant: str, max_mb: int, as_json: bool) -> None:
        """Set a storage quota (in MB) for a tenant

        It counts at once. Writing ends when the store holds as much; reading, archiving and erasing
        go on.
        """
        name = check_domain_name(tenant)
        if max_mb == 0:
            raise Failure("--max-mb must be greater than zero", code="config")
        with tenants(context) as known:
            changed = known.set_quota(name, max_mb)
        if as_json:
            print_json({"tenant": name, "quota_mb": max_mb, "changed": changed})
        elif changed:
            print_line(f"Set storage quota for tenant '{name}' to {max_mb} MB.")
        else:
            print_line(f"Storage quota for tenant '{name}' already set to {max_mb} MB.")

    @group.command(
        "clear", examples=("dbx tenant quota clear acme",), columns=("tenant", "changed")
    )
    @TENANT
    @AS_JSON
    @click.pass_context
    def clear(context: click.Context, tenant: str, as_json: bool) -> None:
        """Clear a storage quota for a tenant"""
        name = check_domain_name(tenant)
        with tenants(context) as known:
            changed = known.clear_quota(name)
        if as_json:
            print_json({"tenant": name, "changed": changed})
        elif changed:
            print_line(f"Cleared storage quota for tenant '{name}'.")
        else:
            print_line(f"No storage quota configured for tenant '{name}'.")

    _register_recalc(group)


def _register_recalc(group: click.Group) -> None:
    @group.command(
        "recalc",
        examples=("dbx tenant quota recalc acme", "dbx tenant quota recalc default --json"),
        columns=("tenant", "storage_bytes", "usage_mb"),
    )
    @TENANT
    @AS_JSON
    @click.pass_context
    def recalc(context: click.Context, tenant: str, as_json: bool) -> None:
        """Recalculate storage usage for a tenant"""
        name = check_domain_name(tenant)
        with tenants(context) as known:
            usage = known.measure(name)
        if as_json:
            print_json({"tenant": name, "storage_bytes": usage, "usage_mb": mib(usage)})
        else:
            print_line(
                f"Recalculated storage usage for tenant '{name}' "
                f"({usage} byte(s) ~= {mib(usage)} MB)."
            )
