"""``dbx aggregate``: the group, and its commands from the modules beside."""

from __future__ import annotations

import click

_HERE = "eventdbx.surfaces.cli."

MODULES: dict[str, tuple[str, str]] = {
    "create": (_HERE + "aggregate_writing", "Create a new aggregate instance"),
    "apply": (_HERE + "aggregate_writing", "Apply an event to an aggregate instance"),
    "patch": (_HERE + "aggregate_writing", "Apply a JSON Patch event to an aggregate instance"),
    "archive": (_HERE + "aggregate_writing", "Archive an aggregate instance"),
    "restore": (_HERE + "aggregate_writing", "Restore an archived aggregate instance"),
    "remove": (_HERE + "aggregate_writing", "Remove an aggregate that has no events"),
    "snapshot": (_HERE + "aggregate_writing", "Create a snapshot of the aggregate state"),
    "list": (_HERE + "aggregate_reading", "List aggregates in the store"),
    "get": (_HERE + "aggregate_reading", "Retrieve the state of an aggregate"),
    "select": (_HERE + "aggregate_reading", "Select specific fields from an aggregate state"),
    "replay": (_HERE + "aggregate_reading", "Replay events for an aggregate instance"),
    "verify": (_HERE + "aggregate_reading", "Verify an aggregate's Merkle root"),
    "export": (_HERE + "export_command", "Export aggregate state to CSV or JSON"),
    "referrers": (
        _HERE + "reference_commands",
        "List aggregates that reference a target aggregate",
    ),
    "migrate": (
        _HERE + "reference_commands",
        "Rewrite reference fields after switching to reference format",
    ),
    "commit": (
        _HERE + "stage_commands",
        "Commit events previously staged with `aggregate apply --stage`",
    ),
    "stage": (_HERE + "stage_commands", "See and drop events that are staged"),
}
"""The subcommands that other modules declare, which are imported for them."""


def register(root: click.Group) -> None:
    """Add the group to the root."""

    @root.group(
        "aggregate",
        help="Manage aggregates",
        modules=MODULES,
        aliases={"show": "get", "merkle": "verify"},
        examples=(
            'dbx aggregate create patient p-001 --event patient_created --field name="Jane Doe"',
            "dbx aggregate apply patient p-001 patient_moved --field ward=B --field bed:=4",
            "dbx aggregate get patient p-001 --include-events",
        ),
    )
    def aggregate() -> None:
        """Manage aggregates"""
