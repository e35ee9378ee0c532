"""``dbx checkpoint``: what was signed of the log, and the keys that others verify it with."""

from __future__ import annotations

from typing import Any

import click

from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import AS_JSON, TOKEN, option
from eventdbx.surfaces.cli.output import note, print_json, print_line
from eventdbx.surfaces.cli.session import database
from eventdbx.surfaces.cli.values import U64

Document = dict[str, Any]


def register(root: click.Group) -> None:
    """Add the command to the root."""

    @root.command(
        "checkpoint",
        examples=(
            "dbx checkpoint",
            "dbx checkpoint --sign > now.checkpoint",
            "dbx checkpoint --key",
            "dbx checkpoint --size 1000 --json",
        ),
    )
    @option("--sign", is_flag=True,
            help="Sign one of what there is now, unless the newest covers all of it")  # fmt: skip
    @option("--key", is_flag=True,
            help="Print the key of the log, and that of this witness")  # fmt: skip
    @option("--size", type=U64, metavar="SIZE", conflicts=("sign",),
            help="The one that was signed at this size")  # fmt: skip
    @option("--audit", is_flag=True, help="Of the audit trail in place of the events")
    @TOKEN
    @AS_JSON
    @click.pass_context
    def checkpoint(
        context: click.Context,
        sign: bool,
        key: bool,
        size: int | None,
        audit: bool,
        token: str | None,
        as_json: bool,
    ) -> None:
        """Show the newest signed checkpoint of the log, or sign one

        A checkpoint says how many events there were and what the root of their tree was, signed
        by this installation and cosigned by witnesses: whoever has one notices if anything before
        it is changed. It is printed as it is handed to others (C2SP tlog-checkpoint).
        """
        asked: Document = {"do": "checkpoint", "sign": sign, "audit": audit}
        if size is not None:
            asked["size"] = size
        with database(context, token=token, doing="read the checkpoint", writes=sign) as (
            way,
            calls,
        ):
            found: Document = way.call(calls.integrity(asked))
        _print(found, keys=key, as_json=as_json)


def _print(found: Document, *, keys: bool, as_json: bool) -> None:
    if found["problem"]:
        note(f"warning: {found['problem']}")
    if keys:
        shown = {"log": found["key"], "witness": found["witness_key"]}
        if as_json:
            print_json(shown)
            return
        for name, text in shown.items():
            print_line(f"{name}: {text}")
        return
    if as_json:
        print_json(found)
        return
    if found["checkpoint"] is None:
        raise Failure("no checkpoint has been signed yet", hint="`dbx checkpoint --sign` signs one")
    print_line(found["checkpoint"].removesuffix("\n"))
