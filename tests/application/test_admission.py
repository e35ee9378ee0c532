"""Who gets in, and how often an address may show wrong tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.admission import Admission, Issued
from eventdbx.application.attempts import Attempts
from eventdbx.application.token_keys import PublicKey, SigningKey
from eventdbx.application.tokens import Verifier, issue
from eventdbx.domain.grants import Grant
from eventdbx.errors import (
    AttemptsExceeded,
    ConfigError,
    EventDBXError,
    InvalidToken,
    TokenExpired,
)

NOW_S = 1_767_600_000
KEY = SigningKey(bytes(range(32)), "key-1")
HOME = "192.0.2.7"


def token(jti: str, **claims: Any) -> str:
    """Return a token of the test's issuer."""
    asked: dict[str, Any] = {
        "group": "ops", "user": "kim", "actions": ["*.*"], "ttl_s": 60, "now_s": NOW_S,
    }  # fmt: skip
    return issue(KEY, issuer="i", audience="a", jti=jti, **{**asked, **claims})


class LedgerInMemory:
    """Issued tokens that a test names."""

    def __init__(self, *tokens: str, read: Callable[[str], Grant]) -> None:
        self.tokens = {read(one).jti: one for one in tokens}
        self._read = read

    def find(self, jti: str) -> Issued | None:
        """Return what was issued under an id."""
        known = self.tokens.get(jti)
        return None if known is None else Issued(self._read(known), bytes(32))

    def has(self, text: str) -> bool:
        """Tell whether a token was issued."""
        return text in self.tokens.values()


class Budget(SynchronousTestCase):
    """Failed attempts by address."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.attempts = Attempts(self.clock.seconds, 10)

    def spend(self, address: str, count: int) -> None:
        """Fail so many times."""
        for _ in range(count):
            self.attempts.check(address)
            self.attempts.failed(address)

    def test_ten_and_then_one_in_six_seconds(self) -> None:
        """Ten in a row, then as the budget fills; the error says when."""
        self.spend(HOME, 10)
        error = self.assertRaises(AttemptsExceeded, self.attempts.check, HOME)
        self.assertEqual(error.retry_after_s, 6)
        self.clock.advance(5.9)
        self.assertRaises(AttemptsExceeded, self.attempts.check, HOME)
        self.clock.advance(0.2)
        self.spend(HOME, 1)
        self.assertRaises(AttemptsExceeded, self.attempts.check, HOME)

    def test_clock_that_is_set_back(self) -> None:
        """The budget fills from there on as it did before."""
        self.clock.advance(7200)
        self.spend(HOME, 10)
        self.clock.rightNow -= 3600
        error = self.assertRaises(AttemptsExceeded, self.attempts.check, HOME)
        self.assertEqual(error.retry_after_s, 6)
        self.clock.advance(6.1)
        self.spend(HOME, 1)

    def test_refused_attempts_cost_nothing(self) -> None:
        """Whoever goes on trying waits no longer for it, and no longer than a minute's part."""
        for _ in range(1_000):
            self.attempts.failed(HOME)
        error = self.assertRaises(AttemptsExceeded, self.attempts.check, HOME)
        self.assertEqual(error.retry_after_s, 6)

    def test_each_address(self) -> None:
        """Addresses have budgets of their own; one IPv6 network is one stranger."""
        self.spend(HOME, 10)
        self.attempts.check("192.0.2.8")
        self.spend("2001:db8::1", 10)
        self.assertRaises(AttemptsExceeded, self.attempts.check, "2001:db8::ffff:1")
        self.attempts.check("2001:db8:0:1::1")
        self.assertRaises(AttemptsExceeded, self.attempts.check, f"::ffff:{HOME}")

    def test_memory(self) -> None:
        """However many addresses fail, the number remembered is bounded; the last ones stay."""
        self.attempts.addresses_max = 100
        for number in range(1_000):
            self.attempts.failed(f"10.0.{number // 250}.{number % 250}")
        self.assertEqual(len(self.attempts), 100)
        self.spend("10.0.3.249", 9)
        self.assertRaises(AttemptsExceeded, self.attempts.check, "10.0.3.249")


class Doors(SynchronousTestCase):
    """Tokens and ids, judged within the budget."""

    def setUp(self) -> None:
        self.now_s = float(NOW_S)
        self.revoked: set[str] = set()
        verifier = Verifier(
            [PublicKey("key-1", KEY.public)], "i", "a", 0, lambda: self.now_s,
            self.revoked.__contains__,
        )  # fmt: skip
        self.recorded = token("recorded")
        self.elsewhere = token("elsewhere")
        self.ledger = LedgerInMemory(self.recorded, read=lambda text: verifier.read(text)[0])
        self.admission = Admission(verifier, Attempts(Clock().seconds, 3), self.ledger)

    def fails(self, kind: type[EventDBXError], text: str) -> None:
        """Check what a token fails with."""
        self.assertRaises(kind, self.admission.verify, text, HOME)

    def test_good_clients_behind_the_address_of_an_attacker(self) -> None:
        """Tokens of the ledger, and those seen before, are judged whatever else came from there;
        only a stranger's token, though good, has to wait."""
        seen = token("seen")
        self.admission.verify(seen, HOME)
        for _ in range(3):
            self.fails(InvalidToken, "x.y.z")
        self.fails(AttemptsExceeded, "x.y.z")
        self.admission.verify(seen, HOME)
        self.admission.verify(self.recorded, HOME)
        self.admission.issued("recorded", HOME)
        self.fails(AttemptsExceeded, self.elsewhere)
        self.admission.verify(self.elsewhere, "192.0.2.8")

    def test_ended_tokens_of_ours_are_no_guesses(self) -> None:
        """A client that goes on with an expired or revoked token of the ledger spends nothing."""
        self.revoked.add("recorded")
        for _ in range(9):
            self.fails(InvalidToken, self.recorded)
            self.assertRaises(InvalidToken, self.admission.issued, "recorded", HOME)
        self.revoked.clear()
        self.now_s += 61
        for _ in range(9):
            self.fails(TokenExpired, self.recorded)
            self.assertRaises(TokenExpired, self.admission.issued, "recorded", HOME)
        self.admission.attempts.check(HOME)

    def test_unknown_ids(self) -> None:
        """Guessing ids spends the budget, and so does naming one without holding its token."""
        error = self.assertRaises(ConfigError, self.admission.issued, "nobody", HOME)
        self.assertEqual(error.detail, "unknown token id")
        self.admission.unproven(HOME)
        self.admission.unproven(HOME)
        self.assertRaises(AttemptsExceeded, self.admission.issued, "nobody", HOME)

    def test_still_counts(self) -> None:
        """What was admitted counts until it ends or is revoked."""
        grant = self.admission.verify(self.recorded, HOME)
        self.assertTrue(self.admission.still_counts(grant))
        self.revoked.add("recorded")
        self.assertFalse(self.admission.still_counts(grant))
        self.revoked.clear()
        self.now_s += 61
        self.assertFalse(self.admission.still_counts(grant))
