"""``dbx init``: a workspace in the current directory."""

from __future__ import annotations

import os
from pathlib import Path

import click

from eventdbx.services.bootstrap import ensure_cli_token
from eventdbx.services.workspace import (
    CONFIG_NAME,
    LOCAL_NAME,
    Place,
    open_place,
)
from eventdbx.surfaces.cli.options import AS_JSON, option
from eventdbx.surfaces.cli.output import print_json, print_line
from eventdbx.surfaces.cli.ttl import TTL

DEFAULT_TTL_S = 24 * 3600


def register(root: click.Group) -> None:
    """Add the command to the root."""

    @root.command("init", examples=("dbx init", "dbx init --ttl 7d", "dbx init --ttl 0"))
    @option(
        "--ttl",
        type=TTL,
        metavar="TTL",
        help="Lifetime of the bootstrap token: seconds, or a number with s, m, h, d or w; "
        "0 for no end (default: 1d)",
    )
    @AS_JSON
    @click.pass_context
    def init(context: click.Context, ttl: int | None, as_json: bool) -> None:
        """Initialize a local EventDBX workspace

        Creates .dbx/config.toml in the current directory with new keys, keeps the data beside it,
        and prints a token that may do everything. A workspace that is there already stays as it
        is.
        """
        given = context.find_root().params.get("config")
        path = Path(os.path.abspath(given or Path(LOCAL_NAME, CONFIG_NAME)))
        folder = path.parent
        existed = path.exists()
        place = Place(path, folder, folder.name == LOCAL_NAME)
        opened = open_place(place, environ=os.environ)
        ttl_s = DEFAULT_TTL_S if ttl is None else ttl
        token = ensure_cli_token(opened, ttl_s=ttl_s)
        if as_json:
            print_json(
                {"workspace": str(folder), "created": not existed, "ttl": ttl_s, "token": token}
            )
            return
        if existed:
            print_line(f"EventDBX workspace already initialized in {folder}")
        else:
            print_line(f"Initialized empty EventDBX workspace in {folder}")
        print_line(f"Bootstrap token (ttl={ttl_s}s): {token}")
