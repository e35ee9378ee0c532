"""What ``--stage`` does instead of writing an event: it is kept for ``dbx aggregate commit``."""

from __future__ import annotations

from typing import Any

import click

from eventdbx.domain.commands import Write
from eventdbx.errors import AggregateNotFound, SchemaViolation
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.output import note_on_terminal, print_json, print_line
from eventdbx.surfaces.cli.session import database


def stage_event(context: click.Context, write: Write, given: dict[str, Any]) -> None:
    """Stage one event and say so. Raises Failure and EventDBXError."""
    from eventdbx.application.drafting import draft_write

    if given["receipt"] is not None:
        raise Failure("--receipt cannot be combined with --stage")
    draft_write(write, None)
    asked = {"do": "stage", "writes": [write_document(write)]}
    try:
        with database(context, token=given["token"], writes=True) as (way, calls):
            staged = way.call(calls.staging(asked))["staged"][0]
    except AggregateNotFound as error:
        names = f"{write.aggregate_type}::{write.aggregate_id}"
        raise Failure(f"aggregate {names} does not exist", code=error.code) from None
    except SchemaViolation as error:
        if error.detail.endswith(("already exists", "when restrict=strict")):
            raise Failure(error.detail, code=error.code) from None
        raise
    if given["as_json"]:
        print_json(staged)
        return
    print_line("event staged for later commit")
    note_on_terminal(f"its id is {staged['id']}; `dbx aggregate commit` writes what is staged")


def write_document(write: Write) -> dict[str, Any]:
    """Return a write as the control protocol takes it to be staged."""
    return {
        "kind": write.kind,
        "aggregate_type": write.aggregate_type,
        "aggregate_id": write.aggregate_id,
        "event_type": write.event_type,
        "content_json": write.content,
        "metadata_json": write.metadata,
        "note": write.note,
        "expected_version": write.expected_version,
        "idempotency_key": write.idempotency_key,
    }
