"""``dbx aggregate referrers`` and ``migrate``, and what removing asks of referrers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from eventdbx.domain.commands import Write
from eventdbx.errors import AggregateNotFound, EventDBXError, SchemaNotFound, SchemaViolation
from eventdbx.surfaces.cli.failures import EXIT_FAILED, Failure, Stop
from eventdbx.surfaces.cli.options import (
    AGGREGATE,
    AS_JSON,
    DOCUMENT,
    TOKEN,
    argument,
    check_note,
    option,
)
from eventdbx.surfaces.cli.output import (
    complain,
    print_json,
    print_line,
    print_listing,
    say_empty,
)
from eventdbx.surfaces.cli.session import Database, Pages, database, opened

if TYPE_CHECKING:
    from eventdbx.domain.schemas.model import SchemaSet
    from eventdbx.domain.schemas.references import ReferencePath
    from eventdbx.surfaces.control.calls import Calls

_NAMED_BLOCKERS = 5


def register(group: click.Group) -> None:
    """Add the commands to ``dbx aggregate``."""
    _register_referrers(group)
    _register_migrate(group)


def _register_referrers(group: click.Group) -> None:
    @group.command(
        "referrers",
        examples=("dbx aggregate referrers customer c-1 --json",),
        columns=("aggregate_type", "aggregate_id", "path"),
    )
    @AGGREGATE
    @TOKEN
    @DOCUMENT
    @click.pass_context
    def referrers(
        context: click.Context,
        aggregate: str,
        aggregate_id: str,
        token: str | None,
    ) -> None:
        """List aggregates that reference a target aggregate"""
        with database(context, token=token) as (way, calls):
            found = _found(_referrers(way, calls, aggregate, aggregate_id))
            if not print_listing(found, _referrer_line, empty="no referrers found"):
                looked_for = f"no aggregate refers to {aggregate} {aggregate_id}"
                say_empty(looked_for, f"dbx aggregate get {aggregate} {aggregate_id}")


def _found(referrers: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield referrers; nothing refers to an aggregate that is not there."""
    try:
        yield from referrers
    except AggregateNotFound:
        return


def _referrer_line(referrer: dict[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in referrer.items())


def _referrers(way: Database, calls: Calls, aggregate: str, aggregate_id: str) -> Pages:
    return Pages(
        way,
        lambda cursor, _skip, size: calls.scan_referrers(aggregate, aggregate_id, cursor, size),
        take=None,
    )


def refuse_removing(
    way: Database, calls: Calls, domain: str, aggregate: str, aggregate_id: str
) -> None:
    """Raise Failure when references keep an aggregate from being removed."""
    from eventdbx.domain.schemas.references import reference_paths

    found = list(_referrers(way, calls, aggregate, aggregate_id))
    if not found:
        return
    schemas = _schemas(way, calls)
    restricting = {
        (name, path.text)
        for name, schema in schemas.items()
        for path in reference_paths(schema)
        if path.rule.cascade == "restrict"
    }
    blockers = []
    for one in found:
        names = one["aggregate_type"], one["aggregate_id"]
        if names == (aggregate, aggregate_id) or (names[0], one["path"]) not in restricting:
            continue
        holder = way.call(calls.get(*names))
        if holder is None or holder.get("archived", False):
            continue
        blockers.append(f"{domain}:{names[0]}:{names[1]} ({one['path']})")
        if len(blockers) == _NAMED_BLOCKERS:
            break
    if blockers:
        raise Failure(
            f"aggregate {aggregate}:{aggregate_id} cannot be removed; "
            f"referenced by {', '.join(blockers)}",
            code=SchemaViolation.code,
        )


def _schemas(way: Database, calls: Calls) -> SchemaSet:
    import orjson

    from eventdbx.domain.schemas.reading import read_schemas

    listed = way.call(calls.schema({"do": "list"}))
    return read_schemas(orjson.dumps(listed["schemas"]), now_ns=0)[0]


def _register_migrate(group: click.Group) -> None:
    @group.command(
        "migrate",
        examples=(
            "dbx aggregate migrate order --event order_changed --field customer --dry-run",
            "dbx aggregate migrate farm --event farm_moved --field site.address --aggregate-id f-1",
        ),
    )
    @argument("aggregate", spelled="--aggregate", help="Aggregate type")
    @option("--event", required=True, metavar="EVENT", help="Event type to append")
    @option(
        "--field",
        "fields",
        required=True,
        multiple=True,
        metavar="FIELD",
        help="Reference column to rewrite; inside an object by its dotted path",
    )
    @option("--aggregate-id", metavar="ID", help="Only this aggregate")
    @option("--dry-run", is_flag=True, help="Say what would change, write nothing")
    @option("--note", metavar="NOTE", help="Note of the events")
    @AS_JSON
    @click.pass_context
    def migrate(context: click.Context, /, **given: Any) -> None:
        """Rewrite reference fields after switching to reference format

        Appends one event to each aggregate whose fields hold references in another form than the
        canonical one, domain#aggregate#id.
        """
        check_note(given["note"])
        domain = opened(context).config.domain
        with database(context, writes=not given["dry_run"]) as (way, calls):
            schemas = _schemas(way, calls)
            paths = _migrated_paths(schemas, given["aggregate"], given["fields"])
            run = _Migration(way, calls, domain, paths, given)
            counted = run.all()
        _print_migrated(run, counted, given)
        if counted is not None and counted.errors:
            raise Stop(EXIT_FAILED)


def _print_migrated(run: _Migration, counted: _Counted | None, given: dict[str, Any]) -> None:
    if given["as_json"]:
        counts = (counted or _Counted())._asdict()
        print_json({"dry_run": given["dry_run"], **counts, "aggregates": run.changed})
        return
    if counted is None:
        print_line(f"no aggregates found for '{given['aggregate']}'")
        return
    what = "would update" if given["dry_run"] else "updated"
    for one in run.changed:
        print_line(
            f"aggregate_type={one['aggregate_type']} aggregate_id={one['aggregate_id']} "
            f"{what} fields: {', '.join(one['fields'])}"
        )
    print_line(
        "migrate references summary: "
        + " ".join(f"{key}={value}" for key, value in counted._asdict().items())
    )
    if given["dry_run"]:
        print_line("dry-run only; no events were written")


def _migrated_paths(
    schemas: SchemaSet, aggregate: str, fields: tuple[str, ...]
) -> list[ReferencePath]:
    from eventdbx.domain.schemas.references import reference_paths

    schema = schemas.get(aggregate)
    if schema is None:
        raise SchemaNotFound()
    known = {path.text: path for path in reference_paths(schema)}
    for field in fields:
        if field in known:
            continue
        if field.split(".", 1)[0] not in schema.column_types and field not in schema.column_types:
            raise Failure(
                f"field '{field}' is not defined for aggregate {aggregate}; "
                "set a reference column first",
                code="invalid_schema",
            )
        raise Failure(
            f"field '{field}' is not marked as a reference field; "
            f"set it with `dbx schema field {aggregate} {field} --type reference` first",
            code="invalid_schema",
        )
    return [known[field] for field in dict.fromkeys(fields)]


class _Counted(NamedTuple):
    planned: int = 0
    applied: int = 0
    unchanged: int = 0
    skipped: int = 0
    errors: int = 0


class _Migration:
    """One run of ``migrate``: a look at each aggregate, and an event where something changes."""

    def __init__(
        self,
        way: Database,
        calls: Calls,
        domain: str,
        paths: list[ReferencePath],
        given: dict[str, Any],
    ) -> None:
        self._way = way
        self._calls = calls
        self._domain = domain
        self._paths = paths
        self._given = given
        self.changed: list[dict[str, Any]] = []

    def all(self) -> _Counted | None:
        """Migrate what was asked for; return the counts, None when there is no aggregate."""
        counted: _Counted | None = None
        for one in self._aggregates():
            counted = counted or _Counted()
            for outcome in self._migrate(one):
                counted = counted._replace(**{outcome: getattr(counted, outcome) + 1})
        return counted

    def _aggregates(self) -> Iterator[dict[str, Any]]:
        kind, identifier = self._given["aggregate"], self._given["aggregate_id"]
        if identifier is not None:
            found = self._way.call(self._calls.get(kind, identifier))
            if found is None:
                raise AggregateNotFound()
            yield found
            return
        yield from Pages(
            self._way,
            lambda cursor, skip, size: self._calls.scan_aggregates(
                aggregate_type=kind, cursor=cursor, skip=skip, take=size, scope="all"
            ),
            take=None,
        )

    def _migrate(self, aggregate: dict[str, Any]) -> tuple[str, ...]:
        """Migrate one aggregate; return which counts grow."""
        from eventdbx.domain.schemas.references import parse_reference, texts_at, with_values

        kind = aggregate["aggregate_type"]
        where = f"aggregate_type={kind} aggregate_id={aggregate['aggregate_id']}"
        held = [(path, text) for path, text in texts_at(aggregate["state"], self._paths) if text]
        if not held or aggregate.get("archived", False):
            return ("skipped",)
        changes = []
        for path, text in held:
            try:
                found = parse_reference(text, domain=self._domain, aggregate_type=kind)
            except SchemaViolation as error:
                complain(f"{where} failed to read field {path.text}: {error.detail}")
                return ("errors",)
            if str(found) != text:
                changes.append((path, str(found)))
        if not changes:
            return ("unchanged",)
        names = {key: aggregate[key] for key in ("aggregate_type", "aggregate_id")}
        done = {**names, "fields": [path.text for path, _text in changes]}
        if self._given["dry_run"]:
            self.changed.append(done)
            return ("planned",)
        changed = with_values(aggregate["state"], changes)
        payload = {path.segments[0]: changed[path.segments[0]] for path, _text in changes}
        try:
            self._append(aggregate, payload)
        except EventDBXError as error:
            complain(f"{where} failed to append event: {error}")
            return "planned", "errors"
        self.changed.append(done)
        return "planned", "applied"

    def _append(self, aggregate: dict[str, Any], payload: dict[str, Any]) -> None:
        import orjson

        write = Write(
            "apply",
            aggregate["aggregate_type"],
            aggregate["aggregate_id"],
            self._given["event"],
            orjson.dumps(payload).decode(),
            None,
            self._given["note"],
            (),
            aggregate["version"],
        )
        self._way.call(self._calls.commit_batch((write,), answer="receipts"))
