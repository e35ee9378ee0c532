"""``dbx schema``: publishing, comparing, putting in force, taking back; with and without server."""

from __future__ import annotations

import io
import json
import os
import re
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from eventdbx.surfaces.cli.main import main
from tests.daemon import Workspace
from tests.surfaces.command_line import CommandLineCase
from tests.surfaces.test_cli_beside_server import ServedCase, steady

VERSION = re.compile(r"v\d{8}T\d{9}Z(?:-\d\d)?")


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


class VersionsCase(CommandLineCase):
    """A home with one schema, nothing published."""

    def setUp(self) -> None:
        super().setUp()
        self.dbx("schema", "create", "order", "--events", "order_created")

    def publish(self, *options: str) -> str:
        """Publish and return the id."""
        found = VERSION.search(self.dbx("schema", "publish", *options).stdout)
        assert found is not None
        return found[0]

    def history(self) -> Any:
        """Return the manifest."""
        return self.dbx("schema", "history", "--json").document

    def events(self) -> list[str]:
        """Return what the schema in force declares."""
        return list(self.dbx("schema", "order").document["events"])


class Publishing(VersionsCase):
    """New versions."""

    def test_same_again(self) -> None:
        """What the latest version says already is not kept again, times do not count."""
        first = self.publish()
        self.dbx("schema", "unlock", "order")
        self.assertEqual(
            self.dbx("schema", "publish").stdout,
            f"tenant=default no schema changes detected; version={first} retained\n",
        )
        self.assertEqual(
            self.dbx("schema", "publish", "--activate").stdout,
            f"tenant=default version={first} already existed; re-activated\n"
            "tenant=default schema cache reload skipped\n",
        )
        self.assertNotEqual(self.publish("--force"), first)
        self.assertEqual(len(self.history()["versions"]), 2)

    def test_provenance(self) -> None:
        """Author, reason and labels are kept, blank ones are not."""
        self.publish("--label", "a, b", "--label", "c,", "--reason", " why ", "--actor", " ")
        (version,) = self.history()["versions"]
        self.assertEqual((version["labels"], version["reason"]), (["a", "b", "c"], "why"))
        self.dbx("schema", "add", "order", "order_paid")
        self.publish()
        self.assertEqual(self.history()["versions"][1]["author"], "kim")
        self.assertEqual(self.history()["versions"][1]["parent"], version["id"])

    def test_from_a_file(self) -> None:
        """A file is published without being in force, until it is activated."""
        path = self.home / "next.json"
        path.write_text('{"item":{"columnTypes":{"p":{"type":"float","range":{"min":0.10}}}}}')
        self.publish("--source", str(path))
        shown = self.dbx("schema", "show", "--version", "latest").document
        self.assertEqual(shown["item"]["column_types"]["p"]["range"]["min"], "0.10")
        self.assertEqual(self.failed("schema", "item"), "Error: schema not found\n")
        done = self.attempt("schema", "activate")
        self.assertEqual(done.status, 0)
        saved = VERSION.search(done.stderr)
        assert saved is not None
        self.assertEqual(self.dbx("schema", "item").document["events"], {})
        self.assertEqual(self.failed("schema", "order"), "Error: schema not found\n")
        self.dbx("schema", "activate", "--version", saved[0])
        self.assertEqual(self.events(), ["order_created"])

    def test_bad_files(self) -> None:
        """What is no file, no JSON, no schemas is refused, and nothing is published."""
        path = self.home / "bad.json"
        for text, said in (
            ("{bad", "key must be a string"),
            ("[1]", "must be an object"),
            ('{"a":{"locked":"yes"}}', "/a/locked"),
        ):
            path.write_text(text, encoding="utf-8")
            self.assertIn(said, self.failed("schema", "publish", "--source", str(path)))
        path.write_bytes(b"\xff")
        self.assertIn("not UTF-8", self.failed("schema", "publish", "--source", str(path)))
        self.assertIn("os error", self.failed("schema", "publish", "--source", str(self.home)))
        self.assertIn(
            "cannot be used", self.misused("schema", "publish", "--reload", "--no-reload")
        )
        self.assertEqual(self.history()["versions"], [])

    def test_machine_path(self) -> None:
        """What no event can satisfy is published with a warning: tools may have made it."""
        path = self.home / "odd.json"
        path.write_text('{"a":{"column_types":{"n":{"type":"integer","regex":["x"]}}}}')
        done = self.attempt("schema", "publish", "--source", str(path))
        self.assertEqual(done.status, 0)
        self.assertIn("field n must be a string", done.stderr)


class Comparing(VersionsCase):
    """``diff`` in all its forms."""

    def setUp(self) -> None:
        super().setUp()
        self.first = self.publish("--activate")
        self.dbx("schema", "field", "order", "qty", "--type", "integer")
        self.second = self.publish()

    def test_styles(self) -> None:
        """Unified, split and patch; coloured only when that is asked for."""
        head = f"tenant=default diff from {self.first} to {self.second} includes 2 operation(s):\n"
        plain = self.dbx("schema", "diff").stdout
        self.assertTrue(plain.startswith(f"{head}--- schema@{self.first}\n"), plain)
        self.assertIn('\n+      "qty": "integer"\n', plain.replace("     +", "+"))
        self.assertNotIn("\x1b", plain)
        self.assertIn("\x1b[32m+", self.dbx("schema", "diff", "--color", "always").stdout)
        self.assertIn(" | ", self.dbx("schema", "diff", "--style", "split").stdout)
        patch = self.dbx("schema", "diff", "--style", "patch").stdout
        self.assertTrue(patch.startswith(head))
        operations = json.loads(patch.removeprefix(head))
        self.assertEqual(operations, self.dbx("schema", "diff", "--json").document)
        self.assertEqual(
            operations[0],
            {"op": "add", "path": "/order/column_types/qty", "value": "integer"},
        )

    def test_live(self) -> None:
        """What is in force can be compared, published or not."""
        self.dbx("schema", "lock", "order")
        paths = [
            one["path"]
            for one in self.dbx(
                "schema", "diff", "--from", "latest", "--to", "live", "--json"
            ).document
        ]
        self.assertEqual(paths, ["/order/locked", "/order/updated_at"])

    def test_compatibility(self) -> None:
        """Each change is said with what it means for events."""
        said = self.dbx("schema", "diff", "--compatibility").stdout
        self.assertTrue(said.startswith("verdict=forward changes=1\naggregate=order "), said)
        document = self.dbx(
            "schema", "diff", "--compatibility", "--json", "--from", "latest", "--to", "active"
        ).document
        self.assertEqual((document["verdict"], len(document["changes"])), ("backward", 1))

    def test_words(self) -> None:
        """Words in any case, ids as they are, labels; others are refused."""
        same = self.dbx("schema", "diff", "--from", "LATEST", "--to", self.second).stdout
        self.assertTrue(same.endswith(" has no changes\n"))
        for options in (("--from", "v1"), ("--to", self.first.lower())):
            self.assertIn("was not found", self.failed("schema", "diff", *options))
        self.misused("schema", "diff", "--style", "side")
        self.misused("schema", "diff", "--color", "green")
        self.assertEqual(
            self.failed("schema", "diff", "nowhere"),
            "Error: domain 'nowhere' does not exist\n",
        )
        self.dbx("schema", "diff", "Default")


class Switching(VersionsCase):
    """Putting versions in force."""

    def test_nothing_published(self) -> None:
        """There is nothing to show, compare, activate or go back to."""
        self.assertEqual(
            self.dbx("schema", "history", "--audit").stdout,
            "tenant=default has no published schema versions\nno schema audit entries recorded\n",
        )
        for word, said in (
            ("diff", "tenant 'default' has no schema versions available for diffing"),
            ("activate", "tenant 'default' has no schema versions to activate"),
            ("rollback", "no active schema version available"),
        ):
            self.assertEqual(self.failed("schema", word), f"Error: {said}\n")
        self.assertEqual(
            self.failed("schema", "show", "--version", "latest"),
            "Error: no schema versions recorded\n",
        )

    def test_there_and_back(self) -> None:
        """A version is put in force, and the one before it again; what was edited is kept."""
        first = self.publish("--activate")
        self.assertEqual(
            self.failed("schema", "rollback"), "Error: no earlier schema version to roll back to\n"
        )
        self.dbx("schema", "add", "order", "order_paid")
        second = self.publish("--activate", "--no-reload")
        self.dbx("schema", "add", "order", "order_lost")
        done = self.attempt("schema", "rollback", "--reason", "oops")
        self.assertIn(f"version={first} rolled back", done.stdout)
        saved = VERSION.search(done.stderr)
        assert saved is not None
        self.assertEqual(self.events(), ["order_created"])
        self.dbx("schema", "activate", "--version", saved[0])
        self.assertEqual(self.events(), ["order_created", "order_lost", "order_paid"])
        self.dbx("schema", "activate", "--version", second)
        self.assertIn(
            "already active", self.dbx("schema", "activate", "--version", "active").stdout
        )
        log = self.history()["audit_log"]
        self.assertEqual(log[-1]["details"], "requested version already active")
        self.assertEqual([one["reason"] for one in log if one["action"] == "rollback"], ["oops"])

    def test_tables(self) -> None:
        """Versions and log are aligned; the active version is marked."""
        first = self.publish("--activate", "--reason", "first of them")
        self.dbx("schema", "add", "order", "order_paid")
        second = self.publish("--actor", "somebody else")
        lines = self.dbx("schema", "history", "--audit").stdout.splitlines()
        self.assertEqual(lines[0], "tenant=default versions ( '*' indicates the active version )")
        self.assertEqual(lines[2].split()[:2], ["*", first])
        self.assertEqual(lines[3].split()[0], second)
        self.assertEqual(lines[4], "audit log:")
        for table in (lines[1:4], lines[5:]):
            self.assertEqual(len({len(line) for line in table}), 1, table)
        self.assertRegex(lines[2], r" \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ")

    def test_edited_since(self) -> None:
        """On a terminal it is said when what is in force is not the active version."""
        active = self.publish("--activate")
        stderr = self.on_a_terminal("schema", "history")
        self.dbx("schema", "unlock", "order")
        self.assertEqual(stderr + self.on_a_terminal("schema", "history"), "")
        self.dbx("schema", "lock", "order")
        self.assertIn(f"modified since {active}", self.on_a_terminal("schema", "history"))

    def on_a_terminal(self, *arguments: str) -> str:
        """Run a command whose stderr is a terminal, and return what it said there."""
        screen = Screen()
        with redirect_stdout(io.StringIO()), redirect_stderr(screen):
            self.assertEqual(main(arguments), 0)
        return screen.getvalue()

    def test_documents(self) -> None:
        """What is said in lines is also there as documents."""
        done = self.dbx("schema", "publish", "--activate", "--json").document
        self.assertEqual((done["tenant"], done["activated"]), ("default", True))
        again = self.dbx("schema", "activate", "--json").document
        self.assertEqual((again["version"], again["already_active"]), (done["version"], True))


STORY: tuple[tuple[str, ...], ...] = (
    ("create", "order", "-e", "order_created,order_paid", "--json"),
    ("create", "order", "-e", "order_created"),
    ("create", "My Thing", "-e", "Did It"),
    ("add", "order", "order_sent"),
    ("remove", "order", "gone"),
    ("annotate", "order", "order_paid", "--note", "money"),
    ("annotate", "order", "gone", "--note", "money"),
    ("field", "order", "qty", "--type", "integer", "--range-min", "1"),
    ("field", "order", "qty", "--regex", "a"),
    ("field", "gone", "qty", "--type", "text"),
    ("alter", "order", "order_paid", "--set", "qty"),
    ("alter", "order", "order_paid", "--remove", "qty"),
    ("hide", "--aggregate", "order", "--field", "secret"),
    ("lock", "order", "--field", "code"),
    ("upcast", "order", "order_sent", "--add", '[{"op":"default","path":"/n","value":1}]'),
    ("list",),
    ("list", "--json"),
    ("order",),
    ("gone",),
    ("show", "order"),
    ("validate", "--aggregate", "order", "--event", "order_sent", "--payload", '{"qty":0}'),
    ("validate", "--aggregate", "gone", "--event", "order_sent", "--payload", '{"qty":0}'),
    ("history",),
    ("diff",),
    ("publish", "--label", "a", "--no-reload", "--activate"),
    ("delete", "My Thing", "--yes"),
    ("publish", "--reason", "less"),
    ("diff", "--style", "split"),
    ("diff", "--compatibility"),
    ("activate", "--no-reload"),
    ("rollback", "--no-reload"),
    ("history", "--audit"),
    ("history", "--json"),
)


class BothWays(ServedCase):
    """One story told twice: to the store itself and to a server."""

    def test_same_output(self) -> None:
        """Whether a server runs cannot be seen in what commands print."""
        alone, served = self.workspace(served=False), self.workspace(served=True)
        for line in STORY:
            told = [steady(self.at(place, "schema", *line)) for place in (served, alone)]
            texts = [[VERSION.sub("<version>", str(part)) for part in one] for one in told]
            self.assertEqual(texts[0], texts[1], line)

    def test_in_force_at_once(self) -> None:
        """A server enforces a change from the next event on, and keeps it."""
        place = self.workspace(served=True)

        def run(*line: str) -> tuple[int, str]:
            done = self.at(place, *line)
            return done.status, done.stderr

        create = "aggregate", "create", "order"
        self.assertEqual(run(*create, "o-1", "--event", "any_event"), (0, ""))
        run("schema", "create", "order", "-e", "order_created")
        self.assertIn("is not defined", run(*create, "o-2", "--event", "any_event")[1])
        run("schema", "field", "order", "qty", "--type", "integer", "--required")
        self.assertIn("field qty is required", run(*create, "o-2", "--event", "order_created")[1])
        self.assertEqual(
            run(*create, "o-2", "--event", "order_created", "--field", "qty=1"), (0, "")
        )
        reload = self.at(place, "schema", "reload")
        self.assertEqual(reload.stdout, "tenant=default schema cache reloaded\n")
        publish = self.at(place, "schema", "publish", "--activate")
        self.assertIn("schema cache reloaded", publish.stdout)
        self.assertEqual(place.stop(), 0)
        self.assertIn("field qty is required", run(*create, "o-3", "--event", "order_created")[1])
        self.assertIn("reload skipped", self.at(place, "schema", "reload").stdout)


class Rights(ServedCase):
    """What tokens allow."""

    def test_limited_tokens(self) -> None:
        """Reading schemas and changing them are two rights, neither comes with others."""
        place = self.workspace(served=True)
        self.at(place, "schema", "create", "order", "-e", "order_created")
        self.use_token(place, "schema.read")
        self.assertIn("schema=order", self.at(place, "schema", "list").stdout)
        for line in (("lock", "order"), ("publish",), ("create", "item", "-e", "item_created")):
            done = self.at(place, "schema", *line)
            self.assertEqual(
                (done.status, done.stdout, done.stderr), (1, "", "Error: unauthorized\n")
            )
        self.use_token(place, "aggregate.*")
        for word in ("list", "history", "order"):
            self.assertEqual(self.at(place, "schema", word).stderr, "Error: unauthorized\n")

    def use_token(self, place: Workspace, action: str) -> None:
        """Let commands use a token that allows one action."""
        issued = self.at(
            place, "token", "generate", "--group", "ops", "--user", "ann", "--action", action,
            "--resource", "*", "--json",
        )  # fmt: skip
        token = issued.document["token"]
        self.patch(os, "environ", {**os.environ, "EVENTDBX_TOKEN": token})
