"""The documents: links lead somewhere, and what they show exists.

Shell lines in code blocks that begin with ``dbx`` are checked against the command's own help, those
that begin with ``make`` or ``tox`` against the Makefile and tox.ini.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from eventdbx import errors
from eventdbx.storage import keys
from tests import configuration_document
from tests.daemon import CHECKOUT_DBX, ROOT, Workspace

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("newsfragments/*")])
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")


def without_code(text: str) -> str:
    """Return a document without its code blocks."""
    return FENCE.sub("", text)


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.*)$", without_code(document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(document: Path, *programs: str) -> Iterator[list[str]]:
    """Yield the command lines of a document that run one of the programs, as words.

    Of a pipeline that is its first command.
    """
    text = document.read_text()
    blocks = [body for language, body in FENCE.findall(text) if language in ("console", "sh", "")]
    lines = [line.removeprefix("$ ") for body in blocks for line in body.splitlines()]
    lines += INLINE.findall(without_code(text))
    for line in lines:
        if not line.startswith(tuple(f"{program} " for program in programs)):
            continue
        if "…" not in line and "<" not in line:
            words = shlex.split(line, comments=True)
            yield words[: words.index("|")] if "|" in words else words


@cache
def help_of(path: tuple[str, ...]) -> str:
    """Return the help text of a command; fails when there is no such command."""
    done = subprocess.run(
        [*CHECKOUT_DBX, *path, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"dbx {' '.join(path)}: {done.stderr}")
    return done.stdout


def subcommands(text: str) -> set[str]:
    """Return the names in the list of commands of a help text."""
    listed = re.search(r"^Commands:\n((?: .*\n|\n)+)", text, re.MULTILINE)
    return set(re.findall(r"^ {2}([a-z]\S*)", listed[1], re.MULTILINE)) if listed else set()


def flags(text: str) -> set[str]:
    """Return the options that a help text names."""
    return set(re.findall(r"(?<![\w-])(--?[a-z][\w-]*)", text))


class Links(SynchronousTestCase):
    """What a reader can click on."""

    def test_links_resolve(self) -> None:
        """Each relative link leads to a file of the project, and to a heading that is there."""
        broken = []
        for document in DOCUMENTS:
            for target in LINK.findall(without_code(document.read_text())):
                if "://" in target:
                    continue
                name, _, anchor = target.partition("#")
                file = (document.parent / name).resolve() if name else document
                if not file.exists() or anchor and anchor not in anchors(file):
                    broken.append(f"{document.relative_to(ROOT)}: {target}")
        self.assertEqual(broken, [])

    def test_every_document_can_be_found(self) -> None:
        """The index, or a page that it lists, links to each document."""
        linked: set[Path] = set()
        waiting = [ROOT / "README.md", ROOT / "docs" / "index.md"]
        while waiting:
            document = waiting.pop()
            if document in linked or not document.exists():
                continue
            linked.add(document)
            for target in LINK.findall(without_code(document.read_text())):
                file = (document.parent / target.partition("#")[0]).resolve()
                if file.suffix == ".md":
                    waiting.append(file)
        lost = [str(one.relative_to(ROOT)) for one in ROOT.glob("docs/**/*.md")
                if one not in linked]  # fmt: skip
        self.assertEqual(lost, [])


class Commands(SynchronousTestCase):
    """What a reader can type."""

    def test_dbx_commands_exist(self) -> None:
        """Each dbx command that a document shows is in the help, with the options shown."""
        unknown = []
        for document in DOCUMENTS:
            for words in commands(document, "dbx"):
                text, path = help_of(()), []
                everywhere = flags(text) | {"-"}
                for word in words[1:]:
                    name = word.partition("@")[0]
                    if name in subcommands(text):
                        path.append(name)
                        text = help_of(tuple(path))
                    elif word.startswith("-") and (
                        word.split("=")[0] not in flags(text) | everywhere
                    ):
                        unknown.append(f"{document.relative_to(ROOT)}: {' '.join(words)}: {word}")
                first = words[1]
                if not path and not first.startswith("-"):
                    unknown.append(f"{document.relative_to(ROOT)}: {' '.join(words)}")
        self.assertEqual(unknown, [])

    def test_make_targets_and_tox_environments_exist(self) -> None:
        """What documents tell people to make or to run under tox is there."""
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        environments = set(re.findall(r"^\[testenv:(\w+)\]", (ROOT / "tox.ini").read_text(), re.M))
        unknown = []
        for document in DOCUMENTS:
            for program, *words in commands(document, "make", "tox"):
                names = {word for word in words if re.fullmatch(r"[a-z]+", word)}
                known = targets if program == "make" else environments
                unknown += [f"{program} {name}" for name in names - known]
        self.assertEqual(unknown, [])


class Examples(SynchronousTestCase):
    """What a reader can copy."""

    def test_program_of_the_readme(self) -> None:
        """The program in the README runs as it stands, beside a server in a workspace."""
        client, _plugin = programs_of_the_readme()
        with TemporaryDirectory() as folder:
            workspace = Workspace(Path(folder) / "database")
            workspace.start()
            try:
                program = client.replace("6363", str(workspace.port))
                done = subprocess.run(
                    [sys.executable, "-c", program],
                    cwd=workspace.folder,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                    capture_output=True,
                    text=True,
                    check=False,
                )
            finally:
                status = workspace.stop()
            log = workspace.log
        self.assertEqual((done.returncode, status), (0, 0), done.stderr + log)
        self.assertIn("'version': 2", done.stdout)

    def test_plugin_of_the_readme(self) -> None:
        """So does the plugin, fed with an event as its author would feed it."""
        _client, plugin = programs_of_the_readme()
        event = {"aggregate_type": "order", "aggregate_id": "o-1", "event_type": "e", "version": 7}
        done = subprocess.run(
            [sys.executable, "-c", plugin, "--events", "-"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            input=json.dumps({"event": {**event, "payload": {}}}) + "\n",
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("o-1 7", done.stdout + done.stderr)


def programs_of_the_readme() -> list[str]:
    """Return the programs in Python."""
    blocks = FENCE.findall((ROOT / "README.md").read_text())
    return [text for language, text in blocks if language == "python"]


class Tables(SynchronousTestCase):
    """Tables that repeat what the code says."""

    def test_every_key_family_is_described(self) -> None:
        """The storage format names each family of keys that the code writes."""
        text = (ROOT / "docs" / "storage-format.md").read_text()
        families = [
            value.decode()
            for name, value in vars(keys).items()
            if name.isupper() and isinstance(value, bytes) and value.isalpha()
        ]
        self.assertEqual([one for one in families if f"`{one}`" not in text], [])
        self.assertTrue(families)

    def test_every_error_code_is_described(self) -> None:
        """The protocol names each error code that the server can answer."""
        text = (ROOT / "docs" / "protocol.md").read_text()
        codes = {
            kind.code
            for kind in vars(errors).values()
            if isinstance(kind, type) and issubclass(kind, errors.EventDBXError)
        }
        self.assertEqual([code for code in sorted(codes) if f"`{code}`" not in text], [])

    def test_configuration_is_as_declared(self) -> None:
        """The page about the configuration is the one that the declared keys make."""
        text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
        self.assertEqual(text, configuration_document.document())
