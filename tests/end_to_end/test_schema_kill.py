"""Schemas changed and published while the server is killed."""

from __future__ import annotations

import signal
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import orjson
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.client import BlockingClient
from eventdbx.errors import EventDBXError, IoError
from tests.daemon import Workspace

CYCLES = 4
TYPES = 20
KILL_AFTER_S = (0.02, 0.25)


def numbered(number: int) -> dict[str, Any]:
    """Return a set in which every schema carries the same number."""
    events = {f"made_{number}": {"fields": ["a"]}}
    return {
        f"kind_{kind}": {"column_types": {"a": "integer"}, "events": events}
        for kind in range(TYPES)
    }


def number_of(schemas: dict[str, Any]) -> int:
    """Return the number of a set; fails if it is not one set, whole."""
    assert len(schemas) == TYPES, f"{len(schemas)} schemas"
    names = {name for schema in schemas.values() for name in schema["events"]}
    assert len(names) == 1, f"a mixture: {names}"
    return int(names.pop().removeprefix("made_"))


class Publisher(Thread):
    """Publishes and activates set after set; knows what it sent and what was acknowledged."""

    def __init__(self, space: Workspace, begin: int) -> None:
        super().__init__(daemon=True)
        self._client = BlockingClient("127.0.0.1", space.port, space.token)
        self.sent = self.acknowledged = begin
        self.failure: Exception | None = None

    def publish(self) -> None:
        """Publish the next set."""
        self.sent += 1
        schemas = numbered(self.sent)
        self._client.schema({"do": "publish", "schemas": schemas, "activate": True})
        self.acknowledged = self.sent

    def run(self) -> None:
        try:
            while True:
                self.publish()
        except IoError:
            pass  # The server was killed.
        except Exception as error:
            self.failure = error
        finally:
            self._client.close()


class Kill(SynchronousTestCase):
    """What holds after kill -9 in the middle of a publication."""

    def test_old_or_new(self) -> None:
        """After each kill the old set or the new one is in force, whole, with its version."""
        random = Random(4)
        space = Workspace(Path(self.mktemp()).resolve())
        self.addCleanup(space.stop, signal.SIGKILL)
        space.start()
        number = 0
        for _ in range(CYCLES):
            publisher = Publisher(space, number)
            publisher.publish()
            publisher.start()
            publisher.join(random.uniform(*KILL_AFTER_S))
            space.stop(signal.SIGKILL)
            publisher.join()
            self.assertIsNone(publisher.failure)
            space.start()
            number = self.check(space, publisher)
        self.assertGreater(number, CYCLES, "nothing was published between the kills")
        space.stop()
        self.assertEqual(number_of(self.exported(space)), number)

    def check(self, space: Workspace, publisher: Publisher) -> int:
        """Return the number of the set in force after a restart, having checked everything."""
        client = BlockingClient("127.0.0.1", space.port, space.token)
        try:
            found = number_of(client.schema({"do": "list"})["schemas"])
            self.assertIn(found, (publisher.acknowledged, publisher.sent))
            history = client.schema({"do": "history"})
            ids = [version["id"] for version in history["versions"]]
            self.assertEqual(len(ids), found)
            self.assertEqual(history["active_version"], ids[-1])
            self.assertEqual(len(history["audit_log"]), 2 * found)
            version = client.schema({"do": "version", "version": "active"})
            self.assertEqual(number_of(version["schemas"]), found)
            self.append(client, found)
            # The file follows the store: it may be one behind until the server has written it.
            self.assertLessEqual(number_of(self.exported(space)), found)
        finally:
            client.close()
        return found

    def exported(self, space: Workspace) -> dict[str, Any]:
        """Return what schemas.json says: never half of anything."""
        exported: dict[str, Any] = orjson.loads((space.folder / ".dbx/schemas.json").read_bytes())
        return exported

    def append(self, client: BlockingClient, number: int) -> None:
        """The set in force binds: its own event is taken, that of the set before is not."""
        client.append("kind_7", "k-1", f"made_{number}", {"a": number})
        with self.assertRaises(EventDBXError):
            client.append("kind_7", "k-1", f"made_{number - 1}", {"a": number})
