"""What changes of entries do to delivery: off and on, pauses, other names, other places."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred

from eventdbx.domain.commands import PublishTarget
from eventdbx.domain.delivery.entries import PluginEntry
from tests.plugins.draining import DrainingCase, hook, refusing


class EntryTests(DrainingCase):
    """What changes of entries do."""

    def test_disabled(self) -> None:
        """What is committed while a plugin is off is not for it; what waited before is."""
        self.put(hook(paused=True))
        self.order("o-1")
        self.put(_off())
        self.order("o-2")
        self.pass_time(1)
        self.put(hook())
        self.order("o-3")
        self.pass_time(1)
        self.assertEqual(self.target().accepted, ["o-1.1", "o-3.1"])

    def test_disabled_twice_while_behind(self) -> None:
        """Each gap stays a gap, also across restarts."""
        self.put(hook(paused=True))
        for number in range(6):
            self.order(f"o-{number}")
            self.put(_off() if number % 2 == 0 else hook(paused=True))
            self.stop()
            self.open()
        self.put(hook())
        self.pass_time(2)
        self.assertEqual(self.target().accepted, ["o-0.1", "o-2.1", "o-4.1"])

    def test_paused(self) -> None:
        """A pause keeps everything."""
        self.put(hook(paused=True))
        self.order("o-1")
        self.pass_time(1)
        self.assertEqual(self.target().tried, [])
        self.put(hook())
        self.pass_time(1)
        self.assertEqual(self.target().accepted, ["o-1.1"])
        self.assertEqual(self.target().closed, 0)

    def test_another_payload_mode(self) -> None:
        """What waits is delivered in the mode of now, from the same place in the log."""
        self.put(hook())
        self.order("o-1")
        self.pass_time(1)
        self.assertEqual(self.target().modes, {"all"})
        self.target().modes.clear()
        self.put(hook(paused=True))
        self.order("o-1")
        self.put(hook(payload_mode="event-only"))
        self.order("o-2")
        self.pass_time(1)
        self.assertEqual(self.target().modes, {"event-only"})
        self.assertEqual(self.target().accepted, ["o-1.1", "o-1.2", "o-2.1"])

    def test_removed_and_added(self) -> None:
        """A plugin of the same name begins anew, at the end."""
        self.put(hook(paused=True))
        self.order("o-1")
        self.put()
        self.assertEqual(self.successResultOf(self.desk.drop("hook")), 1)
        self.order("o-2")
        self.put(hook())
        self.order("o-3")
        self.pass_time(1)
        self.assertEqual(self.target().accepted, ["o-3.1"])

    def test_renamed(self) -> None:
        """Another name, the same place in the log."""
        self.put(hook(paused=True))
        self.order("o-1")
        self.order("o-2", PublishTarget("hook", None, None))
        self.plugins.rename("hook", "other")
        self.successResultOf(self.desk.rename("hook", "other"))
        self.put(hook("other"))
        self.pass_time(1)
        self.assertEqual(self.target("other").accepted, ["o-1.1", "o-2.1"])
        self.assertEqual(self.target("hook").accepted, [])

    def test_built_beside(self) -> None:
        """A plugin that is built beside another gets what was published to that one, too."""
        self.put(hook())
        self.order("o-1", PublishTarget("hook", None, None))
        self.put(hook(), hook("green", paused=True))
        self.successResultOf(self.desk.stand_for("green", "hook"))
        self.successResultOf(self.desk.seek("green", "start"))
        self.order("o-2", PublishTarget("hook", None, None))
        self.put(hook(), hook("green"))
        self.pass_time(1)
        self.assertEqual(self.target("green").accepted, ["o-1.1", "o-2.1"])

    def test_seek(self) -> None:
        """A cursor can be put back, and forward."""
        self.put(hook())
        for number in range(3):
            self.order(f"o-{number}")
        self.pass_time(1)
        self.assertEqual(self.successResultOf(self.desk.seek("hook", "0-0")), "0-0")
        self.pass_time(1)
        self.assertEqual(self.target().accepted[3:], ["o-1.1", "o-2.1"])
        self.successResultOf(self.desk.seek("hook", "start"))
        self.pass_time(1)
        self.assertEqual(len(self.target().accepted), 8)

    def test_targets(self) -> None:
        """An event with publish targets is for these alone; high priority goes first."""
        self.put(hook(paused=True), hook("second"))
        self.order("o-1", PublishTarget("hook", None, "low"))
        self.order("o-2", PublishTarget("HOOK", None, "high"))
        self.order("o-3")
        self.put(hook(), hook("second"))
        self.pass_time(1)
        self.assertEqual(self.target().accepted, ["o-2.1", "o-3.1", "o-1.1"])
        self.assertEqual(self.target("second").accepted, ["o-3.1"])

    def test_selected(self) -> None:
        """Only the types that an entry names are delivered; the cursor passes the others."""
        self.put(hook(aggregates=("invoice",)))
        self.order()
        self.pass_time(2)
        self.assertEqual(self.target().tried, [])
        self.assertEqual(self.counts(), (0, 0, 0, 0))

    def test_wait(self) -> None:
        """Who waits is told when the event was delivered, is dead, or when the time is over."""
        self.put(hook(max_attempts=2))
        self.target().answer = refusing("o-1.1", "o-1.2")
        self.order("o-1")
        self.order("o-2")
        first = self.desk.wait("hook", "0-0", 30)
        second = self.desk.wait("hook", "0-1", 30)
        self.pass_time(0.5)
        self.assertEqual(self.successResultOf(second), ("delivered", ""))
        self.assertNoResult(first)
        self.pass_time(2)
        self.assertEqual(self.successResultOf(first), ("dead", "no"))
        self.target().answer = lambda _items: Deferred()
        self.order("o-3")
        late = self.desk.wait("hook", "0-2", 3)
        self.pass_time(4)
        self.assertEqual(self.successResultOf(late), ("timeout", ""))


def _off() -> PluginEntry:
    return replace(hook(), enabled=False)
