"""``dbx completion``: scripts for shells, and the answers that these ask for."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence

import click

from eventdbx.surfaces.cli.commands import DbxGroup
from eventdbx.surfaces.cli.completing.scripts import SCRIPTS
from eventdbx.surfaces.cli.options import AS_JSON
from eventdbx.surfaces.cli.output import print_json

_HOW = {
    "bash": "echo 'source <(dbx completion bash)' >> ~/.bashrc",
    "zsh": 'dbx completion zsh > "${fpath[1]}/_dbx"',
    "fish": "dbx completion fish > ~/.config/fish/completions/dbx.fish",
}

_BREAKS = re.compile(r"[=:]")
"""Where bash parts words, beside the blank."""

_EXPANDED = re.compile(r"[\s$`\\'\"|&;<>(){}*?!#~\[\]]")
"""What is more than a word to bash."""


def register(root: click.Group) -> None:
    """Add the group to the root."""

    @root.group(
        "completion",
        cls=DbxGroup,
        examples=("dbx completion bash", "dbx completion zsh"),
        epilog="To switch it on:\n\n" + "\n".join(f"  {one}" for one in _HOW.values()),
    )
    def completion() -> None:
        """Print the script that completes dbx in a shell

        It completes commands, options, their values and files, and names: domains, remotes,
        plugins, contexts, aggregate types and their events, configuration keys.
        """

    for shell in SCRIPTS:
        _register(completion, shell)


def _register(group: click.Group, shell: str) -> None:
    @group.command(
        shell,
        help=f"Print the script for {shell}\n\nTo switch it on: {_HOW[shell]}",
        examples=(f"dbx completion {shell}",),
    )
    @AS_JSON
    def script(as_json: bool) -> None:
        if as_json:
            print_json({"shell": shell, "install": _HOW[shell], "script": SCRIPTS[shell]})
        else:
            sys.stdout.write(SCRIPTS[shell])


def answer_shell(args: Sequence[str]) -> int:
    """Answer a shell: print the words that may come next, one a line. Never fails."""
    from eventdbx.surfaces.cli.completing.completion import complete
    from eventdbx.surfaces.cli.main import EPILOG, MODULES
    from eventdbx.surfaces.cli.root import root_command

    if len(args) < 2 or args[0] not in SCRIPTS:
        return 0
    shell, cut = args[0], 0
    words = list(args[1:])
    if shell == "bash":
        words = _parted(args[1])
        # bash keeps what is in front of the last break, so it is not said again.
        breaks = list(_BREAKS.finditer(words[-1]))
        cut = breaks[-1].end() if breaks else 0
    *before, begun = words
    found = complete(root_command(MODULES, EPILOG), before, begun)
    for one in found.candidates:
        if not one.value.isprintable() or shell == "bash" and _EXPANDED.search(one.value):
            continue  # Other places give names, and bash would put this one on the line as it is.
        about = " ".join(one.about.split())
        said = f"{one.value}\t{about}" if about and shell != "bash" else one.value[cut:]
        sys.stdout.write(said + "\n")
    if found.paths is not None:
        sys.stdout.write(f":{found.paths}\n")
    return 0


def _parted(line: str) -> list[str]:
    """Return the words of a line without the program's name; the last is what is begun."""
    for closing in ("", '"', "'"):
        try:
            words = shlex.split(line + closing)
            break
        except ValueError:
            continue
    else:
        words = line.split()
    if line[-1:].isspace() or len(words) < 2:
        words.append("")
    return words[1:]
