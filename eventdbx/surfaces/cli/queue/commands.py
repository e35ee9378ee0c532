"""``dbx queue``: what waits for plugins, what is being sent, and what is dead."""

from __future__ import annotations

import sys

import click

from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import AS_JSON, DOCUMENT, Time, argument, option
from eventdbx.surfaces.cli.output import (
    ROWS,
    documents_wanted,
    format_wanted,
    note,
    note_on_terminal,
    pretty,
    print_array,
    print_json,
    print_line,
    print_result,
)
from eventdbx.surfaces.cli.plugin.calls import (
    NOT_FOUND,
    Document,
    asking,
    key_of,
    moment,
    one_line,
    operate,
)
from eventdbx.surfaces.cli.plugin.marks import pause_or_resume
from eventdbx.surfaces.cli.queue.export import ALL, STATUSES, export_jobs, job_of
from eventdbx.surfaces.cli.values import U32, U64

RETRY_WAIT_MS = 25_000
"""How long the outcome is waited for; below the time limit of an answer."""

SHOWN_MAX = 100
SHOWN = ("pending", "processing", "dead")
COLUMNS = ("id", "name", "status", "attempts", "next_retry_at", "last_error")
_HOUR_MS = 3_600_000

PLUGIN = option("--plugin", "name", metavar="NAME", help="Only those of this plugin")
YES = option("--yes", is_flag=True, help="Do not ask")
JOB = argument("job", type=U64, help="Number of the job, as `dbx queue` shows it")


def register(root: click.Group) -> None:
    """Add the group to the root."""

    @root.group(
        "queue",
        invoke_without_command=True,
        examples=("dbx queue", "dbx queue --plugin hook --json", "dbx queue retry"),
    )
    @PLUGIN
    @option("--limit", type=U32, default=str(SHOWN_MAX), metavar="N", show_default=True,
            help="At most so many jobs of each status")  # fmt: skip
    @option("--all", "everything", is_flag=True, conflicts=("limit",), help="All jobs")
    @DOCUMENT
    @click.pass_context
    def queue(context: click.Context, name: str | None, limit: int, everything: bool) -> None:
        """Show or manage the plugin retry queue"""
        if not context.args:
            show_queue(context, name, limit=ALL if everything else limit)

    _register_show(queue)
    _register_clear(queue)
    _register_retry(queue)
    _register_drop(queue)
    _register_export(queue)
    _register_pause(queue)


# --- showing


def show_queue(context: click.Context, name: str | None, *, limit: int = SHOWN_MAX) -> None:
    """Print the queue of one plugin, or of all."""
    found = operate(context, _named({"do": "queue", "limit": limit}, name))
    if format_wanted() in ROWS:
        jobs = (job for status in SHOWN for job in found["jobs"][status][:limit])
        print_array(jobs, columns=COLUMNS)
        return
    if documents_wanted():
        print_json(found)
        return
    print_line(" ".join(f"{one}={found[one]}" for one in ("pending", "processing", "done", "dead")))
    for status in SHOWN:
        jobs = found["jobs"][status][:limit]
        if not jobs:
            continue
        print_line(f"\n{status.capitalize()} jobs:")
        for job in jobs:
            print_line(f"  {job_line(job)}")
        if found[status] > len(jobs):
            print_line(f"  … {found[status] - len(jobs)} more")
            note_on_terminal("more: --all, or a larger --limit")


def _named(operation: Document, name: str | None) -> Document:
    return operation if name is None else {**operation, "name": name}


def job_line(job: Document) -> str:
    """Return the line of one job."""
    return (
        f'id={job["id"]} plugin="{job["label"]}" status="{job["status"]}" '
        f"attempts={job['attempts']} next_retry={moment(job['next_retry_at'])} "
        f"last_error={one_line(job['last_error'] or '-')}"
    )


def _register_show(group: click.Group) -> None:
    @group.command("show", examples=("dbx queue show 133859581091672069",))
    @JOB
    @PLUGIN
    @AS_JSON
    @click.pass_context
    def show(context: click.Context, job: int, name: str | None, as_json: bool) -> None:
        """Show one job: its event, what went wrong, and what would be sent

        Jobs have the number of their event; --plugin tells those of several plugins apart.
        """
        with asking(context) as plugins:
            found = job_of(plugins, job, name)
        if found is None:
            raise _no_job(job)
        if as_json:
            print_json(found)
            return
        for name in ("id", "name", "label", "status", "attempts"):
            print_line(f"{name}={found[name]}")
        print_line(f"next_retry={moment(found['next_retry_at'])}")
        for name in ("aggregate_type", "aggregate_id", "version", "event_type", "event_id",
                     "position", "priority", "last_error"):  # fmt: skip
            value = found.get(name)
            print_line(f"{name}={'-' if value is None else one_line(str(value))}")
        document = found.get("document")
        print_line(f"document={'-' if document is None else pretty(document)}")


def _no_job(job: int) -> Failure:
    return Failure(f"no plugin job {job}", hint="`dbx queue` lists them", code=NOT_FOUND)


# --- clearing


def _register_clear(group: click.Group) -> None:
    @group.command("clear", examples=("dbx queue clear", "dbx queue clear --plugin hook --yes"))
    @PLUGIN
    @YES
    @DOCUMENT
    @click.pass_context
    def clear(context: click.Context, name: str | None, yes: bool) -> None:
        """Remove all dead entries from the queue

        Their events are not delivered; what waited behind them goes on.
        """
        with asking(context) as plugins:
            found = plugins.do(_named({"do": "queue", "limit": ALL}, name))
        ids = [job["id"] for job in found["jobs"]["dead"]]
        if not ids:
            print_result({"cleared": 0}, "no dead plugin jobs to clear")
            return
        if not yes and not _cleared(len(ids), "dead"):
            return
        # Those that were counted, not those that died meanwhile.
        dropped = operate(context, _named({"do": "drop", "ids": ids}, name), writes=True)["dropped"]
        print_result({"cleared": dropped}, f"cleared {dropped} dead job(s) from the plugin queue")

    @group.command(
        "clear-done",
        examples=("dbx queue clear-done", "dbx queue clear-done --older-than-hours 24"),
    )
    @option("--older-than-hours", "hours", type=U64, metavar="HOURS", help="Only those older")
    @YES
    @DOCUMENT
    @click.pass_context
    def clear_done(context: click.Context, hours: int | None, yes: bool) -> None:
        """Remove completed entries from the queue

        They are counters, hour by hour; nothing else is kept of what was delivered.
        """
        operation: Document = {"do": "clear_done"}
        if hours is not None:
            operation["older_than_ms"] = hours * _HOUR_MS
        count = operate(context, {**operation, "only_count": True}, writes=True)["cleared"]
        if not count:
            print_result({"cleared": 0}, "no done plugin jobs match the provided criteria")
            return
        if not yes and not _cleared(count, "done"):
            return
        cleared = operate(context, operation, writes=True)["cleared"]
        print_result({"cleared": cleared}, f"cleared {cleared} done job(s) from the plugin queue")


def _cleared(count: int, status: str) -> bool:
    """Ask, where lines are printed on stdout as it always was; say so when the answer is no."""
    if _agreed(f"This will remove {count} {status} plugin job(s)."):
        return True
    print_result({"cancelled": True}, "clear cancelled")
    return False


def _agreed(question: str) -> bool:
    stream = sys.stderr if documents_wanted() else sys.stdout
    stream.write(f"{question} Type 'clear' to confirm: ")
    stream.flush()
    return sys.stdin.readline().strip().lower() == "clear"


def _register_drop(group: click.Group) -> None:
    @group.command("drop", examples=("dbx queue drop 133859581091672069 --yes",))
    @JOB
    @PLUGIN
    @YES
    @DOCUMENT
    @click.pass_context
    def drop(context: click.Context, job: int, name: str | None, yes: bool) -> None:
        """Give up one dead job for good; what waited behind it goes on"""
        if not yes and not _cleared(1, "dead"):
            return
        if not operate(context, _named({"do": "drop", "id": job}, name), writes=True)["dropped"]:
            raise Failure(
                f"no dead plugin job {job}", hint="`dbx queue` lists them", code=NOT_FOUND
            )
        print_result({"dropped": 1, "id": job}, "dropped 1 dead job(s) from the plugin queue")


# --- trying again


def _register_retry(group: click.Group) -> None:
    @group.command(
        "retry",
        examples=("dbx queue retry", "dbx queue retry --plugin hook --since 2026-01-01T00:00:00Z"),
    )
    @option("--event-id", type=U64, metavar="EVENT_ID", help="Only the job of this number")
    @PLUGIN
    @option("--since", type=Time(), metavar="TIME", help="Only events committed since then")
    @option("--no-wait", is_flag=True, help="Do not wait for the outcome")
    @DOCUMENT
    @click.pass_context
    def retry(
        context: click.Context,
        event_id: int | None,
        name: str | None,
        since: int | None,
        no_wait: bool,
    ) -> None:
        """Retry dead entries, optionally filtering by job id

        Their attempts start from none again. Waits up to 25 seconds for the outcome.
        """
        operation = _named({"do": "retry"}, name)
        if event_id is not None:
            operation["id"] = event_id
        if since is not None:
            operation["since_ms"] = since // 1_000_000
        with asking(context, writes=True) as plugins:
            found = plugins.do(_named({"do": "queue", "limit": ALL}, name))
            dead = {job["id"] for job in found["jobs"]["dead"]}
            if event_id is not None and event_id not in dead:
                print_result(_NOT_RETRIED, "no dead plugin jobs match the provided id")
                return
            if not dead:
                print_result(_NOT_RETRIED, "no dead plugin jobs to retry")
                return
            if not any(_takes_events(one) for one in plugins.entries()):
                print_result(_NOT_RETRIED, "no enabled plugins available to process retries")
                return
            answer = plugins.do({**operation, "wait_ms": 0 if no_wait else RETRY_WAIT_MS})
        retried, still = answer["retried"], answer["dead"]
        print_result(
            {"retried": retried, "dead": still},
            f"retry summary: retried {retried} job(s), {still} still dead",
        )


_NOT_RETRIED = {"retried": 0, "dead": 0}


def _takes_events(entry: Document) -> bool:
    return entry.get("unavailable") is None and entry["enabled"] and entry["emit_events"]


# --- the rest


def _register_export(group: click.Group) -> None:
    @group.command("export", examples=("dbx queue export dead.ndjson --status dead",))
    @argument("file", help="A new file, or - for stdout")
    @PLUGIN
    @option("--status", type=click.Choice(STATUSES), metavar="STATUS", help="Only these jobs")
    @DOCUMENT
    @click.pass_context
    def export(context: click.Context, file: str, name: str | None, status: str | None) -> None:
        """Write undelivered events to a file: a JSON document in each line"""
        with asking(context) as plugins:
            count = export_jobs(plugins, name, file, STATUSES if status is None else (status,))
        if documents_wanted() and file != "-":
            print_json({"file": file, "jobs": count})
        else:
            note(f"wrote {count} job(s)")


def _register_pause(group: click.Group) -> None:
    _register_change(group, "pause", "Stop delivery to one plugin, or to all; nothing is skipped")
    _register_change(group, "resume", "Go on with delivery to one plugin, or to all")


def _register_change(group: click.Group, do: str, phrase: str) -> None:
    @group.command(do, help=phrase, examples=(f"dbx queue {do}", f"dbx queue {do} hook"))
    @argument("name", required=False, help="Only this plugin")
    @DOCUMENT
    @click.pass_context
    def change(context: click.Context, name: str | None) -> None:
        with asking(context, writes=True) as plugins:
            names = [name] if name is not None else _usable(plugins.entries())
            pause_or_resume(plugins, do, names)
        if not names and not documents_wanted():
            print_line("(no plugins configured)")


def _usable(entries: list[Document]) -> list[str]:
    return [key_of(one) for one in entries if one.get("unavailable") is None]
