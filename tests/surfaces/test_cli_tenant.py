"""``dbx tenant`` on the files and through a server, and what quotas refuse."""

from __future__ import annotations

import json
import os

from eventdbx.errors import EventDBXError, TenantQuota
from eventdbx.surfaces.control.blocking import BlockingClient
from eventdbx.surfaces.control.calls import Calls
from tests.daemon import Workspace
from tests.surfaces.command_line import CommandLineCase
from tests.surfaces.test_cli_beside_server import ServedCase

REACHED = "tenant quota exceeded: tenant '{}' reached storage quota ({} MB)"

LARGE = 250_000
"""Characters of a text that goes into one event; random, so that no table is much smaller."""

STORY: tuple[tuple[str, ...], ...] = (
    ("list",), ("list", "--json"), ("stats",), ("stats", "--json"),
    ("assign", "acme", "--shard", "3"), ("assign", "ACME", "--shard", "shard-0003"),
    ("assign", "acme", "--shard", "16"), ("assign", "acme", "--shard", "x"),
    ("assign", "beta", "--shard", "15", "--json"), ("assign", "-x", "--shard", "1"),
    ("assign", " ", "--shard", "1"), ("assign", "b d", "--shard", "1"),
    ("assign", "gamma", "--shard", "3"),
    ("quota", "set", "acme", "--max-mb", "5"), ("quota", "set", "acme", "--max-mb", "5"),
    ("quota", "set", "delta", "--max-aggregates", "7", "--json"),
    ("quota", "set", "acme", "--max-mb", "0"),
    ("list",), ("list", "--json"), ("list", "--shard", "3"), ("list", "--shard", "99"),
    ("stats",), ("stats", "--json"),
    ("quota", "recalc", "nowhere"), ("quota", "recalc", "acme", "--json"), ("list",),
    ("quota", "clear", "acme"), ("quota", "clear", "acme"), ("quota", "clear", "acme", "--json"),
    ("unassign", "acme"), ("unassign", "acme"), ("unassign", "beta", "--json"), ("list",),
    ("schema", "history", "nowhere"),
)  # fmt: skip


class OnDisk(CommandLineCase):
    """Without a server the records are changed, and quotas hold all the same."""

    def test_records_that_are_mended(self) -> None:
        """Nothing is written without knowing the quota; in a shell the next line may, when it is
        known again."""
        self.create("order", "o-1")
        self.dbx("tenant", "quota", "set", "default", "--max-mb", "1")
        records = self.home / ".eventdbx" / "tenant_meta" / "tenants.json"
        text = records.read_text()
        records.write_text("{")
        words = ("aggregate", "apply", "order", "o-1", "order_paid")
        self.assertIn("tenants.json is no JSON", self.failed(*words))
        records.write_text(text)
        self.dbx(*words)

    def test_records(self) -> None:
        """Shards and quotas are recorded, listed and forgotten."""
        self.assertEqual(
            self.dbx("tenant", "list").stdout,
            "no tenant assignments or quotas found\n"
            "tenants will hash across 16 shards by default\n",
        )
        self.dbx("tenant", "assign", "acme", "--shard", "3")
        self.dbx("tenant", "quota", "set", "beta", "--max-mb", "12")
        self.assertEqual(
            self.dbx("tenant", "list").stdout,
            "tenant  shard       quota_mb  usage_mb  count\n"
            "acme    shard-0003         -         -      1\n"
            "beta    -                 12         -      -\n",
        )
        self.assertEqual(
            self.dbx("tenant", "list", "--json").document,
            [
                {"tenant": "acme", "shard": "shard-0003", "shard_count": 1},
                {"tenant": "beta", "quota_mb": 12},
            ],
        )
        self.assertEqual(
            self.dbx("tenant", "list", "-o", "csv").stdout,
            "tenant,shard,quota_mb,usage_mb,shard_count\r\nacme,shard-0003,,,1\r\nbeta,,12,,\r\n",
        )
        self.assertFalse((self.home / ".eventdbx" / "domains").exists(), "only records were made")

    def test_recorded(self) -> None:
        """The audit trail tells of every change, and of nothing that changed nothing."""
        self.dbx("tenant", "assign", "acme", "--shard", "3")
        self.dbx("tenant", "assign", "acme", "--shard", "3")
        self.dbx("tenant", "quota", "set", "acme", "--max-mb", "5")
        self.dbx("tenant", "quota", "recalc", "acme")
        self.dbx("tenant", "quota", "clear", "acme")
        self.dbx("tenant", "unassign", "acme")
        self.create("order", "o-1")
        found = self.dbx("audit", "log", "--area", "tenants", "--json").document
        self.assertEqual(
            [(one["event"], one["resource"], one["way"]) for one in reversed(found)],
            [
                ("tenant_assigned", "acme", "dbx tenant assign"),
                ("quota_set", "acme", "dbx tenant quota set"),
                ("quota_cleared", "acme", "dbx tenant quota clear"),
                ("tenant_unassigned", "acme", "dbx tenant unassign"),
            ],
        )
        self.assertEqual(found[2]["details"], {"quota_mb": 5, "shard": "shard-0003"})

    def test_quota(self) -> None:
        """A quota that is reached ends writing, not reading; a larger one lets it begin again."""
        text = json.dumps({"text": os.urandom(LARGE // 2).hex()})
        for number in range(6):
            self.create("order", f"o-{number}", "--payload", text)
        usage = self.dbx("tenant", "quota", "recalc", "default", "--json").document
        self.assertEqual(usage["usage_mb"], -(-usage["storage_bytes"] // (1 << 20)))
        self.assertGreaterEqual(usage["storage_bytes"], 6 * LARGE // 2)
        self.dbx("tenant", "quota", "set", "default", "--max-mb", "1")
        for line in (
            ("aggregate", "create", "order", "o-9", "--event", "order_created"),
            ("aggregate", "apply", "order", "o-1", "order_paid"),
            ("aggregate", "snapshot", "order", "o-1"),
        ):
            self.assertEqual(self.failed(*line), f"Error: {REACHED.format('default', 1)}\n")
        self.assertEqual(len(self.dbx("events", "--json", "--take", "9").document), 6)
        self.dbx("tenant", "quota", "clear", "default")
        self.dbx("aggregate", "apply", "order", "o-1", "order_paid", "--stage")
        self.dbx("tenant", "quota", "set", "default", "--max-mb", "1")
        self.assertIn("reached storage quota (1 MB)", self.failed("aggregate", "commit"))
        self.assertEqual(len(self.dbx("events", "--json", "--take", "9").document), 6)
        self.dbx("aggregate", "archive", "order", "o-2")
        self.dbx("tenant", "quota", "set", "default", "--max-mb", "50")
        self.create("order", "o-9")

    def test_damaged_records(self) -> None:
        """Records that cannot be read are told of by file, and nothing is written unlimited."""
        self.dbx("tenant", "quota", "set", "default", "--max-mb", "1")
        path = self.home / ".eventdbx" / "tenant_meta" / "tenants.json"
        path.write_text("{")
        for line in (
            ("tenant", "list"),
            ("aggregate", "create", "order", "o-1", "--event", "order_created"),
        ):
            self.assertIn(str(path), self.failed(*line))

    def test_schema(self) -> None:
        """Versions of the schemas of another domain than that in use are worked with by name."""
        self.dbx("domain", "create", "beta")
        self.dbx("schema", "create", "order", "-e", "order_made")
        self.dbx("checkout", "default")
        done = self.dbx("tenant", "schema", "publish", "beta", "--activate", "--json").document
        self.assertEqual((done["tenant"], done["activated"]), ("beta", True))
        shown = self.dbx("tenant", "schema", "show", "beta").document
        self.assertEqual(list(shown), ["order"])
        self.assertIn(done["version"], self.dbx("tenant", "schema", "history", "beta").stdout)
        self.assertEqual(
            self.dbx("tenant", "schema", "history").stdout,
            "tenant=default has no published schema versions\n",
        )
        self.assertEqual(
            self.failed("tenant", "schema", "history", "nowhere"),
            "Error: domain 'nowhere' does not exist\n",
        )
        self.assertFalse((self.home / ".eventdbx" / "domains" / "nowhere").exists())


class AtServer(ServedCase):
    """Beside a server everything goes through it, and counts at once."""

    def token(self, place: Workspace, *options: str) -> str:
        """Return a new token of the workspace."""
        given = ("--group", "ops", "--user", "kim", *options, "--json")
        token: str = self.at(place, "token", "generate", *given).document["token"]
        return token

    def fill(self, client: BlockingClient) -> int:
        """Write large events until one is refused; return how many were written."""
        for written in range(20):
            try:
                client.append("order", "o-2", "noted", {"text": os.urandom(LARGE // 2).hex()})
            except TenantQuota:
                self.assertGreater(written, 0)
                return written
        raise AssertionError("the quota is never reached")

    def test_same_output(self) -> None:
        """Whether a server runs cannot be seen in what the commands print, but for an unknown
        domain, of which the server speaks itself."""
        alone, served = self.workspace(served=False), self.workspace(served=True)
        for line in STORY[:-1]:
            self.assertEqual(
                self.at(served, "tenant", *line), self.at(alone, "tenant", *line), line
            )
        refused = self.at(served, "tenant", *STORY[-1])
        self.assertEqual(refused.status, 1)
        self.assertIn("domain 'nowhere' does not exist", refused.stderr)

    def test_counts_at_once(self) -> None:
        """A quota holds in sessions that are open already, and nobody has to come again."""
        place = self.workspace(served=True)
        token = self.token(place, "--action", "*.*")
        with BlockingClient("127.0.0.1", place.port, token) as one:
            one.create("order", "o-1", "order_created", {})
            self.assertTrue(one.call(Calls(token).tenant_quota_set("default", 0)))
            error = self.assertRaises(TenantQuota, one.append, "order", "o-1", "order_paid", {})
            self.assertEqual(str(error), REACHED.format("default", 0))
            self.at(place, "tenant", "quota", "clear", "default")
            one.append("order", "o-1", "order_paid", {})
            self.at(place, "tenant", "quota", "set", "default", "--max-mb", "1")
            written = self.fill(one)
            self.assertRaises(TenantQuota, one.append, "order", "o-2", "order_noted", {})
            self.assertRaises(TenantQuota, one.create, "order", "o-3", "order_created", {})
            self.assertRaises(TenantQuota, one.snapshot, "order", "o-2")
            listed = self.at(place, "tenant", "list", "--json").document
            self.assertGreaterEqual(listed[0]["usage_mb"], 1)
        place.stop()
        place.start()
        with BlockingClient("127.0.0.1", place.port, token) as one:
            there = self.at(place, "events", "order", "o-2", "--take", "99", "--json").document
            self.assertEqual(len(there), written)
            self.assertEqual(self.at(place, "tenant", "list", "--json").document[0]["quota_mb"], 1)

    def test_rights(self) -> None:
        """``tenant.manage`` is needed, and a token that is good for the tenant named."""
        place = self.workspace(served=True)
        self.at(place, "tenant", "quota", "set", "acme", "--max-mb", "5")
        self.at(place, "tenant", "quota", "set", "beta", "--max-mb", "6")
        some = self.token(place, "--action", "tenant.manage", "--tenant", "default", "--tenant",
                          "acme")  # fmt: skip
        none = self.token(place, "--action", "aggregate.*")
        for token, line, said in (
            (some, ("quota", "set", "acme", "--max-mb", "7"), None),
            (some, ("quota", "set", "beta", "--max-mb", "7"), "unauthorized"),
            (some, ("assign", "beta", "--shard", "1"), "unauthorized"),
            (none, ("assign", "acme", "--shard", "1"), "unauthorized"),
            (none, ("list",), "unauthorized"),
        ):
            self.patch(os, "environ", {**os.environ, "EVENTDBX_TOKEN": token})
            done = self.at(place, "tenant", *line)
            self.assertEqual(done.status, 0 if said is None else 1, line)
            if said is not None:
                self.assertIn(said, done.stderr)
        self.patch(os, "environ", {**os.environ, "EVENTDBX_TOKEN": some})
        self.assertEqual(
            self.at(place, "tenant", "list", "--json").document, [{"tenant": "acme", "quota_mb": 7}]
        )

    def test_other_domains(self) -> None:
        """The quota of one domain is no other's; a record alone makes no domain."""
        place = self.workspace(served=False)
        self.at(place, "domain", "create", "acme")
        self.at(place, "checkout", "default")
        place.start()
        self.addCleanup(place.stop)
        self.at(place, "tenant", "quota", "set", "acme", "--max-mb", "1")
        self.at(place, "tenant", "quota", "set", "beta", "--max-mb", "1")
        token = self.token(place, "--action", "*.*")
        with BlockingClient("127.0.0.1", place.port, token, tenant="acme") as acme:
            self.fill(acme)
        with BlockingClient("127.0.0.1", place.port, token, tenant="default") as default:
            default.append("order", "o-1", "made", {})
        error = self.assertRaises(
            EventDBXError, BlockingClient, "127.0.0.1", place.port, token, tenant="beta"
        )
        self.assertIn("domain 'beta' does not exist", str(error))

    def test_of_another_server(self) -> None:
        """Without a name the schemas are those of the domain that the other server works in."""
        place = self.workspace(served=False)
        self.at(place, "domain", "create", "sales")
        self.at(place, "schema", "create", "order", "-e", "order_made")
        place.start()
        self.addCleanup(place.stop)
        socket = ("--socket", f"127.0.0.1:{place.port}")
        self.patch(os, "environ", {**os.environ, "EVENTDBX_TOKEN": self.token(
            place, "--action", "*.*")})  # fmt: skip
        for words in (), ("sales",):
            done = self.dbx("tenant", "schema", "publish", *words, "--force", "--json", *socket)
            self.assertTrue(done.document["version"])
        self.dbx("tenant", "quota", "set", "sales", "--max-mb", "3", *socket)
        self.assertEqual(self.dbx("tenant", "list", "--json", *socket).document[0]["quota_mb"], 3)
        self.assertEqual(self.dbx("tenant", "list", "--json").document, [], "not those of here")
        place.stop()
        self.at(place, "checkout", "sales")
        history = self.at(place, "tenant", "schema", "history", "sales", "--json").document
        self.assertEqual(len(history["versions"]), 2)
        history = self.at(place, "tenant", "schema", "history", "default", "--json").document
        self.assertEqual(history["versions"], [])

    def test_damaged_records(self) -> None:
        """A server does not start over records that it cannot read: it would limit nobody."""
        place = self.workspace(served=False)
        self.at(place, "tenant", "quota", "set", "default", "--max-mb", "1")
        path = place.folder / ".dbx" / "tenant_meta" / "tenants.json"
        path.write_text("[]")
        done = place.attempt("start", "--foreground")
        self.assertEqual(done.returncode, 1)
        self.assertIn(str(path), done.stderr)
