"""Write limits of tokens: counted with the writes, by token and domain, and never twice."""

from __future__ import annotations

from eventdbx.application.writelimits import spend
from eventdbx.domain.commands import Write
from eventdbx.domain.grants import Grant
from eventdbx.errors import EventDBXError, TokenLimitReached
from eventdbx.storage import keys
from tests.application.test_writer import ALICE, WriterCase

SECOND = 10**9
DAY_S = 24 * 3600


class Limits(WriterCase):
    """A writer that is told who writes."""

    def grant(self, jti: str = "j", *, limit: int | None = 3, lasts_s: int | None = None) -> Grant:
        """Return a token's grant; it ends so many seconds from now."""
        ends = None if lasts_s is None else self.clock.now // SECOND + lasts_s
        return Grant(jti, "s", write_limit=limit, expires_at=ends)

    def spend(self, grant: Grant, *writes: Write, key: str | None = None) -> int:
        """Commit writes and return their number."""
        done = self.writer.write(
            writes, actor=ALICE, idempotency_key=key, spender=grant, render=len
        )
        return self.successResultOf(done)

    def stopped(self, grant: Grant, *writes: Write) -> EventDBXError:
        """Return the error of writes, having checked that they left no trace."""
        before = self.everything()
        done = self.writer.write(writes, actor=ALICE, spender=grant, render=len)
        error = self.failureResultOf(done).value
        self.assertEqual(self.everything(), before)
        assert isinstance(error, EventDBXError)
        return error

    def counts(self) -> list[str]:
        """Return the ids of tokens that have a count."""
        found = self.store.view().scan(keys.TOKEN_WRITES, keys.TOKEN_WRITES + b"\xff")
        return [key[len(keys.TOKEN_WRITES) :].decode() for key, _record in found]

    def test_the_last_one(self) -> None:
        """As many writes as the token says, of whatever kind; then none."""
        grant = self.grant(limit=3)
        self.spend(grant, Write("create", "order", "o-1", "made", "{}"))
        self.spend(
            grant, Write("patch", "order", "o-1", "paid", '[{"op":"add","path":"/a","value":1}]')
        )
        self.spend(grant, self.append())
        error = self.stopped(grant, self.append())
        self.assertEqual(
            (error.code, str(error)), ("token_limit_reached", "token write limit reached")
        )
        self.assertEqual(self.spend(self.grant("other"), self.append()), 1)

    def test_no_limit(self) -> None:
        """A token without a limit, and whoever owns the files, leaves nothing to count."""
        self.spend(self.grant(limit=None), self.append())
        self.write(self.append())
        self.assertEqual(self.counts(), [])

    def test_none_at_all(self) -> None:
        """A limit of no writes allows none."""
        self.assertIsInstance(self.stopped(self.grant(limit=0), self.append()), TokenLimitReached)

    def test_batch(self) -> None:
        """A batch counts its writes, and is refused as a whole."""
        grant = self.grant(limit=3)
        self.spend(grant, self.append(), self.append("o-2"))
        self.assertIsInstance(
            self.stopped(grant, self.append(), self.append("o-2")), TokenLimitReached
        )
        self.spend(grant, self.append())

    def test_repeated(self) -> None:
        """A retry gets its first answer and costs nothing, also when nothing is left."""
        grant = self.grant(limit=2)
        for _ in range(3):
            self.spend(grant, self.append(idempotency_key="k"))
            self.spend(grant, self.append("o-2"), key="batch")
        self.assertIsInstance(self.stopped(grant, self.append()), TokenLimitReached)

    def test_refused_writes(self) -> None:
        """What is refused for another reason costs nothing."""
        grant = self.grant(limit=1)
        for _ in range(3):
            self.stopped(grant, Write("patch", "order", "none", "paid", "[]"))
        self.spend(grant, self.append())

    def test_restart(self) -> None:
        """The count is in the store, not in the writer."""
        grant = self.grant(limit=1)
        self.spend(grant, self.append())
        self.writer = self.make_writer()
        self.assertIsInstance(self.stopped(grant, self.append()), TokenLimitReached)

    def test_forgotten(self) -> None:
        """Counts go when no clock takes their token for good any more; others stay."""
        for number in range(3):
            self.spend(self.grant(f"short-{number}", lasts_s=60), self.append())
        self.spend(self.grant("long", lasts_s=DAY_S), self.append())
        self.spend(self.grant("endless"), self.append())
        self.clock.now += 350 * SECOND
        self.spend(self.grant("a", lasts_s=DAY_S), self.append())
        self.assertEqual(len(self.counts()), 6)
        self.clock.now += 20 * SECOND
        self.spend(self.grant("b", lasts_s=DAY_S), self.append())
        self.spend(self.grant("b", lasts_s=DAY_S), self.append())
        self.assertEqual(self.counts(), ["a", "b", "endless", "long", "short-2"])
        self.spend(self.grant("c", lasts_s=DAY_S), self.append())
        self.assertEqual(self.counts(), ["a", "b", "c", "endless", "long"])

    def test_far_end(self) -> None:
        """A token issued elsewhere may end whenever it likes."""
        self.spend(self.grant("far", lasts_s=(1 << 64) - 1), self.append())
        self.assertEqual(self.counts(), ["far"])

    def test_damaged(self) -> None:
        """A count that cannot be read stops the token, instead of starting again."""
        self.successResultOf(
            self.store.transact(lambda change: change.put(keys.token_writes("j"), b"\x02"))
        )
        done = self.store.transact(
            lambda change: spend(change, self.store.view(), self.grant(), 1, self.clock.now)
        )
        self.assertIn("unreadable", str(self.failureResultOf(done).value))
