"""The text of ``plugins.json``: what entries it holds, and that nothing in it gets lost."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.delivery.entries import (
    KINDS,
    PAYLOAD_MODES,
    Backoff,
    Batch,
    Entry,
    HttpConfig,
    LogConfig,
    PluginEntry,
    ProcessConfig,
    SocketConfig,
    Unavailable,
)
from eventdbx.domain.delivery.reading import LEGACY_KINDS, parse_entry, read_entries
from eventdbx.domain.delivery.writing import entries_text, entry_document
from eventdbx.errors import SerializationError

OLD = """[
  {
    "enabled": true,
    "emit_events": true,
    "name": "hook",
    "payload_mode": "event-only",
    "config": {
      "type": "http",
      "endpoint": "http://127.0.0.1:9/in",
      "headers": {
        "x-b": "2",
        "x-a": "1"
      },
      "https": false
    }
  },
  {
    "enabled": false,
    "emit_events": false,
    "name": null,
    "payload_mode": "all",
    "config": {
      "type": "process",
      "name": "search",
      "version": "1.0.0",
      "args": [],
      "env": {},
      "working_dir": null
    }
  }
]"""
"""A file as 3.x writes it."""

CONFIGS: dict[str, dict[str, Any]] = {
    "http": {"endpoint": "h"},
    "tcp": {"host": "h", "port": 9},
    "capnp": {"host": "h", "port": 9},
    "log": {},
    "process": {"name": "p", "version": "1"},
}

TEXT = st.text(alphabet="aé:/ \U0001f980", max_size=5)
MAYBE = st.none() | TEXT
FLAG = st.booleans()
MAP = st.dictionaries(TEXT, TEXT, max_size=2)
JSON_VALUE = st.none() | FLAG | st.integers(0, 9) | TEXT | st.lists(TEXT, max_size=2)
UNKNOWN = st.dictionaries(st.sampled_from(("x_one", "x_two")), JSON_VALUE, max_size=2)
HTTP = st.builds(
    HttpConfig, endpoint=TEXT, headers=MAP, https=FLAG,
    secrets=st.lists(TEXT, max_size=3, unique=True).map(tuple),
    format=st.sampled_from(("eventdbx", "cloudevents")), structured=FLAG, ca_file=MAYBE,
    client_cert=MAYBE, client_key=MAYBE, allow_private=FLAG, allow_link_local=FLAG,
)  # fmt: skip
SOCKET = st.builds(
    SocketConfig, kind=st.sampled_from(("tcp", "capnp")), host=TEXT, port=st.integers(0, 65_535),
    tls=FLAG, ca_file=MAYBE, client_cert=MAYBE, client_key=MAYBE, persistent=FLAG,
)  # fmt: skip
LOG = st.builds(
    LogConfig, level=TEXT.filter(bool), template=MAYBE,
    detail=st.sampled_from(("summary", "full")), path=MAYBE,
)  # fmt: skip
PROCESS = st.builds(
    ProcessConfig, name=TEXT, version=TEXT, args=st.lists(TEXT, max_size=3).map(tuple), env=MAP,
    working_dir=MAYBE, ack=FLAG, max_in_flight=st.integers(1, 99), user=MAYBE,
    memory_mb=st.none() | st.integers(1, 99), open_files=st.none() | st.integers(16, 99),
)  # fmt: skip
SECONDS = st.floats(0.5, 30)
NAMES = st.lists(TEXT, max_size=2).map(tuple)
PLUGIN = st.builds(
    PluginEntry, enabled=FLAG, config=st.one_of(HTTP, SOCKET, LOG, PROCESS), emit_events=FLAG,
    name=MAYBE, payload_mode=st.sampled_from(PAYLOAD_MODES),
    order=st.sampled_from(("aggregate", "strict", "none")),
    on_dead=st.sampled_from(("hold", "continue")), concurrency=st.integers(1, 64),
    max_attempts=st.none() | st.integers(1, 255),
    backoff=st.none() | st.builds(Backoff, first_s=SECONDS, factor=SECONDS.map(lambda n: n + 1),
                                  max_s=SECONDS),
    give_up=st.sampled_from(("attempts", "never")), timeout_s=st.none() | SECONDS,
    filter=st.none() | st.just("version > 3"), aggregates=NAMES, events=NAMES, domains=NAMES,
    include_hidden=FLAG, include_imported=FLAG, paused=FLAG,
    batch=st.none() | st.builds(Batch, max_events=st.integers(1, 1000),
                                max_bytes=st.integers(1, 9999), linger_ms=st.integers(0, 99)),
    rate_limit=st.none() | SECONDS, extra=UNKNOWN, config_extra=UNKNOWN,
)  # fmt: skip


def entry(kind: str = "http", config: dict[str, Any] | None = None, **members: Any) -> Any:
    """Return a document of a kind with some members changed."""
    inner = {"type": kind, **CONFIGS.get(kind, {}), **(config or {})}
    return {"enabled": True, "name": "p", "config": inner, **members}


class Reading(SynchronousTestCase):
    """From text to entries."""

    def usable(self, document: Any) -> PluginEntry:
        """Return the entry, which has to be usable."""
        found = parse_entry(document)
        assert isinstance(found, PluginEntry), found
        return found

    def reason(self, document: Any) -> str:
        """Return why an entry cannot be used; it is written back as it was read."""
        found = parse_entry(document)
        assert isinstance(found, Unavailable), found
        self.assertEqual(entry_document(found), document)
        return found.reason

    def test_old_file(self) -> None:
        """A file of 3.x is read, and written back as it stands, byte for byte."""
        first, second = read_entries(OLD)
        assert isinstance(first, PluginEntry) and isinstance(second, PluginEntry)
        self.assertEqual((first.label, first.payload_mode), ("http (hook)", "event-only"))
        self.assertEqual((second.label, second.key), ("process", "process"))
        self.assertFalse(second.emits)
        self.assertEqual(entries_text([first, second]), OLD)

    def test_nothing(self) -> None:
        """No file and a blank one have no entries; an empty list is written as one."""
        for text in (None, "", " \n"):
            self.assertEqual(read_entries(text), [])
        self.assertEqual(entries_text([]), "[]")

    def test_no_list(self) -> None:
        """A text that is not an array of entries is refused as a whole."""
        for text in ("{", "{}", "[1,]"):
            self.assertRaises(SerializationError, read_entries, text)

    def test_defaults(self) -> None:
        """Only enabled and config are needed; a null is as good as nothing."""
        for kind in KINDS:
            document = {"enabled": False, "config": {"type": kind, **CONFIGS[kind]}}
            found = self.usable(document)
            self.assertEqual((found.kind, found.name, found.emit_events), (kind, None, True))
            nulls = dict.fromkeys(("name", "emit_events", "order", "batch", "filter", "domains"))
            self.assertEqual(self.usable({**document, **nulls}), found)

    def test_log_detail(self) -> None:
        """A log entry that does not say how much it logs logs everything, as 3.x did."""
        config = self.usable(entry("log")).config
        assert isinstance(config, LogConfig)
        self.assertEqual(config.detail, "full")

    @given(st.lists(PLUGIN, max_size=3))
    def test_round_trip(self, entries: list[Entry]) -> None:
        """Whatever is configured is read again as it was, unknown members included."""
        self.assertEqual(read_entries(entries_text(entries)), entries)

    def test_unknown_members(self) -> None:
        """Members that we do not know stay in the file, in the config and beside it."""
        document = entry("tcp", {"retries": [1, {"a": None}]}, later={"x": 1})
        written = entry_document(self.usable(document))
        assert isinstance(written, dict)
        self.assertEqual(written["later"], {"x": 1})
        config = written["config"]
        assert isinstance(config, dict)
        self.assertEqual(config["retries"], [1, {"a": None}])

    def test_one_bad_entry(self) -> None:
        """A bad entry is unavailable with its reason and harms no other."""
        text = json.dumps([entry(), entry("magic", name="m"), 7, entry("tcp", name="q")])
        good, bad, number, other = read_entries(text)
        self.assertIsInstance(good, PluginEntry)
        self.assertIsInstance(other, PluginEntry)
        assert isinstance(bad, Unavailable) and isinstance(number, Unavailable)
        self.assertEqual((bad.label, bad.reason), ("magic (m)", "unknown kind 'magic'"))
        self.assertEqual(number.label, "unknown")
        self.assertEqual(json.loads(entries_text([bad, number])), json.loads(text)[1:3])

    def test_removed_kinds(self) -> None:
        """Kinds of older versions say what to use instead."""
        for kind in LEGACY_KINDS:
            self.assertEqual(
                self.reason(entry(kind)), f"kind '{kind}' was removed; use http or process"
            )

    def test_reasons(self) -> None:
        """Each wrong member is named."""
        for document, reason in (
            ({"config": {"type": "log"}}, "missing field 'enabled'"),
            ({"enabled": True}, "missing field 'config'"),
            ({"enabled": 1, "config": {"type": "log"}}, "enabled must be true or false"),
            (entry(config={"endpoint": None}), "missing field 'config.endpoint'"),
            (entry(config={"headers": {"a": 1}}), "config.headers must be an object of texts"),
            (entry("tcp", {"port": 65_536}),
             "config.port must be an integer from 0 to 65535 (got 65536)"),
            (entry("process", {"args": "x"}), "config.args must be a list of texts"),
            (entry(name=5), "name must be text"),
            (entry(name="a\nb"), "name cannot hold control characters"),
            (entry(name="x" * 256), "name cannot exceed 255 bytes"),
            (entry(order="any"),
             "order must be one of aggregate, strict, none (got 'any')"),
            (entry(payload_mode="most"), "payload_mode must be one of all, event-only, state-only, "
             "schema-only, event-and-schema, extensions-only (got 'most')"),
            (entry(concurrency=0), "concurrency must be an integer from 1 to 64 (got 0)"),
            (entry(concurrency=True), "concurrency must be an integer from 1 to 64 (got True)"),
            (entry(timeout_secs=31), "timeout_secs must be a number from 0.01 to 30 (got 31)"),
            (entry(backoff={"factor": 0}), "backoff.factor must be a number from 1 to 100 (got 0)"),
            (entry(backoff=3), "backoff must be an object"),
            (entry(batch={"max_events": 1001}),
             "batch.max_events must be an integer from 1 to 1000 (got 1001)"),
            (entry(filter="version >"), None),
        ):  # fmt: skip
            found = self.reason(document)
            if reason is None:
                self.assertIn("filter is none: ", found)
            else:
                self.assertEqual(found, reason)

    def test_patient_process(self) -> None:
        """A process may take longer for one delivery than a target behind a network."""
        self.assertEqual(self.usable(entry("process", timeout_secs=300)).timeout_s, 300)

    def test_secrets(self) -> None:
        """One secret and several are spelled differently; the first signs first."""
        one = self.usable(entry(config={"secret": "a"})).config
        both = self.usable(entry(config={"secret": "a", "secrets": ["b", "a"]})).config
        two = self.usable(entry(config={"secret": "a", "secrets": ["b"]})).config
        assert isinstance(one, HttpConfig) and isinstance(two, HttpConfig)
        assert isinstance(both, HttpConfig)
        self.assertEqual((one.secrets, two.secrets), (("a",), ("a", "b")))
        self.assertEqual(both.secrets, ("b", "a"))
