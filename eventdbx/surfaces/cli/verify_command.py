"""``dbx verify``: every hash computed again, for the whole store or one aggregate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from eventdbx.errors import StorageError
from eventdbx.surfaces.cli.arguments import missing_arguments
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.helptext import usage_line
from eventdbx.surfaces.cli.options import AS_JSON, INCLUDE_HIDDEN, MAYBE_AGGREGATE
from eventdbx.surfaces.cli.output import note, print_json, print_line
from eventdbx.surfaces.cli.session import Database, database

if TYPE_CHECKING:
    from eventdbx.surfaces.control.calls import Calls


def register(root: click.Group) -> None:
    """Add the command to the root."""

    @root.command(
        "verify",
        examples=("dbx verify", "dbx verify order o-1", "dbx verify --json"),
    )
    @MAYBE_AGGREGATE
    @INCLUDE_HIDDEN
    @AS_JSON
    @click.pass_context
    def verify_store(
        context: click.Context, aggregate: str | None, aggregate_id: str | None, as_json: bool
    ) -> None:
        """Recompute every hash of the store, or of one aggregate

        Reads every stored event again and fails, naming the first bad event of each aggregate,
        unless all hashes, roots, states and the commit log are what the events make them. Of the
        types that schemas hide only the commit log is checked, unless they are included.
        """
        verify(context, aggregate, aggregate_id, everything=aggregate is None, as_json=as_json)


def verify(
    context: click.Context,
    aggregate: str | None,
    aggregate_id: str | None,
    *,
    everything: bool,
    as_json: bool,
) -> None:
    """Check one aggregate, or the store, and print the outcome. Raises Failure on damage."""
    if everything:
        if aggregate is not None:
            raise Failure("an aggregate cannot be named together with --all")
        _verify_store(context, as_json)
        return
    if aggregate is None or aggregate_id is None:
        lacking = [
            one
            for one in context.command.params
            if one.name in ("aggregate", "aggregate_id") and not context.params.get(one.name)
        ]
        raise missing_arguments(lacking, usage_line(context.command_path, context.command))
    with database(context) as (way, calls):
        report = way.call(calls.verify_store(aggregate_type=aggregate, aggregate_id=aggregate_id))
    if report["findings"]:
        message = report["findings"][0]["message"]
        raise StorageError(message.removeprefix(StorageError.prefix))
    if as_json:
        print_json(
            {
                "aggregate_id": aggregate_id,
                "aggregate_type": aggregate,
                "merkle_root": report["merkle_root"],
            },
            sort=True,
        )
    else:
        print_line(
            f"aggregate_type={aggregate} aggregate_id={aggregate_id} "
            f"merkle_root={report['merkle_root']}"
        )


def _verify_store(context: click.Context, as_json: bool) -> None:
    with database(context) as (way, calls):
        outcome = _whole_store(way, calls)
    findings = outcome["findings"]
    for one in findings:
        note(one["message"])
    if as_json:
        print_json(outcome)
    elif not findings:
        print_line(
            f"verified {outcome['aggregates']} aggregate(s) with {outcome['events']} event(s)"
        )
    if findings:
        raise Failure(
            f"storage error: integrity check failed: {len(findings)} problem(s) found",
            code="storage",
        )


def _whole_store(way: Database, calls: Calls) -> dict[str, Any]:
    aggregates = events = 0
    findings: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        report = way.call(calls.verify_store(after=after))
        aggregates += report["checked"]
        events += report["events"]
        findings += report["findings"]
        after = report["next"]
        if after is None:
            return {"aggregates": aggregates, "events": events, "findings": findings}
