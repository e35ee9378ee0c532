"""Domains on the command line, without a server: listed, switched, made, deleted."""

from __future__ import annotations

import json
import os
from pathlib import Path

from eventdbx.services.offline import OfflineStore
from eventdbx.services.workspace import open_workspace
from tests.surfaces.command_line import CommandLineCase


class DomainCase(CommandLineCase):
    """A home with the domains ``default`` and ``sales``; work is in ``default``."""

    def setUp(self) -> None:
        super().setUp()
        self.dbx("checkout", "sales")
        self.create("order", "o-1")
        self.dbx("checkout", "default")

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.home / ".eventdbx"


class Listing(DomainCase):
    """``dbx list``."""

    def test_counts(self) -> None:
        """Active and archived aggregates and events are counted, the audit trail is not."""
        self.create("item", "i-1")
        self.create("item", "i-2")
        self.dbx("aggregate", "archive", "item", "i-2")
        found = {one["domain"]: one for one in self.dbx("list", "--json").document}
        self.assertEqual(
            found["default"],
            {
                "domain": "default", "active": True, "active_aggregates": 1,
                "archived_aggregates": 1, "total_aggregates": 2, "events": 2,
            },
        )  # fmt: skip
        self.assertEqual(found["sales"]["events"], 1)

    def test_the_table(self) -> None:
        """The active domain has a star; ``domain list`` prints the same."""
        shown = self.dbx("list").stdout
        self.assertEqual(
            shown,
            "domain     active  archived  total  events\n"
            "default *       0         0      0       0\n"
            "sales           1         0      1       1\n",
        )
        self.assertEqual(self.dbx("domain", "list").stdout, shown)

    def test_a_domain_that_cannot_be_opened(self) -> None:
        """It is named, with where it is."""
        (self.data / "domains" / "sales" / "data_keys").unlink()
        said = self.failed("list")
        self.assertIn("failed to open event store for domain 'sales' at", said)
        self.assertIn("data_keys must be restored", said)


class Switching(DomainCase):
    """``dbx checkout``."""

    def test_commands_work_in_the_domain(self) -> None:
        """What is written in one domain is in no other."""
        self.create("item", "i-1")
        self.assertIn("i-1", self.dbx("aggregate", "list").stdout)
        self.dbx("checkout", "sales")
        self.assertIn("o-1", self.dbx("aggregate", "list").stdout)
        self.assertNotIn("i-1", self.dbx("aggregate", "list").stdout)

    def test_documents(self) -> None:
        """With --json it says what it did."""
        made = self.dbx("checkout", "--create", "lab", "--json").document
        self.assertEqual(
            made,
            {
                "domain": "lab", "data_dir": str(self.data / "domains" / "lab"),
                "created": True, "switched": True, "remote_changed": False,
            },
        )  # fmt: skip
        again = self.dbx("domain", "create", "lab", "--json").document
        self.assertEqual((again["created"], again["switched"]), (False, False))

    def test_wrong_names_change_nothing(self) -> None:
        """A name that cannot be is refused before anything is made."""
        self.assertEqual(
            self.failed("checkout", "../x"),
            "Error: domain name must begin with an ASCII letter or digit\n",
        )
        self.assertEqual(
            self.failed("checkout", "a/b"),
            "Error: domain name may only contain letters, numbers, '-' or '_'\n",
        )
        self.assertEqual(sorted(one.name for one in (self.data / "domains").iterdir()), ["sales"])

    def test_another_domain_for_one_call(self) -> None:
        """--domain is for one command; of a domain that is not there it says so."""
        self.assertIn("o-1", self.dbx("aggregate", "list", "--domain", "Sales").stdout)
        self.assertEqual(self.dbx("aggregate", "list").stdout, "")
        self.assertIn("domain 'sale' does not exist", self.failed("--domain", "sale", "events"))
        self.assertFalse((self.data / "domains" / "sale").exists())


class RemoteOfADomain(DomainCase):
    """What ``checkout`` keeps in remote.json."""

    def shown(self) -> str:
        """Return what `remote ls` says of the domain."""
        return next(
            line for line in self.dbx("remote", "ls").stdout.splitlines() if line[:5] == "sales"
        )

    def test_it_is_sealed(self) -> None:
        """Address, token and tenant are kept under the data key, and the token nowhere else."""
        ended = self.dbx(
            "checkout", "sales", "--remote", "::1", "--port", "7000", "--token", "abc.def.ghi",
            "--remote-tenant", "North",
        )  # fmt: skip
        self.assertTrue(
            ended.stdout.startswith("Updated remote configuration for domain 'sales'.\nSwitched")
        )
        text = (self.data / "domains" / "sales" / "remote.json").read_text()
        self.assertEqual(list(json.loads(text)), ["__eventdbx_encrypted"])
        self.assertNotIn("abc", text)
        shown = json.loads(self.dbx("remote", "show", "sales", "--json").stdout)
        self.assertEqual((shown["endpoint"], shown["tenant"]), ("tcp://[::1]:7000", "north"))

    def test_the_active_domain_too(self) -> None:
        """It is kept whether or not there was anything to switch; the same again is no change."""
        self.dbx("checkout", "sales")
        first = self.dbx("checkout", "sales", "--remote", "far").stdout
        self.assertIn("Updated remote configuration", first)
        self.assertIn("is already active", first)
        self.assertNotIn("Updated", self.dbx("checkout", "sales", "--remote", "far:6363").stdout)
        self.assertIn("tcp://far:6363", self.shown())
        self.dbx("checkout", "sales", "--remote", "")
        self.assertNotIn("sales", self.dbx("remote", "ls").stdout)

    def test_bad_ones_change_nothing(self) -> None:
        """Address and token are looked at before the domain is switched or made."""
        bad = (
            (("--remote", "[::1]"), "remote address '[::1]' must include a port (e.g. [::1]:6363)"),
            (("--remote", "far", "--port", "0"), "remote port must be greater than zero"),
            (("--remote", "far:1", "--port", "2"), "has a port already"),
            (("--token", "abc"), "expected three segments separated by '.'"),
            (("--token", "a.b.ü"), "remote token must be a JWT"),
        )
        for options, said in bad:
            self.assertIn(said, self.failed("checkout", "new", *options))
        self.assertFalse((self.data / "domains" / "new").exists())
        self.assertIn("--remote", self.misused("checkout", "new", "--port", "1"))


class Deleting(DomainCase):
    """``checkout --delete``."""

    def test_it_is_gone(self) -> None:
        """With its store and its data keys; a domain of that name begins empty."""
        folder = self.data / "domains" / "sales"
        ended = self.dbx("checkout", "--delete", "SALES", stdin="sales\n")
        self.assertIn(f"Deleted domain 'sales' (data directory: {folder}).", ended.stdout)
        self.assertEqual(list((self.data / "domains").iterdir()), [])
        self.dbx("checkout", "sales")
        self.assertEqual(self.dbx("aggregate", "list").stdout, "")

    def test_the_wrong_word(self) -> None:
        """Anything but the name, nothing too, keeps the domain."""
        for word in ("", "sale\n", "yes\n"):
            self.assertIn("cancelled", self.dbx("checkout", "--delete", "sales", stdin=word).stdout)
        self.assertTrue((self.data / "domains" / "sales").exists())

    def test_documents(self) -> None:
        """--json says whether it was deleted; the question is on stderr."""
        ended = self.attempt("checkout", "--delete", "sales", "--json", stdin="no\n")
        self.assertEqual((ended.document["deleted"], ended.status), (False, 0))
        self.assertIn("Type the domain name", ended.stderr)
        self.assertTrue(
            self.dbx("checkout", "--delete", "sales", "--yes", "--json").document["deleted"]
        )

    def test_one_that_a_command_writes_to(self) -> None:
        """It is not taken away beneath the command: what that acknowledges would be lost."""
        place = open_workspace(environ=os.environ)
        writing = OfflineStore(place, "sales")
        said = self.failed("checkout", "--delete", "sales", "--force")
        writing.close()
        self.assertIn("is held by process", said)
        self.assertIn("o-1", self.dbx("aggregate", "list", "--domain", "sales").stdout)
        self.dbx("checkout", "--delete", "sales", "--force")

    def test_the_active_one_of_the_file(self) -> None:
        """It is not deleted while the environment names another one, nor can it be changed."""
        self.dbx("checkout", "sales")
        self.patch(os, "environ", {**os.environ, "EVENTDBX_DOMAIN": "default"})
        said = self.failed("checkout", "--delete", "sales", "--force")
        self.assertIn("cannot delete the currently active domain", said)
        said = self.failed("checkout", "fresh", "--remote", "far:1")
        self.assertIn("the active domain stays 'default'", said)
        self.assertFalse((self.data / "domains" / "fresh").exists())

    def test_what_was_left_half_removed(self) -> None:
        """The remains of a removal that was killed are in no list, and go with the next one."""
        left = self.data / "domains" / ".deleting" / "old.1.2"
        left.mkdir(parents=True)
        (left / "data_keys").write_bytes(b"secret")
        self.assertNotIn("deleting", self.dbx("list").stdout)
        self.dbx("checkout", "--delete", "sales", "--force")
        self.assertFalse(left.exists())


class OldLayouts(DomainCase):
    """Data of versions that keep domains in other places."""

    def setUp(self) -> None:
        super().setUp()
        self.old = self.data / "shards" / "shard-0012" / "tenants" / "people" / "event_store"
        self.old.mkdir(parents=True)
        (self.old / "CURRENT").write_text("MANIFEST-000001\n")

    def test_named_with_the_next_step(self) -> None:
        """The list warns of it; working in it is refused, and nothing is made."""
        ended = self.attempt("list")
        self.assertEqual(ended.status, 0)
        self.assertIn("domain 'people' has data of an earlier EventDBX in", ended.stderr)
        self.assertIn("dbx restore --input", ended.stderr)
        self.assertIn("earlier EventDBX", self.failed("checkout", "people"))
        self.assertFalse((self.data / "domains" / "people").exists())

    def test_the_default_domain(self) -> None:
        """A store of ours is not begun beside the old one of the same name."""
        self.old.parent.rename(self.old.parent.with_name("default"))
        for command in (("aggregate", "list"), ("aggregate", "create", "a", "1", "--event", "e")):
            self.assertIn("domain 'default' has data of an earlier EventDBX", self.failed(*command))
        self.assertFalse((self.data / "event_store").exists())

    def test_a_foreign_store_in_our_place(self) -> None:
        """It is refused and not touched."""
        import rocksdict

        path = self.data / "domains" / "older" / "event_store"
        path.parent.mkdir()
        store = rocksdict.Rdict(str(path), options=rocksdict.Options(raw_mode=True))
        store[b"evt\x1forder"] = b"{}"
        store.close()
        before = {one.name: one.read_bytes() for one in path.iterdir()}
        self.dbx("checkout", "older")
        for command in (("aggregate", "list"), ("aggregate", "create", "a", "1", "--event", "e")):
            said = self.failed(*command)
            self.assertIn("is not an event store of this program", said)
            self.assertIn("dbx restore --input", said)
        self.assertEqual({one.name: one.read_bytes() for one in path.iterdir()}, before)
