"""``dbx config``: single keys, checks, and a running server that takes changes up."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.client import BlockingClient
from eventdbx.errors import EventDBXError, Unauthorized
from eventdbx.keys import GENERATED, declared
from eventdbx.surfaces.control.calls import Calls
from tests.daemon import Workspace
from tests.surfaces.command_line import CommandLineCase


class Keys(CommandLineCase):
    """Single keys of the file."""

    @property
    def path(self) -> Path:
        return self.home / ".eventdbx" / "config.toml"

    def test_one_value(self) -> None:
        """A key is printed bare, for scripts; a table as TOML; with --json as JSON."""
        self.assertEqual(self.dbx("config", "page_limit").stdout, "1000\n")
        self.assertEqual(self.dbx("config", "verbose_responses").stdout, "true\n")
        self.assertEqual(self.dbx("config", "log.dir").stdout, "\n")
        self.assertEqual(self.dbx("config", "restrict").stdout, "default\n")
        table = self.dbx("config", "limits").stdout
        self.assertEqual(table.splitlines()[0], "[limits]")
        self.assertIn("drain_timeout_secs = 10", table)
        self.assertEqual(
            self.dbx("config", "plugin_queue.prune", "--json").document["done_ttl_secs"], 86_400
        )
        self.assertEqual(self.dbx("config", "log.dir", "--json").document, None)

    def test_secrets_of_one_key(self) -> None:
        """A secret is hidden unless it is asked for."""
        self.assertEqual(self.dbx("config", "auth.private_key").stdout, "<hidden>\n")
        shown = self.dbx("config", "auth.private_key", "--show-secrets").stdout.strip()
        self.assertIn(shown, self.path.read_text())

    def test_set_and_unset(self) -> None:
        """Any key can be set, in its own type, and go back to its default; comments stay."""
        self.dbx("config")
        self.path.write_text("# ours\n" + self.path.read_text())
        self.dbx(
            "config", "--set", "auth.default_ttl_secs=900", "--set", "admin.hosts=a.example, b",
            "--set", 'socket.endpoints=["tcp:7001", "tcp:7002"]', "--set", "http.metrics_token=a=b",
        )  # fmt: skip
        self.assertEqual(self.dbx("config", "auth.default_ttl_secs").stdout, "900\n")
        self.assertEqual(self.dbx("config", "admin.hosts", "--json").document, ["a.example", "b"])
        self.assertEqual(self.dbx("config", "socket.endpoints").stdout, "tcp:7001, tcp:7002\n")
        text = self.path.read_text()
        self.assertTrue(text.startswith("# ours\n"))
        self.assertIn('metrics_token = "a=b"', text)
        self.dbx("config", "--unset", "auth.default_ttl_secs", "--unset", "admin.hosts")
        self.assertEqual(self.dbx("config", "auth.default_ttl_secs").stdout, "3600\n")
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_every_key_can_be_set(self) -> None:
        """What a key holds can be set to just that."""
        self.dbx("config")
        values = json.loads(self.dbx("config", "--all", "--show-secrets", "--json").stdout)
        arguments: list[str] = []
        for key in declared():
            value = values
            for step in key.path.split("."):
                value = value.get(step, {}) if isinstance(value, dict) else {}
            if key.many is None and value != {}:
                text = json.dumps(value) if isinstance(value, bool | list) else str(value)
                arguments += ["--set", f"{key.path}={text}"]
        self.assertGreater(len(arguments), 80)
        self.dbx("config", *arguments)
        after = json.loads(self.dbx("config", "--all", "--show-secrets", "--json").stdout)
        self.assertEqual({**after, "updated_at": ""}, {**values, "updated_at": ""})

    def test_refused(self) -> None:
        """What is no key, has the wrong type or would lock people out is refused, unsaved."""
        self.dbx("config")
        text = self.path.read_text()
        for arguments, said in (
            (("--set", "page_limits=3"), "did you mean 'page_limit'?"),
            (("--unset", "auth.key"), "did you mean 'auth.key_id'?"),
            (("pagelimit",), "did you mean 'page_limit'?"),
            (("--set", "page_limit"), "is not KEY=VALUE"),
            (("--set", "page_limit=many"), "page_limit must be an integer"),
            (("--set", "verbose_responses=maybe"), "must be true or false"),
            (("--set", "list_page_size=2000"), "must not exceed page_limit"),
            (("--set", "admin.hosts=[1]"), "must be a list of texts"),
            (("--set", "remotes=x"), "holds tables"),
            (("--set", "page_limit=3", "--unset", "page_limit"), "to be set and unset"),
            *((("--unset", key), "a new one would be made") for key in sorted(GENERATED)),
        ):
            self.assertIn(said, self.failed("config", *arguments), arguments)
        self.assertEqual(self.path.read_text(), text)

    def test_repaired(self) -> None:
        """A value that keeps everything else from working can be changed like any other."""
        self.dbx("config")
        whole = self.path.read_text()
        for broken, repair in (
            ("page_limit = 0", ("--page-limit", "500")),
            ("page_limit = true", ("--set", "page_limit=500")),
            ("page_limit = 5", ("--unset", "page_limit")),
        ):
            self.path.write_text(whole.replace("page_limit = 1000", broken))
            self.assertIn("page_limit", self.failed("config"))
            self.assertIn("page_limit", self.failed("config", "--set", "log.keep=5"))
            self.dbx("config", *repair)
            self.assertIn(self.dbx("config", "page_limit").stdout, ("500\n", "1000\n"))
        self.path.write_text(whole.replace("page_limit = 1000", "page_limit = 0"))
        text = self.path.read_text()
        self.failed("config", "--page-limit", "3")
        self.assertEqual(self.path.read_text(), text)

    def test_check(self) -> None:
        """``--check`` fails for keys that mean nothing, and says which are meant."""
        self.assertIn("is valid", self.dbx("config", "--check").stdout)
        self.path.write_text("page_limitz = 3\n" + self.path.read_text())
        self.assertIn("did you mean 'page_limit'?", self.failed("config", "--check"))
        ended = self.attempt("config", "--check", "--json")
        self.assertEqual((ended.status, ended.document["valid"]), (1, False))
        self.dbx("config", "page_limit")  # Everything else goes on.

    def test_check_of_a_change(self) -> None:
        """With changes, ``--check`` says whether they would do, and saves nothing."""
        self.dbx("config", "--check", "--set", "page_limit=50")
        self.assertIn("page_limit", self.failed("config", "--check", "--set", "page_limit=0"))
        self.assertEqual(self.dbx("config", "page_limit").stdout, "1000\n")

    def test_check_of_what_a_start_would_show(self) -> None:
        """``--check`` finds keys that are none, names that are none, and an API without a place."""
        self.dbx("config")
        for change, said in (
            ("auth.key_id=k", None),
            ("auth.public_key=none", "key"),
            ("domain=no/domain", "domain"),
            ("admin.bind_addr=127.0.0.1:7070", "admin.bind_addr must be a host or an address"),
            ("http.bind_addr=not a host", "http.bind_addr must be a host or an address"),
            ("socket.endpoints=6364", "must be an endpoint such as"),
            ("socket.endpoints=ssl:6364", "must name the server's key"),
        ):
            ended = self.attempt("config", "--check", "--set", change)
            self.assertEqual(ended.status, 0 if said is None else 1, change)
            self.assertIn(said or "", ended.stderr)
        free = ("--set", "port=0", "--set", "admin.port=0", "--set", "admin.enabled=true")
        self.assertIn("admin.port", self.failed("config", "--check", *free))

    def test_environment(self) -> None:
        """A variable, or a file named by one, counts for the command and is never saved."""
        secret = self.home / "metrics"
        secret.write_text("s3cret\n")
        os.environ["EVENTDBX_HTTP_METRICS_TOKEN_FILE"] = str(secret)
        os.environ["EVENTDBX_LIMITS_CONNECTIONS_MAX"] = "7"
        shown = self.dbx("config", "http.metrics_token", "--show-secrets").stdout
        self.assertEqual(shown, "s3cret\n")
        self.assertEqual(self.dbx("config", "limits.connections_max").stdout, "7\n")
        self.dbx("config", "--set", "page_limit=50")
        self.assertNotIn("s3cret", self.path.read_text())
        self.assertNotIn("connections_max", self.path.read_text())
        said = self.attempt("config", "--set", "limits.connections_max=9").stderr
        self.assertIn("EVENTDBX_LIMITS_CONNECTIONS_MAX is set here and beats", said)

    def test_no_server(self) -> None:
        """Where no server runs, nothing can be reloaded."""
        self.assertIn("no server runs", self.failed("config", "--reload"))


class BesideAServer(SynchronousTestCase):
    """A running server takes changes up."""

    def setUp(self) -> None:
        self.space = Workspace(Path(self.mktemp()).absolute())
        self.space.start()
        self.addCleanup(self.space.stop)
        self.client = BlockingClient("127.0.0.1", self.space.port, self.space.token)
        self.addCleanup(self.client.close)

    def edit(self, old: str, new: str) -> None:
        path = self.space.folder / ".dbx" / "config.toml"
        text = path.read_text()
        self.assertIn(old, text)
        path.write_text(text.replace(old, new))

    def administer(self, do: str) -> dict[str, Any]:
        return self.client.call(Calls(self.space.token).administer({"do": do}))

    def test_changed_by_the_command(self) -> None:
        """A live key counts at once, on connections that are open; others are named."""
        append = self.client.append
        append("order", "o-1", "order_made", {"a": 1})
        ended = self.space.attempt("config", "--restrict", "strict", "--verbose-responses", "false")
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, "", ""))
        error = self.assertRaises(EventDBXError, append, "order", "o-2", "order_made", {"a": 1})
        self.assertIn("restrict=strict", str(error))
        ended = self.space.attempt("config", "--port", "7099", "--page-limit", "500")
        self.assertEqual(ended.stderr, "restart required for: port\n")
        self.assertEqual(self.administer("configuration")["page_limit"], 500)
        self.assertEqual(self.administer("status")["restart_required"], ["port"])
        self.assertEqual(self.administer("status")["restrict"], "strict")

    def test_another_data_key(self) -> None:
        """The server takes it up, and everything that was sealed with the one before is read."""
        another = "c2Vj" * 10 + "c2U="
        self.client.append("order", "o-3", "order_made", {"a": 1})
        before = self.space.run("config", "data_encryption_key", "--show-secrets").strip()
        ended = self.space.attempt("config", "--dek", another)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        older = self.space.run("config", "data_encryption_keys", "--show-secrets").strip()
        self.assertEqual(older, before)
        self.space.run("token", "generate", "-g", "a", "-u", "b", "--action", "x")
        self.assertIn("o-3", self.space.run("aggregate", "list"))
        same = self.space.run("config", "data_encryption_key", "--show-secrets").strip()
        self.space.run("config", "--dek", same)
        self.assertEqual(
            self.space.run("config", "data_encryption_keys", "--show-secrets").strip(), before
        )

    def test_edited_by_hand(self) -> None:
        """What was edited in the file counts after ``--reload``, and after SIGHUP."""
        self.edit("list_page_size = 10\n", "list_page_size = 3\n")
        self.assertEqual(self.administer("configuration")["list_page_size"], 10)
        self.assertEqual(self.space.run("config", "--reload"), "in force now: list_page_size\n")
        self.assertEqual(self.administer("configuration")["list_page_size"], 3)
        self.assertEqual(self.space.run("config", "--reload"), "in force now: what was\n")
        self.edit("list_page_size = 3\n", "list_page_size = 4\n")
        self.space.send_signal(signal.SIGHUP)
        self.space.wait_for_log("configuration in force now: list_page_size", times=2)
        self.assertEqual(self.administer("configuration")["list_page_size"], 4)

    def test_of_no_other_domain(self) -> None:
        """A token for another domain alone has no say in it, and none for some domains alone
        changes what is of all."""
        (self.space.folder / ".dbx" / "domains" / "elsewhere" / "event_store").mkdir(parents=True)
        kim = ("--group", "ops", "--user", "kim", "--action", "*.*", "--resource", "*", "--json",
               "--tenant", "elsewhere")  # fmt: skip
        made = self.space.run("token", "generate", *kim)
        token = json.loads(made)["token"]
        also = json.loads(self.space.run("token", "generate", *kim, "--tenant", "default"))["token"]
        with BlockingClient("127.0.0.1", self.space.port, token, tenant="elsewhere") as client:
            for do in ("configuration", "reload", "data_keys", "rotate_data_key"):
                call = Calls(token).administer({"do": do})
                self.assertRaises(Unauthorized, client.call, call)
            status = client.call(Calls(token).administer({"do": "status"}))
        self.assertEqual(list(status["domains"]), ["elsewhere"])
        with BlockingClient("127.0.0.1", self.space.port, also, tenant="default") as client:
            for do in ("reload", "rotate_data_key"):
                call = Calls(also).administer({"do": do})
                self.assertRaises(Unauthorized, client.call, call)
            self.assertIn("port", client.call(Calls(also).administer({"do": "configuration"})))

    def test_broken_file(self) -> None:
        """A file that does not parse changes nothing, and the server goes on."""
        self.edit("list_page_size = 10\n", "list_page_size = \n")
        self.space.send_signal(signal.SIGHUP)
        self.space.wait_for_log("the configuration was not reloaded: serialization error: TOML")
        self.assertEqual(self.administer("configuration")["list_page_size"], 10)
        self.edit("list_page_size = \n", "list_page_size = 99999\n")
        ended = self.space.attempt("config", "--reload")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("list_page_size must not exceed page_limit", ended.stderr)
        self.assertEqual(self.administer("configuration")["list_page_size"], 10)

    def test_rights(self) -> None:
        """Reading and changing the configuration each need their right; secrets stay hidden."""
        generate = ("token", "generate", "--group", "g", "--user", "u", "--json")
        made = self.space.run(*generate, "--action", "config.read")
        token = json.loads(made)["token"]
        with BlockingClient("127.0.0.1", self.space.port, token) as reading:
            calls = Calls(token)
            shown = reading.call(calls.administer({"do": "configuration"}))
            self.assertEqual(shown["auth"]["private_key"], "<hidden>")
            for do in ("reload", "status", "nothing"):
                call = calls.administer({"do": do})
                error = self.assertRaises(EventDBXError, reading.call, call)
                self.assertEqual(error.code, "unauthorized")
        error = self.assertRaises(EventDBXError, self.administer, "nothing")
        self.assertIn("unknown administrative operation 'nothing'", str(error))

    def test_in_the_trail(self) -> None:
        """The trail has the keys of each change and who made it, never their values."""
        self.space.run("config", "--set", "http.metrics_token=very-secret")
        self.edit("list_page_size = 10\n", "list_page_size = 4\n")
        self.space.run("config", "--reload")
        self.edit("list_page_size = 4\n", "list_page_size = 5\n")
        self.space.send_signal(signal.SIGHUP)
        self.space.wait_for_log("configuration in force now: list_page_size", times=2)
        self.space.run("config", "--port", "7099")
        self.space.stop()
        listed = json.loads(self.space.run("audit", "log", "--json"))
        found = {(one["event"], one["resource"]) for one in listed if one["area"] == "config"}
        ways = {one["way"] for one in listed if one["resource"] == "list_page_size"}
        self.assertEqual(ways, {"control administer reload", "SIGHUP"})
        self.assertLessEqual(
            {
                ("config_changed", "http.metrics_token"),
                ("config_reloaded", "list_page_size"),
                ("config_changed", "port"),
            },
            found,
        )
        self.assertNotIn("very-secret", json.dumps(listed) + self.space.log)
