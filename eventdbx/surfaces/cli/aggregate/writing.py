"""Commands that change an aggregate: create, apply, patch, archive, restore, remove, snapshot."""

from __future__ import annotations

from typing import Any

import click

from eventdbx.domain.commands import Write, WriteKind
from eventdbx.errors import AggregateNotFound, InvalidSchema, SchemaViolation, StorageError
from eventdbx.surfaces.cli import documents
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import (
    AGGREGATE,
    AS_JSON,
    EVENT_FIELDS,
    STAGE,
    TOKEN,
    WRITE,
    argument,
    check_note,
    metadata_text,
    option,
    payload_text,
)
from eventdbx.surfaces.cli.output import format_wanted, note, print_json, print_line
from eventdbx.surfaces.cli.places import daemon_runs
from eventdbx.surfaces.cli.proof.files import check_new, write_file
from eventdbx.surfaces.cli.session import database, opened
from eventdbx.surfaces.cli.values import indirect, json_value

_DOING: dict[WriteKind, str] = {
    "create": "create aggregate",
    "append": "append event",
    "apply": "append event",
    "patch": "append patch event",
}


def write_event(
    context: click.Context, write: Write, token: str | None, receipt: str | None = None
) -> dict[str, Any] | None:
    """Commit one event; return the event, for a creation the aggregate.

    None when the configuration wants terse answers. Its ``receipt`` goes into a new file. Raises
    Failure and EventDBXError.
    """
    from eventdbx.application.drafting import draft_write

    if receipt is not None:
        check_new(receipt)
        write = write._replace(receipt=True)
    # What can be seen without the store is refused without asking the server for it.
    draft_write(write, None)
    answer = "aggregates" if write.kind == "create" else "events"
    try:
        with database(context, token=token, doing=_DOING[write.kind], writes=True) as (way, calls):
            try:
                done = way.call(calls.commit_batch((write,), answer=answer))[0]
            except SchemaViolation as error:
                if "requires a schema" in error.detail:
                    raise Failure(error.detail, code=error.code) from None
                raise
    except AggregateNotFound as error:
        raise Failure(f"{_names(write)} does not exist", code=error.code) from None
    except SchemaViolation as error:
        if error.detail == f"{_names(write)} already exists":
            raise Failure(error.detail, code=error.code) from None
        raise
    tell_of_snapshot(done)
    if receipt is not None:
        _keep_receipt(done, receipt)
    return done if opened(context).config.verbose_responses else None


def tell_of_snapshot(done: dict[str, Any]) -> None:
    """Take what an answer says of a snapshot out of it, and say it on stderr."""
    if done.pop("auto_snapshot", None) is not None:
        note(
            f"auto snapshot created: aggregate={done['aggregate_type']} "
            f"aggregate_id={done['aggregate_id']} version={done['version']}"
        )


def _keep_receipt(done: dict[str, Any], path: str) -> None:
    """Take the receipt out of an answer and write it to a file."""
    text, problem = done.pop("receipt"), done.pop("receipt_problem", None)
    try:
        if text is None:
            raise Failure("there is no proof of it yet", str(problem))
        write_file(path, text)
    except Failure as failure:
        names = f"{done['aggregate_type']} {done['aggregate_id']} {done['version']}"
        raise Failure(
            f"the event was written (v{done['version']}), but not its receipt",
            failure.message,
            *failure.causes,
            hint=f"ask for it again: dbx proof event {names} --out {path}",
            code=failure.code,
        ) from None


def _names(write: Write) -> str:
    return f"aggregate {write.aggregate_type}::{write.aggregate_id}"


def register(group: click.Group) -> None:
    """Add the commands to ``dbx aggregate``."""
    _register_events(group)
    _register_archive(group)
    _register_snapshot(group)


def _register_events(group: click.Group) -> None:
    @group.command(
        "create",
        examples=(
            "dbx aggregate create order o-1 --event order_created --field total=12",
            "dbx aggregate create order o-2 --event order_created --payload @order.json --json",
        ),
    )
    @AGGREGATE
    @option(
        "--event", required=True, metavar="EVENT", help="Event type to append as the initial write"
    )
    @EVENT_FIELDS
    @STAGE
    @WRITE
    @click.pass_context
    def create(context: click.Context, /, **given: Any) -> None:
        """Create a new aggregate instance"""
        write = _event_write("create", given)
        if given["stage"]:
            from eventdbx.surfaces.cli.aggregate.stage_writing import stage_event

            stage_event(context, write, given)
            return
        aggregate = write_event(context, write, given["token"], given["receipt"])
        if aggregate is None:
            print_ok()
        elif given["as_json"]:
            print_json(aggregate)
        else:
            print_line(documents.created_line(aggregate))

    @group.command(
        "apply",
        examples=(
            "dbx aggregate apply order o-1 order_paid --field paid:=true --note 'by phone'",
            "dbx aggregate apply order o-1 order_paid --payload - --expect-version 4",
            "dbx aggregate apply order o-1 order_paid --stage",
        ),
    )
    @AGGREGATE
    @argument("event", spelled="--event", help="Event type")
    @EVENT_FIELDS
    @STAGE
    @WRITE
    @click.pass_context
    def apply(context: click.Context, /, **given: Any) -> None:
        """Apply an event to an aggregate instance"""
        write = _event_write("apply", given)
        if given["stage"]:
            from eventdbx.surfaces.cli.aggregate.stage_writing import stage_event

            stage_event(context, write, given)
            return
        _print_event(write_event(context, write, given["token"], given["receipt"]))

    @group.command(
        "patch",
        examples=(
            "dbx aggregate patch order o-1 order_changed "
            """--patch '[{"op":"replace","path":"/total","value":13}]'""",
        ),
    )
    @AGGREGATE
    @argument("event", spelled="--event", help="Event type")
    @option(
        "--patch",
        "patch_text",
        required=True,
        metavar="JSON",
        help="JSON Patch (RFC 6902) of the state: add, replace, remove; @FILE or - for stdin",
    )
    @STAGE
    @WRITE
    @click.pass_context
    def patch(context: click.Context, /, **given: Any) -> None:
        """Apply a JSON Patch event to an aggregate instance"""
        text = indirect(given["patch_text"], "--patch")
        operations = json_value(text, "--patch", "patch")
        if not daemon_runs(opened(context)):
            _check_operations(operations)
        write = _write("patch", given, text)
        if given["stage"]:
            from eventdbx.surfaces.cli.aggregate.stage_writing import stage_event

            stage_event(context, write, given)
            return
        _print_event(write_event(context, write, given["token"], given["receipt"]))


def _event_write(kind: WriteKind, given: dict[str, Any]) -> Write:
    return _write(kind, given, payload_text(given["fields"], given["payload"]))


def _write(kind: WriteKind, given: dict[str, Any], content: str) -> Write:
    metadata = metadata_text(given["metadata"])
    check_note(given["note"])
    if given["stage"] and given["publish"]:
        raise Failure("--publish cannot be combined with --stage")
    return Write(
        kind,
        given["aggregate"],
        given["aggregate_id"],
        given["event"],
        content,
        metadata,
        given["note"],
        tuple(given["publish"]),
        given["expect_version"],
        given["idempotency_key"],
    )


def _check_operations(operations: Any) -> None:
    """Raise what is wrong with a patch whatever the state is."""
    try:
        from eventdbx.domain.patches import apply_patch

        apply_patch({}, operations, surface="cli")
    except InvalidSchema as error:
        # On an empty state most paths lead nowhere; only the true state can tell.
        if not error.detail.startswith(("failed to apply", "patch removed")):
            raise


def print_ok() -> None:
    """Print what a write answers with when no documents are wanted by the configuration.

    ``--json`` changes nothing about it, as scripts know; a format that is named does.
    """
    if format_wanted() is None:
        print_line("Ok")
    else:
        print_json({"ok": True})


def _print_event(event: dict[str, Any] | None) -> None:
    if event is None:
        print_ok()
    else:
        print_json(documents.event_view(event), sort=True)


def _register_archive(group: click.Group) -> None:
    for name, archived, phrase in (
        ("archive", True, "Archive an aggregate instance"),
        ("restore", False, "Restore an archived aggregate instance"),
    ):
        _register_archiving(group, name, archived, phrase)

    @group.command("remove", examples=("dbx aggregate remove order o-1",))
    @AGGREGATE
    @AS_JSON
    @click.pass_context
    def remove(context: click.Context, aggregate: str, aggregate_id: str, as_json: bool) -> None:
        """Remove an aggregate that has no events"""
        with database(context) as (way, calls):
            if way.call(calls.get(aggregate, aggregate_id)) is None:
                raise AggregateNotFound()
            domain = opened(context).config.domain
            from eventdbx.surfaces.cli.aggregate.references import refuse_removing

            refuse_removing(way, calls, domain, aggregate, aggregate_id)
        # An aggregate begins with its first event, so none is ever without.
        raise StorageError(
            f"aggregate {aggregate}:{aggregate_id} cannot be removed while events exist"
        )


def _register_archiving(group: click.Group, name: str, archived: bool, phrase: str) -> None:
    @group.command(
        name, help=phrase, examples=(f"dbx aggregate {name} order o-1 --comment 'year end'",)
    )
    @AGGREGATE
    @option("--comment", metavar="COMMENT", help="Why, for the record")
    @TOKEN
    @AS_JSON
    @click.pass_context
    def archiving(
        context: click.Context,
        aggregate: str,
        aggregate_id: str,
        comment: str | None,
        token: str | None,
        as_json: bool,
    ) -> None:
        with database(context, token=token, writes=True) as (way, calls):
            try:
                way.call(calls.set_archive(aggregate, aggregate_id, archived, comment))
            except SchemaViolation as error:
                raise Failure(error.detail, code=error.code) from None
        if not opened(context).config.verbose_responses:
            print_ok()
        elif as_json:
            print_json(
                {
                    "aggregate_type": aggregate,
                    "aggregate_id": aggregate_id,
                    "archived": archived,
                    "comment": comment,
                }
            )
        else:
            print_line(
                f"aggregate_type={aggregate} aggregate_id={aggregate_id} "
                f"archived={'true' if archived else 'false'} comment={comment or ''}"
            )


def _register_snapshot(group: click.Group) -> None:
    @group.command("snapshot", examples=("dbx aggregate snapshot order o-1 --comment audit",))
    @AGGREGATE
    @option("--comment", metavar="COMMENT", help="Kept with the snapshot")
    @TOKEN
    @AS_JSON
    @click.pass_context
    def snapshot(
        context: click.Context,
        aggregate: str,
        aggregate_id: str,
        comment: str | None,
        token: str | None,
        as_json: bool,
    ) -> None:
        """Create a snapshot of the aggregate state"""
        with database(context, token=token, doing="create snapshot", writes=True) as (way, calls):
            print_json(way.call(calls.snapshot(aggregate, aggregate_id, comment)))
