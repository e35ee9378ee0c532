"""Options of a plugin that do not depend on its kind, as flags of ``config`` and ``set``."""

from __future__ import annotations

import re
from typing import Any

import click

from eventdbx.surfaces.cli.options import all_of, option
from eventdbx.surfaces.cli.plugin.calls import CLOSED_MODES, TRUE_FALSE, Document
from eventdbx.surfaces.cli.schema.calls import names_of
from eventdbx.surfaces.cli.values import U32, U64, WrongValue

_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", re.ASCII)


class Decimal(click.ParamType):  # type: ignore[type-arg]
    """A number above zero, with or without a fraction."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | float:
        """Return the number, whole ones as integers; raises WrongValue."""
        if isinstance(value, int | float):
            return value
        if not _SECONDS.fullmatch(value) or float(value) <= 0:
            raise WrongValue("not a number above zero", value)
        number = float(value)
        return int(number) if number.is_integer() else number


class BackoffText(click.ParamType):  # type: ignore[type-arg]
    """``FIRST:FACTOR:MAX``: seconds, a factor, seconds."""

    name = "backoff"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Document:
        """Return the member of the entry; raises WrongValue."""
        if isinstance(value, dict):
            return value
        parts = value.split(":")
        if len(parts) != 3 or not all(_SECONDS.fullmatch(part) for part in parts):
            raise WrongValue("the form is FIRST_SECS:FACTOR:MAX_SECS", value)
        numbers = [NUMBER.convert(part, param, ctx) for part in parts]
        return dict(zip(("first_secs", "factor", "max_secs"), numbers, strict=True))


NUMBER = Decimal()

EMIT = option(
    "--emit-events",
    type=TRUE_FALSE,
    metavar="true|false",
    help="Whether events are delivered to it",
)

DELIVERY = all_of(
    option(
        "--order",
        type=click.Choice(["aggregate", "strict", "none"]),
        metavar="ORDER",
        help="What waits behind a failing event: its aggregate (default), everything, nothing",
    ),
    option(
        "--on-dead",
        type=click.Choice(["hold", "continue"]),
        metavar="WHAT",
        help="Whether an aggregate waits behind a dead event (hold, the default) or goes on",
    ),
    option("--concurrency", type=U32, metavar="N", help="Deliveries at once, 1 to 64 [default: 1]"),
    option("--max-attempts", type=U32, metavar="N", help="Attempts before an event is dead"),
    option(
        "--backoff",
        type=BackoffText(),
        metavar="FIRST:FACTOR:MAX",
        help="Seconds after the first failure, factor, most seconds [default: 1, 2, 4, 10 s]",
    ),
    option(
        "--give-up",
        type=click.Choice(["attempts", "never"]),
        metavar="WHEN",
        help="never: failures of the target itself do not count as attempts",
    ),
    option("--timeout", "timeout_secs", type=NUMBER, metavar="SECONDS", help="For one delivery"),
    option("--filter", "filter", metavar="EXPR", help="Only events that match"),
    option("--aggregates", multiple=True, metavar="TYPES", help="Only these aggregate types"),
    option("--events", multiple=True, metavar="TYPES", help="Only these event types"),
    option("--domains", multiple=True, metavar="NAMES", help="Only these domains"),
    option("--include-hidden", is_flag=True, help="Deliver what schemas hide, too"),
    option("--include-imported", is_flag=True, help="Deliver events that were imported, too"),
    option("--batch", "max_events", type=U32, metavar="N", help="So many events in one delivery"),
    option("--batch-bytes", "max_bytes", type=U64, metavar="BYTES", help="Most bytes of a batch"),
    option("--linger", "linger_ms", type=U32, metavar="MS", help="Wait for a batch to fill"),
    option("--rate-limit", type=NUMBER, metavar="N", help="Most events in a second"),
)

_PLAIN = (
    "order",
    "on_dead",
    "concurrency",
    "max_attempts",
    "backoff",
    "give_up",
    "timeout_secs",
    "filter",
    "rate_limit",
)
_LISTS = ("aggregates", "events", "domains")
_FLAGS = ("include_hidden", "include_imported")
_BATCH = ("max_events", "max_bytes", "linger_ms")


def delivery_members(given: Document) -> Document:
    """Return the members of an entry that the options give; options not given are not there."""
    members = {name: given[name] for name in _PLAIN if given[name] is not None}
    for name in _LISTS:
        names = [one for one in names_of(given[name]) if one]
        if names:
            members[name] = names
    members |= {name: True for name in _FLAGS if given[name]}
    batch = {name: given[name] for name in _BATCH if given[name] is not None}
    if batch:
        members["batch"] = batch
    if given["payload"] is not None:
        members["payload_mode"] = given["payload"]
    if given["emit_events"] is not None:
        members["emit_events"] = given["emit_events"] == "true"
    return members


PAYLOAD = option("--payload", type=CLOSED_MODES, metavar="PAYLOAD", help="What of an event is sent")
