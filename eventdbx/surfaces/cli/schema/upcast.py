"""``dbx schema upcast``: how payloads of earlier revisions of an event are read."""

from __future__ import annotations

from typing import Any

import click

from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import DOCUMENT, argument, option
from eventdbx.surfaces.cli.output import print_json, print_result
from eventdbx.surfaces.cli.schema.calls import bare_errors, change, required, stored_schema
from eventdbx.surfaces.cli.schema.texts import json_option


def register(group: click.Group) -> None:
    """Add the command to the group."""

    @group.command(
        "upcast",
        help="Show or change how payloads of earlier revisions of an event are read\n\n"
        "A list of steps lifts payloads of one revision to the next: rename or move "
        '{"op":"rename","from":"/name","to":"/full_name"}, default '
        '{"op":"default","path":"/currency","value":"EUR"}, map '
        '{"op":"map","path":"/status","values":{"0":"open"},"otherwise":"unknown"}.',
        examples=(
            "dbx schema upcast order paid",
            """dbx schema upcast order paid --add '[{"op":"default","path":"/n","value":1}]'""",
            "dbx schema upcast order paid --set @steps.json",
            "dbx schema upcast order paid --clear",
        ),
    )
    @argument("aggregate", help="Aggregate type")
    @argument("event", help="Event type")
    @option(
        "--add",
        metavar="JSON",
        conflicts=("lists", "clear"),
        help="Begin a new revision: the steps that lift payloads to it; @FILE or - for stdin",
    )
    @option(
        "--set",
        "lists",
        metavar="JSON",
        conflicts=("clear",),
        help="Replace everything: a list of lists of steps, one for each revision",
    )
    @option("--clear", is_flag=True, help="Read every payload as it is")
    @DOCUMENT
    @click.pass_context
    def upcast(
        context: click.Context,
        aggregate: str,
        event: str,
        add: str | None,
        lists: str | None,
        clear: bool,
    ) -> None:
        """Show or change upcasters"""
        aggregate, event = required(aggregate, "aggregate"), required(event, "event")
        if add is None and lists is None and not clear:
            print_json(_upcast_of(stored_schema(context, aggregate), event))
            return
        with bare_errors():
            if add is not None:
                steps = json_option(add, "upcast")
                changed = change(context, "add_upcast", aggregate, event=event, steps=steps)
            else:
                value = None if lists is None else json_option(lists, "upcast")
                changed = change(context, "set_upcast", aggregate, event=event, upcast=value)
        revision = len(_upcast_of(changed, event)) + 1
        print_result(
            {"aggregate": aggregate, "event": event, "revision": revision},
            f"aggregate={aggregate} event={event} revision={revision}",
        )


def _upcast_of(schema: dict[str, Any], event: str) -> list[Any]:
    rule = schema["events"].get(event)
    if rule is None:
        raise Failure(
            f"event {event} is not defined for aggregate {schema['aggregate']}",
            code="schema_violation",
        )
    found: list[Any] = rule.get("upcast", [])
    return found
