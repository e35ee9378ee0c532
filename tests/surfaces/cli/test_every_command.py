"""What holds for every command there is, whoever adds it."""

from __future__ import annotations

from collections.abc import Iterator

import click
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.surfaces.cli.main import EPILOG, MODULES
from eventdbx.surfaces.cli.root import root_command

WITHOUT_DOCUMENTS = {
    "shell": "it runs other commands, each of which has documents of its own",
}
"""Commands that print none, and why."""

LISTS = ("list", "ls", "log", "referrers", "events", "lag")
"""Last words of commands that print lists."""

WITHOUT_COLUMNS = {
    "plugin config log": "it configures the plugin log",
}


def every_command() -> Iterator[tuple[str, click.Command]]:
    """Yield all commands that are no groups, hidden ones too, with the words that call them."""
    root = root_command(MODULES, EPILOG)
    yield from _below(root, click.Context(root, info_name="dbx"), ())


def _below(
    group: click.Group, context: click.Context, words: tuple[str, ...]
) -> Iterator[tuple[str, click.Command]]:
    for name in dict.fromkeys([*group.list_commands(context), *group.commands]):
        command = group.get_command(context, name)
        assert command is not None
        here = (*words, name)
        if isinstance(command, click.Group):
            inner = click.Context(command, info_name=name, parent=context)
            yield from _below(command, inner, here)
        else:
            yield " ".join(here), command


class EveryCommand(SynchronousTestCase):
    """The command tree, walked."""

    def test_documents(self) -> None:
        """Every command takes --json, spelled alike, and -o unless it is a file of its own."""
        lacking = []
        for words, command in every_command():
            options = [one for one in command.params if isinstance(one, click.Option)]
            found = [one for one in options if "--json" in one.opts]
            if words in WITHOUT_DOCUMENTS:
                self.assertEqual(found, [], f"{words} has documents by now")
            elif len(found) != 1 or found[0].callback is None or found[0].name != "as_json":
                lacking.append(words)
        self.assertEqual(lacking, [])

    def test_columns(self) -> None:
        """Every command that lists something says what the columns of a table are."""
        lacking = [
            words
            for words, command in every_command()
            if words.split()[-1] in LISTS
            and words not in WITHOUT_COLUMNS
            and not getattr(command, "columns", ())
        ]
        self.assertEqual(lacking, [])

    def test_no_option_hides_a_shared_one(self) -> None:
        """-q, --quiet and --no-pager mean the same everywhere; -o and --output are a file at most.

        A command that has files to write may call them so.
        """
        wrong = []
        for words, command in every_command():
            for one in command.params:
                flags = {*one.opts} if isinstance(one, click.Option) else set()
                if flags & {"-q", "--quiet", "--no-pager", "--columns"}:
                    wrong.append(words)
                if flags & {"-o", "--output"} and words not in ("aggregate export", "backup"):
                    wrong.append(words)
        self.assertEqual(wrong, [])
