"""Commands that read: lists, pages, filters, past states, single events, verification."""

from __future__ import annotations

from eventdbx.services.stores import open_configured
from eventdbx.services.workspace import open_workspace
from eventdbx.storage import keys
from eventdbx.surfaces.cli import session
from tests.surfaces.command_line import CommandLineCase


class Empty(CommandLineCase):
    """A database that is not there yet."""

    def test_reads_as_empty(self) -> None:
        """Nothing is found, nothing fails, and no store is made by looking."""
        self.assertEqual(self.dbx("aggregate", "list").stdout, "")
        self.assertEqual(self.dbx("aggregate", "list", "--json").document, [])
        self.assertEqual(self.dbx("events").stdout, "no events\n")
        self.assertEqual(self.dbx("events", "--json").document, [])
        self.assertEqual(self.dbx("snapshots", "list").stdout, "no snapshots found\n")
        self.assertEqual(self.dbx("aggregate", "list", "--stage").stdout, "no staged events\n")
        self.assertEqual(self.dbx("verify").stdout, "verified 0 aggregate(s) with 0 event(s)\n")
        self.assertFalse(self.store.exists())


class Listing(CommandLineCase):
    """``aggregate list``."""

    def setUp(self) -> None:
        super().setUp()
        for name, who, total in (("o-2", "ann", 5), ("o-1", "bob", 12), ("o-10", "ann", 7)):
            self.create("order", name, "--field", f"who={who}", "--field", f"total:={total}")
        self.create("item", "i-1", "--field", "total:=1")

    def ids(self, *options: str) -> list[str]:
        listed = self.dbx("aggregate", "list", *options, "--json").document
        return [one["aggregate_id"] for one in listed]

    def test_order_and_pages(self) -> None:
        """By type and id; pages by taking, skipping or a cursor made from the last row."""
        self.assertEqual(self.ids(), ["i-1", "o-1", "o-10", "o-2"])
        self.assertEqual(self.ids("order"), ["o-1", "o-10", "o-2"])
        self.assertEqual(self.ids("--take", "2"), ["i-1", "o-1"])
        self.assertEqual(self.ids("--skip", "1", "--take", "2"), ["o-1", "o-10"])
        self.assertEqual(self.ids("--cursor", "a:order:o-1", "--take", "1"), ["o-10"])
        self.assertEqual(self.ids("--skip", "99"), [])
        most = ("--skip", str((1 << 64) - 1), "--take", str((1 << 64) - 1), "--json")
        for words in (("aggregate", "list"), ("events",), ("events", "order", "o-1")):
            for sort in ((), ("--sort", "created_at:desc"), ("--sort", "version")):
                self.assertEqual(self.dbx(*words, *most, *sort).document, [])

    def test_sorts_and_filters(self) -> None:
        """Several keys, times with their own cursors, and filters over the state."""
        self.assertEqual(self.ids("--sort", "aggregate_type,aggregate_id:desc"),
                         ["i-1", "o-2", "o-10", "o-1"])  # fmt: skip
        self.assertEqual(self.ids("--sort", "createdAt:desc"), ["i-1", "o-10", "o-1", "o-2"])
        self.assertEqual(self.ids("--sort", "created_at", "--cursor", "ts:order:o-1"),
                         ["o-10", "i-1"])  # fmt: skip
        self.assertEqual(self.ids("--filter", 'who = "ann" AND total > 6'), ["o-10"])

    def test_more_than_a_page(self) -> None:
        """What is asked for is printed whole, however it is fetched."""
        self.patch(session, "PAGE_ITEMS", 2)
        self.assertEqual(len(self.ids("--take", "4")), 4)
        self.assertEqual(len(self.ids("--sort", "version,aggregate_id", "--take", "3")), 3)
        self.assertEqual(self.ids("--skip", "1", "--take", "3"), ["o-1", "o-10", "o-2"])

    def test_page_size(self) -> None:
        """Without ``--take`` a page has the configured size."""
        self.attempt("config", "--list-page-size", "2")
        self.assertEqual(len(self.ids()), 2)

    def test_envelope(self) -> None:
        """The next cursor comes beside the items on request, and always in a workspace."""
        page = self.dbx("aggregate", "list", "--take", "2", "--json", "--envelope").document
        self.assertEqual(page["next_cursor"], "a:order:o-1")
        self.assertEqual(len(page["items"]), 2)
        lines = self.dbx("aggregate", "list", "--take", "2", "--envelope").stdout.splitlines()
        self.assertEqual(lines[-1], "next_cursor=a:order:o-1")
        config = str(self.home / "here" / ".dbx" / "config.toml")
        local = ("aggregate", "list", "--config", config)
        self.assertEqual(self.dbx(*local).stdout, "no aggregates\n")
        self.assertEqual(self.dbx(*local, "--json").document, {"items": [], "next_cursor": None})
        self.assertEqual(self.dbx(*local, "--json", "--no-envelope").document, [])

    def test_resolve(self) -> None:
        """``--resolve`` wraps what it lists."""
        listed = self.dbx("aggregate", "list", "item", "--resolve", "--json").document
        self.assertEqual([sorted(one) for one in listed], [["aggregate", "domain"]])


class Looking(CommandLineCase):
    """``get``, ``select``, ``replay`` and ``events``."""

    def setUp(self) -> None:
        super().setUp()
        self.create("order", "o-1", "--payload", '{"who":{"name":"Ada","tags":["x","y"]}}',
                    "--note", "first")  # fmt: skip
        self.paid = self.apply("order", "o-1", "order_paid", "--payload", '{"amount":12}',
                               "--metadata", '{"@source":"web"}').document  # fmt: skip

    def test_get(self) -> None:
        """The aggregate with sorted keys, its archive flag, and its events on request."""
        found = self.dbx("aggregate", "get", "order", "o-1", "--include-events").document
        self.assertEqual(list(found), sorted(found))
        self.assertEqual(found["events"][1], self.paid)
        self.assertEqual(found["archived"], False)
        self.assertEqual(found["@source"], "web")

    def test_past(self) -> None:
        """As it was after a number of events, or at a time."""
        first = self.dbx("aggregate", "get", "order", "o-1", "--version", "1", "--include-events")
        self.assertEqual(first.document["version"], 1)
        self.assertEqual(len(first.document["events"]), 1)
        self.assertNotIn("amount", first.document["state"])
        beyond = self.dbx("aggregate", "get", "order", "o-1", "--version", "99").document
        self.assertEqual(beyond["version"], 2)
        self.assertEqual(
            self.dbx("aggregate", "get", "order", "o-1", "--version", "0").document["state"], {}
        )
        at = first.document["updated_at"]
        self.assertEqual(
            self.dbx("aggregate", "get", "order", "o-1", "--at", at).document["version"], 1
        )

    def test_select(self) -> None:
        """Values at paths, null where there is nothing."""
        found = self.dbx(
            "aggregate", "select", "order", "o-1", "who.tags.1", "who", "missing", "who.x.y", ""
        ).document
        self.assertEqual(found["version"], 2)
        self.assertEqual(
            found["selection"],
            {"who.tags.1": "y", "who": {"name": "Ada", "tags": ["x", "y"]}, "missing": None,
             "who.x.y": None, "": None},
        )  # fmt: skip
        self.assertEqual(self.dbx("aggregate", "select", "order", "o-1").document["selection"], {})

    def test_replay(self) -> None:
        """The whole history in order, or a part of it."""
        events = self.dbx("aggregate", "replay", "order", "o-1", "--json").document
        self.assertEqual([one["version"] for one in events], [1, 2])
        part = self.dbx("aggregate", "replay", "order", "o-1", "--skip", "1", "--take", "1")
        self.assertIn('"event_type": "order_paid"', part.stdout)
        self.assertNotIn("order_created", part.stdout)
        self.assertEqual(self.dbx("aggregate", "replay", "order", "o-1", "--skip", "9").stdout, "")

    def test_event_list(self) -> None:
        """One line per event: who and note are ``-`` when there is none."""
        self.create("item", "i-1")
        lines = self.dbx("events").stdout.splitlines()
        self.assertEqual(len(lines), 3)
        self.assertRegex(
            lines[1],
            r"^aggregate_type=order aggregate_id=o-1 version=1 event_type=order_created "
            r"event_id=\d+ created_at=\S+\+00:00 issued_by=- note=first$",
        )
        for options in (
            ("order",), ("order", "o-1"), ("--aggregate", "order"),
            ("--filter", "payload.amount > 5"), ("--filter", 'metadata.note = "first"'),
        ):  # fmt: skip
            self.assertNotIn("item", self.dbx("events", *options).stdout)
        newest = self.dbx("events", "--sort", "created_at:desc", "--take", "1", "--json").document
        self.assertEqual(newest[0]["aggregate_id"], "i-1")
        after = self.dbx("events", "order", "--cursor", "a:order:o-1:1", "--json").document
        self.assertEqual([one["version"] for one in after], [2])

    def test_one_event(self) -> None:
        """An event by its id: as lines, or as the document that was printed when written."""
        number = self.paid["metadata"]["event_id"]
        self.assertEqual(self.dbx("events", number, "--json").document, self.paid)
        lines = self.dbx("events", "-e", number).stdout.splitlines()
        self.assertEqual(lines[:4], ["aggregate_type=order", "aggregate_id=o-1", "version=2",
                                     "event_type=order_paid"])  # fmt: skip
        self.assertEqual(lines[8:10], ["payload={", '  "amount": 12'])
        self.assertEqual(lines[11:], ["extensions={", '  "@source": "web"', "}"])


class Verifying(CommandLineCase):
    """``verify``: hashes computed again from the stored bytes."""

    def test_sound(self) -> None:
        """A sound aggregate shows its root, a sound store its numbers."""
        root = self.create("order", "o-1", "--json").document["merkle_root"]
        line = f"aggregate_type=order aggregate_id=o-1 merkle_root={root}\n"
        self.assertEqual(self.dbx("aggregate", "verify", "order", "o-1").stdout, line)
        self.assertEqual(self.dbx("verify", "order", "o-1").stdout, line)
        document = self.dbx("verify", "order", "o-1", "--json").document
        self.assertEqual(document["merkle_root"], root)
        self.create("item", "i-1")
        self.dbx("aggregate", "archive", "item", "i-1")
        self.assertEqual(
            self.dbx("aggregate", "verify", "--all").stdout,
            "verified 2 aggregate(s) with 2 event(s)\n",
        )

    def test_damaged(self) -> None:
        """One flipped byte of a stored event is found and named, whichever command looks."""
        self.create("order", "o-1", "--field", "total=12")
        self.apply("order", "o-1", "order_paid", "--field", "by=card")
        self.create("order", "o-2")
        self.flip(b"card", b"cash", keys.event(keys.name("order", "o-1"), 2))
        text = self.failed("aggregate", "verify", "order", "o-1")
        self.assertIn("integrity check failed for order::o-1 at version 2: ", text)
        self.assertEqual(self.failed("verify", "order", "o-1"), text)
        whole = self.failed("verify")
        self.assertIn("integrity check failed for order::o-1 at version 2: ", whole)
        self.assertIn("1 problem(s) found", whole)
        self.dbx("verify", "order", "o-2")
        report = self.attempt("verify", "--json")
        self.assertEqual(report.status, 1)
        self.assertEqual(report.document["findings"][0]["aggregate_id"], "o-1")

    def flip(self, old: bytes, new: bytes, key: bytes) -> None:
        """Change stored bytes behind the program's back."""
        opened = open_workspace(str(self.store.parent / "config.toml"))
        store = open_configured(self.store, opened.config)
        record = store.get(key)
        assert record is not None and old in record
        store.write({key: record.replace(old, new)}, sync=True)
        store.close()

    def test_misnamed(self) -> None:
        """An aggregate is named whole, and not together with ``--all``."""
        self.assertIn("\n  <AGGREGATE_ID>\n", self.misused("verify", "order"))
        self.assertIn("\n  <AGGREGATE>\n", self.misused("aggregate", "verify"))
        self.assertIn("--all", self.failed("aggregate", "verify", "order", "o-1", "--all"))
