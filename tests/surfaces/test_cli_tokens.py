"""``dbx token``: what it prints, and that what it issues is believed until it is revoked."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.ledger import terms_verifier
from eventdbx.domain.grants import Grant
from eventdbx.errors import InvalidToken, TokenLimitReached, Unauthorized
from eventdbx.services.keyring import token_terms
from eventdbx.services.workspace import open_workspace
from eventdbx.surfaces.control.blocking import BlockingClient
from eventdbx.surfaces.control.calls import Calls
from tests.daemon import Workspace
from tests.surfaces.command_line import CommandLineCase

FOR_ANN = ("--group", "ops", "--user", "ann", "--action", "aggregate.read")


class TokenCase(CommandLineCase):
    """Commands, and a server's view of tokens."""

    def verify(self, token: str) -> Grant:
        """Return what a server finds in a token."""
        workspace, config = open_workspace(environ=os.environ)
        terms = token_terms(config)
        return terms_verifier(terms, time.time, workspace.is_revoked).verify(token)

    def generate(self, *options: str) -> str:
        """Return a new token."""
        token: str = self.dbx("token", "generate", *FOR_ANN, *options, "--json").document["token"]
        return token


class Generating(TokenCase):
    """New tokens."""

    def test_lines(self) -> None:
        """The token is shown once, with its record below it."""
        lines = self.dbx("token", "generate", *FOR_ANN).stdout.splitlines()
        record = dict(line.strip().split("=", 1) for line in lines)
        grant = self.verify(record.pop("token"))
        self.assertEqual(record.pop("jti"), grant.jti)
        self.assertRegex(record.pop("issued_at"), r"^\d{4}-\d\d-\d\dT.*\+00:00$")
        self.assertRegex(record.pop("expires_at"), r"^\d{4}-\d\d-\d\dT.*\+00:00$")
        self.assertEqual(
            record,
            {
                "subject": "ops:ann",
                "group": "ops",
                "user": "ann",
                "status": "Active",
                "issued_by": "cli",
                "actions": "[aggregate.read]",
                "resources": "[*]",
                "tenants": "[any]",
            },
        )
        assert grant.expires_at is not None
        self.assertEqual(grant.expires_at - grant.issued_at, 3600)

    def test_options(self) -> None:
        """Every option ends up in the token."""
        token = self.generate(
            "--subject", "svc:x", "--action", "aggregate.append", "--resource", "aggregate:order:*",
            "--tenant", "Beta", "--tenant", "alpha", "--tenant", "beta", "--ttl", "10m",
            "--issued-by", "me", "--write-limit", "5", "--keep-alive",
        )  # fmt: skip
        grant = self.verify(token)
        self.assertEqual((grant.subject, grant.issued_by), ("svc:x", "me"))
        self.assertEqual(grant.actions, ("aggregate.read", "aggregate.append"))
        self.assertEqual(grant.resources, ("aggregate:order:*",))
        self.assertEqual(grant.tenants, ("alpha", "beta"))
        self.assertEqual(grant.expires_at, grant.issued_at + 600)
        self.assertEqual((grant.write_limit, grant.keep_alive), (5, True))

    def test_older_words(self) -> None:
        """The words of older documents mean the same."""
        ended = self.dbx("token", "issue", *FOR_ANN, "--expiration", "0", "--limit", "7", "--json")
        self.assertIsNone(ended.document["expires_at"])
        self.assertEqual(ended.document["limits"]["write_events"], 7)

    def test_refused(self) -> None:
        """What is missing or out of range is said; nothing is recorded."""
        for arguments, message in (
            (("--group", "g", "--user", "u"), "Error: at least one --action must be provided\n"),
            (
                (*FOR_ANN, "--ttl", "5300w"),
                "Error: configuration error: token ttl is out of range\n",
            ),
        ):
            self.assertEqual(self.failed("token", "generate", *arguments), message)
        self.assertIn("--user <USER>", self.misused("token", "generate", "--group", "g"))
        self.assertIn("invalid digit", self.misused("token", "generate", *FOR_ANN, "--ttl", "x"))
        self.assertEqual(self.dbx("token", "list").stdout, "no issued tokens\n")

    def test_wide_resource(self) -> None:
        """A pattern that covers more types than it seems to is issued with a warning."""
        ended = self.attempt("token", "generate", *FOR_ANN, "--resource", "aggregate:order*")
        self.assertEqual(ended.status, 0)
        self.assertIn("aggregate:order:* means the one type", ended.stderr)

    def test_not_before(self) -> None:
        """A first moment is kept in the token; what is none is refused."""
        ended = self.dbx(
            "token", "generate", *FOR_ANN, "--not-before", "2099-01-02T03:04:05Z", "--ttl", "0",
            "--json",
        )  # fmt: skip
        self.assertEqual(ended.document["not_before"], "2099-01-02T03:04:05Z")
        self.assertRaises(Unauthorized, self.verify, ended.document["token"])
        self.assertIn(
            "is not an RFC 3339 time",
            self.misused("token", "generate", *FOR_ANN, "--not-before", "soon"),
        )
        self.assertIn(
            "before the token expires",
            self.failed("token", "generate", *FOR_ANN, "--not-before", "2099-01-02T03:04:05Z"),
        )


class Showing(TokenCase):
    """What is known of one token."""

    def test_lines(self) -> None:
        """By its id, and by itself; the token is never shown."""
        token = self.generate("--write-limit", "3")
        jti = self.verify(token).jti
        shown = self.dbx("token", "show", jti).stdout
        self.assertTrue(shown.startswith(f"token=<hidden>\n  jti={jti}\n  subject=ops:ann\n"))
        self.assertTrue(
            shown.endswith("  not_before=none\n  write_limit=3\n  state=active\n  recorded=yes\n")
        )
        self.assertEqual(self.dbx("token", "show", token).stdout, shown)
        self.dbx("token", "revoke", jti)
        document = self.dbx("token", "show", jti, "--json").document
        self.assertEqual((document["status"], document["state"]), ("revoked", "revoked"))
        self.assertNotIn("token", document)
        self.assertNotIn("digest", document)

    def test_by_file(self) -> None:
        """A token in a file, or on stdin, is on no command line."""
        path = self.home / "ops.token"
        path.write_text(self.generate() + "\n")
        jti = self.verify(path.read_text().strip()).jti
        self.assertIn(jti, self.dbx("token", "show", "--token-file", str(path)).stdout)
        ended = self.dbx("token", "refresh", "--token-file", str(path), "--json").document
        self.assertEqual(
            self.dbx("token", "revoke", "--token-file", "-", stdin=ended["token"]).stdout,
            f"revoked {ended['jti']}\n",
        )
        done = self.dbx("token", "revoke", "--token-file", str(path), "--json")
        self.assertEqual(done.document["token"], jti)

    def test_misused(self) -> None:
        """One way of giving the token, and a file that has one."""
        for command in ("show", "revoke", "refresh"):
            self.assertIn("were not provided", self.misused("token", command))
        self.assertIn(
            "cannot be used with", self.misused("token", "show", "x", "--token-file", "f")
        )
        self.assertIn(
            "cannot be used with",
            self.misused("token", "refresh", "--token", "x", "--token-file", "f"),
        )
        self.assertIn("cannot read", self.failed("token", "show", "--token-file", "none"))
        (self.home / "empty").write_text(" \n")
        self.assertIn(
            "there is no token in",
            self.failed("token", "show", "--token-file", str(self.home / "empty")),
        )
        self.assertIn("token not found", self.failed("token", "show", "nope"))


class Rotating(TokenCase):
    """Another signing key."""

    def test_rotate(self) -> None:
        """Old tokens are good for the overlap, new ones name the new key."""
        old = self.generate("--ttl", "1h")
        lines = self.dbx("token", "rotate").stdout.splitlines()
        self.assertRegex(lines[0], r"^signing with key-\d{14}(-2)?$")
        self.assertRegex(lines[1], r"^  key-\d{14} verifies until \S+\+00:00$")
        self.verify(old)
        ended = self.attempt("auth", "rotate", "--overlap", "0", "--json")
        self.assertEqual(ended.status, 0)
        self.assertEqual(len(ended.document["previous"]), 2)
        self.verify(self.generate())

    def test_without_end(self) -> None:
        """A token that never ends keeps the old key, and that is said."""
        self.dbx("token", "bootstrap", "--ttl", "0")
        ended = self.attempt("token", "rotate")
        self.assertIn(" verifies without end\n", ended.stdout)
        self.assertIn("note: some tokens of the old key never end", ended.stderr)


class Ending(TokenCase):
    """Revoking and refreshing."""

    def test_revoke(self) -> None:
        """A revoked token is refused from then on; the list says so without showing it."""
        token = self.generate()
        grant = self.verify(token)
        ended = self.dbx("token", "revoke", token, "--reason", "left team", "--json")
        self.assertEqual(list(ended.document), ["reason", "revoked", "revoked_at", "token"])
        self.assertEqual(ended.document["reason"], "left team")
        self.assertRaises(InvalidToken, self.verify, token)
        self.assertEqual(self.dbx("token", "revoke", grant.jti).stdout, f"revoked {grant.jti}\n")
        (record,) = self.dbx("token", "list", "--json").document
        self.assertEqual((record["jti"], record["status"]), (grant.jti, "revoked"))
        self.assertNotIn("token", record)
        self.assertIn("token=<hidden>\n", self.dbx("token", "list").stdout)

    def test_unknown(self) -> None:
        """What is no token of this installation is refused, or revoked with a warning."""
        self.assertEqual(
            self.failed("token", "revoke", "nope"), "Error: token not found or inactive\n"
        )
        unknown = "3f1c2f0e-6f5e-4b7a-9d0a-0123456789ab"
        ended = self.attempt("token", "revoke", "--token", unknown)
        self.assertEqual((ended.status, ended.stdout), (0, f"revoked {unknown}\n"))
        self.assertIn("no token with the id", ended.stderr)

    def test_refresh(self) -> None:
        """The replacement is good, the old token is not, and cannot be refreshed again."""
        old = self.generate("--ttl", "60")
        ended = self.dbx("token", "refresh", "--token", old, "--json").document
        grant = self.verify(ended["token"])
        self.assertEqual(grant.expires_at, grant.issued_at + 60)
        self.assertRaises(InvalidToken, self.verify, old)
        self.assertEqual(
            self.failed("token", "refresh", "--token", old), "Error: token not found or inactive\n"
        )
        lines = self.dbx("token", "refresh", "--token", grant.jti, "--ttl", "0").stdout
        self.assertTrue(lines.startswith("issued replacement token:\ntoken="))
        self.assertIn("  expires_at=never\n", lines)


class Bootstrap(TokenCase):
    """The operator's own token."""

    def test_file(self) -> None:
        """It is kept in cli.token and recorded; a second call keeps it."""
        path = self.home / ".eventdbx" / "cli.token"
        shown = self.dbx("token", "bootstrap").stdout
        self.assertEqual(shown, f"Bootstrap token stored at {path}\n")
        token = path.read_text().strip()
        grant = self.verify(token)
        self.assertEqual(grant.expires_at, grant.issued_at + 7200)
        self.dbx("token", "bootstrap")
        self.assertEqual(path.read_text().strip(), token)
        (record,) = self.dbx("token", "list", "--json").document
        self.assertEqual((record["jti"], record["subject"]), (grant.jti, "cli:bootstrap"))

    def test_stdout(self) -> None:
        """It can be printed instead, or as well."""
        path = self.home / ".eventdbx" / "cli.token"
        printed = self.dbx("token", "bootstrap", "--stdout", "--ttl", "0").stdout.strip()
        self.assertIsNone(self.verify(printed).expires_at)
        self.assertFalse(path.exists())
        printed = self.dbx("token", "bootstrap", "--stdout", "--persist").stdout
        self.assertEqual(path.read_text(), printed)
        self.assertEqual(len(self.dbx("token", "list", "--json").document), 2)
        self.assertIn("--stdout", self.misused("token", "bootstrap", "--persist"))

    def test_replaced(self) -> None:
        """Another lifetime means another token; the old one is revoked, the ledger has one."""
        path = self.home / ".eventdbx" / "cli.token"
        self.dbx("token", "bootstrap", "--ttl", "0")
        first = path.read_text().strip()
        for lifetime in ("60", "90", "2h"):
            self.dbx("token", "bootstrap", "--ttl", lifetime)
            self.assertRaises(InvalidToken, self.verify, first)
            first = path.read_text().strip()
            (record,) = self.dbx("token", "list", "--json").document
            self.assertEqual(record["jti"], self.verify(first).jti)

    def test_revoked(self) -> None:
        """A revoked one is replaced, whatever its time; others cannot read the new one."""
        path = self.home / ".eventdbx" / "cli.token"
        self.dbx("token", "bootstrap", "--ttl", "0")
        old = path.read_text().strip()
        self.dbx("token", "revoke", old)
        path.chmod(0o644)
        self.dbx("token", "bootstrap")
        new = path.read_text().strip()
        self.assertNotEqual(new, old)
        self.verify(new)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)

    def test_of_an_earlier_key(self) -> None:
        """After a rotation the file has a token of the new key; the old one is good still."""
        path = self.home / ".eventdbx" / "cli.token"
        self.dbx("token", "bootstrap")
        old = path.read_text().strip()
        self.dbx("token", "rotate")
        self.dbx("token", "bootstrap")
        self.assertNotEqual(path.read_text().strip(), old)
        self.verify(old)

    def test_nonsense(self) -> None:
        """What is no token at all is replaced."""
        path = self.home / ".eventdbx" / "cli.token"
        self.dbx("token", "list")
        path.write_text("EVT-0123\n")
        self.dbx("token", "bootstrap")
        self.verify(path.read_text().strip())


class BesideServer(SynchronousTestCase):
    """A running server believes the same files."""

    def test_revoked_in_an_open_session(self) -> None:
        """Tokens issued while it runs are good at once, and refused once they are revoked."""
        place = Workspace(Path(self.mktemp()).absolute())
        place.start()
        self.addCleanup(place.stop)
        record = json.loads(place.run("token", "generate", *FOR_ANN, "--json"))
        client = BlockingClient("127.0.0.1", place.port, record["token"])
        self.addCleanup(client.close)
        snapshots = Calls(record["token"]).snapshots(None, None, None)
        self.assertEqual(client.call(snapshots), [])
        place.run("token", "revoke", record["jti"])
        self.assertRaises(InvalidToken, client.call, snapshots)

    def test_write_limit(self) -> None:
        """A limit holds through a kill of the server: what was acknowledged has been counted."""
        place = Workspace(Path(self.mktemp()).absolute())
        place.start()
        self.addCleanup(place.stop)
        limited = ("-g", "g", "-u", "u", "--action", "*.*", "--write-limit", "3", "--json")
        token = json.loads(place.run("token", "generate", *limited))["token"]

        def write() -> None:
            with closing(BlockingClient("127.0.0.1", place.port, token)) as client:
                client.call(Calls(token).apply("order", "o-1", "made", {"a": 1}))

        place.run("aggregate", "create", "order", "o-1", "--event", "made")
        write()
        write()
        place.stop(signal.SIGKILL)
        place.start()
        write()
        self.assertRaises(TokenLimitReached, write)
        with closing(BlockingClient("127.0.0.1", place.port, token)) as client:
            client.call(Calls(token).snapshots(None, None, None))

    def test_in_the_audit_trail(self) -> None:
        """What was done to tokens and keys is told, without the tokens."""
        place = Workspace(Path(self.mktemp()).absolute())
        made = json.loads(place.run("token", "generate", *FOR_ANN, "--json"))
        place.run("token", "refresh", "--token", made["token"])
        place.run("token", "revoke", made["jti"])
        place.run("token", "rotate")
        printed = place.run("token", "bootstrap", "--stdout").strip()
        place.run("token", "bootstrap", "--ttl", "1h")
        trail = place.run("audit", "log", "--json")
        for event, count in (
            ("token_issued", 3), ("token_refreshed", 1), ("token_revoked", 1), ("key_rotated", 1),
        ):  # fmt: skip
            self.assertEqual(trail.count(f'"{event}"'), count, event)
        self.assertIn(made["jti"], trail)
        for secret in (made["token"], printed):
            self.assertNotIn(secret.rsplit(".", 1)[1], trail)

    def test_by_file(self) -> None:
        """Commands take their token from a file; one that has none is no reason to take another."""
        place = Workspace(Path(self.mktemp()).absolute())
        place.start()
        self.addCleanup(place.stop)
        token = json.loads(place.run("token", "generate", *FOR_ANN, "--json"))["token"]
        (place.folder / "ann.token").write_text(token + "\n")
        place.run("aggregate", "list", EVENTDBX_TOKEN_FILE="ann.token")
        create = ("aggregate", "create", "order", "o-1", "--event", "made")
        ended = place.attempt(*create, EVENTDBX_TOKEN_FILE="ann.token")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("unauthorized", ended.stderr)
        ended = place.attempt(*create, EVENTDBX_TOKEN_FILE="none.token")
        self.assertIn("names none.token, which has no token", ended.stderr)
        place.run(*create)

    def test_rotated(self) -> None:
        """A running server takes the new key up; nobody is locked out, and nothing restarts."""
        place = Workspace(Path(self.mktemp()).absolute())
        place.start()
        self.addCleanup(place.stop)

        def good(token: str) -> None:
            with closing(BlockingClient("127.0.0.1", place.port, token)) as client:
                client.call(Calls(token).snapshots(None, None, None))

        old = json.loads(place.run("token", "generate", *FOR_ANN, "--json"))["token"]
        place.run("token", "rotate")
        new = json.loads(place.run("token", "generate", *FOR_ANN, "--json"))["token"]
        good(new)
        good(old)
        place.run("aggregate", "create", "order", "o-1", "--event", "made")
