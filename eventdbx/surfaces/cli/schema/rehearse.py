"""``dbx schema compat`` and ``dbx schema rehearse``: what a candidate would change, before it does.

The candidate is a file (source language or JSON), a version, or what is in force. ``compat`` says
at once what the change means for every possible event, ``rehearse`` looks at those that are stored.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click
import orjson

from eventdbx.domain.schemas.comparing import Verdict, compatibility, fulfils, total
from eventdbx.domain.schemas.members import document_of
from eventdbx.domain.schemas.model import SchemaSet
from eventdbx.domain.schemas.reading import read_schemas
from eventdbx.domain.schemas.writing import schemas_value
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import AS_JSON, all_of, argument, option
from eventdbx.surfaces.cli.output import note, note_on_terminal, print_json, print_line
from eventdbx.surfaces.cli.schema.calls import Document, names_of, warn
from eventdbx.surfaces.cli.schema.source import find_source
from eventdbx.surfaces.cli.schema.texts import with_number_texts
from eventdbx.surfaces.cli.session import Database, database, opened, server_address

if TYPE_CHECKING:
    from eventdbx.surfaces.control.calls import Calls

LOOK_S = 0.25
"""Between two looks at a rehearsal that a server runs."""

CANDIDATE = all_of(
    argument("source", required=False, help="File of the candidate [default: nearest schema.dbx]"),
    option("--file", metavar="PATH", conflicts=("version",), help="The same as an option"),
    option("--version", metavar="VERSION", help="A published version instead of a file"),
)


def register(group: click.Group) -> None:
    """Add the commands to the group."""
    _register_compat(group)
    _register_rehearse(group)


def _register_compat(group: click.Group) -> None:
    @group.command(
        "compat",
        examples=("dbx schema compat schema.dbx", "dbx schema compat --require backward"),
    )
    @CANDIDATE
    @option(
        "--require",
        type=click.Choice(["backward", "forward", "full"]),
        metavar="VERDICT",
        help="Fail unless the verdict is at least this good: backward, forward or full",
    )
    @AS_JSON
    @click.pass_context
    def compat(context: click.Context, /, **given: Any) -> None:
        """Say whether old and new events fit, from the schemas alone

        Compares a candidate with what is in force. The verdict is backward (what is accepted now
        stays accepted), forward (what will be accepted is accepted now), full, or breaking.
        """
        with database(context) as (way, calls):
            _print_verdict(_compared(way, calls, given), given["require"], given["as_json"])


def _register_rehearse(group: click.Group) -> None:
    @group.command(
        "rehearse",
        examples=(
            "dbx schema rehearse schema.dbx",
            "dbx schema rehearse --version latest --aggregate order",
            "dbx schema rehearse --job r1 --cancel",
        ),
    )
    @CANDIDATE
    @option(
        "-a", "--aggregate", "aggregates", multiple=True, metavar="TYPE",
        help="Look at these aggregate types only; comma list or several options",
    )  # fmt: skip
    @option("--compat", is_flag=True, help="Print the verdict from the schemas alone first")
    @option("--detach", is_flag=True, help="Print the number of the job and leave it to the server")
    @option("--job", metavar="JOB", conflicts=("source", "file", "version", "aggregates"),
            help="Look at a job that was started before")  # fmt: skip
    @option("--cancel", is_flag=True, help="With --job: end it")
    @AS_JSON
    @click.pass_context
    def rehearse(context: click.Context, /, **given: Any) -> None:
        """Run a candidate over the stored history; fail if an event would be refused

        Nothing is changed. Beside a running server the work is done there, in the background.
        """
        _rehearse(context, given)


# --- the candidate


def candidate(way: Database, calls: Calls, given: Document) -> Document:
    """Return the members of an operation that name the candidate; none for what is in force.

    Raises Failure and InvalidSchema for files that cannot be read.
    """
    if given["version"] is not None:
        return {"version": given["version"]}
    path = given["source"] or given["file"]
    source = find_source(path)
    if source is None:
        return {}
    if source.text.lstrip()[:1] == "{":
        return {"schemas": with_number_texts(document_of(source.text))}
    stored = _read(way.call(calls.schema({"do": "list"}))["schemas"])
    compiled = source.compiled(now_ns=time.time_ns(), stored=stored)
    warn({"warnings": compiled.warnings})
    return {"schemas": schemas_value(compiled.schemas)}


def _read(schemas: Document) -> SchemaSet:
    return read_schemas(orjson.dumps(schemas), now_ns=0)[0]


# --- the verdict


def _compared(way: Database, calls: Calls, given: Document) -> Document:
    """Return the verdict of a candidate as a document."""
    live = way.call(calls.schema({"do": "list"}))
    wanted = candidate(way, calls, given)
    if "version" in wanted:
        wanted = way.call(calls.schema({"do": "version", "version": wanted["version"]}))
    new = _read(wanted.get("schemas", live["schemas"]))
    changes = compatibility(_read(live["schemas"]), new, restrict=live["restrict"])
    return {
        "verdict": total(changes),
        "changes": [
            {"aggregate": one.aggregate, "verdict": one.verdict, "change": one.sentence}
            for one in changes
        ],
    }


def _print_verdict(found: Document, demanded: Verdict | None, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        print_line(f"verdict={found['verdict']} changes={len(found['changes'])}")
        for one in found["changes"]:
            print_line(
                f"aggregate={one['aggregate']} verdict={one['verdict']} change={one['change']}"
            )
    if demanded is not None and not fulfils(found["verdict"], demanded):
        raise Failure(f"the change is {found['verdict']}, not {demanded}", code="invalid_schema")


# --- the rehearsal


def _rehearse(context: click.Context, given: Document) -> None:
    alone = server_address(context, opened(context)) is None
    if alone and (given["detach"] or given["job"] is not None):
        raise Failure(
            "no server is running; without one a rehearsal lives as long as its command",
            hint="start one with `dbx start`, or leave out --detach and --job",
        )
    if given["cancel"] and given["job"] is None:
        raise Failure("--cancel needs --job")
    with database(context) as (way, calls):
        job = given["job"]
        if job is None:
            if given["compat"]:
                found = _compared(way, calls, given)
                note(f"verdict={found['verdict']} changes={len(found['changes'])}")
            job = _started(way, calls, given)
        if given["detach"]:
            print_json({"job": job}) if given["as_json"] else print_line(f"job={job}")
            return
        do = "cancel_rehearsal" if given["cancel"] else "rehearsal"
        try:
            found = way.call(calls.schema({"do": do, "job": job}))
            while found["state"] in ("waiting", "running"):
                _show_progress(found)
                if not alone:
                    time.sleep(LOOK_S)
                found = way.call(calls.schema({"do": do, "job": job}))
        except KeyboardInterrupt:
            _cancel(context, job, alone)
            raise
    _show_progress(found, last=True)
    _print_outcome(found, given["as_json"], cancelled=given["cancel"])


def _started(way: Database, calls: Calls, given: Document) -> str:
    operation = {
        "do": "rehearse",
        "aggregates": [name for name in names_of(given["aggregates"]) if name],
        **candidate(way, calls, given),
    }
    answer = way.call(calls.schema(operation))
    warn(answer)
    job: str = answer["job"]
    return job


def _cancel(context: click.Context, job: str, alone: bool) -> None:
    """End a job that nobody waits for any more; on a new connection, for the other is in use."""
    if not alone:
        with database(context) as (way, calls):
            way.call(calls.schema({"do": "cancel_rehearsal", "job": job}))
    note_on_terminal(f"\nrehearsal {job} cancelled")


def _show_progress(found: Document, *, last: bool = False) -> None:
    if not sys.stderr.isatty():
        return
    done, whole = found["done"], found["total"]
    share = 100 * done // whole if whole else 100
    line = (
        f"rehearsing: {done} of {whole} events ({share} %), {found['rate']:.0f} events/s, "
        f"{found['refused']} refused so far"
    )
    # Each line covers the one before, which may have been longer.
    sys.stderr.write(f"\r{line:<78}" + ("\n" if last else ""))
    sys.stderr.flush()


def _print_outcome(found: Document, as_json: bool, *, cancelled: bool) -> None:
    """Print what was found. Raises Failure unless all was looked at and nothing refused."""
    if as_json:
        print_json(found)
    else:
        print_line(
            f"job={found['job']} state={found['state']} events={found['done']} "
            f"total={found['total']} refused={found['refused']} "
            f"unless_patch={found['unless_patch']}"
        )
        for rule in found["rules"]:
            print_line(_rule_line(rule))
        if found["rules_left_out"]:
            note(f"note: {found['rules_left_out']} finding(s) of further rules are not listed")
    if found["state"] == "failed":
        raise Failure(f"the rehearsal failed: {found['error']}", code="storage")
    if cancelled:
        return
    if found["state"] == "cancelled":
        raise Failure(
            f"the rehearsal was cancelled after {found['done']} of {found['total']} events"
        )
    if found["refused"]:
        perhaps = found["unless_patch"]
        raise Failure(
            f"{found['refused']} of {found['done']} stored events would be refused"
            + (f", {perhaps} of them unless they were patches" if perhaps else ""),
            hint="see the rules above; `dbx events` shows an event, upcasters can mend old ones",
            code="schema_violation",
        )


def _rule_line(rule: Document) -> str:
    places = "".join(
        f" {which}={place['aggregate_id']}@{place['version']}"
        for which in ("first", "last")
        if (place := rule[which]) is not None
    )
    perhaps = f" unless_patch={rule['unless_patch']}" if rule["unless_patch"] else ""
    return (
        f"aggregate={rule['aggregate']} event={rule['event']} rule={rule['rule']} "
        f"refused={rule['count']}{perhaps}{places} message={rule['message']}"
    )
