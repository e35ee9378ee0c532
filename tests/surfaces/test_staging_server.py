"""Staging beside a running server: kept by it for each user, through kills and restarts."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path
from threading import Thread
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.errors import (
    AggregateArchived,
    ConfigError,
    EventDBXError,
    InvalidSchema,
    Unauthorized,
)
from eventdbx.surfaces.control.blocking import BlockingClient
from tests.daemon import Workspace
from tests.erasure.places import holds
from tests.erasure.test_server import Target

SECRETS = ("staged-sierra-3391", "staged-tango-3391", "staged-uniform-3391")
STAGED = "event staged for later commit\n"


def creation(identifier: str, **more: Any) -> dict[str, Any]:
    """Return the write that creates an order."""
    return {
        "kind": "create", "aggregate_type": "order", "aggregate_id": identifier,
        "event_type": "made", "content_json": "{}", **more,
    }  # fmt: skip


class Server(SynchronousTestCase):
    """A daemon with three users."""

    def setUp(self) -> None:
        self.space = Workspace(Path(self.mktemp()).resolve())
        self.addCleanup(self.space.stop, signal.SIGKILL)
        self.space.start()
        self.alice, self.bob = self.token("alice"), self.token("bob")

    def token(self, user: str, *actions: str) -> str:
        """Return a token that may write, or do what is named."""
        words = ["--group", "ops", "--user", user]
        for action in actions or ("aggregate.append", "aggregate.create", "aggregate.read"):
            words += ["--action", action]
        found = re.search(r"token=(\S+)", self.space.run("token", "generate", *words))
        assert found is not None
        return found[1]

    def token_for(self, user: str, aggregate_type: str) -> str:
        """Return a token that may write to aggregates of one type alone."""
        words = ["--group", "ops", "--user", user, "--action", "aggregate.*"]
        words += ["--resource", f"aggregate:{aggregate_type}:*"]
        found = re.search(r"token=(\S+)", self.space.run("token", "generate", *words))
        assert found is not None
        return found[1]

    def client(self, token: str | None = None) -> BlockingClient:
        """Return a client of the server; the operator's without a token."""
        client = BlockingClient("127.0.0.1", self.space.port, token or self.space.token)
        self.addCleanup(client.close)
        return client

    def stage(self, client: BlockingClient, *writes: dict[str, Any]) -> list[str]:
        """Stage, and return the ids."""
        done = client.staging({"do": "stage", "writes": list(writes)})
        return [one["id"] for one in done["staged"]]

    def ids(self, client: BlockingClient, **of: Any) -> list[str]:
        """Return the ids of what is staged."""
        return [one["id"] for one in client.staging({"do": "list", **of})["items"]]

    def restarted(self) -> None:
        """Kill the server and start it again."""
        self.assertEqual(self.space.stop(signal.SIGKILL), -signal.SIGKILL)
        self.space.start()


class Users(Server):
    """Each sees their own."""

    def test_users_do_not_meet(self) -> None:
        """Not in lists, by id, by dropping, by committing, nor by errors."""
        alice, bob = self.client(self.alice), self.client(self.bob)
        (mine,) = self.stage(alice, creation("o-1", note=SECRETS[0]))
        self.assertEqual((self.ids(alice), self.ids(bob)), ([mine], []))
        unknown = "no staged event has the id"
        for do in ({"do": "show", "id": mine}, {"do": "drop", "ids": [mine]}):
            self.assertIn(unknown, str(self.assertRaises(ConfigError, bob.staging, do)))
        other = {"group": "ops", "user": "alice"}
        asked: tuple[dict[str, Any], ...] = (
            {"do": "list", "all_users": True},
            {"do": "list", "user": other},
            {"do": "show", "id": mine, "user": other},
            {"do": "drop", "all": True, "user": other},
        )
        for do in asked:
            self.assertRaises(Unauthorized, bob.staging, do)
        self.assertEqual(bob.staging({"do": "drop", "all": True}), {"dropped": 0})
        self.assertEqual(bob.staging({"do": "commit"})["committed"], 0)
        # Bob may stage the same, and whoever comes first has it.
        self.stage(bob, creation("o-1"))
        committed = bob.staging({"do": "commit"})
        self.assertEqual(
            committed["events"][0]["metadata"]["issued_by"], {"group": "ops", "user": "bob"}
        )
        self.assertEqual(self.ids(alice), [mine])
        # Another token of the same user is the same user.
        self.assertEqual(self.ids(self.client(self.token("alice"))), [mine])

    def test_the_operator_looks_after_all(self) -> None:
        """What another has staged can be listed, shown and dropped; that is in the trail."""
        (mine,) = self.stage(self.client(self.alice), creation("o-1"))
        listed = json.loads(self.space.run("aggregate", "stage", "list", "--all-users", "--json"))
        self.assertEqual([one["user"] for one in listed], [{"group": "ops", "user": "alice"}])
        user = ("--user", "ops:alice")
        shown = json.loads(self.space.run("aggregate", "stage", "show", mine, *user))
        self.assertEqual(shown, listed[0])
        self.assertEqual(self.space.run("aggregate", "stage", "list"), "no staged events\n")
        self.space.run("aggregate", "stage", "drop", "--all", "--yes", *user)
        self.assertEqual(self.ids(self.client(self.alice)), [])
        trail = self.space.run("audit", "log", "--json")
        self.assertEqual(trail.count("staged_dropped"), 1)

    def test_rights(self) -> None:
        """Those of the writes, when they are staged and when they are committed."""
        reader = self.client(self.token("carol", "aggregate.read"))
        for do in ({"do": "stage", "writes": [creation("o-1")]}, {"do": "list"}, {"do": "commit"}):
            self.assertRaises(Unauthorized, reader.staging, do)
        appends = self.client(self.token("dave", "aggregate.append"))
        self.assertRaises(Unauthorized, self.stage, appends, creation("o-1"))
        self.stage(self.client(self.token("dave", "aggregate.*")), creation("o-1"))
        error = self.assertRaises(Unauthorized, appends.staging, {"do": "commit"})
        self.assertIn("staged event 1 ", str(error))
        self.assertEqual(len(self.ids(appends)), 1)

    def test_a_token_for_other_aggregates(self) -> None:
        """What a token of the same user may not write to it is not shown, cannot drop, and is told
        nothing of by a refusal."""
        alice, narrow = self.client(self.alice), self.client(self.token_for("alice", "item"))
        (first,) = self.stage(alice, creation("o-1", note=SECRETS[0]))
        (second,) = self.stage(narrow, {**creation("i-1"), "aggregate_type": "item"})
        self.assertEqual((self.ids(alice), self.ids(narrow)), ([first, second], [second]))
        for do in ({"do": "show", "id": first}, {"do": "drop", "ids": [first]}):
            said = str(self.assertRaises(ConfigError, narrow.staging, do))
            self.assertIn("no staged event has the id", said)
        for dry_run in (True, False):
            commit = {"do": "commit", "dry_run": dry_run}
            said = str(self.assertRaises(Unauthorized, narrow.staging, commit))
            self.assertNotIn("o-1", said)
            self.assertNotIn("made", said)
        self.assertEqual(narrow.staging({"do": "drop", "all": True}), {"dropped": 1})
        self.assertEqual(self.ids(alice), [first])

    def test_documents_that_are_wrong(self) -> None:
        client = self.client(self.alice)
        wrong: list[tuple[dict[str, Any], type[EventDBXError]]] = [
            ({"do": "stage"}, ConfigError),
            ({"do": "stage", "writes": []}, ConfigError),
            ({"do": "stage", "writes": [{}]}, InvalidSchema),
            ({"do": "stage", "writes": [creation("o-1", kind="delete")]}, InvalidSchema),
            ({"do": "stage", "writes": [creation("o-1", publish=["p"])]}, InvalidSchema),
            ({"do": "stage", "writes": [creation("o-1", content_json="{")]}, InvalidSchema),
            ({"do": "show"}, ConfigError),
            ({"do": "show", "id": "x"}, ConfigError),
            ({"do": "drop"}, ConfigError),
            ({"do": "drop", "ids": ["-1"]}, ConfigError),
            ({"do": "list", "user": {"group": "g"}}, ConfigError),
            ({"do": "dance"}, Unauthorized),
            ({}, ConfigError),
        ]
        for do, kind in wrong:
            self.assertRaises(kind, client.staging, do)
        self.assertEqual(self.ids(client), [])

    def test_nothing_readable_on_disk(self) -> None:
        self.stage(
            self.client(self.alice),
            creation(
                "o-1", content_json=json.dumps({"a": SECRETS[0]}), note=SECRETS[1],
                metadata_json=json.dumps({"@t": SECRETS[2]}),
            ),
        )  # fmt: skip
        for secret in SECRETS:
            self.assertEqual(holds(self.space.folder, secret), [])

    def test_hidden_types(self) -> None:
        """A staged patch tells no more of a hidden type than its event would."""
        root, alice = self.client(), self.client(self.alice)
        root.append("order", "o-1", "made", {"who": {"name": SECRETS[0]}})
        self.space.run("schema", "create", "order", "--events", "made,changed")
        hide = {"do": "hide_aggregate", "aggregate": "order", "hidden": True}
        root.schema({"do": "change", "changes": [hide]})
        patch = creation(
            "o-1", kind="patch", event_type="changed",
            content_json='[{"op":"add","path":"/who/age","value":7}]',
        )  # fmt: skip
        self.stage(alice, patch)
        for done in (alice.staging({"do": "list"}), alice.staging({"do": "commit"})):
            self.assertNotIn(SECRETS[0], json.dumps(done))


class Lasting(Server):
    """What is staged never vanishes, and is never written twice."""

    def test_killed(self) -> None:
        """Every answer stands, whatever happens to the process afterwards."""
        client = self.client(self.alice)
        ids = self.stage(client, *(creation(f"o-{number}") for number in range(50)))
        self.restarted()
        client = self.client(self.alice)
        self.assertEqual(self.ids(client), ids)
        client.staging({"do": "drop", "ids": [ids[-1]]})
        self.restarted()
        client = self.client(self.alice)
        done = client.staging({"do": "commit"})
        self.assertEqual(done["committed"], 49)
        self.restarted()
        client = self.client(self.alice)
        self.assertEqual((self.ids(client), client.staging({"do": "commit"})["committed"]), ([], 0))
        self.assertIn("verified 49 aggregate(s) with 49 event(s)", self.space.run("verify"))

    def test_killed_while_it_commits(self) -> None:
        """The client does not learn what happened, and just commits again."""
        for turn in range(4):
            client = self.client(self.alice)
            self.stage(client, *(creation(f"k-{turn}-{number}") for number in range(200)))
            committing = Thread(target=_ask_and_forget, args=(client,), daemon=True)
            committing.start()
            committing.join(0.004 * turn)
            self.restarted()
            client = self.client(self.alice)
            left = len(self.ids(client))
            self.assertIn(left, (0, 200))
            self.assertEqual(client.staging({"do": "commit"})["committed"], left)
            total = (turn + 1) * 200
            said = f"verified {total} aggregate(s) with {total} event(s)"
            self.assertIn(said, self.space.run("verify"))

    def test_two_commits_at_once(self) -> None:
        """Each event is written by one of them."""
        clients = [self.client(self.alice) for _number in range(4)]
        self.stage(clients[0], *(creation(f"o-{number}") for number in range(100)))
        counts: list[int] = []

        def commit(client: BlockingClient) -> None:
            counts.append(client.staging({"do": "commit"})["committed"])

        threads = [Thread(target=commit, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(counts), [0, 0, 0, 100])

    def test_with_and_without_the_server(self) -> None:
        """What the operator stages in one way is there in the other."""
        run = self.space.run
        create = ("aggregate", "create", "order", "o-1", "--event", "made", "--stage")
        self.assertEqual(run(*create), STAGED)
        self.assertEqual(self.space.stop(), 0)
        apply = ("aggregate", "apply", "order", "o-1", "paid", "--stage")
        self.assertEqual(run(*apply), STAGED)
        listed = json.loads(run("aggregate", "stage", "list", "--json"))
        self.assertEqual([one["event"] for one in listed], ["made", "paid"])
        self.space.start()
        self.assertEqual(json.loads(run("aggregate", "stage", "list", "--json")), listed)
        done = json.loads(run("aggregate", "commit", "--json"))
        issued = [one["metadata"]["issued_by"] for one in done["events"]]
        self.assertEqual(issued, [{"group": "cli", "user": "root"}] * 2)

    def test_the_file_of_before(self) -> None:
        """A server that starts takes it over for the operator."""
        root = self.client()
        root.append("order", "o-1", "made", {})
        self.space.stop()
        path = self.space.folder / ".dbx" / "staged_events.json"
        path.write_text('[{"aggregate":"order","aggregate_id":"o-1","event":"paid",'
                        '"payload":{},"metadata":null,"issued_by":null,"note":null}]')  # fmt: skip
        self.space.start()
        self.assertIn("committed 1 event(s)", self.space.run("aggregate", "commit"))
        self.assertFalse(path.exists())

    def test_domains_are_apart(self) -> None:
        """What is staged in one domain is in no other."""
        self.stage(self.client(self.alice), creation("o-1"))
        self.space.stop()
        self.space.run("checkout", "-c", "other")
        self.space.start()
        client = self.client(self.alice)
        self.assertEqual((self.ids(client), client.staging({"do": "commit"})["committed"]), ([], 0))
        there = BlockingClient("127.0.0.1", self.space.port, self.alice, tenant="default")
        self.addCleanup(there.close)
        self.assertEqual(len(self.ids(there)), 1)


class Served(Server):
    """A commit is a write as any other."""

    def test_plugins(self) -> None:
        """They get what was committed, in order, and nothing before."""
        target = Target()
        self.addCleanup(target.close)
        root, alice = self.client(), self.client(self.alice)
        root.plugins({"do": "configure", "entry": target.entry("hook")})
        self.stage(alice, creation("o-1"), creation("o-2"))
        root.append("order", "o-0", "made", {})
        self.wait_for_events(target, 1)
        alice.staging({"do": "commit"})
        self.wait_for_events(target, 3)
        # Each comes on a connection of its own, so the target may meet them in another order.
        told = sorted(one["event"]["aggregate_id"] for one in target.events)
        self.assertEqual(told, ["o-0", "o-1", "o-2"])

    def wait_for_events(self, target: Target, count: int) -> None:
        """Return when a target has got so many events."""
        for _attempt in range(600):
            if len(target.events) >= count:
                return
            time.sleep(0.05)
        self.fail(f"only {len(target.events)} of {count} events came")

    def test_a_refused_commit(self) -> None:
        """The same words as without a server, and the same exit status."""
        run, attempt = self.space.run, self.space.attempt
        run("aggregate", "create", "order", "o-1", "--event", "made")
        run("aggregate", "apply", "order", "o-1", "paid", "--stage")
        self.client().archive("order", "o-1", "old")
        beside = attempt("aggregate", "commit")
        self.space.stop()
        alone = attempt("aggregate", "commit")
        self.assertEqual(beside.stderr, alone.stderr)
        self.assertEqual((beside.returncode, alone.returncode), (1, 1))
        fine = attempt("aggregate", "commit", EVENTDBX_EXIT_CODES="fine")
        self.assertEqual(fine.returncode, 5)
        self.space.start()
        self.assertRaises(AggregateArchived, self.client().staging, {"do": "commit"})

    def test_erasing(self) -> None:
        """What is staged about an aggregate goes with it, and the command says so."""
        alice = self.client(self.alice)
        self.client().append("order", "o-1", "made", {})
        self.stage(alice, creation("o-1", kind="apply", note=SECRETS[0]), creation("o-2"))
        said = self.space.run("erase", "aggregate", "order", "o-1", "--reason", "r", "--yes")
        self.assertIn(" staged=1", said)
        self.assertEqual(len(self.ids(alice)), 1)


def _ask_and_forget(client: BlockingClient) -> None:
    try:
        client.staging({"do": "commit"})
    except Exception:
        return
