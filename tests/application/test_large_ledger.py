"""A large ledger gives the same records as a small one, without being read as a whole."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.large_ledger import LargeRecords, pieces, proofs
from eventdbx.application.token_records import (
    Revocation,
    TokenRecord,
    read_revocations,
    records_text,
    revocations_text,
)
from eventdbx.domain.grants import Grant
from eventdbx.errors import SerializationError

NOW = 1_767_322_800_000_000_000
NASTY_NAME = '},{"jti":"a' + "x" * 60
NASTY = st.sampled_from(['"', "\\", '},{"jti":"', '{"jti":"a"', "é", "a", "b", ',"digest":"', "}]"])
TEXTS = st.lists(NASTY, max_size=4).map("".join)


def record(jti: str, subject: str = "s", digest: str | None = "ab" * 32) -> TokenRecord:
    """Return the record of a token that never ends."""
    return TokenRecord.of(Grant(jti=jti, subject=subject, user=subject), NOW, digest)


def text_of(*records: TokenRecord) -> str:
    """Return the text of a ledger."""
    return records_text(records, lambda _jti: False)


class Records(SynchronousTestCase):
    """Records by id."""

    @given(st.dictionaries(TEXTS, TEXTS, max_size=5), TEXTS)
    def test_like_a_dictionary(self, subjects: dict[str, str], other: str) -> None:
        """Whatever ids and names hold, each record is found, and no other."""
        records = {jti: record(jti, subject) for jti, subject in subjects.items()}
        text = text_of(*records.values())
        for jti in [*records, other]:
            self.assertEqual(LargeRecords(text, "f").get(jti), records.get(jti))
        self.assertEqual(list(LargeRecords(text, "f").items()), list(records.items()))

    def test_in_pieces(self) -> None:
        """A large text is read and written in pieces, and is the same as if it were not."""
        records = {f"j-{number}": record(f"j-{number}", NASTY_NAME) for number in range(1234)}
        text = text_of(*records.values())
        self.assertGreater(len(list(pieces(text))), 2)
        read = [one for piece in pieces(text) for one in orjson.loads(piece)]
        self.assertEqual(read, orjson.loads(text))
        self.assertEqual(list(LargeRecords(text, "f").items()), list(records.items()))
        self.assertEqual(text_of(), "[]")
        revocations = [Revocation(jti, NOW, NASTY_NAME, None) for jti in records]
        text = revocations_text(revocations)
        self.assertGreater(len(list(pieces(text))), 1)
        read = [one for piece in pieces(text) for one in read_revocations(piece, "f")]
        self.assertEqual(read, revocations)
        self.assertEqual(list(pieces("[]")), ["[]"])

    @given(st.dictionaries(TEXTS, st.tuples(TEXTS, st.booleans()), min_size=1, max_size=5))
    def test_proofs(self, found: dict[str, tuple[str, bool]]) -> None:
        """Cutting a text gives what reading it gives."""
        records = [
            record(jti, name, "cd" * 32 if yes else None) for jti, (name, yes) in found.items()
        ]
        cut = proofs(text_of(*records))
        assert cut is not None
        expected = [(one.jti, one.digest) for one in records if one.digest is not None]
        seen = list(cut)
        self.assertEqual([(jti, digest) for jti, digest, _text in seen], expected)
        for jti, _digest, text in seen:
            self.assertEqual(orjson.loads(text)["jti"], jti)

    def test_other_texts(self) -> None:
        """A text that is written otherwise is read as a whole."""
        spaced = text_of(record("a"), record("b")).replace('":', '": ')
        self.assertIsNone(proofs(spaced))
        self.assertEqual(LargeRecords(spaced, "f")["b"], record("b"))
        self.assertIsNone(proofs("[]"))

    def test_changes(self) -> None:
        """Changes are on top of the text, before it is read and after."""
        for read_first in (False, True):
            records = LargeRecords(text_of(record("a"), record("b"), record("c")), "f")
            if read_first:
                self.assertEqual(len(records), 3)
            records["b"] = record("b", "new")
            records["d"] = record("d")
            del records["a"]
            self.assertNotIn("a", records)
            self.assertEqual(records["b"].subject, "new")
            self.assertRaises(KeyError, records.__delitem__, "a")
            self.assertEqual(list(records), ["b", "c", "d"])
            self.assertEqual(records["b"].subject, "new")

    def test_nonsense(self) -> None:
        """A text that is no ledger says so as soon as it is read."""
        self.assertRaises(SerializationError, LargeRecords("{", "f").get, "a")
        self.assertRaises(SerializationError, LargeRecords('[{"jti":"a"', "f").get, "a")
