"""``dbx aggregate``: the group, and its commands from the modules beside."""

from __future__ import annotations

import click

from eventdbx.surfaces.cli import (
    aggregate_reading,
    aggregate_writing,
    export_command,
    reference_commands,
    stage_commands,
)


def register(root: click.Group) -> None:
    """Add the group to the root."""

    @root.group(
        "aggregate",
        help="Manage aggregates",
        aliases={"show": "get", "merkle": "verify"},
        examples=(
            'dbx aggregate create patient p-001 --event patient_created --field name="Jane Doe"',
            "dbx aggregate apply patient p-001 patient_moved --field ward=B --field bed:=4",
            "dbx aggregate get patient p-001 --include-events",
        ),
    )
    def aggregate() -> None:
        """Manage aggregates"""

    aggregate_writing.register(aggregate)
    aggregate_reading.register(aggregate)
    export_command.register(aggregate)
    reference_commands.register(aggregate)
    stage_commands.register(aggregate)
