"""``dbx import``: events from a file, or from another program, in batches."""

from __future__ import annotations

import os
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eventdbx import limits
from eventdbx.errors import EventDBXError, InvalidSchema, Unauthorized
from eventdbx.surfaces.cli.failures import Failure, UsageFailure
from eventdbx.surfaces.cli.options import AS_JSON, TOKEN, argument, option
from eventdbx.surfaces.cli.output import note, print_json, print_line
from eventdbx.surfaces.cli.progress import Progress
from eventdbx.surfaces.cli.session import Database, database, opened
from eventdbx.surfaces.cli.values import Unsigned

if TYPE_CHECKING:
    from eventdbx.surfaces.cli.importing.rows import Checks
    from eventdbx.surfaces.cli.importing.skipping import Skipped
    from eventdbx.surfaces.cli.importing.source import Source
    from eventdbx.surfaces.cli.importing.state import State
    from eventdbx.surfaces.control.calls import Calls

SHOWN_MAX = 10
"""Wrong lines that one failure lists."""

SKIP_HINT = "put it right, or import the rest: --on-error skip --errors FILE"

_CSV_ONLY = ("aggregate_type", "event_type", "id_column", "keep_empty")


def register(root: click.Group) -> None:
    """Add the command to the root."""

    @root.command(
        "import",
        examples=(
            "dbx import events.ndjson --dry-run",
            "dbx import events.ndjson",
            "dbx import events.csv",
            "dbx import events.ndjson --on-error skip --errors refused.ndjson",
        ),
    )
    @argument("file", help="File of events, one a line; - for stdin")
    @option(
        "--format",
        "kind",
        type=click.Choice(["ndjson", "csv"]),
        metavar="FORMAT",
        help="ndjson or csv [default: csv for names that end so, else ndjson]",
    )
    @option("--type", "aggregate_type", metavar="TYPE", help="CSV: the type of all aggregates")
    @option("--event", "event_type", metavar="EVENT", help="CSV: the type of all events")
    @option("--id-column", metavar="COLUMN", help="CSV: where ids are [default: aggregate_id]")
    @option("--keep-empty", is_flag=True, help="CSV: empty cells are empty texts, not left out")
    @option("--dry-run", is_flag=True, help="Check everything, write nothing")
    @option("--no-check", is_flag=True, help="Do not check the whole file before writing")
    @option(
        "--batch-size",
        type=Unsigned(32),
        metavar="N",
        help=f"Events of one commit, 1 to {limits.BATCH_WRITES_MAX} "
        f"[default: {limits.BATCH_WRITES_MAX}]",
    )
    @option("--resume", is_flag=True, conflicts=("restart",), help="Go on where it was interrupted")
    @option("--restart", is_flag=True, help="Begin again, whatever was written before")
    @option(
        "--on-error",
        type=click.Choice(["stop", "skip"]),
        default="stop",
        metavar="WHAT",
        help="stop at a line that is refused, or skip it [default: stop]",
    )
    @option("--errors", metavar="FILE", help="New file for the lines that were skipped, and why")
    @option("--state", metavar="FILE", help="Where to keep how far it is [default: beside FILE]")
    @TOKEN
    @AS_JSON
    @click.pass_context
    def import_events(context: click.Context, /, **given: Any) -> None:
        """Import events from NDJSON or CSV

        Each line is one event, appended to its aggregate, which is made where it is missing. The
        whole file is checked before anything is written; batches are committed whole or not at
        all, and an import that was interrupted goes on with --resume without writing twice.
        """
        from eventdbx.surfaces.cli.importing.csv import Options
        from eventdbx.surfaces.cli.importing.source import kind_of, opened_source

        kind = kind_of(given["file"], given["kind"])
        _check_options(given, kind)
        options = Options(*(given[name] for name in _CSV_ONLY))
        with opened_source(given["file"], kind, options) as source:
            _Import(context, given, source).run()


def _check_options(given: dict[str, Any], kind: str) -> None:
    """Raise UsageFailure for options that do not go together."""
    from eventdbx.surfaces.cli.importing.source import STDIN
    from eventdbx.surfaces.cli.importing.state import beside

    if kind != "csv" and any(given[name] for name in _CSV_ONLY):
        raise UsageFailure("--type, --event, --id-column and --keep-empty are for CSV")
    if (given["on_error"] == "skip") != (given["errors"] is not None):
        raise UsageFailure("--on-error skip and --errors FILE go together")
    size = given["batch_size"]
    if size is not None and not 0 < size <= limits.BATCH_WRITES_MAX:
        raise UsageFailure(f"--batch-size is 1 to {limits.BATCH_WRITES_MAX}")
    if given["dry_run"] and (given["resume"] or given["restart"]):
        raise UsageFailure("--dry-run writes nothing, so there is nothing to resume or restart")
    if given["errors"] and _same(given["errors"], given["state"] or beside(given["file"])):
        raise UsageFailure("--errors and --state are the same file")
    if given["file"] == STDIN:
        _check_once(given, "stdin")


def _check_once(given: dict[str, Any], name: str) -> None:
    """Raise UsageFailure for options that are not for what can be read once only."""
    if given["resume"] or given["restart"] or given["state"]:
        raise UsageFailure(f"{name} cannot be read again, so an import of it cannot be resumed")


def _same(one: str | Path, other: str | Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


class _Import:
    """One run of the command on an open source."""

    def __init__(self, context: click.Context, given: dict[str, Any], source: Source) -> None:
        self._context = context
        self._given = given
        self._source = source
        self._dry = bool(given["dry_run"])
        self._skips = given["on_error"] == "skip"

    def run(self) -> None:
        """Check and write. Raises Failure."""
        from eventdbx.surfaces.cli.importing import state as import_state
        from eventdbx.surfaces.cli.importing.rows import Checks

        given = self._given
        if not self._source.again:
            _check_once(given, self._source.name)
        state = self._state()
        if not self._dry:
            import_state.begin(state, resume=given["resume"], restart=given["restart"])
            if given["batch_size"] is not None and not state.resumed:
                state.batch_size = given["batch_size"]
        skipped = self._skipped(state)
        way_of = database(
            self._context, token=given["token"], doing="import events", writes=not self._dry
        )
        with closing(skipped) if skipped is not None else nullcontext(), way_of as (way, calls):
            checks = self._checks(way, calls)
            total = None
            if self._source.again and not self._skips and not given["no_check"] or self._dry:
                total = self._check(checks, state, skipped)
            batches = 0
            if not self._dry:
                if total is not None:
                    checks = Checks(None, "off")  # They were held against the schemas just now.
                batches = self._write(way, calls, checks, state, skipped, total)
        self._tell(state, total or 0, batches)

    def _state(self) -> State:
        """Return the state of a fresh import, and where it is kept."""
        from eventdbx.surfaces.cli.importing.state import State, beside
        from eventdbx.surfaces.cli.importing.store import store_name

        place = opened(self._context)
        path = None
        if self._source.again:
            given = self._given["state"]
            path = Path(given) if given else beside(self._given["file"])
        begun = {
            "store": store_name(self._context),
            "domain": place.config.domain,
            "format": self._source.kind,
        }
        return State(path, begun | self._source.options._asdict())

    def _skipped(self, state: State) -> Skipped | None:
        from eventdbx.surfaces.cli.importing.skipping import Skipped

        if not self._skips:
            return None
        path = Path(os.path.realpath(self._given["errors"]))
        if state.errors != str(path):
            state.errors, state.errors_bytes = str(path), 0
            return Skipped(path)
        return Skipped(path, state.errors_bytes)

    def _checks(self, way: Database, calls: Calls) -> Checks:
        """Return what lines are checked for, with the schemas in force if they may be seen."""
        import orjson

        from eventdbx.domain.schemas.contract import compile_schema
        from eventdbx.domain.schemas.reading import read_schemas
        from eventdbx.surfaces.cli.importing.rows import Checks

        try:
            answer = way.call(calls.schema({"do": "list"}))
        except Unauthorized:
            note("note: the token cannot read schemas, so lines are held against them when written")
            return Checks(None, "off")
        schemas, _warnings = read_schemas(orjson.dumps(answer["schemas"]), now_ns=0)
        contracts = {name: compile_schema(schema) for name, schema in schemas.items()}
        return Checks(contracts, answer["restrict"])

    def _check(self, checks: Checks, state: State, skipped: Skipped | None) -> int:
        """Read everything that is to be written; return how many events. Raises Failure."""
        from eventdbx.surfaces.cli.importing.rows import Bad

        lines = self._source.lines()
        rows = self._source.rows(lines, checks)
        if state.resumed:
            state.find(lines)
        good = wrong = 0
        shown: list[Bad] = []
        with Progress(self._context, "checking", unit="lines") as progress:
            for one in rows:
                progress.advance()
                if not isinstance(one, Bad):
                    good += 1
                    continue
                wrong += 1
                if skipped is not None:
                    skipped.add([one])
                elif len(shown) < SHOWN_MAX:
                    shown.append(one)
        if shown:
            raise _wrong_lines(self._source.name, shown, wrong, state.events)
        state.skipped += wrong
        return good

    def _write(
        self,
        way: Database,
        calls: Calls,
        checks: Checks,
        state: State,
        skipped: Skipped | None,
        total: int | None,
    ) -> int:
        """Write everything behind the state's place; return how many batches that were."""
        from eventdbx.surfaces.cli.importing.known import Log
        from eventdbx.surfaces.cli.importing.run import Importer, Way
        from eventdbx.surfaces.cli.importing.store import check_store, end_of, place_of

        lines = self._source.lines()
        rows = self._source.rows(lines, checks)
        known = None
        if state.resumed:
            state.find(lines)
            check_store(way, calls, state)
            if not state.keys_are_sure:
                after = None if state.last is None else state.last[0]
                known = Log(way, calls, place_of(state), after).holds
        if state.place is None:
            state.place = end_of(way, calls)
        with Progress(self._context, "importing", unit="events", total=total) as progress:
            importer = Importer(
                self._source.name, lines, rows, state, Way(way, calls),
                skipped=skipped, known=known, progress=progress,
            )  # fmt: skip
            importer.run()
        return importer.batches

    def _tell(self, state: State, checked: int, batches: int) -> None:
        """Print what was done."""
        given, events = self._given, checked if self._dry else state.events
        if given["as_json"]:
            print_json(
                {
                    "file": given["file"],
                    "format": self._source.kind,
                    "dry_run": self._dry,
                    "resumed": state.resumed,
                    "events": events,
                    "batches": batches,
                    "skipped": state.skipped,
                    "errors": given["errors"],
                }
            )
            return
        name = self._source.name
        if self._dry:
            print_line(f"{name}: {events} event(s) can be written; nothing was written")
        else:
            print_line(f"Imported {events} event(s) from {name}")
        if state.skipped:
            print_line(f"skipped {state.skipped} line(s), see {given['errors']}")


def _wrong_lines(name: str, shown: list[Any], count: int, written: int) -> Failure:
    """Return the failure of a file with wrong lines."""
    from eventdbx.surfaces.cli.importing.rows import reason

    first: EventDBXError = shown[0].error
    nothing = "nothing was written" if not written else "nothing more was written"
    if count == 1:
        return Failure(
            f"{name} line {shown[0].line}: {reason(first)}", nothing, hint=SKIP_HINT,
            code=first.code,
        )  # fmt: skip
    causes = [f"line {one.line}: {reason(one.error)}" for one in shown]
    if count > len(shown):
        causes.append(f"and {count - len(shown):,} more")
    return Failure(
        f"{count:,} lines of {name} are wrong; {nothing}",
        *causes,
        hint=SKIP_HINT,
        code=InvalidSchema.code,
    )
