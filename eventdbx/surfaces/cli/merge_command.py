"""``dbx merge``: the data of one domain into another one, no server running."""

from __future__ import annotations

import os

import click

from eventdbx.errors import EventDBXError, UnknownName
from eventdbx.services import domains
from eventdbx.services.auditspool import operator, spool_action
from eventdbx.services.workspace import Opened
from eventdbx.surfaces.cli import places
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import AS_JSON, option
from eventdbx.surfaces.cli.output import note, note_on_terminal, print_json, print_line
from eventdbx.surfaces.cli.progress import Progress


def register(root: click.Group) -> None:
    """Add the command to the root."""

    @root.command(
        "merge",
        examples=(
            "dbx merge --from invoices",
            "dbx merge --from invoices --into archive --overwrite-schemas",
        ),
        columns=("from", "into", "aggregates", "events", "archived"),
    )
    @option("--from", "source", required=True, metavar="DOMAIN", help="Domain to take data from")
    @option("--into", "target", metavar="DOMAIN", help="Domain to put it into [default: active]")
    @option(
        "--overwrite-schemas",
        is_flag=True,
        help="Replace schemas of the target that differ from those of the source",
    )
    @AS_JSON
    @click.pass_context
    def merge(
        context: click.Context,
        source: str,
        target: str | None,
        overwrite_schemas: bool,
        as_json: bool,
    ) -> None:
        """Merge data from one domain into another

        Events keep their ids, times, authors and hashes. Either everything is merged or nothing;
        the source stays as it is. No server may run.
        """
        source = domains.domain_name(source)
        place = places.opened(context)
        into = place.config.domain if target is None else domains.domain_name(target)
        _merge(context, place, source, into, overwrite_schemas, as_json)


def _merge(
    context: click.Context, place: Opened, source: str, into: str, overwrite: bool, as_json: bool
) -> None:
    from eventdbx.services import merging

    workspace = place.workspace
    for name in (source, into):
        domains.check_layout(workspace, name)
    if not domains.exists(workspace, source):
        raise Failure(
            f"domain '{source}' does not exist",
            hint=domains.similar(workspace, source) or "dbx list shows which there are",
            code=UnknownName.code,
        )
    who = operator(os.environ)
    held = domains.stopped(workspace, source, doing="dbx merge")
    with held, _Counter(context) as counter:
        done = merging.merge(
            place,
            source,
            into,
            overwrite_schemas=overwrite,
            actor=f"{who.group}:{who.user}",
            advance=counter.advance,
        )
    if done.events or done.schemas_added or done.schemas_replaced:
        _spool(place, source, into)
    _report(source, into, done, as_json)


class _Counter:
    """Progress that begins with the first event: a merge that is refused has none to tell of."""

    def __init__(self, context: click.Context) -> None:
        self._context = context
        self._progress: Progress | None = None

    def __enter__(self) -> _Counter:
        return self

    def advance(self, count: int) -> None:
        """Count events."""
        if self._progress is None:
            self._progress = Progress(self._context, "merging", unit="events")
        self._progress.advance(count)

    def __exit__(self, *_error: object) -> None:
        if self._progress is not None:
            note_on_terminal(f"\r\x1b[K{self._progress.summary()}")


def _report(source: str, into: str, done: object, as_json: bool) -> None:
    from eventdbx.services.merging import Merged

    assert isinstance(done, Merged)
    if as_json:
        print_json({"from": source, "into": into, **done._asdict()})
    elif not (done.aggregates or done.schemas_added or done.schemas_replaced):
        print_line(f"No data to merge from '{source}' into '{into}'.")
    else:
        print_line(
            f"Merged {done.aggregates} aggregate(s) and {done.events} event(s) from '{source}' "
            f"into '{into}'."
        )
        if done.archived:
            print_line(f"  • {done.archived} aggregate(s) marked archived after merge")
        if done.schemas_added or done.schemas_replaced:
            replaced = f"; {done.schemas_replaced} replaced" if done.schemas_replaced else ""
            print_line(f"Merged schemas: {done.schemas_added} added{replaced}")
    if done.staged:
        note(
            f"warning: {done.staged} staged event(s) of '{source}' were not merged; commit them "
            "there and merge from a domain without them, or stage them again"
        )
    if done.same_ids:
        note(
            f"warning: {done.same_ids} event(s) have the id of one that '{into}' had already; "
            "`dbx events ID` shows the earlier one of two"
        )


def _spool(place: Opened, source: str, into: str) -> None:
    try:
        spool_action(
            place.workspace.data_dir,
            "tenants",
            "domain_merged",
            into,
            "dbx merge",
            details={"from": source, "domain": into},
        )
    except EventDBXError as error:
        note(f"warning: not in the audit trail: {error}")
