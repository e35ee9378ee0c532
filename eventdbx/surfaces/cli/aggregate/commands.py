"""``dbx aggregate``: the group, and its commands from the modules beside."""

from __future__ import annotations

import click

_HERE = "eventdbx.surfaces.cli."

MODULES: dict[str, tuple[str, str]] = {
    "create": (_HERE + "aggregate.writing", "Create a new aggregate instance"),
    "apply": (_HERE + "aggregate.writing", "Apply an event to an aggregate instance"),
    "patch": (_HERE + "aggregate.writing", "Apply a JSON Patch event to an aggregate instance"),
    "archive": (_HERE + "aggregate.writing", "Archive an aggregate instance"),
    "restore": (_HERE + "aggregate.writing", "Restore an archived aggregate instance"),
    "remove": (_HERE + "aggregate.writing", "Remove an aggregate that has no events"),
    "snapshot": (_HERE + "aggregate.writing", "Create a snapshot of the aggregate state"),
    "list": (_HERE + "aggregate.reading", "List aggregates in the store"),
    "get": (_HERE + "aggregate.reading", "Retrieve the state of an aggregate"),
    "select": (_HERE + "aggregate.reading", "Select specific fields from an aggregate state"),
    "replay": (_HERE + "aggregate.reading", "Replay events for an aggregate instance"),
    "verify": (_HERE + "aggregate.reading", "Verify an aggregate's Merkle root"),
    "export": (_HERE + "exporting.command", "Export aggregate state to CSV or JSON"),
    "referrers": (
        _HERE + "aggregate.references",
        "List aggregates that reference a target aggregate",
    ),
    "migrate": (
        _HERE + "aggregate.references",
        "Rewrite reference fields after switching to reference format",
    ),
    "commit": (
        _HERE + "aggregate.staging",
        "Commit events previously staged with `aggregate apply --stage`",
    ),
    "stage": (_HERE + "aggregate.staging", "See and drop events that are staged"),
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
