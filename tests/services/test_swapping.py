"""A directory put in the place of another: in one step, or in two that can be mended."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.services import swapping


class Swapping(SynchronousTestCase):
    """Two directories, each with a file that says which it is."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.target, self.new = self.folder / "da[t]a", self.folder / "new"
        for path, text in ((self.target, "old"), (self.new, "new")):
            path.mkdir()
            (path / "which").write_text(text)

    def which(self, path: Path) -> str:
        """Return which directory is at a path."""
        return (path / "which").read_text()

    def test_in_one_step(self) -> None:
        """The new directory has the name; the old one is beside it until it is swept away."""
        old = swapping.put_in_place(self.new, self.target)
        assert old is not None
        self.assertEqual((self.which(self.target), self.which(old)), ("new", "old"))
        self.assertEqual(swapping.leftovers(self.target, swapping.REMOVED), [old])
        swapping.sweep(self.target)
        self.assertEqual(list(self.folder.iterdir()), [self.target])

    def test_nothing_there(self) -> None:
        """Where there is no directory the new one just takes the name."""
        place = self.folder / "none"
        self.assertIsNone(swapping.put_in_place(self.new, place))
        self.assertEqual(self.which(place), "new")

    def test_mended(self) -> None:
        """A crash between two steps is mended: the old directory comes back."""
        aside = swapping.beside(self.target, swapping.REPLACED)
        os.rename(self.target, aside)
        swapping.mend(self.target)
        self.assertEqual(self.which(self.target), "old")

    def test_a_file_system_that_cannot(self) -> None:
        """Where names cannot be exchanged, the old directory is moved aside first."""

        def cannot(_one: Path, _other: Path) -> None:
            raise OSError(errno.EINVAL, "not here")

        old = swapping.put_in_place(self.new, self.target, exchange=cannot)
        assert old is not None
        self.assertEqual((self.which(self.target), self.which(old)), ("new", "old"))

    def test_moved_aside_is_kept(self) -> None:
        """What was moved aside when a process was killed stays until another is in its place."""
        aside = swapping.beside(self.target, swapping.REPLACED)
        os.rename(self.target, aside)
        self.target.mkdir()
        swapping.sweep(self.target)
        self.assertEqual(self.which(aside), "old")
        swapping.sweep(self.target, whole=True)
        self.assertFalse(aside.exists())
