"""How servers are set up for other people's clients, in three ways, and the tokens they use."""

from __future__ import annotations

import re
from pathlib import Path

from tests.daemon import Workspace

MODES: dict[str, tuple[str, ...]] = {
    "defaults": (),
    "brief": ("--verbose-responses", "false"),
    "plain": ("--no-noise",),
}
"""What ``dbx config`` is told before the server starts."""

READER = ("--group", "ops", "--user", "reader", "--action", "aggregate.read",
          "--resource", "aggregate:order:*", "--tenant", "default")  # fmt: skip


def set_up(mode: str, folder: Path) -> Workspace:
    """Return a new database that is configured in this way; its server does not run yet."""
    workspace = Workspace(folder)
    if MODES[mode]:
        workspace.run("config", *MODES[mode])
    return workspace


def reader_token(workspace: Workspace) -> str:
    """Return a new token that may read orders and nothing else."""
    found = re.search(r"token=(\S+)", workspace.run("token", "generate", *READER))
    assert found is not None, "dbx token generate shows no token"
    return found[1]
