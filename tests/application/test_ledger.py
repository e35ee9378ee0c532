"""The ledger: what is issued, refreshed, revoked and forgotten, and the texts of its files."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.ledger import Ledger, Terms, terms_verifier
from eventdbx.application.token_keys import PublicKey, SigningKey
from eventdbx.application.token_records import (
    LegacyLedger,
    TokenRecord,
    read_records,
    read_revocations,
)
from eventdbx.application.tokens import new_grant
from eventdbx.domain.timestamps import NS_PER_S
from eventdbx.errors import ConfigError, EventDBXError, InvalidToken, TokenExpired

KEY = SigningKey(bytes(range(32)), "key-1")
TERMS = Terms(
    KEY, "eventdbx://self", "eventdbx-clients", (PublicKey(KEY.key_id, KEY.public),), skew_s=30
)
NOW = 1_767_322_800_123_456_789
OTHER_ID = "3f1c2f0e-6f5e-4b7a-9d0a-0123456789ab"

# As version 3.4 wrote it: claims that were dropped since, none that came later.
OLD_FILE = (
    '[{"jti":"j-1","subject":"ops:ann","group":"ops","user":"ann","actions":["*.*"],'
    '"resources":["*"],"root":true,"issued_at":"2026-01-02T03:00:00.000000001Z","not_before":null,'
    '"expires_at":"2026-01-02T04:00:00+00:00","issued_by":"cli","status":"revoked",'
    '"limits":{"write_events":5,"keep_alive":true},"token":"a.b.c"}]'
)


class LedgerCase(SynchronousTestCase):
    """A ledger with a clock that the test moves."""

    def setUp(self) -> None:
        self.ledger = Ledger()
        self.now = NOW

    def issue(self, jti: str = "j-1", ttl_s: int = 3600, **asked: Any) -> str:
        """Issue a token and return it."""
        asked = {"group": "ops", "user": "ann", "actions": ["aggregate.read"], **asked}
        grant = new_grant(jti=jti, now_s=self.now // NS_PER_S, ttl_s=ttl_s, **asked)
        return self.ledger.issue(TERMS, grant, self.now)[0]

    def refresh(self, text: str, jti: str = "j-2", ttl_s: int | None = None) -> TokenRecord:
        """Refresh a token and return the record of the new one."""
        return self.ledger.refresh(TERMS, text, jti=jti, ttl_s=ttl_s, now_ns=self.now)[1]

    def revoke(self, text: str, reason: str | None = None) -> bool:
        """Revoke a token; say whether it was known."""
        return self.ledger.revoke(TERMS, text, reason=reason, now_ns=self.now)[1]

    def refused(self, kind: type[EventDBXError], text: str) -> None:
        """Check that a token is not refreshed, and that nothing changed by trying."""
        before = self.ledger.records_text(), self.ledger.revocations_text()
        self.assertRaises(kind, self.refresh, text)
        self.assertEqual((self.ledger.records_text(), self.ledger.revocations_text()), before)

    def statuses(self) -> list[str]:
        """Return the status of each record as a list shows it."""
        return [self.ledger.document(one)["status"] for one in self.ledger.shown(self.now)]


class Issuing(LedgerCase):
    """New tokens."""

    def test_recognised(self) -> None:
        """A token that an older program recorded can be proven, while its key is in force."""
        token = self.issue()
        record = self.ledger.records[0]
        self.ledger.add(record._replace(digest=None, key_mark=None))
        self.assertFalse(self.ledger.recognise(TERMS, token + "x"))
        self.assertTrue(self.ledger.recognise(TERMS, token))
        self.assertEqual(self.ledger.records, [record])
        self.assertFalse(self.ledger.recognise(TERMS, token))

    def test_record(self) -> None:
        """The record says what the token says, to the nanosecond."""
        token = self.issue(tenants=["b", " A "], write_limit=5)
        grant = terms_verifier(TERMS, lambda: self.now / NS_PER_S, lambda _jti: False).verify(token)
        self.assertEqual((grant.expires_at, grant.tenants), (1_767_326_400, ("a", "b")))
        (record,) = self.ledger.records
        self.assertEqual(
            json.dumps(self.ledger.document(record)),
            '{"jti": "j-1", "subject": "ops:ann", "group": "ops", "user": "ann", '
            '"actions": ["aggregate.read"], "resources": ["*"], "tenants": ["a", "b"], '
            '"issued_at": "2026-01-02T03:00:00.123456789Z", "not_before": null, '
            '"expires_at": "2026-01-02T04:00:00.123456789Z", "issued_by": "", '
            '"status": "active", "limits": {"write_events": 5, "keep_alive": false}}',
        )

    def test_refused(self) -> None:
        """A token without actions or for longer than a century is not issued."""
        self.assertRaises(ConfigError, self.issue, actions=[])
        self.assertRaises(ConfigError, self.issue, ttl_s=2**62)
        self.assertEqual(self.ledger.records, [])


class Revoking(LedgerCase):
    """Tokens that count no more."""

    def test_by_token_and_by_id(self) -> None:
        """Either names the token; a second time changes the reason."""
        token = self.issue()
        self.assertTrue(self.revoke(token, "lost"))
        self.assertTrue(self.ledger.is_revoked("j-1"))
        self.assertTrue(self.revoke("j-1", "left"))
        self.assertEqual([one.reason for one in self.ledger.revocations], ["left"])
        self.assertEqual(self.statuses(), ["revoked"])

    def test_unknown(self) -> None:
        """Tokens signed elsewhere with the same key can be revoked, other texts can not."""
        token = self.issue()
        self.ledger = Ledger()
        self.assertFalse(self.revoke(token))
        self.assertFalse(self.revoke(OTHER_ID))
        self.assertTrue(self.ledger.is_revoked("j-1") and self.ledger.is_revoked(OTHER_ID))
        for text in ("nope", "a.b.c", token[:-4] + "AAAA", ""):
            self.assertRaises(InvalidToken, self.revoke, text)

    def test_shown_until_it_expires(self) -> None:
        """Revoked tokens leave the list when they expire, others stay in it."""
        self.issue("j-1", ttl_s=60)
        self.issue("j-2", ttl_s=60)
        self.revoke("j-1")
        self.assertEqual(self.statuses(), ["revoked", "active"])
        self.now += 61 * NS_PER_S
        self.assertEqual(self.statuses(), ["active"])


class Refreshing(LedgerCase):
    """One token for another."""

    def test_replaces(self) -> None:
        """The new token grants the same for as long; the old one is revoked."""
        token = self.issue(ttl_s=600, resources=["aggregate:order:*"], write_limit=3)
        self.now += 60 * NS_PER_S
        record = self.refresh(token)
        self.assertEqual(record.resources, ("aggregate:order:*",))
        self.assertEqual(record.expires_at, self.now + 600 * NS_PER_S)
        self.assertEqual((record.write_limit, record.issued_by), (3, "ops:ann"))
        self.assertEqual([one.reason for one in self.ledger.revocations], ["refreshed"])
        self.assertEqual(self.statuses(), ["revoked", "active"])

    def test_lifetimes(self) -> None:
        """A lifetime may be given; what never expired goes on without end."""
        self.issue("j-1", ttl_s=0)
        self.assertIsNone(self.refresh("j-1", "j-2").expires_at)
        self.assertEqual(self.refresh("j-2", "j-3", 30).expires_at, self.now + 30 * NS_PER_S)
        self.assertIsNone(self.refresh("j-3", "j-4", 0).expires_at)

    def test_refused(self) -> None:
        """Revoked, expired and unknown tokens are not revived, by token or by id."""
        token = self.issue(ttl_s=60)
        self.now += 91 * NS_PER_S
        self.refused(TokenExpired, token)
        self.refused(TokenExpired, "j-1")
        self.now = NOW
        self.revoke(token)
        self.refused(InvalidToken, token)
        self.refused(InvalidToken, "j-1")
        self.refused(InvalidToken, "nope")


class Texts(LedgerCase):
    """The files."""

    def test_older_files(self) -> None:
        """Records of older programs are read; a token beside them is not kept."""
        ledger = Ledger(read_records(OLD_FILE, "tokens.json"))
        (record,) = ledger.records
        self.assertEqual(record.expires_at, 1_767_326_400 * NS_PER_S)
        written = json.loads(ledger.records_text())
        expected = json.loads(OLD_FILE)
        for name in ("token", "root"):
            del expected[0][name]
        expected[0] |= {"tenants": [], "expires_at": "2026-01-02T04:00:00Z"}
        self.assertEqual(written, expected)

    def test_round_trip(self) -> None:
        """What is written is read again, and in the same words."""
        self.issue("j-1", subject="ä\"'", resources=[""], keep_alive=True)
        self.issue("j-2", ttl_s=0)
        self.revoke("j-2", "left team")
        records, revocations = self.ledger.records_text(), self.ledger.revocations_text()
        again = Ledger(read_records(records, "x"), read_revocations(revocations, "x"))
        self.assertEqual((again.records_text(), again.revocations_text()), (records, revocations))
        self.assertEqual(
            revocations,
            '[{"jti":"j-2","revoked_at":"2026-01-02T03:00:00.123456789Z",'
            '"reason":"left team","expires_at":null}]',
        )

    def test_unreadable(self) -> None:
        """A file that is no ledger is an error that names it."""
        for text in ("{", "{}", "[1]", '[{"jti":1}]', OLD_FILE.replace("03:00", "33:00")):
            error = self.assertRaises(EventDBXError, read_records, text, "the/file")
            self.assertIn("the/file", str(error))
        self.assertEqual(read_records(" \n", "x"), [])
        opaque = '[{"token":"EVT-00","group":"g","user":"u","status":"active"}]'
        self.assertRaises(LegacyLedger, read_records, opaque, "x")

    def test_forgetting(self) -> None:
        """Expired tokens are kept for a month; revocations for as long as clocks may differ."""
        self.issue("j-1", ttl_s=60)
        self.issue("j-2", ttl_s=0)
        self.revoke("j-1")
        self.revoke("j-2")
        self.now += (60 + 300) * NS_PER_S
        self.ledger.prune(self.now)
        self.assertTrue(self.ledger.is_revoked("j-1"))
        self.now += 1
        self.ledger.prune(self.now)
        self.assertFalse(self.ledger.is_revoked("j-1"))
        self.assertEqual(len(self.ledger.records), 2)
        self.ledger.prune(self.now + 30 * 24 * 3600 * NS_PER_S)
        self.assertEqual([one.jti for one in self.ledger.records], ["j-2"])
        self.assertTrue(self.ledger.is_revoked("j-2"))
