"""``dbx aggregate export``: the states of aggregates as files for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from eventdbx import limits
from eventdbx.surfaces.cli.exporting.files import (
    Printed,
    Unfinished,
    archive_place,
    member_name,
    plain_places,
    real_path,
    written_to,
)
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import AS_JSON, INCLUDE_HIDDEN, argument, option
from eventdbx.surfaces.cli.output import note, print_json, print_line
from eventdbx.surfaces.cli.progress import Progress
from eventdbx.surfaces.cli.session import Database, Pages, database

if TYPE_CHECKING:
    from eventdbx.surfaces.cli.exporting.rows import Row
    from eventdbx.surfaces.control.calls import Calls

STDOUT = "-"
LAST_ID = "z" * limits.AGGREGATE_ID_BYTES_MAX
"""The last of all ids that a type can have."""


class _Wanted(NamedTuple):
    """The options of the command that say how it writes."""

    kind: str
    pretty: bool


class _Source:
    """The aggregates to be exported, read page by page; counts what it gave."""

    def __init__(self, way: Database, calls: Calls, progress: Progress) -> None:
        self._way = way
        self._calls = calls
        self._progress = progress

    def types(self) -> list[str]:
        """Return every type that has active aggregates, in order; one look for each."""
        found: list[str] = []
        cursor = None
        while True:
            first = self._way.call(
                self._calls.scan_aggregates(cursor=cursor, take=1, scope="active")
            )
            if not first.items:
                return found
            found.append(first.items[0]["aggregate_type"])
            cursor = f"a:{found[-1]}:{LAST_ID}"

    def has(self, aggregate_type: str) -> bool:
        """Say whether a type has active aggregates."""
        call = self._calls.scan_aggregates(aggregate_type=aggregate_type, take=1, scope="active")
        return bool(self._way.call(call).items)

    def rows(self, aggregate_type: str) -> Iterator[Row]:
        """Yield the active aggregates of a type by their ids."""
        from eventdbx.surfaces.cli.exporting.rows import Row

        pages = Pages(
            self._way,
            lambda cursor, _skip, size: self._calls.scan_aggregates(
                aggregate_type=aggregate_type, cursor=cursor, take=size, scope="active"
            ),
            take=None,
        )
        for one in pages:
            yield Row(one["aggregate_id"], one["state"])
            self._progress.advance()


def register(group: click.Group) -> None:
    """Add the command to ``dbx aggregate``."""

    @group.command(
        "export",
        examples=(
            "dbx aggregate export order --output orders.csv",
            "dbx aggregate export order --format ndjson --output -",
            "dbx aggregate export --all --format json --pretty --output exported",
            "dbx aggregate export --all --zip --output exported.zip",
        ),
    )
    @argument("aggregate", spelled="--aggregate", required=False, help="Only of this type")
    @option("--all", "everything", is_flag=True, help="Export every type, each to its own file")
    @option(
        "-o",
        "--output",
        "target",
        required=True,
        metavar="OUTPUT",
        help="File or directory to write to; - for stdout",
    )
    @option(
        "--format",
        "kind",
        type=click.Choice(["csv", "json", "ndjson"]),
        default="csv",
        metavar="FORMAT",
        help="csv, a JSON array (json), or one JSON object a line (ndjson) [default: csv]",
    )
    @option("--zip", "zipped", is_flag=True, help="Write one zip archive")
    @option("--pretty", is_flag=True, help="Indent JSON")
    @INCLUDE_HIDDEN
    @AS_JSON
    @click.pass_context
    def export(context: click.Context, /, **given: Any) -> None:
        """Export aggregate state to CSV or JSON

        Only active aggregates, in the order of their ids. Values are those that `aggregate get`
        shows; a key that an aggregate lacks is empty in CSV and absent in JSON. A file gets its
        name when it is whole.
        """
        wanted, everything = given["aggregate"], given["everything"]
        if everything and wanted is not None:
            raise Failure("aggregate name cannot be provided when using --all")
        if not everything and wanted is None:
            raise Failure("aggregate name must be provided unless --all is specified")
        to_stdout = given["target"] == STDOUT
        if given["zipped"] and to_stdout:
            raise Failure("--zip needs a file to write to, not stdout")
        progress = Progress(context, "exporting", unit="aggregates")
        with progress, database(context) as (way, calls):
            source = _Source(way, calls, progress)
            types = source.types() if everything else [wanted] if source.has(wanted) else []
            files = _written(source, types, given) if types or to_stdout else []
        _tell(given, types, files, progress.done)


def _written(source: _Source, types: list[str], given: dict[str, Any]) -> list[str]:
    """Write everything; return the names of the files, none for stdout."""
    wanted = _Wanted(given["kind"], given["pretty"])
    if given["target"] == STDOUT:
        if len(types) > 1:
            raise Failure(
                "output path must be a directory when exporting multiple aggregate types",
                hint="name one type to have it on stdout",
            )
        rows = source.rows(types[0]) if types else iter(())
        _write(rows, wanted, Printed(), Path(gettempdir()))
        return []
    output = Path(given["target"])
    if given["zipped"]:
        place = archive_place(output, types, wanted.kind)
        with written_to(place):
            _write_archive(source, types, wanted, place)
        return [str(place)]
    places = plain_places(output, types, wanted.kind)
    for one, place in places.items():
        with written_to(place):
            _write_file(source, one, wanted, place)
    return [str(place) for place in places.values()]


def _write_file(source: _Source, one: str, wanted: _Wanted, place: Path) -> None:
    if place.exists() and not place.is_file():
        with place.open("wb") as pipe:
            _write(source.rows(one), wanted, pipe, Path(gettempdir()))
        return
    with Unfinished(place) as file:
        _write(source.rows(one), wanted, file, real_path(place).parent)


def _write(rows: Iterator[Row], wanted: _Wanted, out: Any, beside: Path) -> None:
    from eventdbx.surfaces.cli.exporting.rows import write_rows

    write_rows(rows, wanted.kind, out, pretty=wanted.pretty, beside=beside)


def _write_archive(source: _Source, types: list[str], wanted: _Wanted, place: Path) -> None:
    from time import localtime
    from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

    now = localtime()[:6]
    with Unfinished(place) as file, ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for one in types:
            entry = ZipInfo(member_name(one, wanted.kind), now)
            entry.compress_type = ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            with archive.open(entry, "w", force_zip64=True) as member:
                _write(source.rows(one), wanted, member, real_path(place).parent)


def _tell(given: dict[str, Any], types: list[str], files: list[str], rows: int) -> None:
    """Print what was written, unless stdout is what was written."""
    one = given["aggregate"]
    nothing = "no aggregates found" if one is None else f"no aggregates found for '{one}'"
    if given["target"] == STDOUT:
        if not types:
            note(nothing)
        return
    if given["as_json"]:
        print_json(
            {
                "format": given["kind"],
                "zip": given["zipped"],
                "types": types,
                "aggregates": rows,
                "files": files,
            }
        )
    elif not types:
        print_line(nothing)
    elif given["zipped"]:
        print_line(f"Exported {len(types)} aggregate type(s) to {files[0]} (zip archive)")
    else:
        for name in files:
            print_line(f"wrote {name}")
        print_line(f"Exported {len(types)} aggregate type(s) in {given['kind'].upper()} format")
