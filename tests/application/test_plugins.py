"""The plugins of a domain: changing them by name, and who may be named as a target."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.plugins import EntriesInMemory, Plugins
from eventdbx.application.schemas import Catalogue
from eventdbx.application.writer import Writer
from eventdbx.domain.commands import PublishTarget, Write
from eventdbx.domain.delivery.entries import Entry, PluginEntry, Unavailable
from eventdbx.domain.delivery.reading import parse_entry
from eventdbx.domain.delivery.targets import Target
from eventdbx.errors import ConfigError, EventDBXError, IdempotencyConflict
from eventdbx.storage import eventlog
from eventdbx.storage.hops import synchronous
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.store import Store


def plugin(name: str | None, kind: str = "log", **members: Any) -> Entry:
    """Return an entry of a file."""
    config: dict[str, Any] = {"type": kind, "endpoint": "e", "host": "h", "port": 1}
    return parse_entry({"enabled": True, "name": name, "config": config, **members})


class PluginsCase(SynchronousTestCase):
    """Plugins whose file is in memory."""

    def make(self, *entries: Entry) -> Plugins:
        """Return the plugins of the default domain; ``told`` counts changes."""
        self.file = EntriesInMemory(entries)
        self.told = 0
        plugins = Plugins(self.file, domain="default")
        plugins.on_change.append(self.tell)
        return plugins

    def tell(self) -> None:
        self.told += 1

    def refused(self, work: Any, *arguments: Any, **named: Any) -> str:
        """Return why a change is refused; nothing is saved."""
        before = self.file.load()
        error: ConfigError = self.assertRaises(ConfigError, work, *arguments, **named)
        self.assertEqual(self.file.load(), before)
        return error.detail

    def names(self, plugins: Plugins) -> list[str | None]:
        """Return the names in the file, which are those in force."""
        self.assertEqual([one.name for one in plugins.listed],
                         [one.name for one in self.file.load()])  # fmt: skip
        return [one.name for one in plugins.listed]


class Changes(PluginsCase):
    """Changing entries."""

    def test_configure(self) -> None:
        """An entry is added at the end, or changed where it stands; names are unique."""
        plugins = self.make(plugin("a"), plugin(None))
        created, entry = plugins.configure({"name": "b", "config": {"type": "log"}})
        self.assertTrue(created)
        self.assertEqual(self.names(plugins), ["a", None, "b"])
        self.assertIs(plugins.find("b"), entry)
        created, _ = plugins.configure({"name": "a", "config": {"type": "log", "level": "warn"}})
        self.assertFalse(created)
        self.assertEqual(self.names(plugins), ["a", None, "b"])
        self.assertEqual(self.told, 2)
        http = {"type": "http", "endpoint": "e"}
        self.assertEqual(
            self.refused(plugins.configure, {"name": "a", "config": http}),
            "plugin name 'a' is already used by log",
        )
        self.assertEqual(
            self.refused(plugins.configure, {"name": "log", "config": http}),
            "plugin name 'log' is already used by log",
        )

    def test_flags(self) -> None:
        """Flags say whether they changed; who delivers is told only then."""
        plugins = self.make(plugin("a"))
        for change, undo in (
            (plugins.disable, plugins.enable),
            (plugins.pause, plugins.resume),
        ):
            self.told = 0
            self.assertEqual([change("a"), change("a"), undo("a"), undo("a")],
                             [True, False, True, False])  # fmt: skip
            self.assertEqual(self.told, 2)
        self.assertEqual(self.file.load(), [plugin("a")])

    def test_unknown(self) -> None:
        """A name that nothing answers to says so; names are exact."""
        plugins = self.make(plugin("a"), plugin(None, "tcp"))
        for name in ("A", "log", ""):
            for work in (plugins.enable, plugins.remove, plugins.pause):
                self.assertEqual(
                    self.refused(work, name), f"no plugin named '{name}' is configured"
                )
        self.assertTrue(plugins.disable("tcp"))

    def test_remove(self) -> None:
        """An enabled plugin is removed only on request; a bad one and a disabled one at once."""
        plugins = self.make(plugin("a"), plugin("old", "grpc"))
        self.assertEqual(
            self.refused(plugins.remove, "a"),
            "disable plugin 'a' before removing it (use plugin disable a or pass --disable)",
        )
        self.assertTrue(plugins.remove("a", disable=True))
        self.assertFalse(plugins.remove("old"))
        self.assertEqual(self.names(plugins), [])

    def test_rename(self) -> None:
        """A plugin gets a free name; one without a name gets its first."""
        plugins = self.make(plugin("a"), plugin(None), plugin("c", "grpc"))
        self.assertEqual(plugins.rename("a", " b ").key, "b")
        self.assertEqual(plugins.rename("log", "d").label, "log (d)")
        self.assertEqual(self.names(plugins), ["b", "d", "c"])
        self.assertEqual(self.refused(plugins.rename, "b", "c"), "plugin name 'c' is already used")
        self.assertEqual(self.refused(plugins.rename, "b", " "), "plugin name cannot be empty")
        self.assertEqual(
            self.refused(plugins.rename, "c", "e"),
            "plugin 'c' is unavailable: kind 'grpc' was removed; use http or process",
        )

    def test_swap(self) -> None:
        """One that was built beside another takes its name and its place."""
        plugins = self.make(plugin("live"), plugin("x"), plugin("beside", "http"))
        self.assertEqual(plugins.swap("live", "beside").label, "http (live)")
        self.assertEqual(self.names(plugins), ["x", "live"])
        self.assertEqual(
            self.refused(plugins.swap, "live", "live"), "plugin 'live' cannot take its own place"
        )

    def test_options(self) -> None:
        """Options are set by name and go back to their default."""
        plugins = self.make(plugin("a"))
        self.assertEqual(plugins.set_options("a", {"concurrency": 4}).concurrency, 4)
        self.assertEqual(plugins.set_options("a", {}, ["concurrency"]).concurrency, 1)
        self.assertEqual(self.file.load(), [plugin("a")])

    def test_tidy(self) -> None:
        """Cleaning is saved; what is clean is left alone."""
        plugins = self.make(plugin(" a "), plugin("b"), plugin("a", "http"))
        self.assertEqual([one.label for one in plugins.listed], ["log (b)", "http (a)"])
        plugins.tidy()
        self.assertEqual(self.names(plugins), ["b", "a"])
        self.assertEqual(self.told, 0)

    def test_bad_namesake(self) -> None:
        """A name means the usable entry, however many others bear it."""
        bad = parse_entry({"enabled": True, "name": "a", "config": {"type": "x"}})
        plugins = self.make(bad, plugin("a"))
        self.assertIsInstance(plugins.find("a"), PluginEntry)
        self.assertTrue(plugins.disable("a"))
        self.assertFalse(plugins.remove("a"))
        self.assertIsInstance(plugins.find("a"), Unavailable)
        self.assertIn("is unavailable", self.refused(plugins.enable, "a"))

    def test_domains(self) -> None:
        """An entry narrowed to other domains is listed, but does not serve this one."""
        plugins = self.make(plugin("a", domains=["other"]), plugin("b", domains=["default"]))
        self.assertEqual([one.name for one in plugins.entries], ["b"])
        self.assertEqual(self.names(plugins), ["a", "b"])


class Targets(PluginsCase):
    """Who may be named."""

    ENTRIES = (
        plugin("Hook", "http"),
        plugin(None),
        plugin("off", enabled=False),
        plugin("mute", emit_events=False),
        plugin("far", domains=["other"]),
        plugin("bad", "grpc"),
        plugin("held", paused=True),
    )

    def named(self, *names: str) -> list[PublishTarget]:
        return [PublishTarget(name, None, None) for name in names]

    def test_known(self) -> None:
        """Names of any case find their plugin, a kind the one without a name; a pause is none."""
        plugins = self.make(*self.ENTRIES)
        self.assertEqual(
            plugins.check_targets(
                [PublishTarget("hOOK", "ALL", "low"), *self.named("LOG", "held")]
            ),
            (Target("Hook", "all", "low"), Target("log"), Target("held")),
        )
        self.assertEqual(plugins.check_targets([]), ())

    def test_refused(self) -> None:
        """One bad name refuses all."""
        plugins = self.make(*self.ENTRIES)
        for name in ("none", "off", "far", "bad", "http"):
            self.assertEqual(
                self.refused(plugins.check_targets, self.named("hook", name)),
                f"plugin '{name}' is not configured",
            )
        self.assertEqual(
            self.refused(plugins.check_targets, self.named("mute")), "plugin 'mute' is disabled"
        )

    def test_nobody_listens(self) -> None:
        """Where no plugin takes events nobody is asked."""
        plugins = self.make(plugin("off", enabled=False), plugin("mute", emit_events=False))
        self.assertEqual(plugins.check_targets(self.named(" x ")), (Target("x"),))


class Writing(PluginsCase):
    """Targets on their way through the writer."""

    def setUp(self) -> None:
        self.plugins = self.make(plugin("hook"), plugin("other"))
        self.store = Store(MemoryStore(), hop=synchronous())
        self.writer = Writer(
            self.store,
            clock_ns=lambda: 10**18,
            entropy=bytes,
            rules=Catalogue(self.store, clock_ns=lambda: 10**18).rules,
            check_targets=self.plugins.check_targets,
            before_targets=self.plugins.look,
        )

    def append(self, *names: str, **more: Any) -> Deferred[None]:
        """Append one event for these plugins."""
        targets = tuple(PublishTarget(name, None, None) for name in names)
        write = Write("append", "order", "o-1", "e", "{}", publish_targets=targets, **more)
        return self.writer.write((write,), actor=None, render=lambda done: None)

    def write(self, *names: str, **more: Any) -> None:
        """Append one event, which has to succeed."""
        self.successResultOf(self.append(*names, **more))

    def refusal(self, *names: str, **more: Any) -> Exception:
        """Return why an append is refused."""
        error = self.failureResultOf(self.append(*names, **more)).value
        assert isinstance(error, EventDBXError)
        return error

    def log(self) -> list[tuple[Target, ...]]:
        """Return the targets of each event of the log."""
        return [one.targets for _, one in eventlog.log_entries(self.store.view(), 0, start=0)]

    def test_kept(self) -> None:
        """The log says for whom an event is; without targets it is for all."""
        self.write("HOOK")
        self.write()
        self.assertEqual(self.log(), [(Target("hook"),), ()])

    def test_refused(self) -> None:
        """Nothing is written for a plugin that is not there."""
        self.assertEqual(
            str(self.refusal("x")), "configuration error: plugin 'x' is not configured"
        )
        self.assertEqual(self.log(), [])

    def test_retried(self) -> None:
        """A retry gets the first answer also when the plugin has gone; other targets are another
        request."""
        self.write("hook", idempotency_key="k")
        self.plugins.remove("hook", disable=True)
        self.write("hook", idempotency_key="k")
        self.assertEqual(len(self.log()), 1)
        self.assertIsInstance(self.refusal("other", idempotency_key="k"), IdempotencyConflict)
        self.assertIsInstance(self.refusal(idempotency_key="k"), IdempotencyConflict)
