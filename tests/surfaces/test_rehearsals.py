"""Rehearsals and verdicts as a user meets them: the command line, the socket, a server's end."""

from __future__ import annotations

import atexit
import io
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import orjson

from eventdbx.application.token_keys import signing_key
from eventdbx.application.tokens import issue
from eventdbx.client import BlockingClient, Write
from eventdbx.errors import ConfigError, InvalidSchema, Unauthorized
from eventdbx.services.workspace import open_workspace
from eventdbx.surfaces.cli.main import main
from tests.daemon import Workspace
from tests.surfaces.command_line import CommandLineCase, Ended

HISTORY = 20_000
"""Events that take a rehearsal a fraction of a second: long enough to be met while it runs."""

BATCH = 1_000
STRICTER = {"events": {"made": {}}, "column_types": {"n": {"type": "integer", "range": {"max": 9}}}}


class _Terminal(io.StringIO):
    """What says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@cache
def with_history() -> Workspace:
    """Return a server with a history, for all tests of a process; it ends with the process."""
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    workspace = Workspace(Path(folder.name) / "database")
    workspace.start()
    atexit.register(workspace.stop)
    with BlockingClient("127.0.0.1", workspace.port, workspace.token) as client:
        for start in range(0, HISTORY, BATCH):
            client.commit_batch(
                [
                    Write("append", "thing", f"t-{n % 100:02}", "made", b'{"n":%d}' % (n % 20))
                    for n in range(start, start + BATCH)
                ]
            )
    return workspace


class Alone(CommandLineCase):
    """Without a server the command does the work itself."""

    def setUp(self) -> None:
        super().setUp()
        self.source = self.home / "candidate.dbx"
        self.create("order", "o-1", "--field", "total=many")
        self.create("order", "o-2", "--field", "total:=3")

    def say(self, text: str) -> str:
        """Write the candidate; return its path."""
        self.source.write_text(text)
        return str(self.source)

    def test_refused_events_fail_the_command(self) -> None:
        """Each rule has a line with its first and last event; the exit status is 1."""
        path = self.say(
            'aggregate order { field total { type = "integer" } event order_created {} }'
        )
        ended = self.attempt("schema", "rehearse", path)
        self.assertEqual(ended.status, 1)
        self.assertEqual(
            ended.stdout.splitlines(),
            [
                "job=r1 state=done events=2 total=2 refused=1 unless_patch=0",
                "aggregate=order event=order_created rule=type refused=1 first=o-1@1 last=o-1@1 "
                "message=field total must be an integer",
            ],
        )
        self.assertEqual(ended.stderr, "Error: 1 of 2 stored events would be refused\n")

    def test_nothing_refused_is_success(self) -> None:
        """A candidate may be JSON, too; --json prints the whole report."""
        path = self.say(orjson.dumps({"order": {"events": {"order_created": {}}}}).decode())
        found = self.dbx("schema", "rehearse", "--file", path, "--json").document
        self.assertEqual((found["state"], found["done"], found["refused"]), ("done", 2, 0))
        self.assertEqual(self.dbx("schema", "list").stdout, "")

    def test_only_some_types(self) -> None:
        """--aggregate takes lists and may be repeated."""
        self.create("item", "i-1")
        path = self.say("aggregate item { event other {} } aggregate order { event other {} }")
        ended = self.attempt("schema", "rehearse", path, "-a", "item,person", "--json")
        self.assertEqual(ended.document["aggregates"], ["item", "person"])
        self.assertEqual((ended.document["total"], ended.document["refused"]), (1, 1))

    def test_the_verdict_from_the_schemas_alone(self) -> None:
        """A missing demand is a failure; without one the verdict is only told."""
        self.dbx("schema", "create", "order", "-e", "order_created")
        path = self.say("aggregate order { event order_created {} event order_paid {} }")
        self.assertEqual(
            self.dbx("schema", "compat", path, "--require", "backward").stdout.splitlines(),
            [
                "verdict=backward changes=1",
                "aggregate=order verdict=backward change=event order_paid is declared now",
            ],
        )
        ended = self.attempt("schema", "compat", path, "--require", "full", "--json")
        self.assertEqual((ended.status, ended.document["verdict"]), (1, "backward"))
        self.assertEqual(ended.stderr, "Error: the change is backward, not full\n")

    def test_versions_can_be_candidates(self) -> None:
        """What was published can be rehearsed and compared again."""
        self.dbx("schema", "create", "order", "-e", "order_paid")
        self.dbx("schema", "publish")
        self.dbx("schema", "delete", "order", "--yes")
        self.assertEqual(self.attempt("schema", "rehearse", "--version", "latest").status, 1)
        verdict = self.dbx("schema", "compat", "--version", "latest", "--json").document
        self.assertEqual(verdict["verdict"], "forward")
        self.assertIn("was not found", self.failed("schema", "rehearse", "--version", "nope"))

    def test_jobs_need_a_server(self) -> None:
        """Nobody would be there to do the work."""
        path = self.say("aggregate order { event order_created {} }")
        self.assertIn("no server is running", self.failed("schema", "rehearse", path, "--detach"))
        self.assertIn("no server is running", self.failed("schema", "rehearse", "--job", "r1"))
        self.assertIn("--cancel needs --job", self.failed("schema", "rehearse", path, "--cancel"))

    def test_a_bad_candidate_is_refused_with_its_place(self) -> None:
        """Nothing is started."""
        self.assertIn("line 1", self.failed("schema", "rehearse", self.say("aggregate order {")))


class BesideServer(CommandLineCase):
    """A server does it in the background."""

    @property
    def workspace(self) -> Workspace:
        """The server that all these tests share."""
        return with_history()

    @contextmanager
    def client(self, token: str | None = None) -> Iterator[BlockingClient]:
        """Return a client of the server."""
        # A token that the server did not issue is sent.
        shown, port = token or self.workspace.token, self.workspace.port
        with BlockingClient("127.0.0.1", port, shown, send_token=token is not None) as one:
            yield one

    def attempt_here(self, *arguments: str) -> Ended:
        """Run a command of the server's workspace in this process."""
        os.environ["HOME"] = str(self.workspace.folder)
        here = os.getcwd()
        os.chdir(self.workspace.folder)
        try:
            return self.attempt(*arguments)
        finally:
            os.chdir(here)

    def ended(self, client: BlockingClient, job: str) -> dict[str, Any]:
        """Look at a job until it is over."""
        while True:
            found: dict[str, Any] = client.schema({"do": "rehearsal", "job": job})
            if found["state"] not in ("waiting", "running"):
                return found
            self.assertLessEqual(found["done"], found["total"])

    def test_a_job_from_start_to_end(self) -> None:
        """It tells progress, then every rule, and stays in the list."""
        with self.client() as client:
            job = client.schema({"do": "rehearse", "schemas": {"thing": STRICTER}})["job"]
            found = self.ended(client, job)
            listed = client.schema({"do": "rehearsals"})["rehearsals"]
        self.assertEqual((found["state"], found["done"]), ("done", HISTORY))
        self.assertEqual(found["refused"], HISTORY // 2)
        (rule,) = found["rules"]
        self.assertEqual((rule["rule"], rule["message"]), ("range", "field n must be <= 9"))
        self.assertEqual(rule["first"]["aggregate_id"], "t-10")
        self.assertEqual((rule["last"]["aggregate_id"], rule["last"]["version"]), ("t-99", 200))
        self.assertIn(job, [one["job"] for one in listed])

    def test_cancelling(self) -> None:
        """It ends where it was; what waits behind it runs."""
        with self.client() as client:
            one, two = (
                client.schema({"do": "rehearse", "schemas": {"thing": STRICTER}})["job"]
                for _ in range(2)
            )
            found = client.schema({"do": "cancel_rehearsal", "job": one})
            self.assertEqual(found["state"], "cancelled")
            self.assertLess(found["done"], HISTORY)
            self.assertEqual(self.ended(client, two)["state"], "done")

    def test_rights(self) -> None:
        """Starting is for who may write schemas, looking for who may read them."""
        auth = open_workspace(str(self.workspace.folder / ".dbx" / "config.toml")).config.auth

        def token(*actions: str) -> str:
            return issue(
                signing_key(auth), issuer=auth.issuer, audience=auth.audience, jti=actions[0],
                now_s=int(time.time()), ttl_s=60, subject="t:t", group="t", user="t",
                actions=list(actions), resources=["*"], issued_by="t",
            )  # fmt: skip

        start = {"do": "rehearse", "schemas": {"thing": STRICTER}}
        with self.client(token("schema.read")) as client:
            self.assertRaises(Unauthorized, client.schema, start)
        with self.client(token("schema.*")) as client:
            job = client.schema(start)["job"]
            self.assertRaises(ConfigError, client.schema, {"do": "rehearsal", "job": "r0"})
            self.assertRaises(InvalidSchema, client.schema, {"do": "rehearsal"})
            found = self.ended(client, job)
        # Counts are of the schema; which events they are is for who may read those.
        self.assertEqual(found["refused"], HISTORY // 2)
        self.assertEqual((found["rules"][0]["samples"], found["rules"][0]["first"]), ([], None))

    def test_the_command_waits_or_leaves_it_to_the_server(self) -> None:
        """--detach prints the job, --job looks at it, --cancel is no failure."""
        path = self.workspace.folder / "candidate.json"
        path.write_bytes(orjson.dumps({"thing": STRICTER}))
        waited = self.attempt_here("schema", "rehearse", str(path), "--json")
        self.assertEqual((waited.status, waited.document["refused"]), (1, HISTORY // 2))
        detached = self.attempt_here("schema", "rehearse", str(path), "--detach")
        job = detached.stdout.strip().removeprefix("job=")
        again = self.attempt_here("schema", "rehearse", "--job", job)
        self.assertEqual(again.status, 1)
        self.assertIn(f"job={job} state=done events={HISTORY}", again.stdout)
        self.assertIn("rule=range refused=10000 first=t-10@1 last=t-99@200", again.stdout)
        over = self.attempt_here("schema", "rehearse", "--job", job, "--cancel")
        self.assertEqual((over.status, over.stderr), (0, ""))

    def test_progress_on_a_terminal(self) -> None:
        """A line on stderr is written over again and again; without a terminal there is none."""
        path = self.workspace.folder / "candidate.json"
        path.write_bytes(orjson.dumps({"thing": {"events": {"made": {}}}}))
        config = str(self.workspace.folder / ".dbx" / "config.toml")
        terminal = _Terminal()
        with redirect_stderr(terminal), redirect_stdout(io.StringIO()):
            status = main(("--config", config, "schema", "rehearse", str(path)))
        self.assertEqual(status, 0)
        lines = terminal.getvalue().split("\r")
        self.assertTrue(lines[-1].endswith("\n"))
        self.assertRegex(
            lines[-1],
            rf"^rehearsing: {HISTORY} of {HISTORY} events \(100 %\), \d+ events/s, 0 refused",
        )

    def test_an_interrupted_command_cancels_its_job(self) -> None:
        """Nobody would read what it finds."""
        path = self.workspace.folder / "candidate.json"
        path.write_bytes(orjson.dumps({"thing": STRICTER}))

        def interrupt(_seconds: float) -> NoReturn:
            raise KeyboardInterrupt

        self.patch(time, "sleep", interrupt)
        ended = self.attempt_here("schema", "rehearse", str(path))
        self.assertEqual(ended.status, 130)
        with self.client() as client:
            last = client.schema({"do": "rehearsals"})["rehearsals"][-1]
        self.assertEqual(last["state"], "cancelled")

    def test_a_server_that_stops_leaves_nothing_behind(self) -> None:
        """Jobs end with it, in order, without a word in the log that something went wrong."""
        with TemporaryDirectory() as folder:
            workspace = Workspace(Path(folder) / "database")
            workspace.start()
            try:
                with BlockingClient("127.0.0.1", workspace.port, workspace.token) as client:
                    for name in range(5):
                        made = Write("append", "thing", f"t-{name}", "made", b'{"n":1}')
                        client.commit_batch([made] * BATCH)
                    for _ in range(3):
                        client.schema({"do": "rehearse", "schemas": {"thing": STRICTER}})
            finally:
                status = workspace.stop()
            self.assertEqual(status, 0)
            for word in ("Traceback", "Unhandled", "critical"):
                self.assertNotIn(word, workspace.log)
