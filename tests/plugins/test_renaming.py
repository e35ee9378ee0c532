"""Names that change in the file alone: a crash before the rows follow, domains that share it."""

from __future__ import annotations

from eventdbx.domain.delivery.entries import LogConfig, PluginEntry
from tests.plugins.draining import DrainingCase, hook, refusing


class RenamingTests(DrainingCase):
    """Nothing that waits for a plugin is lost with its name."""

    def take_over(self) -> None:
        """Let the drainer find what somebody else has put into the file."""
        self.plugins.refresh(now=True)
        self.drainer.reconcile()
        self.pass_time(2)

    def test_found_in_the_file(self) -> None:
        """A plugin that was renamed elsewhere goes on where it was, with what it held back."""
        self.put(hook(max_attempts=1))
        self.target().answer = refusing("o-1.1")
        self.order("o-1")
        self.order("o-1")
        self.pass_time(1)
        self.put(hook(max_attempts=1, paused=True))
        self.order("o-2")
        self.plugins.rename("hook", "b")
        self.plugins.rename("b", "other")
        self.plugins.resume("other")
        self.crash()
        self.take_over()
        self.assertEqual(self.target("other").accepted, ["o-2.1"])
        self.desk.retry(job_id=None, name=None, since_ms=None, wait_s=0)
        self.pass_time(1)
        self.assertEqual(self.target("other").accepted, ["o-2.1", "o-1.1", "o-1.2"])

    def test_asked_for(self) -> None:
        """Renamed in order, and back again, it is served once."""
        self.put(hook(paused=True))
        self.order("o-1")
        for name, to in (("hook", "other"), ("other", "hook")):
            self.plugins.rename(name, to)
            self.successResultOf(self.desk.rename(name, to))
            self.take_over()
        self.plugins.resume("hook")
        self.take_over()
        self.order("o-2")
        self.pass_time(1)
        self.assertEqual(self.target().accepted, ["o-1.1", "o-2.1"])
        self.assertEqual(set(self.drainer.outbox.cursors), {"hook"})

    def test_switched_in_the_file(self) -> None:
        """One that took another's name and place elsewhere goes on where it was itself."""
        self.put(hook(paused=True), hook("green", paused=True))
        self.order("o-1")
        self.put(hook(), hook("green", paused=True))
        self.pass_time(1)
        self.plugins.swap("hook", "green")
        self.plugins.resume("hook")
        self.take_over()
        self.assertEqual(self.target().accepted, ["o-1.1", "o-1.1"])

    def test_another_of_the_old_name(self) -> None:
        """A new plugin of a name that was given up has rows of its own, also when it goes."""
        self.put(hook())
        self.plugins.rename("hook", "other")
        self.successResultOf(self.desk.rename("hook", "other"))
        (renamed,) = self.plugins.entries
        assert isinstance(renamed, PluginEntry)
        self.order("o-1")
        self.pass_time(1)
        self.put(renamed, hook(paused=True))
        self.order("o-2")
        self.put(renamed)
        self.pass_time(1)
        self.assertEqual(self.target("other").accepted, ["o-1.1", "o-2.1"])
        self.assertEqual(self.target().accepted, [])

    def test_without_a_name(self) -> None:
        """One that answered to its kind can be given a name."""
        entry = PluginEntry(enabled=True, config=LogConfig(), paused=True)
        self.put(entry)
        self.order("o-1")
        self.plugins.rename("log", "other")
        self.plugins.resume("other")
        self.crash()
        self.take_over()
        self.assertEqual(self.target("other").accepted, ["o-1.1"])
