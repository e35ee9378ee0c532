"""Evidence of events whose content was erased by the real erasure."""

from __future__ import annotations

from eventdbx import errors, verify
from eventdbx.application.erasing import Order
from eventdbx.domain.commands import Write
from tests.application.test_evidence import ExportCase
from tests.application.test_log_proofs import now
from tests.application.test_writer import ALICE


class Erased(ExportCase):
    """Bundles before and after an erasure."""

    def erase(self, one: str) -> None:
        """Erase an order."""
        done = self.domain.erasing.aggregate("order", one, Order("asked for", ALICE, now))
        self.successResultOf(done)

    def test_erased(self) -> None:
        """What is left is exported and proven, and the verifier finds who erased what."""
        before = self.lines(self.begin())
        self.erase("o-1")
        after = self.lines(self.begin())
        found = self.checked(after)
        self.assertEqual((found["events"], found["erased"], found["whole"]), (22, 7, True))
        self.assertEqual(self.checked(before)["events"], 21)
        self.write(Write("append", "order", "o-1", "made", '{"n":100}'))
        self.erase("o-1")
        found = self.checked(self.lines(self.begin(("order", "o-1"))))
        self.assertEqual((found["events"], found["erased"]), (10, 9))

    def test_exports_under_way(self) -> None:
        """An erasure ends exports: what they hold would keep what is to be gone."""
        number = self.domain.exports.add(self.begin())
        self.domain.exports.find(number, "j")
        self.erase("o-1")
        self.assertRaises(errors.UnknownName, self.domain.exports.find, number, "j")

    def test_erasure_left_out(self) -> None:
        """Without the event that names what is erased nobody believes it."""
        self.erase("o-1")
        lines = self.lines(self.begin(("order", "o-1"))).splitlines(keepends=True)
        self.assertIn(b'"payload"', lines[-2])
        shorter = [*lines[:-2], lines[-1].replace(b'"events":8', b'"events":7')]
        self.assertRaises(verify.Refuted, self.checked, b"".join(shorter))
