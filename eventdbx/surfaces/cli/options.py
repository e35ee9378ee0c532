"""Options and positionals that several commands share, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
import orjson

from eventdbx import limits
from eventdbx.domain.cursors import parse_aggregate_cursor
from eventdbx.domain.filters import Filter, parse_filter
from eventdbx.domain.sorting import SortKey, parse_aggregate_sort, parse_event_sort
from eventdbx.domain.timestamps import parse_ns
from eventdbx.errors import InvalidCursor, InvalidSchema
from eventdbx.surfaces.cli.arguments import Argument, Option, spelling
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.field_values import payload_of
from eventdbx.surfaces.cli.output import DOCUMENTS
from eventdbx.surfaces.cli.values import (
    FIELD,
    U64,
    Pair,
    Publish,
    WrongValue,
    indirect,
    json_value,
)

F = TypeVar("F", bound=Callable[..., Any])

FILTER_PREFIX = "invalid filter expression: "


_HIDDEN = "eventdbx.include_hidden"


def _include_hidden(context: click.Context, _option: object, given: bool) -> None:
    context.meta[_HIDDEN] = given


def includes_hidden(context: click.Context) -> bool:
    """Say whether the command shows what schemas hide."""
    return bool(context.meta.get(_HIDDEN, False))


def option(*flags: str, **settings: Any) -> Callable[[F], F]:
    """Declare an option that may exclude or need others."""
    return click.option(*flags, cls=Option, **settings)


def argument(name: str, **settings: Any) -> Callable[[F], F]:
    """Declare a positional with a help text."""
    return click.argument(name, cls=Argument, **settings)


def all_of(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Return the decorators as one; the first given comes first in the help."""

    def apply(function: F) -> F:
        for one in reversed(decorators):
            function = one(function)
        return function

    return apply


AGGREGATE = all_of(
    argument("aggregate", spelled="--aggregate", help="Aggregate type"),
    argument("aggregate_id", spelled="--aggregate-id", help="Aggregate identifier"),
)

MAYBE_AGGREGATE = all_of(
    argument("aggregate", spelled="--aggregate", required=False, help="Aggregate type"),
    argument("aggregate_id", spelled="--aggregate-id", required=False, help="Aggregate identifier"),
)


def _as_json(context: click.Context, option: click.Parameter, given: bool) -> bool:
    """Say whether documents are wanted; ``--json`` stands for ``-o json``."""
    root = context.find_root().params
    given, wanted = given or bool(root.get("json")), root.get("output")
    if given and wanted not in (None, "json"):
        raise click.UsageError(
            f"the argument '{spelling(option)}' cannot be used with '--output {wanted}'"
        )
    context.meta[DOCUMENTS] = given or wanted is not None
    return bool(context.meta[DOCUMENTS])


def _json_option(**settings: Any) -> Callable[[F], F]:
    return option(
        "--json",
        "as_json",
        is_flag=True,
        callback=_as_json,
        help="Emit results as JSON; -o knows more formats",
        **settings,
    )


AS_JSON = _json_option()
"""Every command takes it: without ``--json`` and ``-o`` it prints the lines that scripts know,
with either of them a document."""

DOCUMENT = _json_option(expose_value=False)
"""The same for commands that leave the choice to ``output.print_result`` or ``print_listing``."""

TOKEN = option(
    "--token",
    metavar="TOKEN",
    help="Authorization token used when proxying through a running server",
)

SCOPE = all_of(
    option(
        "--include-archived",
        is_flag=True,
        conflicts=("archived_only",),
        help="Show archived aggregates, too",
    ),
    option("--archived-only", is_flag=True, help="Show archived aggregates only"),
)

INCLUDE_HIDDEN = option(
    "--include-hidden",
    is_flag=True,
    expose_value=False,
    callback=_include_hidden,
    help="Show what schemas hide, too; works on the store itself, without a server",
)
"""Commands need not take it: ``session.database`` asks the context."""

PAGE = all_of(
    option("--skip", type=U64, metavar="SKIP", help="Leave out so many results [default: 0]"),
    option("--cursor", metavar="CURSOR", help="Go on after this cursor"),
    option("--take", type=U64, metavar="TAKE", help="Show so many results at most"),
    option("--all", "everything", is_flag=True, conflicts=("take",),
           help="Show all results, page after page"),
    option("--filter", "expression", metavar="FILTER", help="Show only what matches"),
    option("--sort", metavar="FIELD[:ORDER][,...]", help="Order by these fields (asc or desc)"),
)  # fmt: skip

ENVELOPE = option(
    "--envelope/--no-envelope",
    default=None,
    help="Show the next cursor beside the items",
)

EVENT_FIELDS = all_of(
    option(
        "--field",
        "fields",
        multiple=True,
        type=FIELD,
        metavar="KEY=VALUE",
        help="Event fields expressed as KEY=VALUE pairs; KEY:=JSON for values that are no texts "
        "(KEY:=@FILE, KEY:=-), A.B=VALUE for a field in an object",
    ),
    option(
        "--payload",
        metavar="JSON",
        help="Raw JSON payload to use instead of key-value fields; @FILE or - for stdin",
    ),
)

WRITE = all_of(
    option(
        "--metadata",
        metavar="METADATA",
        help="JSON metadata with plugin-specific keys prefixed by '@'; @FILE or - for stdin",
    ),
    option(
        "--note",
        metavar="NOTE",
        help="Optional note associated with the event (up to 128 characters)",
    ),
    TOKEN,
    option(
        "--publish",
        multiple=True,
        type=Publish(),
        metavar="PLUGIN[:MODE[:PRIORITY]]",
        help="Deliver this event to this plugin only; repeat for more, with another payload mode "
        "or a priority of low, normal or high",
    ),
    option(
        "--expect-version",
        type=U64,
        metavar="N",
        help="Write only if the aggregate is at this version (0: only if it does not exist)",
    ),
    option(
        "--idempotency-key",
        metavar="KEY",
        help="Make a retry with the same key return the first result",
    ),
    option(
        "--receipt",
        metavar="FILE",
        help="Write the proof that the event is in the log to this new file, once there is one",
    ),
    AS_JSON,
)

STAGE = option("--stage", is_flag=True, help="Keep the event for `aggregate commit`")


class Time(click.ParamType):  # type: ignore[type-arg]
    """An RFC 3339 time, as nanoseconds since the Unix epoch."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the nanoseconds; raises WrongValue."""
        if isinstance(value, int):
            return value
        try:
            return parse_ns(value)
        except ValueError as error:
            raise WrongValue(str(error), value) from None


def payload_text(fields: Sequence[Pair], payload: str | None) -> str:
    """Return the JSON text of the payload that the options give. Raises Failure."""
    if payload is not None:
        if fields:
            raise Failure("--payload cannot be used together with --field", code="invalid_schema")
        text = indirect(payload, "--payload")
        json_value(text, "--payload", "payload")
        return text
    return orjson.dumps(payload_of(fields)).decode()


def metadata_text(metadata: str | None) -> str | None:
    """Return the JSON text of the metadata that the option gives. Raises Failure."""
    if metadata is None:
        return None
    text = indirect(metadata, "--metadata")
    json_value(text, "--metadata", "metadata")
    return text


def check_note(note: str | None) -> None:
    """Raise Failure for a note that is too long."""
    if note is not None and len(note) > limits.NOTE_CHARACTERS_MAX:
        raise Failure(
            f"note cannot exceed {limits.NOTE_CHARACTERS_MAX} characters", code="invalid_schema"
        )


def checked_take(take: int | None) -> int | None:
    """Return a page size that is not zero. Raises Failure."""
    if take == 0:
        raise Failure("--take must be greater than zero", code="invalid_schema")
    return take


def scope_of(include_archived: bool, archived_only: bool) -> str:
    """Return the scope that the two flags name."""
    if archived_only:
        return "archived"
    return "all" if include_archived else "active"


def checked_filter(expression: str | None) -> Filter | None:
    """Return the parsed filter. Raises Failure with the expression and what is wrong with it."""
    if expression is None:
        return None
    try:
        return parse_filter(expression)
    except InvalidSchema as error:
        cause = error.detail.removeprefix(FILTER_PREFIX)
        raise Failure(f"{FILTER_PREFIX}{expression}", cause, code=error.code) from None


def checked_sort(text: str | None, *, events: bool) -> tuple[SortKey, ...]:
    """Return the sort keys. Raises Failure."""
    if text is None:
        return ()
    try:
        return parse_event_sort(text) if events else parse_aggregate_sort(text)
    except InvalidSchema as error:
        raise Failure(error.detail, code=error.code) from None


def check_aggregate_cursor(text: str | None, sort: tuple[SortKey, ...]) -> None:
    """Raise Failure for a cursor that does not parse or does not go with the sort."""
    if text is None:
        return
    by_time = len(sort) == 1 and sort[0].field in ("created_at", "updated_at")
    if sort and not by_time:
        raise Failure(
            "--cursor can only be combined with --sort when sorting by created_at or updated_at",
            code=InvalidCursor.code,
        )
    if not sort and text.strip().startswith("ts:"):
        raise Failure(
            "timestamp cursors require --sort created_at or updated_at", code=InvalidCursor.code
        )
    try:
        parse_aggregate_cursor(text)
    except InvalidCursor as error:
        raise Failure(f"invalid cursor '{text}'", str(error), code=error.code) from None
