"""``dbx schema``: create, add, remove, annotate, alter, list, delete, and an aggregate's name.

Columns are in ``schema_field``, locks and visibility in ``schema_marks``, versions in
``schema_versions``, the check of a payload in ``schema_validate``.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from eventdbx import limits
from eventdbx.errors import InvalidSchema, SchemaNotFound
from eventdbx.surfaces.cli.commands import DbxGroup, alike
from eventdbx.surfaces.cli.documented import instead_of
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import AS_JSON, DOCUMENT, argument, option
from eventdbx.surfaces.cli.output import (
    documents_wanted,
    format_wanted,
    print_json,
    print_line,
    print_listing,
    print_result,
    say_empty,
)
from eventdbx.surfaces.cli.schema.calls import (
    Document,
    bare_errors,
    change,
    names_of,
    required,
    stored,
    stored_schema,
)
from eventdbx.surfaces.cli.values import U64

BARE = "(aggregate)"
AGGREGATE = argument("aggregate", help="Aggregate type")


class SchemaGroup(DbxGroup):
    """The group: a word that is no subcommand is the name of an aggregate type."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand that the first word names, or what shows that schema."""
        if args[0] != "help" and self.get_command(ctx, args[0]) is None:
            return args[0], self.get_command(ctx, BARE), args
        return super().resolve_command(ctx, args)


_HERE = "eventdbx.surfaces.cli."

MODULES: dict[str, tuple[str, str]] = {
    "field": (_HERE + "schema.field", "Modify column types and validation rules for a field"),
    "hide": (_HERE + "schema.marks", "Hide or unhide a field from aggregate detail responses"),
    "lock": (_HERE + "schema.marks", "Refuse new events of an aggregate type, or a field in them"),
    "unlock": (
        _HERE + "schema.marks",
        "Accept new events of an aggregate type, or a field in them",
    ),
    "threshold": (
        _HERE + "schema.marks",
        "Set how many versions lie between automatic snapshots of an aggregate type",
    ),
    "upcast": (
        _HERE + "schema.upcast",
        "Show or change how payloads of earlier revisions of an event are read",
    ),
    "export": (_HERE + "schema.json_schema", "Write contracts as JSON Schema 2020-12"),
    "import": (_HERE + "schema.json_schema", "Make a contract of a JSON Schema"),
    "validate": (_HERE + "schema.validate", "Validate payload against a schema definition"),
    "show": (_HERE + "schema.show", "Show a specific schema version"),
    "apply": (
        _HERE + "schema.source",
        "Apply the local schema.dbx file to the active runtime schema store",
    ),
    "publish": (_HERE + "schema.versions", "Publish a tenant-level schema snapshot"),
    "history": (_HERE + "schema.versions", "Show schema history for a tenant"),
    "diff": (_HERE + "schema.versions", "Diff two schema versions"),
    "activate": (_HERE + "schema.versions", "Activate a schema version"),
    "rollback": (_HERE + "schema.versions", "Roll back to a previous schema version"),
    "reload": (_HERE + "schema.versions", "Reload the tenant schema cache"),
    "compat": (
        _HERE + "schema.rehearse",
        "Say whether old and new events fit, from the schemas alone",
    ),
    "rehearse": (
        _HERE + "schema.rehearse",
        "Run a candidate over the stored history; fail if an event would be refused",
    ),
}
"""The subcommands that other modules declare, which are imported for them."""


def register(root: click.Group) -> None:
    """Add the group to the root."""

    @root.group(
        "schema",
        cls=SchemaGroup,
        help="Manage schemas",
        modules=MODULES,
        epilog="Any other word is the name of an aggregate type: its schema is printed.",
        examples=(
            "dbx schema create order --events order_created,order_paid",
            "dbx schema field order total --type 'decimal(12,2)' --required",
            "dbx schema order",
            "dbx schema publish --reason 'first release' --activate",
        ),
    )
    def schema() -> None:
        """Manage schemas"""

    _register_definitions(schema)
    _register_events(schema)
    _register_bare(schema)


def _register_definitions(group: click.Group) -> None:
    @group.command(
        "create", examples=("dbx schema create order -e order_created,order_paid -s 100",)
    )
    @AGGREGATE
    @option(
        "-e",
        "--events",
        multiple=True,
        required=True,
        metavar="EVENTS",
        help="Event types, separated by commas or in several options",
    )
    @option(
        "-s",
        "--snapshot-threshold",
        type=U64,
        metavar="SNAPSHOT_THRESHOLD",
        help="Take a snapshot every so many versions; 0 for never [default: as configured]",
    )
    @AS_JSON
    @click.pass_context
    def create(
        context: click.Context,
        aggregate: str,
        events: tuple[str, ...],
        snapshot_threshold: int | None,
        as_json: bool,
    ) -> None:
        """Create a new schema definition"""
        made = change(
            context,
            "create",
            aggregate,
            events=list(events),
            snapshot_threshold=snapshot_threshold,
        )
        if as_json:
            print_json(made)
            return
        threshold = _maybe(made["snapshot_threshold"])
        print_line(
            f"schema={aggregate} events={len(made['events'])} snapshot_threshold={threshold}"
        )

    @group.command(
        "list",
        examples=("dbx schema list --json",),
        columns=("aggregate", "events", "locked", "hidden", "snapshot_threshold", "updated_at"),
    )
    @DOCUMENT
    @click.pass_context
    def list_schemas(context: click.Context) -> None:
        """List available schemas"""
        shown = list(stored(context).values())
        if not documents_wanted() or format_wanted() in ("table", "csv"):
            shown = [{**one, "events": list(one["events"])} for one in shown]
        if not print_listing(shown, _line):
            say_empty("no schemas are defined", "dbx schema create --help")

    @group.command("delete", examples=("dbx schema delete order --yes",))
    @AGGREGATE
    @option("--yes", is_flag=True, help="Do not ask")
    @DOCUMENT
    @click.pass_context
    def delete(context: click.Context, aggregate: str, yes: bool) -> None:
        """Delete a schema definition; events stay, and new ones are no longer checked"""
        stored_schema(context, aggregate)
        if not yes and not _confirmed(aggregate):
            print_result({"schema": aggregate, "cancelled": True}, "schema deletion cancelled")
            return
        change(context, "delete_schema", aggregate)
        print_result({"schema": aggregate, "deleted": True}, f"schema={aggregate} deleted")


def _confirmed(aggregate: str) -> bool:
    sys.stderr.write(
        f"Type '{aggregate}' to delete its schema; events of {aggregate} are unchecked then:\n"
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip() == aggregate


def _register_events(group: click.Group) -> None:
    @group.command("add", examples=("dbx schema add order order_sent order_returned",))
    @AGGREGATE
    @argument(
        "events", nargs=-1, required=True, spelled="--events", help="Event types, or comma lists"
    )
    @AS_JSON
    @click.pass_context
    def add(context: click.Context, aggregate: str, events: tuple[str, ...], as_json: bool) -> None:
        """Add events to an existing schema definition"""
        names = names_of(events)
        changed = change(context, "add_events", aggregate, events=names)
        total = len(changed["events"])
        text = f"schema={aggregate} added_events={','.join(names)} total_events={total}"
        _print(changed, as_json, text)

    @group.command("remove", examples=("dbx schema remove order order_returned",))
    @AGGREGATE
    @argument("event", help="Event type")
    @AS_JSON
    @click.pass_context
    def remove(context: click.Context, aggregate: str, event: str, as_json: bool) -> None:
        """Remove an event definition from an aggregate"""
        changed = change(context, "remove_event", aggregate, event=event)
        left = len(changed["events"])
        text = f"schema={aggregate} removed_event={event} remaining_events={left}"
        _print(changed, as_json, text)

    @group.command(
        "annotate", examples=("dbx schema annotate order order_paid --note 'money arrived'",)
    )
    @AGGREGATE
    @argument("event", help="Event type")
    @option("--note", metavar="NOTE", help="What the event means (up to 128 characters)")
    @option("--clear", is_flag=True, help="Remove the note")
    @AS_JSON
    @click.pass_context
    def annotate(
        context: click.Context,
        aggregate: str,
        event: str,
        note: str | None,
        clear: bool,
        as_json: bool,
    ) -> None:
        """Set or clear the default note for an event"""
        aggregate, event = required(aggregate, "aggregate"), required(event, "event")
        _check_note(note, clear)
        with bare_errors():
            changed = change(context, "annotate", aggregate, event=event, note=note)
        said = "note_cleared" if note is None else f'note_set="{note}"'
        _print(changed, as_json, f"aggregate={aggregate} event={event} {said}")

    _register_alter(group)


def _check_note(note: str | None, clear: bool) -> None:
    if note is not None and clear:
        raise Failure("--note cannot be combined with --clear")
    if note is None and not clear:
        raise Failure("either --note must be provided or use --clear")
    if note is not None and len(note) > limits.NOTE_CHARACTERS_MAX:
        raise Failure(
            f"note cannot exceed {limits.NOTE_CHARACTERS_MAX} characters", code=InvalidSchema.code
        )


def _register_alter(group: click.Group) -> None:
    @group.command(
        "alter",
        examples=(
            "dbx schema alter order order_paid --add amount,currency",
            "dbx schema alter order order_paid --set amount",
        ),
    )
    @AGGREGATE
    @argument("event", help="Event type")
    @option("--add", multiple=True, metavar="FIELD", help="Add these fields to the event's list")
    @option("--remove", multiple=True, metavar="FIELD", help="Take these fields off the list")
    @option(
        "--set",
        "fields",
        multiple=True,
        metavar="FIELD",
        conflicts=("add", "remove", "clear"),
        help="Replace the list",
    )
    @option(
        "--clear",
        is_flag=True,
        conflicts=("add", "remove"),
        help="Empty the list, so that the event takes any payload",
    )
    @AS_JSON
    @click.pass_context
    def alter(
        context: click.Context,
        aggregate: str,
        event: str,
        add: tuple[str, ...],
        remove: tuple[str, ...],
        fields: tuple[str, ...],
        clear: bool,
        as_json: bool,
    ) -> None:
        """Manage the field allow-list for a specific event"""
        aggregate, event = required(aggregate, "aggregate"), required(event, "event")
        members, said = _list_change(names_of(add), names_of(remove), names_of(fields), clear)
        with bare_errors():
            changed = change(context, "alter_event", aggregate, event=event, **members)
        _print(changed, as_json, f"aggregate={aggregate} event={event} {said}")


def _list_change(
    add: list[str], remove: list[str], fields: list[str], clear: bool
) -> tuple[dict[str, list[str]], str]:
    """Return the members of the change, and what is said of it."""
    if clear:
        return {"set": []}, "fields=cleared"
    members = {
        key: list(dict.fromkeys(names))
        for key, names in (("add", add), ("remove", remove), ("set", fields))
        if names
    }
    if not members:
        raise Failure("no changes requested; supply --add, --remove, --set, or --clear")
    for key, names in members.items():
        if not all(names):
            raise Failure(f"--{key} entries cannot be empty", code=InvalidSchema.code)
    words = {"add": "added", "remove": "removed", "set": "fields"}
    return members, " ".join(f"{words[key]}={','.join(names)}" for key, names in members.items())


def _register_bare(group: click.Group) -> None:
    @group.command(BARE, hidden=True)
    @AGGREGATE
    @argument("more", nargs=-1, required=False)
    @DOCUMENT
    @click.pass_context
    def bare(context: click.Context, aggregate: str, more: tuple[str, ...]) -> None:
        """Show the schema of an aggregate"""
        assert context.parent is not None
        near = alike(aggregate, group.list_commands(context.parent), 1, 0.7)
        hint = instead_of("schema", [aggregate])
        if hint is None and near:
            hint = f"did you mean 'dbx schema {near[0]}'?"
        if more:
            raise Failure(
                "unsupported schema command; available subcommands are create, add, remove, list",
                hint=hint,
            )
        try:
            print_json(stored_schema(context, aggregate))
        except SchemaNotFound as error:
            raise Failure(
                str(error), code=error.code, hint=instead_of("schema", [aggregate])
            ) from None


def _print(schema: Document, as_json: bool, text: str) -> None:
    if as_json:
        print_json(schema)
    else:
        print_line(text)


def _line(schema: Document) -> str:
    locked = "true" if schema["locked"] else "false"
    return (
        f"schema={schema['aggregate']} events={len(schema['events'])} locked={locked} "
        f"snapshot_threshold={_maybe(schema['snapshot_threshold'])}"
    )


def _maybe(value: Any) -> str:
    """Return an optional number as these lines have always shown it."""
    return "None" if value is None else f"Some({value})"
