"""``dbx audit export``, ``check``, ``verifier``: evidence for others, and what checks it."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

import click

from eventdbx import verify
from eventdbx.errors import AggregateNotFound
from eventdbx.surfaces.cli.failures import Failure, Stop, UsageFailure
from eventdbx.surfaces.cli.options import (
    AS_JSON,
    DOCUMENT,
    INCLUDE_HIDDEN,
    MAYBE_AGGREGATE,
    TOKEN,
    option,
)
from eventdbx.surfaces.cli.output import format_wanted, note, print_json, print_line, print_result
from eventdbx.surfaces.cli.plugin.replay import Progress
from eventdbx.surfaces.cli.proof.check_command import Check, register_check
from eventdbx.surfaces.cli.session import database

Document = dict[str, Any]


def register(group: click.Group) -> None:
    """Add the commands to the group."""
    _register_export(group)
    register_check(
        group,
        _check,
        examples=(
            "dbx audit check o-1.dbx-audit --key 'example.org/default+f00f+AQ…'",
            "dbx audit check o-1.dbx-audit --key KEY --event event.json",
        ),
        file="A bundle, or a proof of any kind",
        event="JSON of an event, which must be in the bundle as it is there",
    )
    _register_verifier(group)


def _register_export(group: click.Group) -> None:
    @group.command(
        "export",
        examples=(
            "dbx audit export order o-1 --out o-1.dbx-audit",
            "dbx audit export order --out orders.dbx-audit",
            "dbx audit export --also order::o-1 --also person --out some.dbx-audit",
            "dbx audit export --out all.dbx-audit",
        ),
    )
    @MAYBE_AGGREGATE
    @option("--also", "also", multiple=True, metavar="TYPE[::ID]",
            help="This aggregate, too, or all of this type; may be given again")  # fmt: skip
    @option(
        "--out",
        required=True,
        metavar="FILE",
        help="The bundle: a new file, *.dbx-audit; - for stdout",
    )
    @INCLUDE_HIDDEN
    @TOKEN
    @AS_JSON
    @click.pass_context
    def export(
        context: click.Context,
        aggregate: str | None,
        aggregate_id: str | None,
        also: tuple[str, ...],
        out: str,
        token: str | None,
        as_json: bool,
    ) -> None:
        """Write evidence that a third party can verify

        The bundle holds events as they are stored, and the proofs that they are in the log and are
        all that their aggregates had when its checkpoint was signed; without a type, everything.
        What the token may not see is not in it. Who gets the bundle needs the key of the log
        besides, and verify.py: no server, and nothing of ours.
        """
        wanted = [] if aggregate is None else [[aggregate, aggregate_id]]
        wanted += [_selector(one) for one in also]
        with _new_file(out) as file:
            counts = _export(context, token, wanted, file)
        line = f"aggregates={counts['aggregates']} events={counts['events']} bundle={out}"
        if out == "-":
            note(line)
        elif as_json:
            print_json({**counts, "bundle": out})
        else:
            print_line(line)


def _selector(text: str) -> list[str | None]:
    aggregate_type, separator, aggregate_id = text.partition("::")
    return [aggregate_type, aggregate_id if separator else None]


def _export(
    context: click.Context,
    token: str | None,
    wanted: list[list[str | None]],
    file: TextIO,
) -> Document:
    """Write the lines of a bundle, a page in memory at a time; return how much is in it."""
    asked: Document = {"do": "evidence", **({"aggregates": wanted} if wanted else {})}
    progress = Progress("exporting")
    try:
        with database(context, token=token, doing="export evidence", writes=True) as (way, calls):
            while True:
                page = way.call(calls.integrity(asked))
                lines: str = page["lines"]
                file.write(lines)
                place = page["next"]
                if place is None:
                    break
                progress.show(place["events"], page["position"])
                asked = {"do": "evidence", "export": page["export"], "after": place}
    finally:
        progress.end()
    counts: Document = json.loads(lines.splitlines()[-1])
    if not counts["aggregates"]:
        raise Failure(str(AggregateNotFound()), code=AggregateNotFound.code)
    return counts


@contextmanager
def _new_file(name: str) -> Iterator[TextIO]:
    """Yield a file that takes its name, for its owner alone, once all of it is on the disk.

    That is stdout for ``-``. Raises Failure where there is a file of that name: no evidence takes
    the place of another.
    """
    if name == "-":
        yield sys.stdout
        return
    path = Path(name)
    if path.exists():
        raise Failure(f"{name} is there already", code="io")
    left: str | None = None
    try:
        descriptor, left = tempfile.mkstemp(dir=path.resolve().parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _give_name(left, path)
    except OSError as error:
        raise Failure(f"cannot write {name}", str(error.strerror), code="io") from None
    finally:
        if left is not None:
            Path(left).unlink(missing_ok=True)


def _give_name(temporary: str, path: Path) -> None:
    """Give a file its name; unlike a rename a link fails where somebody was quicker."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP):
            raise
        os.rename(temporary, path)  # A file system without links.


def _check(asked: Check) -> None:
    """Check a bundle with the key of the log and nothing else

    Does and says what verify.py does with the same arguments: nothing is asked of a server or
    a store. Ends with 1 unless all of it is proven.
    """
    words = [asked.file]
    for name, values in (("--key", asked.keys), ("--witness", asked.witnesses)):
        words += [f"{name}={value}" for value in values]
    words += [] if asked.quorum is None else [f"--quorum={asked.quorum}"]
    words += [] if asked.event is None else [f"--event={asked.event}"]
    if format_wanted() in (None, "json"):
        code = _verified([*words, *(["--json"] if asked.as_json else [])])
    else:
        said = io.StringIO()
        with redirect_stdout(said):
            code = _verified([*words, "--json"])
        if said.getvalue():
            print_json(json.loads(said.getvalue()))
    if code:
        raise Stop(code)


def _verified(words: list[str]) -> int:
    """Do what the program does; what it says of wrong usage is said as we say it."""
    said, stderr = io.StringIO(), sys.stderr
    try:
        with redirect_stderr(said):
            code = verify.main(words)
    except SystemExit:
        raise UsageFailure(said.getvalue().rpartition(": error: ")[2].strip()) from None
    stderr.write(said.getvalue())
    return code


def _register_verifier(group: click.Group) -> None:
    @group.command(
        "verifier",
        examples=("dbx audit verifier --out verify.py", "dbx audit verifier | less"),
    )
    @option("--out", metavar="FILE", help="Write it to this new file instead of stdout")
    @DOCUMENT
    def verifier(out: str | None) -> None:
        """Print the program that verifies bundles and proofs without us

        One file of Python, which needs the package cryptography and nothing else. Third parties
        should read it, or take it from where they trust it to be the published one.
        """
        text = Path(verify.__file__).read_text(encoding="utf-8")
        if out is None:
            sys.stdout.write(text)
            return
        try:
            with open(out, "x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise Failure(f"cannot write {out}", str(error.strerror), code="io") from None
        print_result({"verifier": out}, f"verifier={out}")
