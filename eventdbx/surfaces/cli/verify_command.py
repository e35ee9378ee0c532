"""``dbx verify``: every hash computed again, for the whole store or one aggregate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eventdbx.errors import StorageError
from eventdbx.surfaces.cli.arguments import missing_arguments
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.helptext import usage_line
from eventdbx.surfaces.cli.options import AS_JSON, INCLUDE_HIDDEN, MAYBE_AGGREGATE, option
from eventdbx.surfaces.cli.output import complain, print_json, print_line
from eventdbx.surfaces.cli.session import Database, database
from eventdbx.surfaces.cli.verify_pace import Pace, Progress

if TYPE_CHECKING:
    from eventdbx.surfaces.control.calls import Calls

PAGE_KIB = 4_096
"""Read for one request, when nothing is said of how fast: progress is shown after each."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the store is verified, and against what."""

    rate_kib_s: int | None = None
    checkpoint: str | None = None
    progress: bool = False


def register(root: click.Group) -> None:
    """Add the command to the root."""

    @root.command(
        "verify",
        examples=(
            "dbx verify",
            "dbx verify order o-1",
            "dbx verify --checkpoint newest.note --rate 4096",
            "dbx verify --json",
        ),
    )
    @MAYBE_AGGREGATE
    @option(
        "--checkpoint",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Hold the log against a checkpoint that was kept elsewhere, too",
    )
    @option("--rate", metavar="KIB/S", type=click.IntRange(1), help="Read no faster than that")
    @option("--progress", is_flag=True, help="Show how far it is, even if stderr is no terminal")
    @INCLUDE_HIDDEN
    @AS_JSON
    @click.pass_context
    def verify_store(
        context: click.Context,
        aggregate: str | None,
        aggregate_id: str | None,
        checkpoint: Path | None,
        rate: int | None,
        progress: bool,
        as_json: bool,
    ) -> None:
        """Recompute every hash of the store, or of one aggregate

        Reads every stored record again and fails, naming the bad ones, unless all hashes, roots,
        states, indexes, the commit log and what was signed of it are what the events make them.
        Of the types that schemas hide only the commit log is checked, unless they are included.
        """
        everything = aggregate is None
        if not everything and (checkpoint or rate or progress):
            raise Failure("--checkpoint, --rate and --progress are for the whole store")
        wanted = Wanted(rate, None if checkpoint is None else read_note(checkpoint), progress)
        verify(
            context, aggregate, aggregate_id, everything=everything, as_json=as_json, wanted=wanted
        )


def read_note(path: Path) -> str:
    """Return the text of a checkpoint in a file. Raises Failure."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise Failure(f"cannot read {path}", why) from None


def verify(
    context: click.Context,
    aggregate: str | None,
    aggregate_id: str | None,
    *,
    everything: bool,
    as_json: bool,
    wanted: Wanted = Wanted(),  # noqa: B008 - it is frozen
) -> None:
    """Check one aggregate, or the store, and print the outcome. Raises Failure on damage."""
    if everything:
        if aggregate is not None:
            raise Failure("an aggregate cannot be named together with --all")
        _verify_store(context, as_json, wanted)
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


def _verify_store(context: click.Context, as_json: bool, wanted: Wanted) -> None:
    with database(context) as (way, calls):
        outcome = whole_store(way, calls, wanted)
    findings = outcome["findings"]
    for one in findings:
        complain(one["message"])
    if as_json:
        print_json(outcome)
    else:
        if not findings:
            print_line(
                f"verified {outcome['aggregates']} aggregate(s) with {outcome['events']} event(s)"
            )
        for log in outcome["logs"]:
            if log["size"] and log["anchored"]:
                print_line(ranges(log))
    if findings:
        raise Failure(
            f"storage error: integrity check failed: {len(findings)} problem(s) found",
            code="storage",
        )


def ranges(log: dict[str, Any]) -> str:
    """Return the line that says which positions of a log somebody has signed."""
    size, anchored, witnessed = log["size"], log["anchored"], log["witnessed"]
    said = [f"witnessed {_span(0, witnessed)}", f"signed {_span(witnessed, anchored)}"]
    said.append(f"not signed yet {_span(max(anchored, witnessed), size)}")
    return f"log of {log['log']}: " + ", ".join(said)


def _span(start: int, stop: int) -> str:
    return f"{start}-{stop - 1}" if stop > start else "none"


def whole_store(way: Database, calls: Calls, wanted: Wanted) -> dict[str, Any]:
    """Verify everything, page by page; return what was counted and found."""
    aggregates = events = read = 0
    findings: list[dict[str, Any]] = []
    pace = Pace(wanted.rate_kib_s)
    progress = Progress(always=wanted.progress)
    asked: dict[str, Any] = {"do": "verify", "kib": pace.page_kib(PAGE_KIB)}
    if wanted.checkpoint is not None:
        asked["checkpoint"] = wanted.checkpoint
    while True:
        report = way.call(calls.integrity(asked))
        aggregates += report["checked"]
        events += report["events"]
        read += report["bytes"]
        findings += report["findings"]
        if report["next"] is None:
            progress.end()
            return {
                "aggregates": aggregates,
                "events": events,
                "findings": findings,
                "bytes": read,
                "logs": report["logs"],
            }
        asked["after"] = report["next"]
        progress.show(report["stage"], aggregates, read, len(findings))
        pace.wait(report["bytes"])
