"""``dbx schema export`` and ``import``: contracts as JSON Schema, for other tools and from them.

What the documents say is in ``domain.schemas.json_schema`` and ``json_schema_import``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from eventdbx.domain.canonical import JSON
from eventdbx.domain.schemas.json_schema import Document, document, export
from eventdbx.domain.schemas.json_schema_import import import_document
from eventdbx.domain.schemas.members import document_of
from eventdbx.domain.schemas.model import AggregateSchema
from eventdbx.domain.schemas.reading import read_schema
from eventdbx.domain.schemas.writing import schema_value
from eventdbx.errors import SchemaNotFound, SerializationError
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import AS_JSON, DOCUMENT, argument, option
from eventdbx.surfaces.cli.output import note, print_json, print_line
from eventdbx.surfaces.cli.schema.calls import operate, required, stored, user
from eventdbx.surfaces.cli.schema.texts import read_file
from eventdbx.surfaces.cli.session import opened


def register(group: click.Group) -> None:
    """Add both commands to the group."""
    _register_export(group)
    _register_import(group)


def _register_export(group: click.Group) -> None:
    @group.command(
        "export",
        help="Write contracts as JSON Schema 2020-12\n\n"
        "Without AGGREGATE: one document for each type, by name. With --event: what payloads of "
        "that event must be; otherwise what all events of a type have in common, and in $defs "
        "what each demands besides.",
        examples=(
            "dbx schema export order --json-schema",
            "dbx schema export order --event order_paid --json-schema --portable",
        ),
    )
    @argument("aggregate", required=False, help="Aggregate type")
    @option("--event", metavar="EVENT", help="Only this event")
    @option("--json-schema", "json_schema", is_flag=True, required=True, help="The form to write")
    @option(
        "--portable",
        is_flag=True,
        help="Leave out the x-dbx keywords, which say exactly what the others only approach",
    )
    @DOCUMENT
    @click.pass_context
    def export_schema(
        context: click.Context,
        aggregate: str | None,
        event: str | None,
        json_schema: bool,
        portable: bool,
    ) -> None:
        """Export"""
        assert json_schema
        if aggregate is None:
            if event is not None:
                raise Failure("--event needs an aggregate type")
            schemas = stored(context)
            print_json({name: _exported(context, schemas, name, portable) for name in schemas})
        elif event is None:
            print_json(_exported(context, stored(context), aggregate, portable))
        else:
            schema = _schema(stored(context), aggregate)
            if schema.event(event) is None:
                raise Failure(
                    f"event {event} is not defined for aggregate {aggregate}",
                    code="schema_violation",
                )
            domain = opened(context).config.domain
            print_json(document(schema, event, domain=domain, portable=portable))


def _schema(schemas: dict[str, Any], aggregate: str) -> AggregateSchema:
    if aggregate not in schemas:
        raise SchemaNotFound
    return read_schema(schemas[aggregate], aggregate, now_ns=0)


def _exported(
    context: click.Context, schemas: dict[str, Any], aggregate: str, portable: bool
) -> Document:
    domain = opened(context).config.domain
    return export(_schema(schemas, aggregate), domain=domain, portable=portable)


def _register_import(group: click.Group) -> None:
    @group.command(
        "import",
        help="Make a contract of a JSON Schema\n\n"
        "A document that `dbx schema export` wrote comes back as it was. Of others a part is "
        "understood, and the rest refused by its place in the document. References to other "
        "documents are never followed.",
        examples=(
            "dbx schema import order --json-schema order.schema.json",
            "dbx schema import order --json-schema paid.json --event order_paid --lenient",
        ),
    )
    @argument("aggregate", help="Aggregate type")
    @option(
        "--json-schema", "path", required=True, metavar="FILE", help="The document; - for stdin"
    )
    @option("--event", metavar="EVENT", help="The document is of this event's payloads")
    @option(
        "--lenient",
        is_flag=True,
        help="Where a column cannot be said, take any value there, with a warning",
    )
    @option(
        "--marks",
        is_flag=True,
        help="Lock fields that are readOnly, hide those that are writeOnly",
    )
    @option("--dry-run", is_flag=True, help="Print the contract and store nothing")
    @AS_JSON
    @click.pass_context
    def import_schema(
        context: click.Context,
        aggregate: str,
        path: str,
        event: str | None,
        lenient: bool,
        marks: bool,
        dry_run: bool,
        as_json: bool,
    ) -> None:
        """Import"""
        aggregate = required(aggregate, "aggregate")
        read = _read(path)
        before = operate(context, {"do": "list"})
        known = before["schemas"]
        schema, warnings = import_document(
            read,
            aggregate,
            now_ns=time.time_ns(),
            event=None if event is None else required(event, "event"),
            stored=_schema(known, aggregate) if aggregate in known else None,
            lenient=lenient,
            marks=marks,
        )
        for warning in warnings:
            note(f"warning: {warning}")
        if dry_run:
            print_json(schema_value(schema))
            return
        made = _put(context, schema, before["digest"])
        if as_json:
            print_json(made)
        else:
            print_line(
                f"schema={aggregate} imported columns={len(schema.column_types)} "
                f"events={len(schema.events)} warnings={len(warnings)}"
            )


def _read(path: str) -> JSON:
    name = "stdin" if path == "-" else path
    text = (
        sys.stdin.read()
        if path == "-"
        else read_file(Path(path), f"failed to read JSON Schema from {path}")
    )
    try:
        return document_of(text)
    except SerializationError as error:
        raise Failure(
            f"failed to parse JSON Schema from {name}", error.detail, code=error.code
        ) from None


def _put(context: click.Context, schema: AggregateSchema, digest: str) -> dict[str, Any]:
    """Store a schema, unless something has changed since; return it as it is now."""
    change = {"do": "put_schema", "aggregate": schema.aggregate, "schema": schema_value(schema)}
    operation = {
        "do": "change",
        "changes": [change],
        "expect": digest,
        "reason": "JSON Schema import",
        "actor": user(),
    }
    made: dict[str, Any] = operate(context, operation, writes=True)["schemas"][schema.aggregate]
    return made
