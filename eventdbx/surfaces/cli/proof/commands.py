"""``dbx proof``: evidence in files, and the check of it with nothing but the key of the log."""

from __future__ import annotations

from typing import Any

import click

from eventdbx.surfaces.cli.commands import DbxGroup
from eventdbx.surfaces.cli.failures import UsageFailure
from eventdbx.surfaces.cli.helptext import usage_line
from eventdbx.surfaces.cli.options import (
    AGGREGATE,
    AS_JSON,
    INCLUDE_HIDDEN,
    MAYBE_AGGREGATE,
    TOKEN,
    argument,
    option,
)
from eventdbx.surfaces.cli.output import pretty, print_json, print_line
from eventdbx.surfaces.cli.proof.check_command import Check, register_check
from eventdbx.surfaces.cli.proof.files import check_new, read_file, write_file
from eventdbx.surfaces.cli.session import database
from eventdbx.surfaces.cli.values import U64

Document = dict[str, Any]

OUT = option("--out", metavar="FILE", help="Write the proof to this file instead of stdout")


def register(root: click.Group) -> None:
    """Add the group to the root."""

    @root.group(
        "proof",
        cls=DbxGroup,
        examples=("dbx proof event order o-1 3 --out o-1-3.tlog-proof", "dbx proof check --help"),
    )
    def proof() -> None:
        """Prove history to others, offline, and check such proofs"""

    _register_event(proof)
    _register_aggregate(proof)
    _register_consistency(proof)
    register_check(
        proof,
        _check,
        examples=(
            "dbx proof check o-1-3.tlog-proof --key 'example.org/default+f00f+AQ…'",
            "dbx proof check o-1-3.tlog-proof --key KEY --event event.json",
        ),
        file="A proof of any kind, - for stdin",
        event="JSON of an event, which must be the one that is proven",
    )


def _register_event(group: click.Group) -> None:
    @group.command(
        "event",
        examples=(
            "dbx proof event order o-1 3 --out o-1-3.tlog-proof",
            "dbx proof event --event-id 133859581091672069",
            "dbx proof event order o-1 3 --in-aggregate --out o-1-3.json",
        ),
    )
    @MAYBE_AGGREGATE
    @argument("version", type=U64, required=False, help="Version of the event")
    @option("--event-id", type=U64, metavar="ID", help="The event by its id")
    @option("--in-aggregate", is_flag=True, conflicts=("size",),
            help="Prove it in the timeline of its aggregate, not in the log")  # fmt: skip
    @option("--size", type=U64, metavar="SIZE",
            help="Under the stored checkpoint of this size, not the newest")  # fmt: skip
    @OUT
    @INCLUDE_HIDDEN
    @TOKEN
    @AS_JSON
    @click.pass_context
    def event(
        context: click.Context,
        aggregate: str | None,
        aggregate_id: str | None,
        version: int | None,
        event_id: int | None,
        in_aggregate: bool,
        size: int | None,
        out: str | None,
        token: str | None,
        as_json: bool,
    ) -> None:
        """Prove that an event is in the log

        The proof is a C2SP tlog-proof, about 2 KB, good for ever. An event that no checkpoint
        covers yet is given one now. Who gets the file needs the key of the log (a vkey) besides,
        and no server: `dbx proof check`, or verify.py.
        """
        named: Document = {"event_id": event_id}
        if event_id is None:
            if aggregate is None or aggregate_id is None or version is None:
                raise _misused(context, "an event is named by aggregate, id and version, or by "
                               "--event-id")  # fmt: skip
            named = {"aggregate_type": aggregate, "aggregate_id": aggregate_id, "version": version}
        elif aggregate is not None:
            raise _misused(context, "--event-id names the event alone")
        if in_aggregate:
            named = {"do": "aggregate_event_proof", **named}
            _print_document(_asked(context, token, named, out), out, as_json)
            return
        if size is not None:
            named["size"] = size
        found = _asked(context, token, {"do": "event_proof", **named}, out)
        if out is not None:
            write_file(out, found["proof"])
        if as_json:
            print_json(found)
        elif out is None:
            print_line(found["proof"].removesuffix("\n"))
        else:
            print_line(f"index={found['index']} size={found['size']} proof={out}")


def _register_aggregate(group: click.Group) -> None:
    @group.command("aggregate", examples=("dbx proof aggregate order o-1 --out o-1.json",))
    @AGGREGATE
    @OUT
    @INCLUDE_HIDDEN
    @TOKEN
    @AS_JSON
    @click.pass_context
    def aggregate(
        context: click.Context,
        aggregate: str,
        aggregate_id: str,
        out: str | None,
        token: str | None,
        as_json: bool,
    ) -> None:
        """Prove which events are all that an aggregate has

        Nothing can be kept back: the checkpoint vouches for how many events there are and for the
        root over them. The proof lists their hashes, which are those in the events' documents.
        """
        asked = {"do": "aggregate_proof"}
        names = {"aggregate_type": aggregate, "aggregate_id": aggregate_id}
        _print_document(_asked(context, token, {**asked, **names}, out), out, as_json)


def _register_consistency(group: click.Group) -> None:
    @group.command(
        "consistency",
        examples=(
            "dbx proof consistency --from 1000 --out grown.json",
            "dbx proof consistency --from january.checkpoint --to 52000",
            "dbx proof consistency order o-1 --from 12 --to 40",
        ),
    )
    @MAYBE_AGGREGATE
    @option("--from", "first", required=True, metavar="SIZE|FILE",
            help="The earlier checkpoint, or the earlier version of the aggregate")  # fmt: skip
    @option("--to", "second", metavar="SIZE|FILE",
            help="The later one [default: the newest]")  # fmt: skip
    @OUT
    @INCLUDE_HIDDEN
    @TOKEN
    @AS_JSON
    @click.pass_context
    def consistency(
        context: click.Context,
        aggregate: str | None,
        aggregate_id: str | None,
        first: str,
        second: str | None,
        out: str | None,
        token: str | None,
        as_json: bool,
    ) -> None:
        """Prove that nothing before was changed

        The log of one checkpoint is the beginning of that of another; or a version of an aggregate
        is the beginning of a later one. A checkpoint is named by its size, or by the file in
        which somebody kept it.
        """
        if aggregate is None:
            asked: Document = {"do": "log_consistency", "first": _checkpoint(first)}
            if second is not None:
                asked["second"] = _checkpoint(second)
        else:
            versions = {"first": first, "second": second}
            given = {name: text for name, text in versions.items() if text is not None}
            if aggregate_id is None or not all(map(_is_number, given.values())):
                raise _misused(context, "of an aggregate its type, its id and versions are given")
            asked = {name: int(text) for name, text in given.items()}
            asked |= {"aggregate_type": aggregate, "aggregate_id": aggregate_id}
            asked["do"] = "aggregate_consistency"
        _print_document(_asked(context, token, asked, out), out, as_json)


def _check(asked: Check) -> None:
    """Check a proof with the key of the log and nothing else

    Nothing is asked of a server or a store. Fails unless the proof holds.
    """
    from eventdbx.surfaces.cli.proof.checking import check

    given = None if asked.event is None else read_file(asked.event)
    found = check(read_file(asked.file), asked.keys, asked.witnesses, asked.quorum, given)
    if asked.as_json:
        print_json(found)
        return
    print_line(found["proves"])
    print_line(f"checkpoint of {found['origin']}: {found['size']} entries, root {found['root']}")
    if found["content"] is not None:
        print_line(f"content: {found['content']}")


def _misused(context: click.Context, message: str) -> UsageFailure:
    return UsageFailure(message, usage=usage_line(context.command_path, context.command))


def _asked(
    context: click.Context, token: str | None, operation: Document, out: str | None
) -> Document:
    if out is not None:
        check_new(out)
    with database(context, token=token, doing="make the proof", writes=True) as (way, calls):
        found: Document = way.call(calls.integrity(operation))
    return found


def _is_number(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) <= 20


def _checkpoint(text: str) -> int | str:
    """Return what names a checkpoint: its size, or its text that is in a file."""
    if _is_number(text):
        return int(text)
    return read_file(text).decode(errors="replace")


def _print_document(document: Document, out: str | None, as_json: bool) -> None:
    if out is not None:
        write_file(out, pretty(document) + "\n")
    if out is None or as_json:
        print_json(document)
    else:
        print_line(f"kind={document['kind']} proof={out}")
