"""``dbx schema`` on a source file: its check, what it compiles to, and ``apply``.

The language is :mod:`eventdbx.domain.schemas.source`. A check and a look at the file need neither
a configuration nor a store.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import click

from eventdbx import limits
from eventdbx.domain.schemas.model import SchemaSet
from eventdbx.domain.schemas.names import matches_events
from eventdbx.domain.schemas.reading import read_schema, read_schemas
from eventdbx.domain.schemas.source import Compiled, compile_source
from eventdbx.domain.schemas.source_writing import source_text
from eventdbx.domain.schemas.writing import schema_value, schemas_value
from eventdbx.errors import EventDBXError, InvalidSchema
from eventdbx.surfaces.cli.failures import Failure, failure_of
from eventdbx.surfaces.cli.options import AS_JSON, option
from eventdbx.surfaces.cli.output import note, pretty, print_json, print_line
from eventdbx.surfaces.cli.schema.calls import Document, tenant_named, user, warn
from eventdbx.surfaces.cli.schema.versions import print_reload, server_answers
from eventdbx.surfaces.cli.session import Database, database

NAME = "schema.dbx"


class Source(NamedTuple):
    """A source file: how it is called, and its text."""

    name: str
    text: str

    def compiled(self, *, now_ns: int = 0, stored: SchemaSet | None = None) -> Compiled:
        """Return what the file says. Without arguments all times are the epoch."""
        return compile_source(self.text, now_ns=now_ns, stored=stored or {})


def find_source(path: str | None) -> Source | None:
    """Return the file of that path, else the nearest ``schema.dbx`` upward, None without one.

    Raises Failure for a file that cannot be read.
    """
    if path is not None:
        return Source(path, _text(Path(path)))
    here = Path.cwd()
    for folder in (here, *here.parents):
        found = folder / NAME
        if found.is_file():
            return Source(str(found), _text(found))
    return None


def need_source(path: str | None) -> Source:
    """Return a file as :func:`find_source` does. Raises Failure without one."""
    source = find_source(path)
    if source is None:
        raise Failure(
            f"could not find {NAME} in the current directory or any parent directory",
            hint="name one with --file; `dbx schema show --source` writes one from what there is",
            code="io",
        )
    return source


def _text(path: Path) -> str:
    failing = f"failed to read schema source {path}"
    bytes_max = limits.SCHEMA_SET_BYTES_MAX
    try:
        with path.open("rb") as file:
            raw = file.read(bytes_max + 1)
    except OSError as error:
        raise Failure(f"{failing}: {error.strerror} (os error {error.errno})", code="io") from None
    if len(raw) > bytes_max:
        raise InvalidSchema(f"schema source cannot exceed {bytes_max} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Failure(f"{failing}: it is not UTF-8 text", code="io") from None


# --- validate, show


def validate_source(path: str | None, as_json: bool) -> None:
    """Check a source file and say what was found. Raises Failure if it is not good."""
    try:
        source = need_source(path)
        compiled = source.compiled()
    except (Failure, EventDBXError) as error:
        failure = error if isinstance(error, Failure) else failure_of(error)
        if as_json:
            print_json({"valid": False, "file": path, "error": failure.message})
        raise failure from None
    _note(compiled.warnings)
    names = list(compiled.schemas)
    if as_json:
        print_json(
            {
                "valid": True,
                "file": source.name,
                "aggregate_count": len(names),
                "aggregates": names,
            }
        )
    else:
        print_line(f"schema={source.name} aggregate_count={len(names)} validation=ok")


def show_source(path: str | None, aggregate: str | None) -> Document | None:
    """Return what a source file compiles to: all of it, or one aggregate; times are the epoch.

    None when no path is given and there is no file, or when it says nothing of the aggregate: then
    something else may be meant. Raises Failure and InvalidSchema.
    """
    source = find_source(path)
    if source is None:
        return None
    try:
        compiled = source.compiled()
    except InvalidSchema as error:
        if path is not None or aggregate is None:
            raise
        # The name may be that of a stored schema: a draft must not bar the way to it.
        note(f"warning: {source.name}: {error}")
        return None
    _note(compiled.warnings)
    if aggregate is None:
        return schemas_value(compiled.schemas)
    if aggregate in compiled.schemas:
        return schema_value(compiled.schemas[aggregate])
    if path is None:
        return None
    raise Failure(
        f"aggregate {aggregate} is not defined in the schema source", code="schema_not_found"
    )


def print_schemas(shown: Any, *, as_source: bool) -> None:
    """Print a schema or a set of schemas, as JSON or in the language of source files."""
    if not as_source:
        print_json(shown)
        return
    name = shown.get("aggregate")
    if isinstance(name, str):
        schemas: SchemaSet = {name: read_schema(shown, name, now_ns=0)}
    else:
        schemas, _ = read_schemas(pretty(shown), now_ns=0)
    text = source_text(schemas)
    if text:
        print_line(text.removesuffix("\n"))


def _note(warnings: list[str]) -> None:
    for warning in warnings:
        note(f"warning: {warning}")


# --- apply


def register(group: click.Group) -> None:
    """Add ``apply`` to the group."""

    @group.command(
        "apply",
        help="Apply the local schema.dbx file to the active runtime schema store\n\n"
        "The schemas in force become those of the file, all of them. Those that the file leaves "
        "out are dropped; while there are aggregates of such a type, only with --prune.",
        examples=("dbx schema apply", "dbx schema apply --file schemas/shop.dbx --prune"),
    )
    @option(
        "--file",
        "path",
        metavar="PATH",
        help=f"Source file [default: the nearest {NAME} upward]",
    )
    @option(
        "--prune",
        "--yes",
        "prune",
        is_flag=True,
        help="Drop schemas that the file leaves out although there is data of their types",
    )
    @option("--no-reload", is_flag=True, help="Say nothing to the server; it knows anyway")
    @AS_JSON
    @click.pass_context
    def apply(
        context: click.Context, path: str | None, prune: bool, no_reload: bool, as_json: bool
    ) -> None:
        """Apply"""
        apply_source(context, path, prune=prune, no_reload=no_reload, as_json=as_json)


def apply_source(
    context: click.Context, path: str | None, *, prune: bool, no_reload: bool, as_json: bool
) -> None:
    """Put the schemas of a source file in force. Raises Failure and InvalidSchema."""
    source = need_source(path)
    source.compiled()  # A file that is not good is refused before a store is opened or made.
    tenant = tenant_named(context, None)
    with database(context, writes=True) as (way, calls):
        before = way.call(calls.schema({"do": "list"}))
        stored, _ = read_schemas(pretty(before["schemas"]), now_ns=0)
        compiled = source.compiled(now_ns=time.time_ns(), stored=stored)
        if not prune:
            _refuse_losses(way, calls, stored, compiled.schemas)
        operation = {
            "do": "replace",
            "schemas": schemas_value(compiled.schemas),
            "expect": before["digest"],
            "person": True,
            "reason": "schema apply",
            "actor": user(),
        }
        answer = way.call(calls.schema(operation))
    _note(compiled.warnings)
    warn({"warnings": [one for one in answer["warnings"] if one not in compiled.warnings]})
    names = list(compiled.schemas)
    if not as_json:
        print_line(f"tenant={tenant} schema={source.name} applied aggregates={len(names)}")
        print_reload(context, tenant, no_reload)
        return
    print_json(
        {
            "tenant": tenant.name,
            "file": source.name,
            "aggregate_count": len(names),
            "aggregates": names,
            "reloaded": not no_reload and server_answers(context),
            "reload_skipped": no_reload,
        }
    )


def _refuse_losses(way: Database, calls: Any, stored: SchemaSet, wanted: SchemaSet) -> None:
    """Raise Failure if a schema is dropped whose type has aggregates."""
    lost = [
        name
        for name, schema in stored.items()
        if name not in wanted and (schema.hidden or _has_data(way, calls, name))
    ]
    if lost:
        raise Failure(
            f"the schema source leaves out {', '.join(lost)}, of which there is data",
            hint="with --prune their schemas are dropped, and new events of them are not checked",
            code="schema_violation",
        )


def _has_data(way: Database, calls: Any, aggregate: str) -> bool:
    if not matches_events(aggregate, dots=False):
        return False
    page = calls.scan_aggregates(aggregate_type=aggregate, take=1, scope="all")
    return bool(way.call(page).items)
