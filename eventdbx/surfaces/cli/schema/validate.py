"""``dbx schema validate`` and ``show``: a payload, a source file, a version, a stored schema.

The file side of both is in ``schema_source``.
"""

from __future__ import annotations

from typing import Any

import click

from eventdbx.domain.canonical import parse
from eventdbx.errors import SchemaNotFound
from eventdbx.surfaces.cli.arguments import missing_arguments
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.helptext import usage_line
from eventdbx.surfaces.cli.options import AS_JSON, option
from eventdbx.surfaces.cli.output import note, print_json, print_line
from eventdbx.surfaces.cli.schema.calls import Document, operate
from eventdbx.surfaces.cli.schema.source import validate_source
from eventdbx.surfaces.cli.schema.texts import read_option

PAYLOAD_OPTIONS = ("aggregate", "event", "payload")


def register(group: click.Group) -> None:
    """Add the command to the group."""

    @group.command(
        "validate",
        help="Validate payload against a schema definition\n\n"
        "Without --aggregate, --event and --payload: Validate the local schema.dbx file",
        examples=(
            """dbx schema validate --aggregate order --event order_paid --payload '{"qty":1}'""",
            "dbx schema validate --aggregate order --event order_paid --payload - --all-errors",
            "dbx schema validate --file schema.dbx --json",
        ),
    )
    @option("--aggregate", metavar="AGGREGATE", help="Aggregate type")
    @option("--event", metavar="EVENT", help="Event type")
    @option("--payload", metavar="PAYLOAD", help="JSON; @FILE or - for stdin")
    @option("--all-errors", is_flag=True, help="Show everything that is wrong, not only the first")
    @option(
        "--file",
        "path",
        metavar="PATH",
        conflicts=PAYLOAD_OPTIONS,
        help="Source file [default: the nearest schema.dbx upward]",
    )
    @AS_JSON
    @click.pass_context
    def validate(
        context: click.Context,
        aggregate: str | None,
        event: str | None,
        payload: str | None,
        all_errors: bool,
        path: str | None,
        as_json: bool,
    ) -> None:
        """Validate"""
        given = {"aggregate": aggregate, "event": event, "payload": payload}
        if all(value is None for value in given.values()):
            validate_source(path, as_json)
            return
        missing = [
            one
            for one in context.command.params
            if one.name in PAYLOAD_OPTIONS and given[one.name] is None
        ]
        if missing:
            raise missing_arguments(missing, usage_line(context.command_path, context.command))
        assert payload is not None
        value = _payload(payload)
        operation = {"do": "validate", "aggregate": aggregate, "event": event, "payload": value}
        answer = operate(context, operation)
        _report(answer, f"{aggregate}", f"{event}", all_errors=all_errors, as_json=as_json)


def _payload(text: str) -> Any:
    try:
        return parse(read_option(text, "payload"))
    except ValueError as error:
        raise Failure(str(error), code="serialization") from None


def _report(
    answer: Document, aggregate: str, event: str, *, all_errors: bool, as_json: bool
) -> None:
    """Print what was found. Raises Failure if it is not good."""
    violations = answer["violations"]
    if not answer["schema"]:
        if answer["restrict"] == "strict":
            raise SchemaNotFound
        note(f"note: aggregate {aggregate} has no schema, so any payload is accepted")
    shown = violations if all_errors else violations[:1]
    if as_json:
        print_json(
            {
                "valid": not violations,
                "aggregate": aggregate,
                "event": event,
                "schema": answer["schema"],
                "errors": shown,
            }
        )
    if violations:
        raise _failure(shown)
    if not as_json:
        print_line(f"aggregate={aggregate} event={event} validation=ok")


def _failure(violations: list[Document]) -> Failure:
    first = f"schema violation: {violations[0]['message']}"
    if len(violations) == 1:
        return Failure(first, code="schema_violation")
    causes = [
        f"{one['pointer'] or '(event)'} {one['rule']}: {one['message']}" for one in violations
    ]
    return Failure(f"{len(violations)} schema violations", *causes, code="schema_violation")
