"""The command line with a token: nothing of one domain says anything about another one."""

from __future__ import annotations

import os
import re
import shlex

from eventdbx.errors import without_tokens
from tests.isolation.place import Names, scrubbed, secrets_in, two_domains
from tests.permissions.commands import COMMANDS
from tests.permissions.operations import PATCH, SEEN
from tests.surfaces.command_line import CommandLineCase, Ended

SLOW = ("plugin wait", "plugin replay", "plugin rebuild")
"""They wait for what never comes, in either domain."""

_WORDS = {
    "order": "type", "case": "type", "notes": "plugin", "spare": "plugin", "none": "plugin",
    "deaf": "plugin",
}  # fmt: skip


class CliCase(CommandLineCase):
    """Commands beside the server, with a token of the tenant ``default``."""

    maxDiff = None

    def setUp(self) -> None:
        self.two = two_domains()
        super().setUp()
        self.folder = self.two.workspace.folder
        self.config = str(self.folder / ".dbx" / "config.toml")
        os.environ["EVENTDBX_TOKEN"] = self.two.token
        os.environ["EVENTDBX_EXIT_CODES"] = "fine"
        (self.folder / "columns.json").write_text('{"type":"object"}')
        (self.folder / "case.dbx").write_text("aggregate case {\n  event case_made {}\n}\n")
        (self.folder / "events.ndjson").write_text(
            '{"aggregate_type":"order","aggregate_id":"in-1","event_type":"order_made"}\n'
        )

    def line(self, line: str, names: Names | None) -> str:
        """Return the words of a command, about things of these names if any are given."""
        filled = line.format(
            one=SEEN if names is None else names.id,
            patch=PATCH,
            job=1 if names is None else names.job,
            snapshot=self.two.place.snapshot if names is None else names.snapshot,
            folder=self.folder,
            file=self.folder / f"{self.mktemp().replace('/', '-')}.json",
            events=self.folder / "events.ndjson",
        )
        if names is None:
            return filled
        words = [str(getattr(names, _WORDS[one])) if one in _WORDS else one
                 for one in shlex.split(filled)]  # fmt: skip
        return shlex.join(words)

    def run_line(self, line: str) -> Ended:
        """Run a command."""
        return self.attempt("--config", self.config, *shlex.split(line))


def told(ended: Ended) -> bytes:
    """Return all that a command has said."""
    return f"{ended.status}|{ended.stdout}|{without_tokens(ended.stderr)}".encode()


class Everything(CliCase):
    """Every command that asks a server."""

    def test_about_what_is_only_there(self) -> None:
        """The answer is that about what is nowhere."""
        two, wrong = self.two, []
        for at, (name, command) in enumerate(COMMANDS.items()):
            if name.startswith(SLOW):
                continue
            lines, answers = [], []
            for names in (two.there, two.nowhere):
                two.take_away()
                lines.append(re.sub(r"\S+\.json", "", self.line(command.line, names.of(at))))
                ended = self.run_line(self.line(command.line, names.of(at)))
                answers.append(re.sub(rb"/\S+|\s+", b" ", scrubbed(told(ended), two)))
            if answers[0] != answers[1] and lines[0] != lines[1]:
                wrong.append(f"{name}:\n  {answers[0][:300]!r}\n  {answers[1][:300]!r}")
        self.assertEqual("\n".join(wrong), "")

    def test_about_what_is_here(self) -> None:
        """No answer has anything of the other domain in it."""
        wrong = []
        for name, command in COMMANDS.items():
            if name.startswith(SLOW):
                continue
            line = self.line(command.line, None)
            secrets = secrets_in(told(self.run_line(line)))
            if secrets:
                wrong.append(f"{name} tells of {secrets}")
        self.assertEqual("\n".join(wrong), "")

    def test_lists(self) -> None:
        """The list of domains has those that the token is good for."""
        ended = self.run_line("list --json")
        self.assertEqual([one["domain"] for one in ended.document], ["default"])

    def test_another_domain(self) -> None:
        """One that the token is not good for is refused before it is looked for."""
        ended = self.run_line("--domain other aggregate list")
        self.assertEqual((ended.status != 0, ended.stdout), (True, ""))
        self.assertIn("token does not grant access to tenant 'other'", ended.stderr)
