"""docs/permissions.md says what the tables say."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import ROOT
from tests.permissions.document import document


class Document(SynchronousTestCase):
    """The page that people read."""

    maxDiff = None

    def test_equal(self) -> None:
        """The page is what the tables print; what to do when it is not, the page says itself."""
        self.assertEqual((ROOT / "docs" / "permissions.md").read_text("utf-8"), document())
