"""Changing entries, and which of a list count."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.commands import PublishTarget
from eventdbx.domain.delivery.cleaning import check_name, cleaned, in_force
from eventdbx.domain.delivery.editing import configured, option_names, with_options
from eventdbx.domain.delivery.entries import Backoff, HttpConfig, LogConfig, PluginEntry
from eventdbx.domain.delivery.reading import parse_entry
from eventdbx.domain.delivery.targets import Target, targets_as_given
from eventdbx.errors import ConfigError


def plugin(name: str | None, kind: str = "log", **members: Any) -> PluginEntry:
    """Return a usable entry."""
    config: dict[str, Any] = {"type": kind, "endpoint": "e", "host": "h", "port": 1}
    found = parse_entry({"enabled": True, "name": name, "config": config, **members})
    assert isinstance(found, PluginEntry)
    return found


BAD = parse_entry({"enabled": True, "name": "bad", "config": {"type": "grpc"}})


class Cleaning(SynchronousTestCase):
    """Names."""

    def test_names(self) -> None:
        """Names are trimmed, blank ones are none, and of one name only the last entry stays."""
        first, other, last = plugin(" a "), plugin("  "), plugin("a", "http")
        found = cleaned([first, other, BAD, last])
        self.assertEqual([(one.name, one.label) for one in found],
                         [(None, "log"), ("bad", "grpc (bad)"), ("a", "http (a)")])  # fmt: skip
        self.assertEqual(cleaned(found), found)

    def test_bad_entries_displace_nobody(self) -> None:
        """An entry that cannot be used never takes the place of one that can."""
        good = plugin("bad")
        self.assertEqual(cleaned([good, BAD, BAD]), [good, BAD, BAD])

    def test_one_key_each(self) -> None:
        """Of entries that answer to one word one is in force; a name counts more than a kind."""
        nameless, second, named = plugin(None), plugin(None), plugin("log", "http")
        labels = [type(one).__name__ for one in in_force([nameless, second, plugin(None, "http")])]
        self.assertEqual(labels, ["Unavailable", "PluginEntry", "PluginEntry"])
        found = in_force([named, nameless])
        self.assertEqual([type(one).__name__ for one in found], ["PluginEntry", "Unavailable"])
        self.assertEqual(cleaned([named, nameless]), [named, nameless])

    def test_wrong_names(self) -> None:
        """A name that is none says why."""
        self.assertEqual(check_name(" höok 1 "), "höok 1")
        for name, reason in (
            (" ", "plugin name cannot be empty"),
            ("a\x00", "plugin name cannot hold control characters"),
            ("é" * 128, "plugin name cannot exceed 255 bytes"),
        ):
            error = self.assertRaises(ConfigError, check_name, name)
            self.assertEqual(error.detail, reason)


class Configuring(SynchronousTestCase):
    """``plugin config``."""

    def test_new(self) -> None:
        """A new entry is enabled and takes everything; a log entry logs summaries."""
        found = configured({"name": "a", "config": {"type": "log"}}, None)
        self.assertEqual((found.enabled, found.emit_events, found.payload_mode),
                         (True, True, "all"))  # fmt: skip
        assert isinstance(found.config, LogConfig)
        self.assertEqual(found.config.detail, "summary")

    def test_again(self) -> None:
        """What 3.x knew of the config is replaced as a whole; all else stays unless it is given."""
        old = plugin(
            "a", "http", payload_mode="event-only", emit_events=False, concurrency=4, enabled=False
        )
        old = with_options(old, {"secret": "s", "headers": {"x": "1"}, "https": True})
        found = configured({"name": "a", "config": {"type": "http", "endpoint": "new"}}, old)
        self.assertEqual(
            (found.enabled, found.payload_mode, found.emit_events, found.concurrency),
            (True, "event-only", False, 4),
        )
        self.assertEqual(found.config, HttpConfig(endpoint="new", secrets=("s",)))
        found = configured(
            {"enabled": False, "payload_mode": "all", "config": {"type": "http", "endpoint": "n"}},
            old,
        )
        self.assertEqual((found.enabled, found.payload_mode), (False, "all"))

    def test_only_what_was_given(self) -> None:
        """Defaults that come along in the document change nothing."""
        old = configured(
            {"name": "a", "payload_mode": "state-only", "config": {"type": "log", "path": "p"}},
            None,
        )
        document: dict[str, Any] = {
            "enabled": True,
            "emit_events": True,
            "name": "a",
            "payload_mode": "all",
            "config": {"type": "log", "level": "warn", "template": None, "detail": "full"},
        }
        found = configured(document, old, ["name", "level"])
        self.assertEqual(found.payload_mode, "state-only")
        self.assertEqual(found.config, LogConfig(level="warn", detail="summary", path="p"))
        found = configured(document, old, ["name", "level", "detail", "payload_mode"])
        self.assertEqual((found.payload_mode, found.config),
                         ("all", LogConfig(level="warn", path="p")))  # fmt: skip

    def test_over_a_bad_one(self) -> None:
        """Configuring an entry that cannot be used makes it anew."""
        bad = parse_entry({"enabled": 1, "name": "a", "config": {"type": "log", "path": 3}})
        found = configured({"name": "a", "config": {"type": "log"}}, bad)
        self.assertEqual(found.config, LogConfig(detail="summary"))

    def test_refused(self) -> None:
        """What cannot be configured says why."""
        cases: tuple[tuple[dict[str, Any], str], ...] = (
            ({"name": "a"}, "the config of a plugin needs a type"),
            ({"name": " ", "config": {"type": "log"}}, "plugin name cannot be empty"),
            ({"config": {"type": "grpc"}}, "kind 'grpc' was removed; use http or process"),
            ({"config": {"type": "x"}}, "unknown kind 'x'"),
            ({"config": {"type": "http"}}, "missing field 'config.endpoint'"),
        )
        for document, reason in cases:
            error = self.assertRaises(ConfigError, configured, document, None)
            self.assertEqual(error.detail, reason)


class Options(SynchronousTestCase):
    """Single options."""

    def test_set_and_unset(self) -> None:
        """Options are set where they belong, and go back to their default."""
        found = with_options(plugin("a", "http"), {"backoff": {"first_secs": 5}, "secrets": ["x"]})
        self.assertEqual(found.backoff, Backoff(first_s=5.0))
        assert isinstance(found.config, HttpConfig)
        self.assertEqual(found.config.secrets, ("x",))
        found = with_options(found, {"secret": "y"}, ["backoff"])
        assert isinstance(found.config, HttpConfig)
        self.assertEqual((found.backoff, found.config.secrets), (None, ("y",)))
        found = with_options(found, {}, ["secrets"])
        self.assertEqual(found.config, HttpConfig(endpoint="e"))

    def test_refused(self) -> None:
        """An option of another kind and a wrong value say so."""
        for changes, reason in (
            ({"ack": True}, "a plugin of kind log has no option 'ack'"),
            ({"name": "b"}, "a plugin of kind log has no option 'name'"),
            ({"order": "x"}, "order must be one of aggregate, strict, none (got 'x')"),
        ):
            error = self.assertRaises(ConfigError, with_options, plugin("a"), changes)
            self.assertEqual(error.detail, reason)
        self.assertIn("detail", option_names("log"))
        self.assertNotIn("detail", option_names("http"))


class Targets(SynchronousTestCase):
    """What writers name."""

    def test_as_given(self) -> None:
        """Names are trimmed, repeats dropped whatever their case, words of any case understood."""
        found = targets_as_given(
            [
                PublishTarget(" Hook ", None, None),
                PublishTarget("hOOK", "ALL", "HIGH"),
                PublishTarget("É", "Event-Only", "Low"),
                PublishTarget("é", None, None),
            ]
        )
        self.assertEqual(found, (Target("Hook"), Target("É", "event-only", "low"), Target("é")))
