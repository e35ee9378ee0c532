"""``check`` of a file with proofs, which several groups have: one line, whoever reads the file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import click

from eventdbx.surfaces.cli.options import AS_JSON, argument, option
from eventdbx.surfaces.cli.values import U32


class Check(NamedTuple):
    """What a command line asks to be checked, and whose keys are believed."""

    file: str
    keys: tuple[str, ...]
    witnesses: tuple[str, ...]
    quorum: int | None
    event: str | None
    as_json: bool


def register_check(
    group: click.Group,
    run: Callable[[Check], None],
    *,
    examples: Sequence[str],
    file: str,
    event: str,
) -> None:
    """Add the command to a group; its help is what ``run`` says of itself, and the two texts."""

    @group.command("check", examples=examples, help=inspect.getdoc(run))
    @argument("file", help=file)
    @option("--key", "keys", required=True, multiple=True, metavar="VKEY",
            help="Key of the log, as `dbx checkpoint --key` prints it")  # fmt: skip
    @option("--witness", "witnesses", multiple=True, metavar="VKEY",
            help="Key of a witness that is believed")  # fmt: skip
    @option("--quorum", type=U32, metavar="N",
            help="So many of the witnesses must have signed [default: all]")  # fmt: skip
    @option("--event", metavar="FILE", help=event)
    @AS_JSON
    def check(**given: Any) -> None:
        run(Check(**given))
