"""What is written right behind an answer: it is meant for the plugins as they were just put.

Real stores and the real services, under a clock that stands still between the answer and the event.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.delivering import Delivering
from eventdbx.application.domains import Domain
from eventdbx.config import Config
from eventdbx.domain.commands import PublishTarget, Write
from eventdbx.domain.delivery.entries import PluginEntry
from eventdbx.domain.grants import Grant
from eventdbx.errors import ConfigError
from eventdbx.plugins.desk import Desk
from eventdbx.plugins.drainer import Drainer
from eventdbx.services.draining import DrainService
from eventdbx.services.pluginfiles import PluginFile
from eventdbx.services.stores import StoreService
from eventdbx.storage.hops import synchronous
from eventdbx.surfaces.control.asked import Asked
from eventdbx.surfaces.control.plugins import OPERATIONS
from tests.plugins.draining import Scripted, hook
from tests.plugins.targets import surroundings

OWNER = Grant("test", "test", actions=("*.*",), resources=("*",))


class Configuring(SynchronousTestCase):
    """Two domains that share the file of their plugins."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        self.path = folder / "plugins.json"
        self.time = Clock()
        self.time.advance(1_000_000)
        self.targets: dict[tuple[str, str], Scripted] = defaultdict(Scripted)
        for name in ("default", "other"):
            (folder / name / "event_store").mkdir(parents=True)
        self.stores = StoreService(
            Config(),
            store_path=lambda name: folder / name / "event_store",
            plugins_path=lambda name: self.path,
            make_hop=synchronous,
            clock=self.time,
            on_failure=lambda failure: None,
        )
        pool = ThreadPool(0, 1)  # Started with the service; nothing here is run on it.
        self.draining = DrainService(self.make_drainer, clock=self.time, pool=pool)
        self.stores.on_open.append(self.draining.add)
        self.stores.startService()
        self.draining.startService()
        self.here, self.there = self.stores.domain("default"), self.stores.domain("other")
        self.addCleanup(self.stop)

    def stop(self) -> None:
        stopped = self.draining.stopService()
        self.pass_time()
        self.successResultOf(stopped)
        self.successResultOf(self.stores.stopService())

    def make_drainer(self, domain: Domain) -> Drainer:
        drainer = Drainer(
            domain,
            clock=self.time,
            run_slowly=lambda work: succeed(None).addCallback(lambda _none: work()),
            surroundings=surroundings(used=self.time),
            config=Config(),
            make=lambda entry, _surroundings: self.targets[domain.name, entry.key],
        )
        domain.delivering = Desk(drainer)
        return drainer

    def pass_time(self) -> None:
        self.time.pump([0.05] * 60)

    def begin(self, do: str, domain: Domain | None = None, **members: Any) -> Deferred[Any]:
        """Begin an operation as a session does."""
        place = self.here if domain is None else domain
        place.plugins.tidy()
        return maybeDeferred(OPERATIONS[do], place, Asked(members, ConfigError), OWNER)

    def do(self, do: str, domain: Domain | None = None, **members: Any) -> Any:
        """Carry out an operation that is answered before time passes."""
        return self.successResultOf(self.begin(do, domain, **members))

    def configure(self, name: str = "late", **members: Any) -> None:
        self.do("configure", entry=_entry(name, **members))

    def order(self, name: str, *publish: str, domain: Domain | None = None) -> None:
        """Write an event of an order."""
        targets = tuple(PublishTarget(one, None, None) for one in publish)
        write = Write("append", "order", name, "paid", "{}", publish_targets=targets)
        writer = (self.here if domain is None else domain).writer
        self.successResultOf(writer.write((write,), actor=None, render=lambda _done: None))

    def assert_accepted(self, *events: str, name: str = "late", domain: str = "default") -> None:
        """A plugin has got exactly these events once time has passed."""
        self.pass_time()
        self.assertEqual(self.targets[domain, name].accepted, list(events))

    def edit(self, *entries: PluginEntry) -> None:
        """Put entries into the file, as an editor does."""
        PluginFile(self.path).save(entries)

    def test_a_new_plugin(self) -> None:
        """It begins where it was configured, also when commits are being gathered just then."""
        self.order("o-0")
        self.configure("early")
        self.order("o-1")
        self.configure()
        self.order("o-2")
        self.assert_accepted("o-1.1", "o-2.1", name="early")
        self.assert_accepted("o-2.1")

    def test_a_crash_right_behind(self) -> None:
        """The cursor is durable with the answer, so the next process delivers from there."""
        self.configure(paused=True)
        cursors = Drainer(
            self.here,
            clock=self.time,
            run_slowly=lambda work: succeed(work()),
            surroundings=surroundings(used=self.time),
            config=Config(),
        ).outbox.cursors
        self.assertEqual(cursors["late"].position, 0)

    def test_switched_on_and_off(self) -> None:
        """What comes between off and on is not for it, all else is."""
        self.configure()
        self.pass_time()
        self.order("o-1")
        self.do("disable", name="late")
        self.order("o-2")
        self.do("enable", name="late", check=False)
        self.order("o-3")
        self.do("options", name="late", set={"emit_events": False})
        self.order("o-4")
        self.do("options", name="late", set={"emit_events": True})
        self.order("o-5")
        self.assert_accepted("o-1.1", "o-3.1", "o-5.1")

    def test_removed_and_configured_again(self) -> None:
        """One of the same name begins anew, whatever the last one still had to let go of."""
        self.configure()
        self.pass_time()
        held: Deferred[None] = Deferred()
        self.targets["default", "late"].answer = lambda _items: held
        self.order("o-1")
        self.pass_time()
        self.order("o-2")
        self.do("remove", name="late", disable=True)
        self.order("o-3")
        self.configure()
        self.order("o-4")
        self.targets["default", "late"].answer = lambda _items: None
        held.callback(None)
        self.assert_accepted("o-1.1", "o-4.1")

    def test_moved_at_once(self) -> None:
        """One that is configured from a place in the log has what follows, too."""
        self.order("o-1")
        for name, place in (("all", "start"), ("late", "end")):
            self.do("configure", None, entry=_entry(name), **{"from": place})
        self.order("o-2")
        self.assert_accepted("o-1.1", "o-2.1", name="all")
        self.assert_accepted("o-2.1")

    def test_renamed(self) -> None:
        """A plugin goes on under its new name, and one of the old name is new."""
        self.configure(paused=True)
        self.order("o-1")
        self.do("rename", name="late", to="later")
        self.order("o-2")
        self.configure()
        self.order("o-3")
        self.do("resume", name="later")
        self.assert_accepted("o-1.1", "o-2.1", "o-3.1", name="later")
        self.assert_accepted("o-3.1")

    def test_the_name_of_one_that_is_being_renamed(self) -> None:
        """While rows are still on their way the answer waits; then it holds."""
        self.configure()
        self.pass_time()
        held: Deferred[None] = Deferred()
        target = self.targets["default", "late"]
        target.answer = lambda _items: held
        self.order("o-1")
        self.pass_time()
        renaming = self.begin("rename", name="late", to="later")
        self.order("o-2")
        configuring = self.begin("configure", entry=_entry("late"))
        self.assertNoResult(renaming)
        self.assertNoResult(configuring)
        target.answer = lambda _items: None
        held.callback(None)
        for _ in range(100):
            if configuring.called:
                break
            self.time.advance(0.05)
        self.successResultOf(renaming)
        self.successResultOf(configuring)
        self.order("o-3")
        self.assert_accepted("o-2.1", "o-3.1", name="later")
        self.assert_accepted("o-1.1", "o-3.1")

    def test_renamed_and_switched_on_in_the_file(self) -> None:
        """The rows that follow a name are switched where they lie."""
        self.configure(paused=True)
        self.order("o-1")
        self.do("disable", name="late")
        self.order("o-2")
        later = hook("later", extra={"formerly": ["late"]})
        self.edit(later)
        self.here.plugins.refresh(now=True)
        self.order("o-3")
        self.assert_accepted("o-1.1", "o-3.1", name="later")

    def test_in_another_domain(self) -> None:
        """Who shares the file knows the plugin before the answer, too."""
        self.configure()
        self.order("o-1", domain=self.there)
        self.assert_accepted("o-1.1", domain="other")
        self.do("options", name="late", set={"domains": ["default"]})
        self.order("o-2", domain=self.there)
        self.do("options", name="late", set={"domains": []})
        self.order("o-3")
        self.assert_accepted("o-3.1")

    def test_events_for_one_found_in_the_file(self) -> None:
        """An event that asks for a plugin which somebody has just put there comes to it."""
        self.order("o-1")
        self.edit(hook("late"))
        self.order("o-2", "late")
        self.assert_accepted("o-2.1")

    def test_asked_for_at_once(self) -> None:
        """Whoever waits for it, or has it replay, need not wait until it is loaded."""
        way = cast(Delivering, self.here.delivering)
        self.order("o-1")
        self.configure()
        self.order("o-2")
        waiting = way.wait("late", "0-1", 30.0)
        self.do("replay", name="late")
        self.pass_time()
        self.assertEqual(self.successResultOf(waiting)[0], "delivered")
        accepted = self.targets["default", "late"].accepted
        self.assertEqual(sorted(accepted), ["o-1.1", "o-2.1", "o-2.1"])


def _entry(name: str, **members: Any) -> dict[str, Any]:
    return {"name": name, "config": {"type": "log"}, **members}
