"""The desk: tokens issued within what one may hand on, refreshed, revoked, and keys rotated."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.issuing import TokenAsked
from eventdbx.application.token_keys import verification_keys
from eventdbx.application.tokens import Verifier
from eventdbx.domain.grants import Grant
from eventdbx.domain.timestamps import NS_PER_S, parse_ns
from eventdbx.errors import (
    ConfigError,
    EventDBXError,
    InvalidToken,
    SerializationError,
    TokenExpired,
    TokenRevoked,
    Unauthorized,
)
from eventdbx.services.issuing import TokenDesk
from eventdbx.services.keyring import LOOK_S, KeyWatch, with_present_keys
from eventdbx.services.workspace import Opened, open_workspace

READ = TokenAsked("ops", "ann", ["aggregate.read"])
DAY_S = 24 * 3600


class DeskCase(SynchronousTestCase):
    """A workspace, its desk, and a server's verifier beside them."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir(parents=True)
        self.environ = {"HOME": str(self.home)}
        self.now_ns = time.time_ns()
        self.opened = self.open()
        self.desk = self.make_desk()
        workspace, config = self.opened
        self.watched_s = 0.0
        self.verifier = Verifier(
            verification_keys(config), config.auth.issuer, config.auth.audience, 30,
            lambda: self.now_ns / NS_PER_S, workspace.is_revoked,
            KeyWatch(workspace, lambda: config, lambda: self.watched_s),
        )  # fmt: skip

    def open(self, **environ: str) -> Opened:
        """Open the workspace as a new process does."""
        return open_workspace(environ={**self.environ, **environ}, cwd=self.home)

    def make_desk(self) -> TokenDesk:
        """Return the desk of another process."""
        opened = self.open()
        return TokenDesk(opened.workspace, lambda: opened.config, clock_ns=lambda: self.now_ns)

    def refused(self, token: str) -> type[EventDBXError]:
        """Return how a server refuses a token."""
        return type(self.assertRaises(EventDBXError, self.verifier.verify, token))


class Issuing(DeskCase):
    """New tokens."""

    def test_document(self) -> None:
        """The document has the token once; later ones are the same without it."""
        document = self.desk.issue(READ)
        token = document.pop("token")
        self.assertEqual(self.verifier.verify(token).jti, document["jti"])
        self.assertEqual(self.desk.list(), [document])
        self.assertEqual(self.make_desk().find(document["jti"]), document)
        self.assertNotIn("digest", json.dumps(document))
        self.assertRaises(InvalidToken, self.desk.find, "other")

    def test_not_before(self) -> None:
        """A token waits for its first moment, and says so."""
        start = self.now_ns // NS_PER_S + 600
        document = self.desk.issue(READ._replace(not_before=start, ttl_s=3600))
        self.assertEqual(parse_ns(document["not_before"]), start * NS_PER_S)
        self.assertIs(self.refused(document["token"]), Unauthorized)
        self.assertEqual(self.desk.describe(document["jti"])["state"], "waiting")
        self.now_ns += 601 * NS_PER_S
        self.assertEqual(self.verifier.verify(document["token"]).not_before, start)
        for wrong in (start + 3600, -1, 1 << 62):
            asked = READ._replace(not_before=wrong, ttl_s=600)
            self.assertRaises(ConfigError, self.desk.issue, asked)
        endless = READ._replace(not_before=1 << 62, ttl_s=0)
        self.assertRaises(ConfigError, self.desk.issue, endless)

    def test_no_more_than_one_has(self) -> None:
        """Nobody hands on what they may not do themselves."""
        by = Grant(
            "j", "s", actions=("aggregate.*", "token.manage"), resources=("aggregate:order:*",),
            tenants=("acme",),
        )  # fmt: skip
        fits: dict[str, Any] = {"resources": ["aggregate:order:7"], "tenants": ["ACME"]}
        self.desk.issue(READ._replace(**fits), by=by)
        changes: tuple[dict[str, Any], ...] = (
            {"actions": ["*.*"]},
            {"actions": ["aggregate.read", "schema.read"]},
            {"actions": ["aggregate*"]},
            {"resources": []},
            {"resources": ["aggregate:order*"]},
            {"tenants": []},
            {"tenants": ["acme", "other"]},
        )
        for change in changes:
            asked = READ._replace(**{**fits, **change})
            self.assertRaises(Unauthorized, self.desk.issue, asked, by=by)
        self.assertEqual(len(self.desk.list()), 1)


class Renewing(DeskCase):
    """Refreshing and revoking."""

    def test_within_what_one_has(self) -> None:
        """A refresh is an issue: only one's own token and what it covers can be refreshed."""
        root = self.desk.issue(READ._replace(actions=["*.*"]))
        mine = self.desk.issue(READ._replace(actions=["token.manage"], resources=["x"]))
        by = self.verifier.verify(mine["token"])
        self.assertRaises(Unauthorized, self.desk.refresh, root["jti"], by=by)
        self.assertEqual(self.desk.refresh(mine["token"], by=by)[0]["actions"], ["token.manage"])
        self.assertEqual(self.verifier.verify(root["token"]).jti, root["jti"])

    def test_at_once(self) -> None:
        """What a server itself has revoked or replaced, it refuses from the next request on."""
        workspace, config = self.opened
        workspace.revocations.look_at_most_every(3600)
        desk = TokenDesk(workspace, lambda: config, clock_ns=lambda: self.now_ns)
        revoked, replaced = (desk.issue(READ)["token"] for _ in range(2))
        self.verifier.verify(revoked)
        desk.revoke(revoked, reason=None)
        self.assertIs(self.refused(revoked), InvalidToken)
        self.verifier.verify(replaced)
        desk.refresh(replaced)
        self.assertIs(self.refused(replaced), InvalidToken)

    def test_ended(self) -> None:
        """What is revoked or expired is not revived."""
        revoked = self.desk.issue(READ)
        self.desk.revoke(revoked["token"], reason=None)
        for text in (revoked["token"], revoked["jti"]):
            self.assertRaises(TokenRevoked, self.desk.refresh, text)
        expired = self.desk.issue(READ._replace(ttl_s=60))
        self.now_ns += 91 * NS_PER_S
        for text in (expired["token"], expired["jti"]):
            self.assertRaises(TokenExpired, self.desk.refresh, text)
        self.assertRaises(InvalidToken, self.desk.refresh, "unknown")

    def test_never_stays_never(self) -> None:
        """A token without end is refreshed without end; what it waited for is over."""
        asked = READ._replace(ttl_s=0, not_before=self.now_ns // NS_PER_S - 5, write_limit=7)
        old = self.desk.issue(asked)
        new, replaced = self.desk.refresh(old["jti"])
        self.assertEqual(replaced, old["jti"])
        self.assertEqual((new["expires_at"], new["not_before"]), (None, None))
        self.assertEqual(new["limits"], old["limits"])
        self.assertIs(self.refused(old["token"]), InvalidToken)

    def test_unknown_here(self) -> None:
        """A token of our key that nobody recorded is revoked all the same."""
        document = self.desk.issue(READ)
        (self.opened.workspace.data_dir / "tokens.json").unlink()
        known = self.make_desk().revoke(document["token"], reason="lost")
        self.assertEqual((known["jti"], known["status"]), (document["jti"], "revoked"))
        self.assertIs(self.refused(document["token"]), InvalidToken)

    def test_described(self) -> None:
        """What is known of a token, by itself or by its id, whatever has become of it."""
        document = self.desk.issue(READ._replace(ttl_s=60))
        token = document.pop("token")
        told = self.desk.describe(token)
        self.assertEqual(told, {**document, "state": "active", "recorded": True})
        self.now_ns += 91 * NS_PER_S
        self.assertEqual(self.desk.describe(document["jti"])["state"], "expired")
        self.desk.revoke(token, reason=None)
        told = self.desk.describe(token)
        self.assertEqual((told["status"], told["state"]), ("revoked", "revoked"))
        (self.opened.workspace.data_dir / "tokens.json").unlink()
        self.assertFalse(self.make_desk().describe(token)["recorded"])
        for wrong in ("x", "a.b.c", document["jti"]):
            self.assertRaises(InvalidToken, self.make_desk().describe, wrong)


class Rotating(DeskCase):
    """Another signing key."""

    def test_beside_a_server(self) -> None:
        """Old tokens go on, new ones count at once: for a server that was never told."""
        old = self.desk.issue(READ)["token"]
        rotated = self.make_desk().rotate_key()
        new = self.desk.issue(READ)
        self.assertEqual(self.verifier.verify(new["token"]).jti, new["jti"])
        self.verifier.verify(old)
        (previous,) = rotated["previous"]
        self.assertNotEqual(previous["key_id"], rotated["key_id"])
        kids = [key["kid"] for key in self.desk.public_keys()["keys"]]
        self.assertEqual(kids, [rotated["key_id"], previous["key_id"]])

    def test_looked_at_now_and_then(self) -> None:
        """Wrong signatures do not make a server read the file each time."""
        broken = self.desk.issue(READ)["token"][:-4] + "AAAA"
        self.assertIs(self.refused(broken), InvalidToken)
        self.desk.rotate_key()
        new = self.desk.issue(READ)["token"]
        self.assertIs(self.refused(new), InvalidToken)
        self.watched_s = LOOK_S
        self.verifier.verify(new)

    def test_reload_beside_a_rotation(self) -> None:
        """A reload that has read the file before the rotation does not undo it for long."""
        auth, earlier = self.opened.config.auth, verification_keys(self.opened.config)
        self.desk.rotate_key()
        new = self.desk.issue(READ)["token"]
        self.verifier.verify(new)
        self.verifier.take_up(earlier, auth.issuer, auth.audience, 30)
        self.assertIs(self.refused(new), InvalidToken)
        self.watched_s = LOOK_S
        self.verifier.verify(new)
        self.watched_s += LOOK_S
        self.assertFalse(self.verifier.look_for_keys())

    def test_overlap(self) -> None:
        """By default the old key ends with its last token that counts."""
        hour_ns = self.opened.config.auth.default_ttl_secs * NS_PER_S
        (previous,) = self.desk.rotate_key()["previous"]
        self.assertEqual(parse_ns(previous["not_after"]), self.now_ns + hour_ns)
        self.now_ns += 2 * hour_ns
        self.desk.issue(READ._replace(ttl_s=DAY_S))
        gone = self.desk.issue(READ._replace(ttl_s=9 * DAY_S))
        self.desk.revoke(gone["jti"], reason=None)
        (previous,) = self.desk.rotate_key()["previous"]
        self.assertEqual(parse_ns(previous["not_after"]), self.now_ns + DAY_S * NS_PER_S)
        self.desk.issue(READ._replace(ttl_s=0))
        kept, endless = self.desk.rotate_key()["previous"]
        self.assertEqual((kept, endless["not_after"]), (previous, None))
        third = self.desk.rotate_key(overlap_s=60)["previous"][-1]
        self.assertEqual(parse_ns(third["not_after"]), self.now_ns + 60 * NS_PER_S)
        self.now_ns += 2 * DAY_S * NS_PER_S
        ids = [one["key_id"] for one in self.desk.rotate_key()["previous"]]
        self.assertNotIn(kept["key_id"], ids)
        self.assertIn(endless["key_id"], ids)

    def test_cut_off(self) -> None:
        """Without an overlap old tokens are refused, also those verified before."""
        old = self.desk.issue(READ._replace(ttl_s=0))["token"]
        self.verifier.verify(old)
        self.desk.rotate_key(overlap_s=0)
        self.now_ns += 2 * NS_PER_S
        self.assertTrue(self.verifier.look_for_keys())
        self.assertIs(self.refused(old), InvalidToken)

    def test_file(self) -> None:
        """Comments and everything else stay in the file, which is readable by its owner alone."""
        path = self.opened.workspace.config_path
        path.write_text("# mine\n" + path.read_text() + "\n[unknown]\nx = 1\n")
        before = self.open().config
        self.desk.rotate_key()
        after = self.open().config
        self.assertTrue(path.read_text().startswith("# mine\n"))
        self.assertIn("[unknown]", path.read_text())
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertNotEqual(after.auth.private_key, before.auth.private_key)
        self.assertEqual(after.auth.previous_keys[0].public_key, before.auth.public_key)

    def test_keys_of_the_environment(self) -> None:
        """They are not rotated here, and the file's are not taken instead."""
        private = self.open().config.auth.private_key
        assert private is not None
        workspace, config = self.open(EVENTDBX_AUTH_PRIVATE_KEY=private)
        desk = TokenDesk(workspace, lambda: config)
        error = self.assertRaises(ConfigError, desk.rotate_key)
        self.assertIn("environment", str(error))
        self.desk.rotate_key()
        self.assertEqual(with_present_keys(config, workspace).auth.private_key, private)

    def test_unreadable_file(self) -> None:
        """While the file is broken, a server goes on with the keys that it has taken up."""
        path = self.opened.workspace.config_path
        self.desk.rotate_key()
        self.assertTrue(self.verifier.look_for_keys())
        token, text = self.desk.issue(READ)["token"], path.read_text()
        path.write_text("[auth")
        self.watched_s = 1.0
        self.assertFalse(self.verifier.look_for_keys())
        self.verifier.verify(token)
        self.assertRaises(SerializationError, self.desk.issue, READ)
        path.write_text(text)
        self.verifier.verify(self.desk.issue(READ)["token"])
