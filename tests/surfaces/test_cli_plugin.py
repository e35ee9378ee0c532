"""``dbx plugin``: configuring, showing and changing plugins."""

from __future__ import annotations

import json
import stat

from tests.daemon import free_port
from tests.surfaces.forked import ForkedCase

AWAY = "storage error: error sending request for url (http://127.0.0.1:"


class Configuring(ForkedCase):
    """``dbx plugin config`` and ``set``."""

    def test_every_option(self) -> None:
        """What was given stands in the file as plugins.json documents it, and nothing else."""
        self.dbx(
            "plugin", "config", "http", "--name", " hook ", "--endpoint", "example.org/in",
            "--header", "X-A = 1", "--https", "--secret", "env:ONE", "--secret", "env:TWO",
            "--format", "cloudevents", "--structured", "--no-private", "--ca-file", "ca.pem",
            "--payload", "event-only", "--emit-events", "false", "--order", "strict",
            "--on-dead", "continue", "--concurrency", "4", "--max-attempts", "3",
            "--backoff", "5:2.5:3600", "--give-up", "never", "--timeout", "2.5",
            "--filter", "payload.total > 1", "--aggregates", "order,item", "--events", "made",
            "--include-hidden", "--include-imported", "--batch", "10", "--batch-bytes", "4096",
            "--linger", "5", "--rate-limit", "100", "--disable",
        )  # fmt: skip
        (entry,) = json.loads(self.file.read_text())
        self.assertEqual(
            entry,
            {
                "enabled": False, "emit_events": False, "name": "hook",
                "payload_mode": "event-only",
                "config": {
                    "type": "http", "endpoint": "example.org/in", "headers": {"X-A": "1"},
                    "https": True, "secrets": ["env:ONE", "env:TWO"], "format": "cloudevents",
                    "structured": True, "ca_file": "ca.pem", "allow_private": False,
                },
                "order": "strict", "on_dead": "continue", "concurrency": 4, "max_attempts": 3,
                "backoff": {"first_secs": 5, "factor": 2.5, "max_secs": 3600},
                "give_up": "never", "timeout_secs": 2.5, "filter": "payload.total > 1",
                "aggregates": ["order", "item"], "events": ["made"],
                "include_hidden": True, "include_imported": True,
                "batch": {"max_events": 10, "max_bytes": 4096, "linger_ms": 5},
                "rate_limit": 100,
            },
        )  # fmt: skip
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)

    def test_other_kinds(self) -> None:
        """Sockets and log lines have options of their own."""
        for kind, title in (("tcp", "TCP"), ("capnp", "Cap'n Proto")):
            line = ("plugin", "config", kind, "--name", kind, "--host", "::1", "--port", "65535")
            said = self.told(*line, "--tls", "--persistent", "--client-key", "k.pem")
            self.assertEqual(said, f"{title} plugin '{kind}' configured\n")
        self.dbx("plugin", "config", "log", "--name", "l", "--detail", "full", "--path", "x.ndjson")
        self.assertEqual(
            [entry["config"] for entry in self.listed()],
            [
                *(
                    {
                        "type": kind, "host": "::1", "port": 65535, "tls": True,
                        "persistent": True, "client_key": "k.pem",
                    }
                    for kind in ("tcp", "capnp")
                ),
                # An entry that does not say means full: those of older files did.
                {"type": "log", "level": "info", "template": None, "path": "x.ndjson"},
            ],
        )  # fmt: skip

    def test_again(self) -> None:
        """What is configured again keeps its options; what its kind always had is replaced."""
        first = ("plugin", "config", "http", "--name", "hook", "--endpoint", "http://a")
        self.dbx(*first, "--header", "X-A=1", "--secret", "env:S", "--concurrency", "2")
        self.dbx("plugin", "disable", "hook")
        self.dbx(*first[:-1], "http://b")
        (entry,) = self.listed()
        self.assertEqual((entry["enabled"], entry["concurrency"]), (True, 2))
        self.assertEqual(
            entry["config"],
            {
                "type": "http", "endpoint": "http://b", "headers": {}, "https": False,
                "secret": "env:S",
            },
        )  # fmt: skip

    def test_single_options(self) -> None:
        """``set`` changes what is named, by flag or by its name in the file, and nothing else."""
        self.dbx("plugin", "config", "log", "--name", "l", "--template", "{id}", "--batch", "9")
        changed = ("plugin", "set", "l", "--order", "none", "detail=full", "rate_limit:=2.5")
        self.assertEqual(self.told(*changed), "Plugin 'l' changed\n")
        self.dbx("plugin", "set", "l", "--payload", "state-only", "--unset", "batch,order")
        (entry,) = self.listed()
        config = {"type": "log", "level": "info", "template": "{id}"}
        self.assertEqual(
            entry,
            {
                "enabled": True, "emit_events": True, "name": "l", "payload_mode": "state-only",
                "config": config, "rate_limit": 2.5,
            },
        )  # fmt: skip
        before = self.file.read_bytes()
        for wrong, said in (
            ((), "Error: no option was given\n"),
            (("tls:=true",), "Error: a plugin of kind log has no option 'tls'\n"),
            (("--concurrency", "65"), "concurrency"),
            (("concurrency:=[1]",), "concurrency"),
        ):
            self.assertIn(said, self.failed("plugin", "set", "l", *wrong))
        self.assertEqual(self.file.read_bytes(), before)

    def test_wrong_usage(self) -> None:
        """Values of a wrong form are refused before anything is looked at."""
        http = ("plugin", "config", "http", "--name", "x", "--endpoint", "e")
        for line, said in (
            ((*http, "--backoff", "1:2"), "the form is FIRST_SECS:FACTOR:MAX_SECS"),
            ((*http, "--timeout", "0"), "not a number above zero"),
            ((*http, "--timeout", "1e3"), "not a number above zero"),
            ((*http, "--header", "=v"), "header key cannot be empty"),
            ((*http, "--concurrency", "-1"), "unexpected argument '-1' found"),
            ((*http, "--payload", "odd"), "[possible values: all, event-only, state-only"),
            (("plugin", "config", "tcp", "--name", "x", "--host", "h", "--port", "65536"),
             "65536 is not in 0..=65535"),
            (("plugin", "config", "postgres"), "kind 'postgres' was removed; use http or process"),
            (("plugin", "config", "htpp"), "a similar subcommand exists: 'http'"),
            (("plugin", "set", "x", "key"), "invalid value 'key' for '<KEY=VALUE>...'"),
        ):  # fmt: skip
            self.assertIn(said, self.misused(*line))
        self.assertEqual(
            self.failed(*http[:4], " ", *http[5:]), "Error: plugin name cannot be empty\n"
        )
        self.assertFalse(self.file.exists())

    def test_places_to_begin(self) -> None:
        """A new plugin begins at the end, or where it is told to."""
        self.orders("o-1", "o-2")
        config = ("plugin", "config", "log", "--path", "x", "--name")
        self.dbx(*config, "end", "--disable")
        self.dbx(*config, "start", "--from", "start", "--disable")
        self.dbx(*config, "second", "--from", "0-0", "--disable")
        self.dbx(*config, "past", "--from", "2020-01-01T00:00:00Z", "--disable")
        lags = json.loads(self.told("plugin", "lag", "--json"))
        places = {one["name"]: one["position"] for one in lags}
        self.assertEqual(places, {"end": "0-1", "start": "", "second": "0-0", "past": ""})
        self.assertIn("neither start, end", self.failed(*config, "x", "--from", "yesterday"))
        self.assertNotIn("x", [one["name"] for one in self.listed()])


class Showing(ForkedCase):
    """``dbx plugin list`` and ``show``."""

    def test_lines(self) -> None:
        """Each line says what a plugin is up to, and how to change that."""
        self.dbx("plugin", "config", "log", "--name", "on")
        self.dbx("plugin", "config", "log", "--name", "off", "--disable", "--emit-events", "false")
        self.dbx("plugin", "config", "log", "--name", "held")
        self.dbx("plugin", "pause", "held")
        entries = json.loads(self.file.read_text())
        bare = {"enabled": True, "config": {"type": "log", "level": "info"}}
        old = {"enabled": True, "name": "old", "config": {"type": "grpc", "endpoint": "e"}}
        self.file.write_text(json.dumps([*entries, bare, old, 7]))
        self.assertEqual(
            self.told("plugin", "list").splitlines(),
            [
                "Configured plugins:",
                "  - log (on) - enabled (disable with plugin disable on)",
                "  - log (off) - disabled (enable with plugin enable off); event delivery disabled",
                "  - log (held) - enabled (disable with plugin disable held); paused",
                "  - log - enabled (disable with plugin disable log)",
                "  - grpc (old) - unavailable (kind 'grpc' was removed; use http or process)",
                "  - unknown - unavailable (an entry must be an object)",
            ],
        )
        self.assertEqual(json.loads(self.file.read_text())[-2:], [old, 7])

    def test_secrets(self) -> None:
        """Credentials are shown to those who ask for them, and to scripts."""
        line = ("plugin", "config", "http", "--name", "hook", "--endpoint", "http://e")
        self.dbx(*line, "--header", "Authorization=Bearer 1", "--header", "X-A=1",
                 "--header", "X-Api-Key=2", "--secret", "whsec_" + "A" * 32)  # fmt: skip
        shown = json.loads(self.told("plugin", "show", "hook"))
        self.assertEqual(
            shown["config"]["headers"], {"Authorization": "***", "X-A": "1", "X-Api-Key": "***"}
        )
        self.assertEqual(shown["config"]["secret"], "***")
        clear = json.loads(self.told("plugin", "show", "hook", "--show-secrets"))
        self.assertEqual(clear["config"]["headers"]["Authorization"], "Bearer 1")
        self.assertEqual([clear], self.listed())


class Changing(ForkedCase):
    """Enabling, pausing, renaming, removing."""

    def test_enabling(self) -> None:
        """The target is tried first, unless that is not wanted; nothing changes if it is away."""
        sink = self.sink()
        self.hook(sink)
        self.assertEqual(
            self.told("plugin", "enable", "hook"), "Plugin 'hook' is already enabled\n"
        )
        sink.close()
        self.assertEqual(self.told("plugin", "disable", "hook"), "Plugin 'hook' disabled\n")
        self.assertEqual(
            self.failed("plugin", "enable", "hook"),
            "Error: failed to establish connection for 'hook'\n\n"
            f"Caused by:\n    {AWAY}{sink.port}/in)\n",
        )
        self.assertFalse(self.listed()[0]["enabled"])
        self.assertEqual(
            self.told("plugin", "enable", "hook", "--no-check"), "Plugin 'hook' enabled\n"
        )

    def test_names(self) -> None:
        """A plugin may get another name, or that of another one, whose entry goes."""
        for name in ("a", "b", "c"):
            self.dbx("plugin", "config", "log", "--name", name, "--template", name)
        self.assertEqual(self.told("plugin", "rename", "a", " z "), "Plugin 'a' renamed to 'z'\n")
        self.assertIn("'b' is already used", self.failed("plugin", "rename", "z", "b"))
        self.assertIn("cannot be empty", self.failed("plugin", "rename", "z", " "))
        said = self.told("plugin", "switch", "b", "--with", "c")
        self.assertEqual(said, "Plugin 'c' took the place of 'b'\n")
        found = {one["name"]: one["config"]["template"] for one in self.listed()}
        self.assertEqual(found, {"z": "a", "b": "c"})

    def test_unknown_names(self) -> None:
        """Every command names the plugin that it does not know."""
        self.dbx("plugin", "config", "log", "--name", "known")
        for line in (
            "enable x", "disable x", "pause x", "resume x", "remove x", "rename x y",
            "switch x --with known", "switch known --with x", "set x --order none", "show x",
            "test x", "lag x", "wait x", "seek x end --yes", "rebuild x --yes",
            "rebuild known --with x --yes",
        ):  # fmt: skip
            said = self.failed("plugin", *line.split())
            self.assertEqual(said, "Error: no plugin named 'x' is configured\n", line)
        for line in ("start known", "stop x", "status x", "logs known"):
            word = line.split()[1]
            said = self.failed("plugin", *line.split())
            self.assertEqual(said, f"Error: no process plugin named '{word}' is configured\n")
        said = self.failed("plugin", "replay", "x", "order")
        self.assertEqual(said, "Error: no enabled plugin named 'x' is configured\n")
        self.assertEqual(
            self.failed("queue", "--plugin", "x"), "Error: no plugin named 'x' is configured\n"
        )

    def test_removing(self) -> None:
        """What was not delivered can be kept; the command says what is dropped."""
        self.dbx("config", "--plugin-max-attempts", "1")
        line = ("plugin", "config", "http", "--name", "hook", "--endpoint")
        self.dbx(*line, f"http://127.0.0.1:{free_port()}/")
        self.orders("o-1")
        said = self.failed("plugin", "remove", "hook", "--keep-jobs", "kept")
        self.assertIn("disable plugin 'hook' before removing it (use plugin disable hook or", said)
        self.assertFalse((self.home / "kept").exists())
        ended = self.attempt("plugin", "remove", "hook", "--disable", "--keep-jobs", "kept")
        self.assertEqual(
            ended,
            (
                0,
                "Plugin 'hook' disabled\nPlugin 'hook' removed\n",
                "wrote 1 job(s) to kept\n1 undelivered event(s) of 'hook' will not be delivered\n",
            ),
        )
        (job,) = [json.loads(one) for one in (self.home / "kept").read_text().splitlines()]
        self.assertEqual(job["document"]["event"]["aggregate_id"], "o-1")
        self.assertEqual((job["name"], job["status"]), ("hook", "dead"))
        self.assertEqual(self.listed(), [])

    def test_file_in_the_way(self) -> None:
        """Jobs are never written over a file; the plugin stays then."""
        self.dbx("plugin", "config", "log", "--name", "l")
        (self.home / "kept").write_text("mine")
        said = self.failed("plugin", "remove", "l", "--disable", "--keep-jobs", "kept")
        self.assertEqual(said, "Error: cannot write kept\n\nCaused by:\n    File exists\n")
        self.assertEqual((self.home / "kept").read_text(), "mine")
        self.assertEqual(len(self.listed()), 1)
